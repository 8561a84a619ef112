package controllers

import (
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

var (
	created   = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	now       = created.Add(time.Minute)
	errOutage = errors.New("dial tcp 10.0.0.7:3306: connection refused")
)

// given builds what a loop found.
type given struct{ *scope }

func aCampaign(mutate ...func(*v1alpha1.EmailCampaign)) given {
	builder := kubetest.NewCampaign("growth", "launch")
	for _, m := range mutate {
		builder = builder.With(m)
	}
	object := builder.Obj()
	object.Generation = 3
	object.CreationTimestamp = metav1.NewTime(created)
	s := newScope(object, now)
	s.owner, s.heldBy = true, object.Annotations[v1alpha1.AnnotationHold]
	return given{s}
}

func (g given) written(at time.Time) given {
	g.record = &campaign.Record{
		Key: g.key, ContentHash: "c", ListHash: "l", CreatedAt: created, CreatedBy: g.id(), SealedAt: &at,
		Totals: campaign.Totals{Recipients: 10, Jobs: 1},
	}
	return g
}

// openedBy has another object have opened the campaign.
func (g given) openedBy(uid string) given {
	g.record.CreatedBy = uid
	return g
}

// openedAt has a version that did not note by whom have opened the campaign.
func (g given) openedAt(at time.Time) given {
	g.record.CreatedBy, g.record.CreatedAt = "", at
	return g
}

func (g given) enqueuedNow() given {
	g.enqueued = true
	return g
}

func (g given) counting(tally campaign.Tally) given {
	for _, n := range []int64{
		tally.Pending, tally.Active, tally.Deferred, tally.Accepted, tally.Bounced, tally.Failed,
		tally.Suppressed, tally.Cancelled, tally.InDoubt,
	} {
		tally.Total += n
	}
	if tally.LastCompletedAt == nil && tally.Done() {
		at := now.Add(-time.Second)
		tally.LastCompletedAt = &at
	}
	g.tally = &tally
	return g
}

func (g given) heldUntil(until time.Time) given {
	g.record.Hold = &campaign.Hold{Reason: v1alpha1.ReasonAuthenticationFailed, Message: "check SMTP_PASSWORD", Until: until}
	return g
}

func (g given) relayAway(since time.Duration) given {
	g.record.Hold = &campaign.Hold{
		Reason: v1alpha1.ReasonRelayUnavailable, Message: "connecting to the relay failed", Until: now.Add(-since),
	}
	return g
}

func (g given) cancelledAt(at time.Time) given {
	g.record.CancelledAt = &at
	return g
}

func suspended(c *v1alpha1.EmailCampaign) { yes := true; c.Spec.Suspend = &yes }

func readyWhenCompleted(c *v1alpha1.EmailCampaign) {
	c.Spec.ReadinessPolicy = v1alpha1.ReadinessCompleted
}
