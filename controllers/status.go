package controllers

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// The API bounds these lists.
const (
	maxFailures     = 10
	maxInvalidLines = 20 // of each reason too
	maxDropReasons  = 20
)

// computeStatus sets the object's status to what this loop found. noProgressAfter is how long nobody may end while workers
// should be sending.
func computeStatus(s *scope, stepErr error, redact func(string) string, noProgressAfter time.Duration) {
	if s.tally == nil && s.object.Status.TerminalState != "" && s.object.DeletionTimestamp.IsZero() {
		return // the campaign has ended: an outage changes nothing about it
	}
	f := facts{
		scope: s, stalled: asStalled(stepErr), dependency: asDependency(stepErr), stuckSince: s.stuckSince(noProgressAfter),
	}
	if f.stalled == nil && f.dependency == nil {
		f.err = stepErr
	}
	status := &s.object.Status
	generation := s.object.Generation

	complete, failed, suspended := completeCondition(f), failedCondition(f), suspendedCondition(f)
	ready := readyCondition(f, complete, failed, suspended)
	for _, c := range []struct {
		conditionType string
		verdict       verdict
	}{
		{v1alpha1.ConditionAccepted, acceptedCondition(f)},
		{v1alpha1.ConditionMaterialized, materializedCondition(f)},
		{v1alpha1.ConditionEnqueued, enqueuedCondition(f)},
		{v1alpha1.ConditionSuspended, suspended},
		{v1alpha1.ConditionComplete, complete},
		{v1alpha1.ConditionFailed, failed},
		{v1alpha1.ConditionReady, ready},
	} {
		c.verdict.message = redact(c.verdict.message)
		setCondition(status, generation, c.conditionType, c.verdict)
	}
	ready.message = redact(ready.message)
	reconciling, stalled := kstatusConditions(f, ready)
	setKstatus(status, generation, v1alpha1.ConditionReconciling, reconciling, ready)
	setKstatus(status, generation, v1alpha1.ConditionStalled, stalled, ready)

	status.ObservedGeneration = generation
	status.CampaignKey = s.key
	setRecord(status, s)
	setPlan(status, s, f.stalled != nil)
	setCounts(status, s)
}

// setRecord shows what the ledger has of the campaign.
func setRecord(status *v1alpha1.EmailCampaignStatus, s *scope) {
	if !s.sealed() {
		return
	}
	record := s.record
	if s.owner {
		status.LastHandledResumeAt = record.Verbs.ResumedAt
		status.LastHandledResolveInDoubt = record.Verbs.Resolved
		status.LastHandledTestSendAt = record.Verbs.TestedAt
		if record.Verbs.RetryDone {
			status.LastHandledRetryFailedAt = record.Verbs.RetriedAt
		}
	}
	status.ContentHash = snapshotHash(*record)
	status.Jobs = int32(record.Totals.Jobs)
	status.MaterializedTime = timeOf(record.SealedAt)
	status.StartTime = timeOf(record.StartedAt)
	status.List = listSummary(record.Totals)
}

func listSummary(totals campaign.Totals) *v1alpha1.ListSummary {
	summary := &v1alpha1.ListSummary{Duplicates: totals.Duplicates, Invalid: totals.Invalid}
	for i, line := range totals.InvalidLines {
		if i == maxInvalidLines {
			break
		}
		summary.InvalidLines = append(summary.InvalidLines, int32(line))
	}
	for _, dropped := range totals.Dropped[:min(len(totals.Dropped), maxDropReasons)] {
		shown := v1alpha1.DroppedEntries{Reason: dropped.Reason, Count: dropped.Count}
		for _, line := range dropped.Lines[:min(len(dropped.Lines), maxInvalidLines)] {
			shown.Lines = append(shown.Lines, int32(line))
		}
		summary.Dropped = append(summary.Dropped, shown)
	}
	return summary
}

// setCounts shows the tally, and what follows from it.
func setCounts(status *v1alpha1.EmailCampaignStatus, s *scope) {
	if s.tally == nil {
		return
	}
	t := s.tally
	status.Progress = t.Progress()
	status.Recipients = &v1alpha1.RecipientCounts{
		Total: t.Total, Pending: t.Pending, Active: t.Active, Deferred: t.Deferred, Accepted: t.Accepted,
		Bounced: t.Bounced, Failed: t.Failed, Suppressed: t.Suppressed, Cancelled: t.Cancelled, InDoubt: t.InDoubt,
	}
	status.Failures = failures(t.Failures)
	status.NextTransitionTime = nextTransition(s)
	status.EstimatedCompletionTime = estimatedCompletion(s)
	status.TerminalState = terminalState(s)
	status.CompletionTime = nil
	if s.done() {
		status.CompletionTime = timeOf(t.LastCompletedAt)
	}
}

func failures(counts []campaign.FailureCount) []v1alpha1.FailureCount {
	var shown []v1alpha1.FailureCount
	for _, c := range counts {
		if len(shown) == maxFailures {
			break
		}
		shown = append(shown, v1alpha1.FailureCount{Category: c.Category, EnhancedCode: c.EnhancedCode, Count: c.Count})
	}
	return shown
}

func terminalState(s *scope) v1alpha1.TerminalState {
	switch {
	case s.cancelled() && !slices.Contains(
		[]string{"", campaign.EndCancelled, campaign.EndDeleted}, s.record.EndReason):
		return v1alpha1.TerminalFailed
	case s.cancelled():
		return v1alpha1.TerminalCancelled
	case s.failed():
		return v1alpha1.TerminalFailed
	case !s.done():
		return ""
	case s.tally.Unsuccessful() > 0:
		return v1alpha1.TerminalCompletedWithFailures
	default:
		return v1alpha1.TerminalCompleted
	}
}

func timeOf(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}
