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
	"k8s.io/apimachinery/pkg/types"
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
		r.followed.reconcilers = 5 * endsShare
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
		for _, name := range []string{"two", "three"} {
			r.followed.begins(types.NamespacedName{Namespace: "growth", Name: name})()
		}
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

// However many campaigns end at once, few loops are busy with that: the next is told when one is over.
func TestEndsAreToldInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ledger := &workedOff{over: []string{"growth/a", "growth/b", "growth/c"}}
		r := &EmailCampaignReconciler{Ledger: ledger}
		r.followed.reconcilers = 2 * endsShare
		for _, name := range []string{"a", "b", "c"} {
			r.followed.interval(sending(name).scope)
		}
		events := make(chan event.GenericEvent, 10)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = r.watchEnds(ctx, events) }()
		<-time.After(statusInterval + endsInterval/2)
		synctest.Wait()
		if n := len(events); n != 0 {
			t.Errorf("%d are told though their status was just written", n)
		}
		<-time.After(endsInterval)
		synctest.Wait()
		if n := len(events); n != 2 {
			t.Fatalf("%d are told, want 2", n)
		}
		over := r.followed.begins(client.ObjectKeyFromObject((<-events).Object))
		synctest.Wait()
		if n := len(events); n != 1 {
			t.Errorf("while the loop of one runs, %d more are told, want 1", n)
		}
		over()
		synctest.Wait()
		if n := len(events); n != 2 {
			t.Errorf("when it is over, %d more are told, want 2", n)
		}
		cancel()
		synctest.Wait()
	})
}

// Where loops take long, the progress of each campaign is read less often, for as long as they do.
func TestBusyReconcilersReadProgressLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := followed{reconcilers: 10}
		var last time.Duration
		loops := func(n int, took time.Duration) time.Duration {
			for range n {
				over := f.begins(types.NamespacedName{Name: "launch"})
				<-time.After(took)
				over()
			}
			for i := range 100 {
				last = f.interval(sending(fmt.Sprint("launch-", i)).scope)
			}
			return last
		}
		if got := loops(1000, 10*time.Millisecond); got != 100*perCampaign {
			t.Errorf("with time to spare: every %v", got)
		}
		if got := loops(1000, time.Second).Round(time.Second); got != 100*time.Second {
			t.Errorf("with loops of a second: every %v", got)
		}
		if got := loops(1000, time.Hour).Round(time.Second); got != 200*time.Second {
			t.Errorf("with loops of an hour: every %v", got)
		}
		if got := loops(1000, 10*time.Millisecond); got != 100*perCampaign {
			t.Errorf("later: every %v", got)
		}
	})
}
