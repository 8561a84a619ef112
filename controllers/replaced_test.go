package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// TestTheStatusIsOfThisObject: what was found out of an object that is gone is not written to another of its name, even where
// the schema would take it.
func TestTheStatusIsOfThisObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	old := w.get(t, key)
	old.Finalizers = nil
	if err := w.cluster.Client.Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	w.remove(t, key)
	w.apply(t, kubetest.NewCampaign(w.namespace, key.Name).WithInline("eve@example.com").Obj())
	want := w.get(t, key)

	s := newScope(old, w.now)
	s.object.Status.TerminalState, s.object.Status.CampaignKey = v1alpha1.TerminalCompleted, "old"
	if err := w.reconciler(t).patchStatus(t.Context(), s); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want.Status, w.get(t, key).Status); diff != "" {
		t.Errorf("the other object's status (-before +after):\n%s", diff)
	}
}

// TestTheStatusOfAnOlderVersion: where the cache is behind, the status is written all the same, and says what was found out.
func TestTheStatusOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	old := w.get(t, key)
	w.annotate(t, key, "example.com/somebody", "else")
	s := newScope(old, w.now)
	s.object.Status.Progress = "2/3"
	if err := w.reconciler(t).patchStatus(t.Context(), s); err != nil {
		t.Error(err)
	}
	got := w.get(t, key)
	if got.Status.Progress != "2/3" || got.Annotations["example.com/somebody"] != "else" || s.object.ResourceVersion != got.ResourceVersion {
		t.Errorf("the object is %+v", got)
	}
}
