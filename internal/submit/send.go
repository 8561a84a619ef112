package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
	"github.com/cartero-mail/cartero/internal/worker"
)

// Sent is what became of a mail that was to be sent at once.
type Sent struct {
	JobID string
	// Recipients are in the order of the submission. Every one has ended.
	Recipients []campaign.RecipientReport
	// Known is true for a mail that was handed in before, under the same key: nothing was sent now.
	Known bool
}

// Send writes the mail, sends it, and tries again whom the relay puts off, for as long as its patience lasts. Who is still
// waiting then is cancelled: what Send reports is final. Concurrent calls share transactions.
//
// It goes on when ctx ends: a mail that is written is sent, and its outcome recorded. ErrInFlight and ErrKeyReused mean
// that nothing was sent now, ErrUnknown that the mail may have been sent; after any other error nothing is sent.
func (s *Service) Send(ctx context.Context, mail campaign.Submission) (Sent, error) {
	if s.cfg.Sender == nil {
		return Sent{}, ErrNoRelay
	}
	if err := ctx.Err(); err != nil {
		return Sent{}, context.Cause(ctx)
	}
	ctx = context.WithoutCancel(ctx)
	trying, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()

	delivery, err := s.begin(trying, mail)
	switch {
	case err != nil && trying.Err() != nil:
		return s.overdue(ctx, mail, err)
	case err != nil:
		return Sent{}, err
	case !delivery.Created:
		return s.known(ctx, trying, mail, delivery.Record)
	case allEnded(delivery.Results):
		return Sent{JobID: mail.JobID(), Recipients: reports(delivery)}, nil
	}
	s.retry(trying, mail.JobID(), delivery.Results)
	return s.settle(ctx, mail)
}

// overdue is for a mail of which nothing was heard in time. It may have been written, and may be on its way.
func (s *Service) overdue(ctx context.Context, mail campaign.Submission, err error) (Sent, error) {
	sent, settleErr := s.settle(ctx, mail)
	if settleErr == nil && len(sent.Recipients) > 0 {
		return sent, nil
	}
	return Sent{}, errors.Join(err, settleErr)
}

// reports is what the database says after these results.
func reports(d worker.Delivery) []campaign.RecipientReport {
	all := make([]campaign.RecipientReport, len(d.Results))
	for i, result := range d.Results {
		recipient, at := d.Claimed[i], result.At
		all[i] = campaign.RecipientReport{
			ID: recipient.ID, Address: recipient.Address, Name: recipient.Name, State: result.State, Attempts: 1,
			Code: result.Code, EnhancedCode: result.EnhancedCode, Category: result.Category, Detail: result.Detail, CompletedAt: &at,
		}
	}
	return all
}

// begin writes the mail. One that may have to wait for its turn is written like one for the queue, and sent by retry.
func (s *Service) begin(ctx context.Context, mail campaign.Submission) (worker.Delivery, error) {
	if !s.cfg.Waits(mail) {
		return s.sends.do(ctx, mail)
	}
	submitted, err := s.queues.do(ctx, mail)
	if errors.Is(err, campaign.ErrUncertain) { // if it is there, a worker finds it
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return worker.Delivery{Submitted: submitted}, err
}

func (s *Service) sendBatch(mails []campaign.Submission, done func(i int, d worker.Delivery, err error)) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	err := s.cfg.Sender.Submit(ctx, mails, func(i int, d worker.Delivery) { done(i, d, nil) })
	if err != nil {
		for i := range mails {
			done(i, worker.Delivery{}, err)
		}
	}
}

func allEnded(results []campaign.Result) bool {
	for _, result := range results {
		if !result.State.Terminal() {
			return false
		}
	}
	return len(results) > 0
}

