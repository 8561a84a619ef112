package docs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// strangers are the groups of kinds that our API server does not have.
var strangers = []string{"kustomize.config.k8s.io", "argoproj.io", "kustomize.toolkit.fluxcd.io"}

// TestManifests creates every YAML block of every page on the real API server, as it stands. One that is only the spec, or
// spec and metadata, of a campaign is given what it leaves out.
func TestManifests(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	all := pages(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, b := range blocks(all[name]) {
			if b.language != "yaml" {
				continue
			}
			// One after another: a name is used by several of them.
			t.Run(fmt.Sprintf("%s:%d", name, b.line), func(t *testing.T) {
				for _, object := range objects(t, b.text) {
					create(t, cluster, object)
				}
			})
		}
	}
}

// objects are those of a block of YAML.
func objects(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	var found []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("The block is no YAML: %v", err)
		}
		if object.GetKind() == "" {
			complete(t, object)
		}
		found = append(found, object)
	}
}

// complete makes a campaign of what a block says about one.
func complete(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	spec, ok := object.Object["spec"].(map[string]any)
	if !ok {
		t.Fatal("The block is neither an object nor the spec of a campaign")
	}
	object.SetAPIVersion("mail.cartero.dev/v1alpha1")
	object.SetKind("EmailCampaign")
	if object.GetName() == "" && object.GetGenerateName() == "" {
		object.SetName("campaign")
	}
	for field, value := range map[string]any{
		"message":    map[string]any{"subject": "News", "text": "There is news."},
		"recipients": map[string]any{"inline": []any{map[string]any{"address": "ada@example.org"}}},
	} {
		if _, ok := spec[field]; !ok {
			spec[field] = value
		}
	}
}

// create creates an object, strictly, and deletes it at the end of the test.
func create(t *testing.T, cluster *kubetest.Cluster, object *unstructured.Unstructured) {
	t.Helper()
	if slices.Contains(strangers, object.GroupVersionKind().Group) {
		return
	}
	switch namespace := object.GetNamespace(); namespace {
	case "":
		object.SetNamespace(cluster.Namespace(t))
	default:
		err := cluster.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("Creating namespace %s: %v", namespace, err)
		}
	}
	strict := client.WithFieldValidation(cluster.Client, metav1.FieldValidationStrict)
	if err := strict.Create(t.Context(), object); err != nil {
		t.Errorf("Creating %s %s: %v", object.GetKind(), object.GetName(), err)
		return
	}
	if err := cluster.Client.Delete(t.Context(), object); err != nil {
		t.Errorf("Deleting %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}
