package controllers

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// facts is what one loop knows; the conditions are computed from it and from nothing else.
type facts struct {
	*scope
	stalled    *stalledError
	dependency *dependencyError
	// err is an error that is neither of the two.
	err error
	// stuckSince is since when nobody has ended though workers should be sending; zero while all is well.
	stuckSince time.Time
}

// verdict is one condition's status, reason and message.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

func isTrue(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

func isFalse(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

func isUnknown(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionUnknown, reason, fmt.Sprintf(format, args...)}
}

// known keeps what was found out earlier where this loop could not find it out again.
var known = verdict{}

// held reports whether the engine stopped the campaign.
func (s *scope) held() bool {
	return s.record != nil && s.record.Hold != nil && s.now.Before(s.record.Hold.Until)
}

// paused reports whether somebody stopped the campaign: this object, or the one that steers it.
func (s *scope) paused() bool {
	if s.sealed() && !s.owner {
		return s.record.Control.Suspended
	}
	return s.suspended()
}

// relayNoteAge is how long a worker's note that the relay is away is believed; workers renew it far sooner.
const relayNoteAge = 2 * time.Minute

// relayAway reports whether a worker found the SMTP relay away a short time ago.
func (s *scope) relayAway() bool {
	if s.record == nil || s.record.Hold == nil || s.record.Hold.Reason != v1alpha1.ReasonRelayUnavailable {
		return false
	}
	return s.now.Sub(s.record.Hold.Until) < relayNoteAge
}

// unseen reports whether this loop could not count, and an earlier one could.
func (s *scope) unseen() bool { return s.tally == nil && s.object.Status.Recipients != nil }

// failed reports whether the campaign ended without being complete.
func (s *scope) failed() bool {
	return s.cancelled() || s.done() && s.tally.Accepted == 0 && s.tally.Suppressed < s.tally.Total
}

// cancelled reports whether the campaign was ended before everybody was tried. Cancelling one that had ended changes
// nothing.
func (s *scope) cancelled() bool {
	return s.done() && s.record.CancelledAt != nil && s.tally.Cancelled > 0
}

// foreign reports whether another object opened the campaign that the ledger has under this key.
func (s *scope) foreign() bool {
	switch {
	case !s.sealed():
		return false
	case s.record.CreatedBy == "": // by a version that noted when only
		return !s.record.CreatedAt.Equal(s.object.CreationTimestamp.Time)
	default:
		return s.record.CreatedBy != s.id()
	}
}

// over reports whether the campaign of another object had ended when this one was created. That is known to the second: where
// it ended in the same one, it counts whether an earlier loop saw it run.
func (s *scope) over() bool {
	if !s.foreign() || s.tally.LastCompletedAt == nil {
		return false
	}
	complete := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionComplete)
	sawItRun := complete != nil && complete.Reason != v1alpha1.ReasonAlreadyCompleted
	ended, created := s.tally.LastCompletedAt.Truncate(time.Second), s.object.CreationTimestamp.Time
	return ended.Before(created) || ended.Equal(created) && !sawItRun
}

func acceptedCondition(f facts) verdict {
	switch {
	case f.stalled != nil:
		return isFalse(f.stalled.reason, "%s", f.stalled.err)
	case f.sealed(), f.planned:
		return isTrue(v1alpha1.ReasonAccepted, "Message and recipients are in order")
	default:
		return known
	}
}

