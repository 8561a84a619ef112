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
	record   *campaign.Record // set by lookUp and materialize; nil while the ledger has no such campaign
	enqueued bool             // set by enqueue: every due job is in the queue
	tally    *campaign.Tally  // set by observe; nil while unknown
}

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

// suspended reports whether the spec asks for a pause.
func (s *scope) suspended() bool { return s.object.Spec.Suspend != nil && *s.object.Spec.Suspend }

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
