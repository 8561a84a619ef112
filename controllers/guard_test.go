package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// poisoned is a ledger with a bug: over one campaign it panics, with an address in hand.
type poisoned struct {
	campaign.Ledger
	key, method string
}

func (p *poisoned) over(method, key string) {
	if p.method == method && p.key == key {
		panic("ada@example.com is too much")
	}
}

func (p *poisoned) Campaign(ctx context.Context, key string) (campaign.Record, error) {
	p.over("Campaign", key)
	return p.Ledger.Campaign(ctx, key)
}

func (p *poisoned) Seal(ctx context.Context, key string, totals campaign.Totals, now time.Time) (campaign.Record, error) {
	p.over("Seal", key)
	return p.Ledger.Seal(ctx, key, totals, now)
}

func (p *poisoned) Tally(ctx context.Context, key string) (campaign.Tally, error) {
	p.over("Tally", key)
	return p.Ledger.Tally(ctx, key)
}

func (p *poisoned) Cancel(ctx context.Context, key, reason string, now time.Time) error {
	p.over("Cancel", key)
	return p.Ledger.Cancel(ctx, key, reason, now)
}

// A bug of the operator's over one campaign stalls that one, and says so without a word of what it was about; the others go on,
// and so does this one when the bug is gone.
func TestAPanicIsTheTroubleOfItsCampaignAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method string
		settled      bool // the campaign was written before the bug is met
		deleted      bool
	}{
		{name: "looking it up", method: "Campaign"},
		{name: "while it is written", method: "Seal"},
		{name: "while it is counted", method: "Tally", settled: true},
		{name: "while it is deleted", method: "Cancel", settled: true, deleted: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com", "bob@example.com").Obj())
			other := w.apply(t, kubetest.NewCampaign(w.namespace, "other").WithInline("cid@example.com").Obj())
			if tc.settled {
				w.mustSettle(t, key)
			}
			if tc.deleted {
				w.remove(t, key)
			}
			w.now = w.now.Add(time.Minute) // the status may be written again
			r := w.reconciler(t)
			r.Ledger = &poisoned{Ledger: w.store, key: w.namespace + "/launch", method: tc.method}
			result := ctrl.Result{}
			for range 2 {
				for _, k := range []ctrl.Request{requestOf(key), requestOf(other)} {
					got, err := r.Reconcile(t.Context(), k)
					if err != nil {
						t.Fatalf("%s: %v", k.Name, err)
					}
					if k.NamespacedName == key {
						result = got
					}
				}
				w.now = w.now.Add(time.Minute)
			}
			if diff := cmp.Diff(ctrl.Result{RequeueAfter: time.Minute}, result); diff != "" {
				t.Errorf("what is next (-want +got):\n%s", diff)
			}
			lines := conditionLines(w.get(t, key))
			if lines["Ready"] != "False InternalError" || lines["Stalled"] != "True InternalError" || lines["Reconciling"] != "" {
				t.Errorf("conditions %v, want Ready and Stalled with InternalError", lines)
			}
			if lines := conditionLines(w.get(t, other)); lines["Ready"] != "True Sending" {
				t.Errorf("the other campaign: %v", lines)
			}
			said := strings.Join(w.events(), "\n")
			for _, c := range w.get(t, key).Status.Conditions {
				said += c.Message
			}
			if strings.Contains(said, "ada@") || strings.Contains(said, "too much") {
				t.Errorf("the value of the panic is shown: %s", said)
			}

			w.mustSettle(t, key)
			if tc.deleted {
				if !w.isGone(t, key) {
					t.Error("the object is still there")
				}
				return
			}
			if lines := conditionLines(w.get(t, key)); lines["Ready"] != "True Sending" || lines["Stalled"] != "" {
				t.Errorf("without the bug: %v", lines)
			}
		})
	}
}