func materializedCondition(f facts) verdict {
	switch {
	case f.stalled != nil && f.stalled.reason == v1alpha1.ReasonDataRegression: // it was
		return known
	case f.foreign():
		return isTrue(v1alpha1.ReasonAdopted, "%s were in the database already", listMessage(f.record.Totals))
	case f.sealed():
		return isTrue(v1alpha1.ReasonMaterialized, "%s are in the database", listMessage(f.record.Totals))
	case f.stalled != nil:
		return isFalse(v1alpha1.ReasonPending, "Nothing is written before the campaign is accepted")
	case f.planned:
		return isFalse(v1alpha1.ReasonPending, "A dry run writes nothing")
	case f.object.Status.MaterializedTime != nil: // what was written stays written, whatever can be read now
		return known
	case f.dependency != nil && f.dependency.reason == v1alpha1.ReasonDatabaseUnavailable:
		return isFalse(v1alpha1.ReasonDatabaseUnavailable, "The database does not answer; the recipients are written when it does")
	case f.record != nil:
		return isFalse(v1alpha1.ReasonWritingRows, "The recipients are being written to the database")
	default:
		return known
	}
}

func enqueuedCondition(f facts) verdict {
	until, waits := f.waiting()
	switch {
	case f.planned:
		return isFalse(v1alpha1.ReasonPending, "A dry run puts nothing into the queue")
	case f.done():
		return isTrue(v1alpha1.ReasonEnqueued, "%s worked off", count(int64(f.jobs()), "job"))
	case f.enqueued && !f.paused() && !waits:
		return isTrue(v1alpha1.ReasonEnqueued, "%s in the queue or worked off", count(int64(f.jobs()), "job"))
	case f.dependency != nil && f.dependency.reason == v1alpha1.ReasonQueueUnavailable:
		return isFalse(v1alpha1.ReasonQueueUnavailable, "The queue does not answer; the jobs are added when it does")
	case f.sealed() && f.paused():
		return isFalse(v1alpha1.ReasonPending, "The jobs are put into the queue when the campaign is resumed")
	case waits && !until.IsZero():
		return isFalse(v1alpha1.ReasonPending, "The jobs are put into the queue at %s", clock(until))
	case waits:
		return isFalse(v1alpha1.ReasonPending, "The jobs are put into the queue when a window opens")
	default:
		return known
	}
}

func suspendedCondition(f facts) verdict {
	switch {
	case f.unseen():
		return known
	case f.done():
		return isFalse(v1alpha1.ReasonNotSuspended, "The campaign has ended")
	case f.paused() && f.onHold():
		return isTrue(v1alpha1.ReasonHeld, "The annotation %s is there%s: nothing new is sent", v1alpha1.AnnotationHold, quoted(f.heldBy))
	case f.paused() && f.suspended():
		return isTrue(v1alpha1.ReasonSuspendedBySpec, "spec.suspend is true: nothing new is sent")
	case f.paused():
		return isTrue(v1alpha1.ReasonSuspendedBySpec, "The object that steers this campaign is suspended: nothing new is sent")
	case f.held():
		return isTrue(f.record.Hold.Reason, "%s", f.record.Hold.Message)
	default:
		return isFalse(v1alpha1.ReasonNotSuspended, "Nothing holds the campaign")
	}
}

func completeCondition(f facts) verdict {
	switch {
	case f.unseen():
		return known
	case !f.done() || f.failed():
		return isFalse(v1alpha1.ReasonInProgress, "%s", f.progressMessage())
	case f.over():
		return isTrue(v1alpha1.ReasonAlreadyCompleted,
			"The campaign had ended before this object was created: %s", f.progressMessage())
	case f.tally.Unsuccessful() > f.tally.Suppressed: // leaving people out on purpose is no failure
		return isTrue(v1alpha1.ReasonCompletedWithFailures, "%s", f.progressMessage())
	default:
		return isTrue(v1alpha1.ReasonCompleted, "%s", f.progressMessage())
	}
}

func failedCondition(f facts) verdict {
	switch {
	case f.unseen():
		return known
	case f.cancelled():
		reason := cmp.Or(f.record.EndReason, v1alpha1.ReasonCancelled)
		return isTrue(reason, "%s: %s", endingText[reason], f.progressMessage())
	case f.failed():
		return isTrue(v1alpha1.ReasonAllRecipientsFailed, "Not one recipient was accepted: %s", f.progressMessage())
	default:
		return isFalse(v1alpha1.ReasonNotFailed, "The campaign has not failed")
	}
}

