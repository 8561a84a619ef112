package controllers

import (
	"context"
	"fmt"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// shutDown ends the campaign if spec.shutdown says so. One that is not sealed yet is sealed first, suspended, so that the
// key keeps the memory of its end.
func (r *EmailCampaignReconciler) shutDown(ctx context.Context, s *scope) error {
	if !s.steers() || !s.stopped() {
		return nil
	}
	return r.end(ctx, s, campaign.EndCancelled)
}

// endInTime ends a campaign whose time is over, and finishes an end that was cut short. What is suspended has no deadline.
func (r *EmailCampaignReconciler) endInTime(ctx context.Context, s *scope) error {
	switch {
	case s.owner && s.sealed() && s.record.CancelledAt != nil:
		return r.end(ctx, s, s.record.EndReason)
	case !s.steers() || s.control.Suspended:
		return nil
	}
	if before := s.control.StartBefore; s.record.StartedAt == nil && !before.IsZero() {
		if !s.now.Before(before) {
			return r.end(ctx, s, campaign.EndStartDeadlineExceeded)
		}
		s.wake(before)
	}
	if s.deadline != nil {
		if !s.now.Before(*s.deadline) {
			return r.end(ctx, s, campaign.EndDeadlineExceeded)
		}
		s.wake(*s.deadline)
	}
	return nil
}

// end cancels whoever waits, unless everybody has ended. Jobs leave the queue first: those of finished jobs are not found
// any more. A queue that is away does not keep a campaign alive: a job that stays in it finds nobody to mail.
func (r *EmailCampaignReconciler) end(ctx context.Context, s *scope, reason string) error {
	tally, err := r.Ledger.Tally(ctx, s.key)
	if err != nil {
		return r.databaseError(err)
	}
	onlyOnTheWire := s.record.CancelledAt != nil && tally.Pending+tally.Deferred == 0
	if tally.Done() || onlyOnTheWire {
		return nil
	}
	if err := r.unring(ctx, s); err != nil && !isQueueAway(err) {
		return err
	}
	if err := r.Ledger.Cancel(ctx, s.key, reason, s.now); err != nil {
		return r.databaseError(err)
	}
	return r.lookUp(ctx, s)
}

// judge stops a campaign in which too many recipients fail, and has mails in doubt sent again where the spec asks for it.
func (r *EmailCampaignReconciler) judge(ctx context.Context, s *scope) error {
	if !s.steers() || s.tally == nil || s.object.Status.TerminalState != "" {
		return nil
	}
	policy := s.record.Control.Policy
	if s.tally.InDoubt > 0 && policy.Retry.InDoubt {
		return r.retryDoubts(ctx, s)
	}
	ended := campaign.Ended{Accepted: s.tally.Accepted, Bounced: s.tally.Bounced, Failed: s.tally.Failed}.Minus(s.record.AbortBase)
	if s.done() || !policy.Abort.Exceeded(ended) {
		return nil
	}
	if policy.Abort.Fail {
		if err := r.end(ctx, s, campaign.EndAbortThresholdExceeded); err != nil {
			return err
		}
		return r.observe(ctx, s)
	}
	return r.pauseForGood(ctx, s, ended)
}

// pauseForGood holds the campaign until somebody resumes it.
func (r *EmailCampaignReconciler) pauseForGood(ctx context.Context, s *scope, ended campaign.Ended) error {
	if s.record.Hold != nil && s.record.Hold.Until.Equal(campaign.Forever) {
		return nil
	}
	return r.hold(ctx, s, campaign.Hold{
		Reason: campaign.EndAbortThresholdExceeded,
		Message: fmt.Sprintf("Of %d recipients %d bounced and %d failed, more than spec.abortPolicy allows; nothing more is sent "+
			"until somebody sets the annotation %s, which counts anew from there, or ends the campaign with spec.shutdown Stop",
			ended.Total(), ended.Bounced, ended.Failed, v1alpha1.AnnotationResumeAt),
		Until: campaign.Forever,
	})
}

// retryDoubts gives back the recipients that are in doubt.
func (r *EmailCampaignReconciler) retryDoubts(ctx context.Context, s *scope) error {
	_, err := r.Ledger.ResolveInDoubt(ctx, s.key, campaign.Resolution{State: campaign.StatePending, Now: s.now})
	if err != nil {
		return r.databaseError(err)
	}
	if err := r.enqueue(ctx, s); err != nil {
		return err
	}
	return r.observe(ctx, s)
}
