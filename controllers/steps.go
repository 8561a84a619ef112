package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
)

// legacySubject is the width of the column EmailJob.subject, in characters.
const legacySubject = 191

// recheckSource is when a source that was missing or unreadable is looked at again.
const recheckSource = 10 * time.Second

// lookUp reads the campaign that the ledger has under the key. It sets s.record.
func (r *EmailCampaignReconciler) lookUp(ctx context.Context, s *scope) error {
	record, err := r.Ledger.Campaign(ctx, s.key)
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		s.record = nil
		return nil
	case err != nil:
		return r.databaseError(err)
	default:
		s.record = &record
		return nil
	}
}

// acceptSpec checks what the schema can't. It sets s.content, s.schedule, s.control, s.idle and s.deadline.
func (r *EmailCampaignReconciler) acceptSpec(_ context.Context, s *scope) error {
	if err := r.acceptMessage(s); err != nil {
		return err
	}
	policy, err := policyOf(&s.object.Spec)
	if err != nil {
		return err
	}
	return s.plan(policy)
}

func invalidSpec(format string, args ...any) error {
	return &stalledError{reason: v1alpha1.ReasonInvalidSpec, err: fmt.Errorf(format, args...)}
}

// enqueue rings the jobs that are due, and sets s.enqueued. The jobs of a suspended campaign leave the queue.
func (r *EmailCampaignReconciler) enqueue(ctx context.Context, s *scope) error {
	switch {
	case !s.sealed():
		return nil
	case s.record.Control.Suspended:
		if !s.owner {
			return nil
		}
		return r.unring(ctx, s)
	}
	if err := r.Doorbell.RingCampaign(ctx, s.key); err != nil {
		return r.queueError(err)
	}
	s.enqueued = true
	return nil
}

func (r *EmailCampaignReconciler) unring(ctx context.Context, s *scope) error {
	return r.queueError(r.Doorbell.UnringCampaign(ctx, s.key))
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

// queueError makes a dependencyError of a failure of the queue; any other is the database's.
func (r *EmailCampaignReconciler) queueError(err error) error {
	if err == nil {
		return nil
	}
	if _, isQueue := errors.AsType[*outbox.QueueError](err); isQueue {
		return &dependencyError{dependency: "queue", reason: v1alpha1.ReasonQueueUnavailable, err: err}
	}
	return r.databaseError(err)
}

// databaseError makes a dependencyError of an outage and leaves any other error as it is.
func (r *EmailCampaignReconciler) databaseError(err error) error {
	if err == nil || !r.IsUnavailable(err) {
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
