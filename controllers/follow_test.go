package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// sending is a campaign of which somebody is still to be tried.
func sending(name string, mutate ...func(*v1alpha1.EmailCampaign)) given {
	mutate = append(mutate, func(c *v1alpha1.EmailCampaign) { c.Name = name })
	return aCampaign(mutate...).written(created).enqueuedNow().counting(campaign.Tally{Pending: 1})
}

// The more campaigns are sent at once, the less often the progress of each is read; who has ended does not count.
func TestManyCampaignsAreLookedAtLessOften(t *testing.T) {
	t.Parallel()
	var f followed
	var last time.Duration
	name := func(i int) string { return fmt.Sprint("launch-", i) }
	for i := range 1000 {
		if last = f.interval(sending(name(i)).scope); i < 40 && last != progressInterval {
			t.Fatalf("with %d campaigns: every %v", i, last)
		}
	}
	if last != 50*time.Second {
		t.Errorf("with 1000 campaigns: every %v, want 50s", last)
	}
	for i := range 1000 {
		last = f.interval(sending(name(i)).counting(campaign.Tally{Accepted: 1}).scope)
	}
	if last != progressInterval || len(f.objects) != 0 {
		t.Errorf("when all have ended: every %v, %d are followed", last, len(f.objects))
	}
}

// An object that is gone in the middle of its campaign is followed no more.
func TestWhatIsGoneIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.reconciler(t)
	gone := sending("gone", func(c *v1alpha1.EmailCampaign) { c.Namespace = w.namespace })
	r.followed.interval(gone.scope)
	if _, err := r.Reconcile(t.Context(), requestOf(client.ObjectKeyFromObject(gone.object))); err != nil {
		t.Fatal(err)
	}
	if len(r.followed.objects) != 0 {
		t.Errorf("still followed: %v", r.followed.objects)
	}
}

// workedOff is a ledger that answers one question.
type workedOff struct {
	campaign.Ledger
	mu    sync.Mutex
	asked [][]string
	over  []string
	err   error
}

func (w *workedOff) WorkedOff(_ context.Context, keys []string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, keys)
	return w.over, w.err
}

// answers sets what is answered from now on.
func (w *workedOff) answers(err error, over ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.err = over, err
}

// A campaign that is worked off is looked at within a second, once, however rarely its progress is read.
func TestEndsAreNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ledger := &workedOff{}
		r := &EmailCampaignReconciler{Ledger: ledger}
		events := make(chan event.GenericEvent, 10)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = r.watchEnds(ctx, events) }()
		after := func(seconds int) (told []string) {
			<-time.After(time.Duration(seconds)*endsInterval + endsInterval/2)
			synctest.Wait()
			for len(events) > 0 {
				told = append(told, (<-events).Object.GetName())
			}
			slices.Sort(told)
			return told
		}
		expect := func(what string, want, got []string) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		expect("nobody is followed", nil, after(2))
		if len(ledger.asked) != 0 {
			t.Errorf("asked for %v", ledger.asked)
		}

		shared := func(c *v1alpha1.EmailCampaign) { c.Spec.CampaignKey = "growth/shared" }
		for _, g := range []given{sending("one"), sending("two", shared), sending("three", shared)} {
			r.followed.interval(g.scope)
		}
		expect("all are at work", nil, after(2))
		expect("keys asked for", []string{"growth/one", "growth/shared"}, ledger.asked[0])
		ledger.answers(nil, "growth/shared")
		expect("a campaign that two objects name is worked off", []string{"three", "two"}, after(1))
		r.followed.interval(sending("two", shared).scope)
		expect("its rows say otherwise still: that is what reading the progress is for", nil, after(2))
		ledger.answers(nil)
		expect("somebody is tried again", nil, after(1))
		ledger.answers(nil, "growth/shared")
		expect("and has ended", []string{"three", "two"}, after(1))
		ledger.answers(errors.New("away"))
		expect("the database is away", nil, after(1))
		ledger.answers(nil, "growth/one", "growth/shared")
		expect("the last one", []string{"one"}, after(1))
		cancel()
		synctest.Wait()
	})
}
