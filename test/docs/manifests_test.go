package docs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
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

// TestManifests creates every YAML block of every page on the real API server, as it stands. One that is only a part of a
// campaign is given what it leaves out.
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
			if err := check(t, cluster, b.text); err != nil {
				t.Errorf("%s:%d: %v", name, b.line, err)
			}
		}
	}
}

// TestSamples creates those samples that are manifests by themselves.
func TestSamples(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	paths, err := filepath.Glob(filepath.Join(kubetest.Root(t), "config/samples/*.yaml"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("The samples are %v, %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(t, cluster, string(text)); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// check creates what a block of YAML says.
func check(t *testing.T, cluster *kubetest.Cluster, text string) error {
	t.Helper()
	found, err := objects(text)
	for _, object := range found {
		err = errors.Join(err, create(t, cluster, object))
	}
	return err
}

// objects are those of a block of YAML.
func objects(text string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	var found []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading YAML: %w", err)
		}
		if object.GetKind() == "" {
			if err := complete(object); err != nil {
				return nil, err
			}
		}
		found = append(found, object)
	}
}

// complete makes a campaign of what a block says about one.
func complete(object *unstructured.Unstructured) error {
	if _, ok := object.Object["spec"]; !ok { // fields of it
		object.Object = map[string]any{"spec": object.Object}
	}
	spec, ok := object.Object["spec"].(map[string]any)
	if !ok {
		return errors.New("neither an object nor a part of a campaign")
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
	return nil
}

// create creates an object, strictly, and deletes it at the end of the test.
func create(t *testing.T, cluster *kubetest.Cluster, object *unstructured.Unstructured) error {
	t.Helper()
	if slices.Contains(strangers, object.GroupVersionKind().Group) {
		return nil
	}
	switch namespace := object.GetNamespace(); namespace {
	case "":
		object.SetNamespace(cluster.Namespace(t))
	default:
		err := cluster.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating namespace %s: %w", namespace, err)
		}
	}
	strict := client.WithFieldValidation(cluster.Client, metav1.FieldValidationStrict)
	if err := strict.Create(t.Context(), object); err != nil {
		return fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	if err := cluster.Client.Delete(t.Context(), object); err != nil {
		return fmt.Errorf("deleting %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}