// retry runs the job until everybody has ended, or ctx has.
func (s *Service) retry(ctx context.Context, jobID string, results []campaign.Result) {
	next := s.nextTry(results)
	for sleep.For(ctx, next.Sub(s.cfg.Now())) {
		progress, err := s.cfg.Sender.HandleJob(ctx, jobID)
		switch {
		case errors.Is(err, worker.ErrStopped):
			return
		case err != nil && ctx.Err() == nil:
			s.cfg.Logger.Warn("Trying a mail again failed", "jobID", jobID, "error", err)
		case err == nil && (progress.Finished || outlasts(progress.HeldUntil, ctx)):
			return
		}
		next = s.cfg.Now().Add(retryPause)
		if at := progress.Tally.NextAttemptAt; at != nil && at.After(next) {
			next = *at
		}
	}
}

// outlasts tells of a hold that does not end in time.
func outlasts(hold time.Time, ctx context.Context) bool { //nolint:revive // the hold is what is asked about
	deadline, ok := ctx.Deadline()
	return ok && hold.After(deadline)
}

// nextTry is when the first recipient that waits may be tried again.
func (s *Service) nextTry(results []campaign.Result) time.Time {
	var next time.Time
	for _, result := range results {
		at := s.cfg.Now().Add(retryPause)
		switch {
		case result.State.Terminal():
			continue
		case result.NextAttemptAt != nil:
			at = *result.NextAttemptAt
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return s.cfg.Now()
	}
	return next
}

// settle cancels whoever still waits, and reports. A recipient whose mail is on its way all the same is waited for: its
// verdict is seconds away.
func (s *Service) settle(ctx context.Context, mail campaign.Submission) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	cancelled := false
	for {
		sent, waiting, err := s.report(ctx, mail)
		if err != nil {
			return Sent{}, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		if !waiting {
			return sent, nil
		}
		if !cancelled {
			if err := s.cfg.Store.Cancel(ctx, mail.Key, campaign.EndCancelled, s.cfg.Now()); err != nil {
				return Sent{}, fmt.Errorf("%w: ending what could not be sent: %w", ErrUnknown, err)
			}
			cancelled = true
			continue
		}
		if !sleep.For(ctx, retryPause/10) {
			return Sent{}, fmt.Errorf("%w: the mail is still being sent", ErrUnknown)
		}
	}
}

// known reports on a mail that was handed in before. One that nobody tried to send, since the database did not confirm it, was
// refused with the advice to try again: now it is sent.
func (s *Service) known(ctx, trying context.Context, mail campaign.Submission, record campaign.Record) (Sent, error) {
	if !mail.Matches(record) {
		return Sent{}, ErrKeyReused
	}
	sent, waiting, err := s.report(ctx, mail)
	if err != nil {
		return Sent{}, err
	}
	if waiting {
		return Sent{}, ErrInFlight
	}
	if slices.ContainsFunc(sent.Recipients, unconfirmed) {
		return s.sendAgain(ctx, trying, mail)
	}
	sent.Known = true
	return sent, nil
}

// unconfirmed reports whether nobody tried to send to the recipient, since the database did not say that the mail was written.
func unconfirmed(r campaign.RecipientReport) bool {
	return r.State == campaign.StateFailed && r.Attempts == 0 && r.Detail == worker.UnwrittenDetail
}

// unconfirmedToken is what the campaign remembers of having been taken up again: nothing is unconfirmed twice.
const unconfirmedToken = "unconfirmed"

// sendAgain sends a mail that is in the database, and that nobody tried to send.
func (s *Service) sendAgain(ctx, trying context.Context, mail campaign.Submission) (Sent, error) {
	request := campaign.RetryRequest{Token: unconfirmedToken, Now: s.cfg.Now()}
	if _, err := s.cfg.Store.RetryFailed(ctx, mail.Key, request); err != nil {
		return Sent{}, fmt.Errorf("taking up a mail that was not confirmed: %w", err)
	}
	s.retry(trying, mail.JobID(), nil)
	return s.settle(ctx, mail)
}

func (s *Service) report(ctx context.Context, mail campaign.Submission) (sent Sent, waiting bool, err error) {
	sent.JobID = mail.JobID()
	sent.Recipients, err = s.cfg.Store.RecipientReports(ctx, sent.JobID, "", campaign.MaxSubmission)
	for _, recipient := range sent.Recipients {
		waiting = waiting || !recipient.State.Terminal()
	}
	return sent, waiting, err
}
