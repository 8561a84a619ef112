package faults

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/harness"
)

// future is a field that a newer version has, in spec and status.
const future = "fieldOfANewerVersion"

// TestNewerCRD has an operator work on objects of a CRD that is newer than it: what it does not know it leaves as it is, in every
// write from the finalizer to the end.
func TestNewerCRD(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	w := harness.NewWorld(t, harness.EmbeddedServices(t))
	addField(t, w) // an optional one more: other tests on this API server don't notice

	gvk := v1alpha1.GroupVersion.WithKind("EmailCampaign")
	object := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": w.Namespace, "name": "newer"},
		"spec": map[string]any{
			future: "kept", "suspend": true,
			"message":    map[string]any{"from": map[string]any{"address": harness.Sender}, "subject": "News", "text": "There is news."},
			"recipients": map[string]any{"inline": []any{map[string]any{"address": "ada@example.org"}}},
		},
	}}
	object.SetGroupVersionKind(gvk)
	strict := client.WithFieldValidation(w.Cluster.Client, metav1.FieldValidationStrict)
	harness.Eventually(t, "the API server serves the newer CRD", func() bool {
		return strict.Create(t.Context(), object.DeepCopy()) == nil
	})
	key := types.NamespacedName{Namespace: w.Namespace, Name: "newer"}
	read := func() *unstructured.Unstructured {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(gvk)
		if err := w.Cluster.Client.Get(t.Context(), key, live); err != nil {
			t.Fatal(err)
		}
		return live
	}
	live := read()
	if err := unstructured.SetNestedField(live.Object, "kept too", "status", future); err != nil {
		t.Fatal(err)
	}
	if err := w.Cluster.Client.Status().Update(t.Context(), live); err != nil {
		t.Fatalf("Writing the newer status: %v", err)
	}

	w.StartOperator(nil)
	w.StartWorker(t.TempDir(), nil)
	w.AwaitCondition("newer", v1alpha1.ConditionReady, v1alpha1.ReasonSuspendedBySpec)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`))
	if err := w.Cluster.Client.Patch(t.Context(), read(), patch); err != nil {
		t.Fatal(err)
	}
	w.AwaitComplete("newer")
	ended := read()
	got := map[string]string{}
	for _, part := range []string{"spec", "status"} {
		got[part], _, _ = unstructured.NestedString(ended.Object, part, future)
	}
	if diff := cmp.Diff(map[string]string{"spec": "kept", "status": "kept too"}, got); diff != "" {
		t.Errorf("fields of a newer version (-want +got):\n%s", diff)
	}
}

// addField adds the field to the schema of the API server's CRD.
func addField(t *testing.T, w *harness.World) {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if err := w.Cluster.Client.Get(t.Context(), types.NamespacedName{Name: "emailcampaigns.mail.cartero.dev"}, crd); err != nil {
		t.Fatalf("Reading the CRD: %v", err)
	}
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("The CRD has %d versions: %v", len(versions), err)
	}
	version, ok := versions[0].(map[string]any)
	if !ok {
		t.Fatal("The CRD's version is none")
	}
	for _, part := range []string{"spec", "status"} {
		field := map[string]any{"type": "string", "maxLength": int64(10)}
		if err := unstructured.SetNestedMap(version, field, "schema", "openAPIV3Schema", "properties", part, "properties", future); err != nil {
			t.Fatal(err)
		}
	}
	if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	if err := w.Cluster.Client.Update(t.Context(), crd); err != nil {
		t.Fatalf("Writing a newer CRD: %v", err)
	}
}
