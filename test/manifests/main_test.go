// Package manifests tests config/ on the real API server, with the real kubectl.
package manifests

import (
	"os"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// system is the namespace that config/default makes.
const system = "cartero-system"

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

var installed sync.Once

// install applies config/default, once, and returns the cluster.
func install(t *testing.T) *kubetest.Cluster {
	t.Helper()
	cluster := kubetest.Start(t)
	installed.Do(func() { apply(t, cluster, "config/default") })
	return cluster
}

// apply applies a kustomization and returns what kubectl said.
func apply(t *testing.T, cluster *kubetest.Cluster, dir string) string {
	t.Helper()
	output := cluster.Kubectl(t, "", "apply", "--server-side", "-k", kubetest.Root(t)+"/"+dir)
	if output.Err != nil {
		t.Fatalf("Applying %s: %v\n%s", dir, output.Err, output.Stderr)
	}
	// The namespace warns of what its Pod Security level would refuse.
	if strings.Contains(output.Stderr, "Warning") {
		t.Errorf("Applying %s warns:\n%s", dir, output.Stderr)
	}
	return output.Stdout
}

// build renders a kustomization below config/.
func build(t *testing.T, cluster *kubetest.Cluster, dir string) []*unstructured.Unstructured {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(
		strings.NewReader(cluster.MustKubectl(t, "", "kustomize", kubetest.Root(t)+"/config/"+dir)), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); err != nil {
			if len(objects) == 0 {
				t.Fatalf("Reading config/%s: %v", dir, err)
			}
			return objects
		}
		objects = append(objects, object)
	}
}

// deployments are those of config/default, by name.
func deployments(t *testing.T, cluster *kubetest.Cluster) map[string]*appsv1.Deployment {
	t.Helper()
	result := map[string]*appsv1.Deployment{}
	for _, object := range build(t, cluster, "default") {
		if object.GetKind() != "Deployment" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(
			object.Object, deployment, true); err != nil {
			t.Fatalf("Reading deployment %s: %v", object.GetName(), err)
		}
		result[deployment.Name] = deployment
	}
	return result
}

// containers are those of all deployments, by name.
func containers(t *testing.T, cluster *kubetest.Cluster) map[string]corev1.Container {
	t.Helper()
	result := map[string]corev1.Container{}
	for _, deployment := range deployments(t, cluster) {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			result[container.Name] = container
		}
	}
	return result
}
