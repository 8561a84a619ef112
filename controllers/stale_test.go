package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// staleLoops is how often a cache that is behind serves the same old object.
const staleLoops = 3

// reconcileStale runs loops whose cache serves an old object, and returns what the last of them has the controller do. Their
// errors do not matter: what they did, does.
func (w *world) reconcileStale(t *testing.T, old *v1alpha1.EmailCampaign) (res ctrl.Result) {
	t.Helper()
	direct, err := client.NewWithWatch(w.cluster.Config, client.Options{Scheme: w.cluster.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	behind := interceptor.NewClient(direct, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if served, ok := object.(*v1alpha1.EmailCampaign); ok {
				old.DeepCopyInto(served)
				return nil
			}
			return c.Get(ctx, key, object, opts...)
		},
	})
	for range staleLoops {
		r := w.reconciler(t)
		r.Client = behind
		res, _ = r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(old)})
	}
	return res
}

// TestAConflictIsMetAgain: an object that somebody changes while it gets its finalizer is looked at again, although the
// controller is not woken up for such a change.
func TestAConflictIsMetAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").Obj())
	old := w.get(t, key)
	w.annotate(t, key, "example.com/somebody", "else")
	if res := w.reconcileStale(t, old); res.RequeueAfter == 0 {
		t.Error("nothing brings the controller back")
	}
	once(t, w, key)
	if len(w.get(t, key).Finalizers) != 1 {
		t.Error("the object has no finalizer")
	}
}

// A loop that the end of the process cuts short has failed at nothing, and the next one does it all.
func TestALoopThatIsStoppedIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").Obj())
	once(t, w, key) // the finalizer
	stopped, stop := context.WithCancel(t.Context())
	r := w.reconciler(t)
	r.Now = func() time.Time { stop(); return w.now }
	if _, err := r.Reconcile(stopped, requestOf(key)); err != nil || stopped.Err() == nil {
		t.Errorf("the loop returned %v, its context %v", err, stopped.Err())
	}
	if got := conditionLines(w.mustSettle(t, key))["Materialized"]; got != "True Materialized" {
		t.Errorf("Materialized is %q", got)
	}
}

// once runs one loop on what is there.
func once(t *testing.T, w *world, key client.ObjectKey) {
	t.Helper()
	if _, err := w.reconciler(t).Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
}

// A cache that is behind serves, at each moment of a campaign's life, a state that the object was in before: the first, one on
// the way, the last. It ends the same: the database decides, not what the object said.
func TestStaleObjectsChangeNothing(t *testing.T) {
	t.Parallel()
	allAccepted := func(shard int) func(*testing.T, *world, client.ObjectKey) {
		return func(t *testing.T, w *world, _ client.ObjectKey) {
			t.Helper()
			w.deliverJob(t, w.namespace+"/launch", shard, accepted(""))
		}
	}
	suspend := edited(suspendedBySpec)
	life := []func(*testing.T, *world, client.ObjectKey){once, once, suspend, once, edited(goingOn), once, allAccepted(0), once, allAccepted(1), once, once}
	live := func(t *testing.T, now, before int) outcome {
		t.Helper()
		w := newWorld(t)
		key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(2).
			WithInline("ada@example.com", "bob@example.com", "cid@example.com").Obj())
		states := []*v1alpha1.EmailCampaign{w.get(t, key)}
		for n, act := range life {
			act(t, w, key)
			w.now = w.now.Add(statusInterval)
			if states = append(states, w.get(t, key)); n == now {
				w.reconcileStale(t, states[before])
				once(t, w, key) // the cache has caught up
			}
		}
		of := w.outcomeOf(t, key)
		of.Control = campaign.Control{} // of a campaign that has ended nobody asks for it
		return of
	}
	want := live(t, -1, 0)
	if diff := cmp.Diff(all("accepted"), want.Rows, sorted); diff != "" {
		t.Fatalf("undisturbed (-want +got):\n%s", diff)
	}
	for now := range life {
		for _, before := range slices.Compact([]int{0, now / 2, now}) {
			t.Run(fmt.Sprintf("after %d, state %d", now, before), func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(want, live(t, now, before), sorted); diff != "" {
					t.Errorf("(-undisturbed +stale):\n%s", diff)
				}
			})
		}
	}
}

// The object is deleted and applied again, and the cache still serves the first one: as it was, or as it was being deleted.
// Nothing of what that asks for is done to the second.
func TestObjectsOfThePastChangeNothing(t *testing.T) {
	t.Parallel()
	manifest := func(w *world) *v1alpha1.EmailCampaign {
		return kubetest.NewCampaign(w.namespace, "launch").WithJobSize(2).WithInline("ada@example.com", "bob@example.com", "cid@example.com").
			With(func(c *v1alpha1.EmailCampaign) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }).Obj()
	}
	play := func(t *testing.T, state int) (of outcome, owner types.UID, second *v1alpha1.EmailCampaign) {
		t.Helper()
		w := newWorld(t)
		key := w.apply(t, manifest(w))
		past := []*v1alpha1.EmailCampaign{w.get(t, key)}
		once(t, w, key)
		past = append(past, w.get(t, key))
		past = append(past, w.mustSettle(t, key))
		w.remove(t, key)
		past = append(past, w.get(t, key)) // its finalizer keeps it
		w.mustSettle(t, key)
		w.apply(t, manifest(w))
		w.mustSettle(t, key)
		if state >= 0 {
			w.reconcileStale(t, past[state])
		}
		of, second = w.outcomeOf(t, key), w.get(t, key)
		return of, types.UID(w.record(t, key).Owner.ID), second
	}
	want, _, _ := play(t, -1)
	if diff := cmp.Diff(all("pending"), want.Rows, sorted); diff != "" || len(want.Queued) != 2 {
		t.Fatalf("undisturbed, %d jobs in the queue (-want +got):\n%s", len(want.Queued), diff)
	}
	for state := range 4 {
		t.Run(fmt.Sprintf("state %d", state), func(t *testing.T) {
			t.Parallel()
			got, owner, second := play(t, state)
			got.Queued = make([]string, len(got.Queued)) // each world has a namespace of its own
			undisturbed := want
			undisturbed.Queued = make([]string, len(want.Queued))
			if diff := cmp.Diff(undisturbed, got, sorted); diff != "" {
				t.Errorf("(-undisturbed +stale):\n%s", diff)
			}
			if owner != second.UID || len(second.Finalizers) != 1 || !second.DeletionTimestamp.IsZero() {
				t.Errorf("the second object (%s, finalizers %v) is not in charge: %s is", second.UID, second.Finalizers, owner)
			}
		})
	}
}
