package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

func TestCampaignsAreCountedByState(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for name, tally := range map[string]campaign.Tally{
		"a": {Pending: 1}, "b": {Pending: 1}, "c": {Accepted: 1}, "d": {Accepted: 1, Bounced: 1},
	} {
		g := aCampaign(func(c *v1alpha1.EmailCampaign) { c.Name = name }).written(created).enqueuedNow().counting(tally)
		computeStatus(g.scope, nil, telemetry.Redact, DefaultNoProgressAfter)
		builder = builder.WithObjects(g.object)
	}
	cache := builder.WithObjects(kubetest.NewCampaign("growth", "new").Obj()).Build()
	got, err := CountByState(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"Sending": 2, "Completed": 1, "CompletedWithFailures": 1, "Unseen": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
