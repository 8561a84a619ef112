package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// legacySubject is the width of the column EmailJob.subject, in characters.
const legacySubject = 191

// recheckSource is when a source that was missing or unreadable is looked at again.
const recheckSource = 10 * time.Second

// acceptSpec checks what the schema can't, and sets s.content.
func (r *EmailCampaignReconciler) acceptSpec(_ context.Context, s *scope) error {
	message := s.object.Spec.Message
	from := r.DefaultFrom
	if message.From != nil {
		from = mail.Address{Name: message.From.Name, Address: message.From.Address}
	}
	if from.Address == "" {
		return invalidSpec("spec.message.from is required: the operator has no default sender (SMTP_FROM)")
	}
	address, err := recipients.ParseAddress(from.Address)
	if err != nil {
		return invalidSpec("spec.message.from.address can't be used as a sender: %w", err)
	}
	replyTo := make([]string, len(message.ReplyTo))
	for i, written := range message.ReplyTo {
		if replyTo[i], err = recipients.ParseAddress(written); err != nil {
			return invalidSpec("spec.message.replyTo[%d] can't be used: %w", i, err)
		}
	}
	s.content = campaign.Content{
		From:    mail.Address{Name: from.Name, Address: address},
		ReplyTo: replyTo,
		Subject: message.Subject,
		Text:    message.Text,
		HTML:    message.HTML,
		Headers: message.Headers,
	}
	if gaps := r.beyondNodeWorkers(s.content); len(gaps) > 0 {
		return invalidSpec("Node workers share the queue (QUEUE_WORKERS=mixed, or QUEUE_DIALECT=bullmq) and would mail this campaign without %s: "+
			"do without, or let Cartero's workers have the queue (QUEUE_WORKERS=cartero, QUEUE_DIALECT=bull)", strings.Join(gaps, ", "))
	}
	return nil
}

// beyondNodeWorkers names what of the content a Node worker can't mail: it knows a job's subject and HTML body, and a
// sender of its own.
func (r *EmailCampaignReconciler) beyondNodeWorkers(content campaign.Content) []string {
	if !r.MixedWorkers {
		return nil
	}
	var gaps []string
	for _, gap := range []struct {
		found bool
		what  string
	}{
		{content.From != r.DefaultFrom, "spec.message.from (other than SMTP_FROM)"},
		{len(content.ReplyTo) > 0, "spec.message.replyTo"},
		{len(content.Headers) > 0, "spec.message.headers"},
		{content.Text != "", "spec.message.text"},
		{utf8.RuneCountInString(content.Subject) > legacySubject, "all of spec.message.subject (191 characters)"},
	} {
		if gap.found {
			gaps = append(gaps, gap.what)
		}
	}
	return gaps
}

func invalidSpec(format string, args ...any) error {
	return &stalledError{reason: v1alpha1.ReasonInvalidSpec, err: fmt.Errorf(format, args...)}
}

// lookUp reads the campaign that the ledger has under the key. It sets s.record.
func (r *EmailCampaignReconciler) lookUp(ctx context.Context, s *scope) error {
	record, err := r.Ledger.Campaign(ctx, s.key)
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		return nil
	case err != nil:
		return r.databaseError(err)
	default:
		s.record = &record
		return nil
	}
}

// applySuspension tells the workers about spec.suspend. It comes before the list is looked at: a running campaign can
// be suspended whatever became of its source.
func (r *EmailCampaignReconciler) applySuspension(ctx context.Context, s *scope) error {
	if !s.holds() || s.record.Control.Suspended == s.suspended() {
		return nil
	}
	control := s.record.Control
	control.Suspended = s.suspended()
	record, err := r.Ledger.Steer(ctx, s.key, campaign.Steered{Control: control, Idle: s.record.Idle, Now: s.now})
	if err != nil {
		return r.databaseError(err)
	}
	s.record = &record
	return nil
}

// materialize brings the list into the ledger and seals it, or adopts what is there under the key. A source that this
// object already had sealed is not read again: what was sealed is sent, whatever becomes of the ConfigMap. It sets
// s.record.
func (r *EmailCampaignReconciler) materialize(ctx context.Context, s *scope) error {
	if s.holds() && (s.object.Status.ObservedGeneration == s.object.Generation ||
		s.record.StartedAt != nil && s.record.ContentHash == s.content.Hash()) {
		return nil
	}
	return r.load(ctx, s)
}

