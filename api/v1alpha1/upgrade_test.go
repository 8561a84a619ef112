package v1alpha1_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// upgradeGroup has the CRDs of this test only: the one of the other tests stays as it is.
const upgradeGroup = "upgrade.cartero.dev"

// TestUpgrade stores campaigns by an older CRD, and uses them by the present one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	older, err := os.ReadFile("testdata/crd-before-control.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := ofGroup(t, older)
	if err := cluster.Client.Create(t.Context(), crd); err != nil {
		t.Fatalf("Creating the older CRD: %v", err)
	}
	namespace := cluster.Namespace(t)
	campaigns := map[string]map[string]any{
		"fresh":   {"observedGeneration": int64(-1)},
		"started": {"observedGeneration": int64(1), "startTime": "2026-01-12T12:00:00Z"},
		"ended":   {"observedGeneration": int64(1), "startTime": "2026-01-12T12:00:00Z", "terminalState": "Completed"},
	}
	for name, status := range campaigns {
		store(t, cluster, namespace, name, status)
	}

	present := ofGroup(t, readCRD(t))
	present.SetResourceVersion(current(t, cluster, crd).GetResourceVersion())
	if err := cluster.Client.Update(t.Context(), present); err != nil {
		t.Fatalf("Updating the CRD: %v", err)
	}
	for name, status := range campaigns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkUpgraded(t, cluster, upgraded(t, cluster, namespace, name), status)
		})
	}
}

// checkUpgraded: the stored campaign has the defaults, and can be labelled, reported on and, until it has ended, suspended.
func checkUpgraded(t *testing.T, cluster *kubetest.Cluster, campaign *unstructured.Unstructured, status map[string]any) {
	t.Helper()
	spec, got := campaign.Object["spec"].(map[string]any), map[string]any{}
	want := map[string]any{
		"onConflict": "Adopt", "suspend": false, "shutdown": "None", "deletionPolicy": "Stop", "jobSize": int64(1000),
		"readinessPolicy": "HandedOff", "abortPolicy": map[string]any{
			"minSample": int64(100), "maxHardBouncePercent": int64(5), "maxFailedPercent": int64(20), "action": "Pause",
		},
	}
	for field := range want {
		got[field] = spec[field]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Spec of a stored campaign (-want +got):\n%s", diff)
	}

	patch := func(text string) error {
		return cluster.Client.Patch(t.Context(), campaign, client.RawPatch("application/merge-patch+json", []byte(text)))
	}
	if err := patch(`{"metadata":{"labels":{"team":"growth"}},"spec":{"deletionPolicy":"Orphan"}}`); err != nil {
		t.Errorf("Changing it: %v", err)
	}
	campaign.Object["status"].(map[string]any)["progress"] = "1/1"
	if err := cluster.Client.Status().Update(t.Context(), campaign); err != nil {
		t.Errorf("Updating its status: %v", err)
	}
	err := patch(`{"spec":{"suspend":true}}`)
	if refused := apierrors.IsInvalid(err); refused != (status["terminalState"] != nil) || err != nil && !refused {
		t.Errorf("Suspending it: %v", err)
	}
	err = patch(`{"spec":{"message":{"subject":"Other news"}}}`)
	if refused := apierrors.IsInvalid(err); refused != (status["startTime"] != nil) || err != nil && !refused {
		t.Errorf("Changing its message: %v", err)
	}
}

// ofGroup reads a CRD and gives it the group of this test. Short names would be ambiguous.
func ofGroup(t *testing.T, text []byte) *unstructured.Unstructured {
	t.Helper()
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(text), "mail.cartero.dev", upgradeGroup)), &crd.Object); err != nil {
		t.Fatalf("Reading a CRD: %v", err)
	}
	unstructured.RemoveNestedField(crd.Object, "spec", "names", "categories")
	unstructured.RemoveNestedField(crd.Object, "spec", "names", "shortNames")
	return crd
}

func current(t *testing.T, cluster *kubetest.Cluster, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(object.GroupVersionKind())
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(object), live); err != nil {
		t.Fatalf("Reading %s: %v", object.GetName(), err)
	}
	return live
}

// store creates a campaign with that status, once the API server serves the kind.
func store(t *testing.T, cluster *kubetest.Cluster, namespace, name string, status map[string]any) {
	t.Helper()
	campaign := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"message":    map[string]any{"subject": "News", "text": "There is news."},
		"recipients": map[string]any{"inline": []any{map[string]any{"address": "ada@example.org"}}},
	}}}
	campaign.SetAPIVersion(upgradeGroup + "/v1alpha1")
	campaign.SetKind("EmailCampaign")
	campaign.SetNamespace(namespace)
	campaign.SetName(name)
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = cluster.Client.Create(ctx, campaign)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("Creating %s: %v", name, last)
	}
	campaign.Object["status"] = status
	if err := cluster.Client.Status().Update(t.Context(), campaign); err != nil {
		t.Fatalf("Setting the status of %s: %v", name, err)
	}
}

// upgraded reads a stored campaign, once the API server knows the present CRD.
func upgraded(t *testing.T, cluster *kubetest.Cluster, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	campaign := &unstructured.Unstructured{}
	campaign.SetAPIVersion(upgradeGroup + "/v1alpha1")
	campaign.SetKind("EmailCampaign")
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := cluster.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, campaign); err != nil {
			return false, err
		}
		_, found, err := unstructured.NestedString(campaign.Object, "spec", "deletionPolicy")
		return found, err
	})
	if err != nil {
		t.Fatalf("Reading %s: %v", name, err)
	}
	return campaign
}
