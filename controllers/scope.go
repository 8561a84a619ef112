package controllers

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// scope carries one loop's facts from step to step.
type scope struct {
	object *v1alpha1.EmailCampaign // set by Reconcile; its status is written by finish only
	before *v1alpha1.EmailCampaign // set by Reconcile: the object as it was read
	key    string                  // set by Reconcile
	now    time.Time               // set by Reconcile

	content  campaign.Content // set by acceptSpec
	control  campaign.Control // set by acceptSpec: what is wanted, spec.suspend and the hold annotation included
	schedule timetable        // set by acceptSpec: when the campaign may send; nil if the spec was not accepted
	heldBy   string           // set by acceptSpec: the value of the hold annotation; see onHold
	owner    bool             // set by own: this object steers the campaign; others that have its key follow it
	deadline *time.Time       // set by steer: when spec.activeDeadlineSeconds ends the campaign, as far as can be foreseen; nil for never
	record   *campaign.Record // set by lookUp and materialize; nil while the ledger has no such campaign
	enqueued bool             // set by enqueue: every due job is in the queue
	tally    *campaign.Tally  // set by observe; nil while unknown

	verbErrors []*verbError // set by answerVerbs: the annotations that were refused in this loop
}

// timetable is when a campaign may send; *schedule.Schedule is one.
type timetable interface {
	// Next is the open interval that contains from, or else the next one. A zero closesAt is never.
	Next(from time.Time) (opensAt, closesAt time.Time)
	// OpenBetween is the open time in [from, to).
	OpenBetween(from, to time.Time) time.Duration
	// After is the moment at which that much open time has passed since from.
	After(from time.Time, open time.Duration) time.Time
}

// verbError is an annotation whose value can't be used: nothing was done.
type verbError struct {
	// annotation is its name, value what it says, message what is wrong with it and what would be right.
	annotation, value, message string
}

func (e *verbError) Error() string { return "the annotation " + e.annotation + " was not followed: " + e.message }

func newScope(object *v1alpha1.EmailCampaign, now time.Time) *scope {
	return &scope{object: object, before: object.DeepCopy(), key: campaignKey(object), now: now}
}

// campaignKey is the campaign's identity: it survives the object.
func campaignKey(object *v1alpha1.EmailCampaign) string {
	if object.Spec.CampaignKey != "" {
		return object.Spec.CampaignKey
	}
	return object.Namespace + "/" + object.Name
}

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
