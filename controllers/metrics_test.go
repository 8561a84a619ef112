package controllers

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

func TestCampaignsAreCountedByState(t *testing.T) {
	t.Parallel()
	synced := false
	s := &States{counts: map[string]float64{}, synced: func() bool { return synced }}
	object := func(tally campaign.Tally) *v1alpha1.EmailCampaign {
		g := aCampaign().written(created).enqueuedNow().counting(tally)
		computeStatus(g.scope, nil, telemetry.Redact, DefaultNoProgressAfter)
		return g.object
	}
	fresh, sending, failing, done := kubetest.NewCampaign("growth", "new").Obj(),
		object(campaign.Tally{Pending: 1}), object(campaign.Tally{Accepted: 1, Bounced: 1}), object(campaign.Tally{Accepted: 1})
	for _, c := range []*v1alpha1.EmailCampaign{fresh, sending, sending, sending, failing} {
		s.OnAdd(c, true)
	}
	if _, err := s.Read(t.Context()); !errors.Is(err, errNotSynced) {
		t.Errorf("before all are seen: %v", err)
	}
	synced = true
	counted := func(step string, want map[string]float64) {
		t.Helper()
		got, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	counted("at the start", map[string]float64{"Sending": 3, "CompletedWithFailures": 1, "Unseen": 1})
	s.OnUpdate(sending, done)
	s.OnUpdate(fresh, sending)
	counted("after updates", map[string]float64{"Sending": 3, "CompletedWithFailures": 1, "Completed": 1})
	s.OnDelete(failing)
	s.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "growth/launch", Obj: sending})
	counted("after deletions", map[string]float64{"Sending": 2, "Completed": 1})
}