// load reads the source and writes it, or finds that the ledger already has it.
func (r *EmailCampaignReconciler) load(ctx context.Context, s *scope) error {
	source, err := r.openSource(ctx, s.object)
	if err != nil {
		return err
	}
	totals, err := source.check(ctx)
	if err == nil && totals.Recipients == 0 {
		err = campaign.ErrNoRecipients
	}
	if err != nil {
		return r.loadError(s, totals, err)
	}

	draft := campaign.Draft{
		Key:       s.key,
		Origin:    campaign.OriginKubernetes,
		Content:   s.content,
		ListHash:  source.hash,
		JobSize:   jobSize(s.object),
		Control:   campaign.Control{Suspended: s.suspended()},
		CreatedAt: s.object.CreationTimestamp.Time, // tells the object that opened the campaign from one that adopts it
	}
	if s.sealed() {
		return r.loadError(s, totals, campaign.SameSource(*s.record, draft))
	}
	record, err := campaign.NewLoader(r.Ledger, r.Now).Load(ctx, draft, source.open())
	if err != nil {
		return r.loadError(s, totals, err)
	}
	s.record = &record
	return nil
}

// loadError says what an error of reading or writing the list means for the user.
func (r *EmailCampaignReconciler) loadError(s *scope, totals campaign.Totals, err error) error {
	syntax, isSyntax := errors.AsType[*recipients.SyntaxError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, campaign.ErrKeyConflict):
		if s.holds() {
			return &stalledError{reason: v1alpha1.ReasonKeyConflict, err: errors.New(
				"the message or the recipients were changed after they had been written to the database " +
					"(status.materializedTime); restore them, or apply the change under another name or spec.campaignKey")}
		}
		s.record = nil // another campaign's counts are not this object's
		return &stalledError{reason: v1alpha1.ReasonKeyConflict, err: fmt.Errorf(
			"the campaign key %q already belongs to a campaign with another message or other recipients; "+
				"apply this one under another name or spec.campaignKey", s.key)}
	case errors.Is(err, campaign.ErrSourceChanged):
		return &stalledError{reason: v1alpha1.ReasonSourceChanged, recheckAfter: recheckSource, err: errors.New(
			"the message or the recipients changed while they were being written, so nothing was sent; " +
				"restore them, or delete this object and apply it again")}
	case isSyntax:
		return &stalledError{reason: v1alpha1.ReasonInvalidRecipients, recheckAfter: recheckOf(s.object), err: fmt.Errorf(
			"%s can't be read: %w", sourceName(s.object), syntax)}
	case errors.Is(err, campaign.ErrNoRecipients):
		return &stalledError{reason: v1alpha1.ReasonInvalidRecipients, recheckAfter: recheckOf(s.object), err: fmt.Errorf(
			"%s has no address that can be mailed%s", sourceName(s.object), invalidLines(totals))}
	default:
		return r.databaseError(err)
	}
}

// enqueue rings the jobs that are due, and sets s.enqueued.
func (r *EmailCampaignReconciler) enqueue(ctx context.Context, s *scope) error {
	if s.suspended() {
		return nil
	}
	if err := r.Doorbell.RingCampaign(ctx, s.key); err != nil {
		if _, isQueue := errors.AsType[*outbox.QueueError](err); isQueue {
			return &dependencyError{dependency: "queue", reason: v1alpha1.ReasonQueueUnavailable, err: err}
		}
		return r.databaseError(err)
	}
	s.enqueued = true
	return nil
}

// observe counts, also after a step that failed. It sets s.tally, and reads s.record anew: workers change it.
func (r *EmailCampaignReconciler) observe(ctx context.Context, s *scope) error {
	if !s.sealed() {
		return nil
	}
	record, err := r.Ledger.Campaign(ctx, s.key)
	if err != nil {
		return r.databaseError(err)
	}
	tally, err := r.Ledger.Tally(ctx, s.key)
	if err != nil {
		return r.databaseError(err)
	}
	s.record, s.tally = &record, &tally
	return nil
}

// databaseError makes a dependencyError of an outage and leaves any other error as it is.
func (r *EmailCampaignReconciler) databaseError(err error) error {
	if !r.IsUnavailable(err) {
		return err
	}
	return &dependencyError{dependency: "database", reason: v1alpha1.ReasonDatabaseUnavailable, err: err}
}

func jobSize(object *v1alpha1.EmailCampaign) int {
	if object.Spec.JobSize == nil {
		return campaign.DefaultJobSize
	}
	return int(*object.Spec.JobSize)
}

// invalidLines names the first lines that were dropped, for a message.
func invalidLines(totals campaign.Totals) string {
	const shown = 5
	if totals.Invalid == 0 {
		return ""
	}
	lines := make([]string, 0, shown)
	for i, line := range totals.InvalidLines {
		if i == shown {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, strconv.Itoa(line))
	}
	return fmt.Sprintf(" (%d invalid addresses, lines %s)", totals.Invalid, strings.Join(lines, ", "))
}