// endingText says why a campaign ended before everybody was tried.
var endingText = map[string]string{
	v1alpha1.ReasonCancelled:              "The campaign was cancelled",
	v1alpha1.ReasonDeleted:                "The campaign was cancelled when its object was deleted",
	v1alpha1.ReasonStartDeadlineExceeded:  "The campaign could not start in time (spec.schedule.startingDeadlineSeconds)",
	v1alpha1.ReasonDeadlineExceeded:       "The campaign took longer than spec.activeDeadlineSeconds",
	v1alpha1.ReasonAbortThresholdExceeded: "More recipients failed than spec.abortPolicy allows",
	v1alpha1.ReasonFailurePolicyMatched:   "A reply matched a rule of spec.failurePolicy that ends the campaign",
}

// readyCondition summarises the others; complete, failed and suspended are theirs.
func readyCondition(f facts, complete, failed, suspended verdict) verdict {
	switch {
	case f.stalled != nil:
		return isFalse(f.stalled.reason, "%s", f.stalled.err)
	case isPanic(f.err):
		return isFalse(v1alpha1.ReasonInternalError, "%s; what workers do goes on, and it is tried again every minute", errPanicked)
	case !f.object.DeletionTimestamp.IsZero():
		return isFalse(v1alpha1.ReasonDeleting, "What was not sent is being cancelled%s", afterwards(f))
	case f.dependency != nil:
		return isFalse(v1alpha1.ReasonDependencyNotReady, "The %s does not answer; it is tried again, and nothing is lost: %s",
			f.dependency.dependency, f.dependency.err)
	case f.err != nil:
		return isFalse(v1alpha1.ReasonDependencyNotReady, "It is tried again: %s", f.err)
	case f.planned:
		return isTrue(v1alpha1.ReasonPlanned, "%s", f.planMessage())
	case failed.status == metav1.ConditionTrue:
		return isFalse(failed.reason, "%s", failed.message)
	case complete.status == metav1.ConditionTrue:
		return isTrue(complete.reason, "%s", complete.message)
	case f.sealed() && f.paused():
		return isTrue(suspended.reason, "%s; %s", suspended.message, f.progressMessage())
	case f.held():
		return isFalse(suspended.reason, "%s", suspended.message)
	case f.relayAway():
		return isFalse(v1alpha1.ReasonDependencyNotReady,
			"The SMTP relay does not take mails; it is tried again, and nothing is lost: %s; %s",
			f.record.Hold.Message, f.progressMessage())
	case !f.sealed() || !f.enqueued:
		return isFalse(v1alpha1.ReasonMaterializing, "The recipients are being written and enqueued")
	case !f.stuckSince.IsZero():
		return isFalse(v1alpha1.ReasonNoProgress, "Nobody has ended since %s, and %s should be sent now: see whether workers run, "+
			"and what they log; %s", clock(f.stuckSince), count(f.tally.Pending+f.tally.Active, "mail"), f.progressMessage())
	default:
		return sendingVerdict(f)
	}
}

// sendingVerdict is Ready while workers are at it: what that means is the readiness policy's choice.
func sendingVerdict(f facts) verdict {
	v := isTrue(v1alpha1.ReasonSending, "%s", f.progressMessage())
	until, waits := f.waiting()
	switch {
	case waits && f.scheduled():
		v = isTrue(v1alpha1.ReasonScheduled, "The campaign starts at %s; %s", clock(until), f.progressMessage())
	case waits && until.IsZero():
		v = isTrue(v1alpha1.ReasonOutsideWindow, "No window is open; %s", f.progressMessage())
	case waits:
		v = isTrue(v1alpha1.ReasonOutsideWindow, "No window is open; the next one opens at %s; %s", clock(until), f.progressMessage())
	case f.tally != nil && f.tally.Active == 0 && f.tally.Pending == 0 && f.tally.Deferred > 0:
		v.reason = v1alpha1.ReasonDeferred
	case f.queuePaused:
		v = isTrue(v1alpha1.ReasonQueuePaused, "The queue is paused, so no worker takes a job (`cartero queue resume` ends that); %s", f.progressMessage())
	case f.throttled():
		v.reason = v1alpha1.ReasonThrottled
	}
	if f.object.Spec.ReadinessPolicy == v1alpha1.ReadinessCompleted {
		v.status = metav1.ConditionFalse
	}
	return v
}

