package worker

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// UnwrittenDetail is what becomes of a mail whose rows may be in the database although it did not say so. Nobody tried to
// send it, and whoever handed it in was told so.
const UnwrittenDetail = "not sent: the database did not confirm that the mail was written"

// Delivery is what became of one submitted mail.
type Delivery struct {
	campaign.Submitted
	// Results are those of its recipients, in their order; nil unless the mail was created.
	Results []campaign.Result
}

// Submit writes mails whose recipients this worker has claimed and announced from the start, and sends them at once: two
// transactions for all of them together, where a job from the queue takes six of its own. done is told what became of
// each, by its position: at once of one whose key is known, of the others when the results of all their recipients are in
// the database. A recipient whose result is not final waits for HandleJob. done must return quickly; after Stop it may
// never be called.
//
// After an error nothing is sent and done is not called.
func (w *Worker) Submit(ctx context.Context, mails []campaign.Submission, done func(i int, d Delivery)) error {
	if !w.enter() {
		return ErrStopped
	}
	if err := w.reporter.wait(ctx); err != nil {
		w.runs.Done()
		return fmt.Errorf("waiting for the database: %w", err)
	}
	b, err := w.newBatch(done)
	if err != nil {
		w.runs.Done()
		return err
	}
	go func() {
		defer w.runs.Done()
		select {
		case <-b.claim.done:
		case <-w.hard.Done():
		}
	}()

	now := w.cfg.Now()
	b.claim.extend(w.leaseHolds(now))
	w.claims.add(b.claim)
	submitted, err := w.cfg.Store.Submit(ctx, mails, &campaign.Lease{Token: b.claim.token, Until: now.Add(w.cfg.Lease)}, now)
	if err != nil {
		b.unwritten(mails)
		return fmt.Errorf("writing mails: %w", err)
	}
	b.send(mails, submitted)
	return nil
}

// batch is the mails of one call of Submit. Once they are handed out, only the reporter's goroutine touches them.
type batch struct {
	w     *Worker
	claim *claim
	done  func(i int, d Delivery)
	// mails finds a mail by the id of a recipient.
	mails map[string]*batchMail
}

type batchMail struct {
	position int
	run      *run
	delivery Delivery
	byID     map[string]int
	left     int
}

func (w *Worker) newBatch(done func(i int, d Delivery)) (*batch, error) {
	token := uuid.NewString()
	file, err := w.journal.create(token, "", 0)
	if err != nil {
		return nil, err
	}
	b := &batch{w: w, done: done, mails: map[string]*batchMail{}}
	b.claim = &claim{token: token, journal: file, done: make(chan struct{}), batch: b}
	return b, nil
}

// unwritten settles mails whose transaction failed, as far as anybody knows. They certainly were not sent, and never
// will be: whoever handed them in is told so.
func (b *batch) unwritten(mails []campaign.Submission) {
	b.done = func(int, Delivery) {}
	var ids []string
	for _, m := range mails {
		for i, recipient := range m.Recipients {
			ids = append(ids, campaign.RecipientID(m.JobID(), i, recipient.Address))
		}
	}
	b.claim.opened(len(ids))
	b.claim.finish(false)
	for _, id := range ids {
		b.w.report(b.claim, campaign.Result{
			RecipientID: id, State: campaign.StateFailed, Category: mail.CategoryOther, Detail: UnwrittenDetail, At: b.w.cfg.Now(),
		})
	}
}

// send hands the recipients to the deliverers, and tells of the mails that were known.
func (b *batch) send(mails []campaign.Submission, submitted []campaign.Submitted) {
	var tasks []task
	var known []int
	for i, s := range submitted {
		if !s.Created {
			known = append(known, i)
			continue
		}
		m := &batchMail{
			position: i, run: b.w.newRun(b.w.stopping, jobOf(mails[i])),
			delivery: Delivery{Submitted: s, Results: make([]campaign.Result, len(s.Claimed))},
			byID:     make(map[string]int, len(s.Claimed)), left: len(s.Claimed),
		}
		for n, recipient := range s.Claimed {
			m.byID[recipient.ID] = n
			b.mails[recipient.ID] = m
			tasks = append(tasks, task{run: m.run, claim: b.claim, recipient: recipient})
		}
	}
	b.claim.opened(len(tasks))
	if b.claim.finish(false) {
		b.w.reporter.close(b.claim)
	}
	for _, i := range known {
		b.done(i, Delivery{Submitted: submitted[i]})
	}
	go func() {
		for _, t := range tasks {
			t.run.hand(t)
		}
	}()
}

func jobOf(m campaign.Submission) campaign.Job {
	return campaign.Job{
		ID: m.JobID(), Key: m.Key, Status: campaign.JobProcessing, Content: m.Content, Sealed: true, CreatedAt: m.CreatedAt,
		Priority: m.Priority,
	}
}

// recorded takes a result that is in the database, and tells of the mail that has all of its results now.
func (b *batch) recorded(result campaign.Result) {
	m := b.mails[result.RecipientID]
	if m == nil {
		return
	}
	m.delivery.Results[m.byID[result.RecipientID]] = result
	if m.left--; m.left == 0 {
		m.run.cancel(nil)
		b.done(m.position, m.delivery)
	}
}
