package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/schedule"
)

// scope carries one loop's facts from step to step.
type scope struct {
	object *v1alpha1.EmailCampaign // set by Reconcile; its status is written by finish only
	before *v1alpha1.EmailCampaign // set by Reconcile: the object as it was read
	key    string                  // set by Reconcile
	now    time.Time               // set by Reconcile
	heldBy string                  // set by Reconcile: the value of the hold annotation; see onHold

	record *campaign.Record // set by lookUp, and by each step that changes the campaign; nil while the ledger has none
	owner  bool             // set by own, and by materialize: this object steers the campaign; others that have its key follow it

	content            campaign.Content   // set by acceptSpec, and completed by resolveMessage with what is in ConfigMaps, in Secrets and on the web
	defaultSender      bool               // set by acceptSpec: the content's sender is the operator's default
	template           *compose.Template  // set by resolveMessage: the content, compiled
	defaultUnsubscribe bool               // set by acceptSpec: the spec does not say how recipients unsubscribe
	schedule           *schedule.Schedule // set by acceptSpec: when the campaign may send; nil if the spec was not accepted
	control            campaign.Control   // set by acceptSpec: what is wanted, spec.suspend and the hold annotation included
	idle               time.Duration      // set by acceptSpec: what Record.Idle has to be
	deadline           *time.Time         // set by acceptSpec: when spec.activeDeadlineSeconds ends the campaign; nil for never, and while it is suspended

	planned  bool            // set by dryRun: status.plan is, or becomes, that of this generation
	newPlan  *v1alpha1.Plan  // set by dryRun: the plan, where it was made in this loop, and with it:
	planHash string          // set by dryRun: what the campaign's snapshotHash would be
	totals   campaign.Totals // set by dryRun: what reading the list came to

	accepted bool // set by materialize: the sealed campaign is what this generation asks for
	enqueued bool // set by enqueue: every due job is in the queue

	queuePaused bool            // set by lookAtQueue: no worker takes a job
	tally       *campaign.Tally // set by observe; nil while unknown

	verbErrors []*verbError // set by answerVerbs: the annotations that were refused in this loop
	wakeAt     time.Time    // set by wake: when something is to be done; zero for never
}

// verbError is an annotation whose value can't be used: nothing was done.
type verbError struct {
	// annotation is its name, value what it says, message what is wrong with it and what would be right.
	annotation, value, message string
}

func (e *verbError) Error() string {
	return "the annotation " + e.annotation + " was not followed: " + e.message
}

func newScope(object *v1alpha1.EmailCampaign, now time.Time) *scope {
	return &scope{
		object: object, before: object.DeepCopy(), key: campaignKey(object), now: now,
		heldBy: object.Annotations[v1alpha1.AnnotationHold],
	}
}

// id is the object's, as an owner.
func (s *scope) id() string { return string(s.object.UID) }

// wake has the loop run again at that time, if it is to come.
func (s *scope) wake(at time.Time) {
	if at.After(s.now) && (s.wakeAt.IsZero() || at.Before(s.wakeAt)) {
		s.wakeAt = at
	}
}

// sooner is the result that does not come later than wakeAt.
func (s *scope) sooner(result ctrl.Result) ctrl.Result {
	if s.wakeAt.IsZero() {
		return result
	}
	if wait := s.wakeAt.Sub(s.now); result.RequeueAfter == 0 || wait < result.RequeueAfter {
		result.RequeueAfter = wait
	}
	return result
}

// campaignKey is the campaign's identity: it survives the object.
func campaignKey(object *v1alpha1.EmailCampaign) string {
	if object.Spec.CampaignKey != "" {
		return object.Spec.CampaignKey
	}
	return object.Namespace + "/" + object.Name
}

// stopped reports whether spec.shutdown ends the campaign.
func (s *scope) stopped() bool { return s.object.Spec.Shutdown == v1alpha1.ShutdownStop }

// sealed reports whether the ledger has the whole list.
func (s *scope) sealed() bool { return s.record != nil && s.record.Sealed() }

// holds reports whether the ledger's sealed campaign is the one that this object wrote or adopted.
func (s *scope) holds() bool {
	return s.sealed() && s.object.Status.ContentHash == snapshotHash(*s.record)
}

// suspended reports whether the spec or the hold annotation asks for a pause.
func (s *scope) suspended() bool {
	return s.onHold() || s.object.Spec.Suspend != nil && *s.object.Spec.Suspend
}

// onHold reports whether the hold annotation is there; its value may be empty.
func (s *scope) onHold() bool {
	_, held := s.object.Annotations[v1alpha1.AnnotationHold]
	return held
}

// done reports whether nobody is left to try.
func (s *scope) done() bool { return s.sealed() && s.tally != nil && s.tally.Done() }

// forgetUnlessAccepted drops the record if a loop that failed could not see whether it is what this generation asks for:
// the status must not tell it as accepted, or the edit would be lost.
func (s *scope) forgetUnlessAccepted(err error) {
	if err == nil || s.accepted || asStalled(err) != nil || s.object.Status.TerminalState != "" {
		return
	}
	accepted := meta.FindStatusCondition(s.object.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted == nil || accepted.ObservedGeneration != s.object.Generation || accepted.Status != metav1.ConditionTrue {
		s.record = nil
	}
}

// step is one part of a reconcile loop. It sets the fields of the scope that name it.
type step func(ctx context.Context, s *scope) error

// runSteps runs the steps in order and stops at the first error: each builds on what the one before it made.
func runSteps(ctx context.Context, s *scope, steps ...step) error {
	for _, run := range steps {
		if err := run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
