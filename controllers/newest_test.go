package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestNewest(t *testing.T) {
	t.Parallel()
	version := func(resourceVersion string, uid types.UID) *v1alpha1.EmailCampaign {
		object := kubetest.NewCampaign("growth", "launch").Obj()
		object.ResourceVersion, object.UID = resourceVersion, uid
		return object
	}
	for _, tc := range []struct {
		name            string
		written, cached *v1alpha1.EmailCampaign
		want            string
	}{
		{"the cache is behind", version("10", "a"), version("9", "a"), "10"},
		{"the cache has it", version("10", "a"), version("10", "a"), ""},
		{"somebody has changed it since", version("10", "a"), version("11", "a"), ""},
		{"another object has its name", version("10", "a"), version("9", "b"), ""},
		{"versions that say nothing", version("x", "a"), version("9", "a"), ""},
	} {
		var n newest
		n.note(tc.written, now)
		if got := n.of(tc.cached); tc.want == "" && got != tc.cached || tc.want != "" && got.ResourceVersion != tc.want {
			t.Errorf("%s: %s", tc.name, got.ResourceVersion)
		}
		if kept := len(n.objects) == 1; kept != (tc.want != "") {
			t.Errorf("%s: remembered on: %t", tc.name, kept)
		}
	}
}

// What is remembered has no list of recipients, and is put together with the cache's: it is what was written all the same.
func TestNewestIsWhole(t *testing.T) {
	t.Parallel()
	cached := withEverything()
	cached.Status.TerminalState, cached.ResourceVersion = "", "41"
	written := cached.DeepCopy()
	written.ResourceVersion, written.Status.Progress = "42", "0/1"
	var n newest
	n.note(written, now)
	if _, err := Slim(cached); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v1alpha1.EmailCampaignSpec{}, n.objects[client.ObjectKeyFromObject(cached)].object.Spec); diff != "" {
		t.Error(diff)
	}
	want := written.DeepCopy()
	want.ManagedFields = nil
	delete(want.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	if diff := cmp.Diff(want, n.of(cached)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	edited := withEverything()
	edited.Status.TerminalState, edited.Generation, edited.ResourceVersion = "", cached.Generation+1, "43"
	n.note(edited, now)
	if got := n.of(cached); got != cached {
		t.Errorf("an edit that the cache does not have: %+v", got)
	}

	ended := withEverything()
	n.note(ended, now)
	if _, err := Slim(ended); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ended, n.of(cached)); diff != "" {
		t.Errorf("the end (-want +got):\n%s", diff)
	}
}

// What the watch brings is remembered no longer, be it wanted or not.
func TestNewestIsSeen(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, version string
		uid           types.UID
		remembered    bool
	}{
		{name: "older", version: "9", uid: "a", remembered: true},
		{name: "the same", version: "10", uid: "a"},
		{name: "newer", version: "11", uid: "a"},
		{name: "of another object", version: "11", uid: "b", remembered: true},
		{name: "versions that say nothing", version: "x", uid: "a", remembered: true},
	} {
		r := &EmailCampaignReconciler{Now: time.Now}
		object := kubetest.NewCampaign("growth", "launch").Obj()
		object.ResourceVersion, object.UID = "10", "a"
		r.newest.note(object, now)
		before := object.DeepCopy()
		object.ResourceVersion, object.UID = tc.version, tc.uid
		r.wanted().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: object})
		if got := len(r.newest.objects) == 1; got != tc.remembered {
			t.Errorf("%s: remembered %t", tc.name, got)
		}
	}
}

// What nobody asks for any more does not stay, and of a campaign that has ended little does.
func TestNewestForgets(t *testing.T) {
	t.Parallel()
	var n newest
	for i := range 2 * int(newestAge/time.Second) {
		object := kubetest.NewCampaign("growth", fmt.Sprint("launch-", i)).WithInline("ada@example.com").Obj()
		object.Status.TerminalState = v1alpha1.TerminalCompleted
		n.note(object, now.Add(time.Duration(i)*time.Second))
	}
	if got, want := len(n.objects), int(newestAge/time.Second); got != want {
		t.Errorf("%d are remembered, want %d", got, want)
	}
	for _, w := range n.objects {
		if diff := cmp.Diff(v1alpha1.RecipientSource{}, w.object.Spec.Recipients); diff != "" {
			t.Fatal(diff)
		}
	}
}

// A loop whose cache has not seen what the one before wrote goes on from that: nothing is written twice, and nothing refused.
func TestALoopGoesOnFromWhatWasWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").Obj())
	old := w.get(t, key)
	direct, err := client.NewWithWatch(w.cluster.Config, client.Options{Scheme: w.cluster.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	r := w.reconciler(t)
	r.Client = interceptor.NewClient(direct, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
			old.DeepCopyInto(object.(*v1alpha1.EmailCampaign)) //nolint:forcetypeassert // nothing else is read through the cache
			return nil
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			err := c.Patch(ctx, object, patch, opts...)
			written = append(written, fmt.Sprint("finalizer ", err))
			return err
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, part string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption,
		) error {
			err := c.SubResource(part).Patch(ctx, object, patch, opts...)
			written = append(written, fmt.Sprint(part, " ", err))
			return err
		},
	})
	loop := func() {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), requestOf(key)); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(statusInterval)
	}
	loop()
	loop()
	w.deliver(t, w.namespace+"/launch", accepted)
	loop()
	loop()
	want := []string{"finalizer <nil>", "status <nil>", "status <nil>", "finalizer <nil>"}
	if diff := cmp.Diff(want, written); diff != "" {
		t.Errorf("what was written (-want +got):\n%s", diff)
	}
	if object := w.get(t, key); object.Status.TerminalState != v1alpha1.TerminalCompleted || len(object.Finalizers) != 0 {
		t.Errorf("%q, finalizers %v", object.Status.TerminalState, object.Finalizers)
	}
}