// kstatusConditions says which of the pair is true: Reconciling while the operator is at work and needs no help,
// Stalled while the campaign does not go on by itself.
func kstatusConditions(f facts, ready verdict) (reconciling, stalled bool) {
	switch {
	case f.stalled != nil || f.failed() || ready.reason == v1alpha1.ReasonNoProgress || ready.reason == v1alpha1.ReasonInternalError:
		return false, true
	case f.dependency != nil || f.err != nil:
		return true, false
	case f.held() && !f.paused():
		return false, true
	default:
		return ready.status != metav1.ConditionTrue, false
	}
}

func afterwards(f facts) string {
	if f.dependency == nil {
		return ""
	}
	return fmt.Sprintf(", but the %s does not answer; it is tried again: %s", f.dependency.dependency, f.dependency.err)
}

// jobs is the number of the campaign's jobs.
func (s *scope) jobs() int {
	if s.record == nil {
		return 0
	}
	return s.record.Totals.Jobs
}

func (s *scope) progressMessage() string {
	if s.tally == nil {
		return "Nothing is sent yet"
	}
	t := s.tally
	parts := []string{fmt.Sprintf("%s recipients have ended, %d accepted", t.Progress(), t.Accepted)}
	for _, part := range []struct {
		n    int64
		what string
	}{
		{t.Bounced, "bounced"},
		{t.Failed, "failed"},
		{t.Suppressed, "suppressed"},
		{t.Cancelled, "cancelled"},
		{t.InDoubt, "in doubt"},
		{t.Deferred, "waiting for another attempt"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// listMessage says what reading the list came to.
func listMessage(totals campaign.Totals) string {
	text := fmt.Sprintf("%s in %s", count(totals.Recipients, "recipient"), count(int64(totals.Jobs), "job"))
	if totals.Duplicates > 0 {
		text += fmt.Sprintf(", without %s", count(totals.Duplicates, "duplicate"))
	}
	return text + invalidLines(totals)
}

// clock is a moment as messages tell it.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// quoted is what somebody wrote, behind what it belongs to.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", text)
}

func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// setCondition writes one condition; the zero verdict leaves what is known, or says that nothing is known yet.
func setCondition(status *v1alpha1.EmailCampaignStatus, generation int64, conditionType string, v verdict) {
	if v == known {
		if old := meta.FindStatusCondition(status.Conditions, conditionType); old != nil {
			return
		}
		v = isUnknown(v1alpha1.ReasonPending, "Not known yet")
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             v.status,
		Reason:             cmp.Or(v.reason, v1alpha1.ReasonPending),
		Message:            truncate(v.message),
		ObservedGeneration: generation,
	})
}

// setKstatus sets an abnormal-true condition that is absent while false.
func setKstatus(status *v1alpha1.EmailCampaignStatus, generation int64, conditionType string, present bool, ready verdict) {
	if !present {
		meta.RemoveStatusCondition(&status.Conditions, conditionType)
		return
	}
	ready.status = metav1.ConditionTrue
	setCondition(status, generation, conditionType, ready)
}

// truncate keeps a message within what the API allows and a person reads.
func truncate(message string) string {
	const limit = 1024
	runes := []rune(message)
	if len(runes) <= limit {
		return message
	}
	return string(runes[:limit-1]) + "…"
}
