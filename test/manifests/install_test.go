package manifests

import (
	"bufio"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// TestInstall applies everything twice and looks at what is there then.
func TestInstall(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	apply(t, cluster, "config/default")

	var got []string
	for _, object := range build(t, cluster, "default") {
		live := object.DeepCopy()
		if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(object), live); err != nil {
			t.Errorf("Reading %s %s: %v", object.GetKind(), object.GetName(), err)
		}
		for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/part-of"} {
			if live.GetLabels()[label] != "cartero" {
				t.Errorf("%s %s has no label %s=cartero", object.GetKind(), object.GetName(), label)
			}
		}
		got = append(got, strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, "/"))
	}
	slices.Sort(got)
	want := []string{
		"ClusterRole//cartero-emailcampaign-admin",
		"ClusterRole//cartero-emailcampaign-editor",
		"ClusterRole//cartero-emailcampaign-viewer",
		"ClusterRole//cartero-operator",
		"ClusterRoleBinding//cartero-operator",
		"CustomResourceDefinition//emailcampaigns.mail.cartero.dev",
		"Deployment/cartero-system/cartero-operator",
		"Deployment/cartero-system/cartero-worker",
		"Namespace//cartero-system",
		"PodDisruptionBudget/cartero-system/cartero-operator",
		"PodDisruptionBudget/cartero-system/cartero-worker",
		"Role/cartero-system/cartero-leader-election",
		"RoleBinding/cartero-system/cartero-leader-election",
		"Service/cartero-system/cartero-facade",
		"ServiceAccount/cartero-system/cartero-operator",
		"ServiceAccount/cartero-system/cartero-worker",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Objects of config/default (-want +got):\n%s", diff)
	}
}

// TestPodSecurity makes a Pod of each template, as the Deployment controller would, in a namespace that enforces
// "restricted". A Pod that is not restricted shows that the enforcement is on.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	var namespace corev1.Namespace
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Name: system}, &namespace); err != nil {
		t.Fatalf("Reading the namespace: %v", err)
	}
	if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
		t.Fatalf("Namespace enforces %q; want restricted", level)
	}

	for name, deployment := range deployments(t, cluster) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name, Labels: deployment.Spec.Template.Labels},
			Spec:       deployment.Spec.Template.Spec,
		}
		if err := cluster.Client.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("Pod of deployment %s: %v", name, err)
		}
		pod.Spec.Containers[0].SecurityContext.Capabilities = nil
		err := cluster.Client.Create(t.Context(), pod, client.DryRunAll)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
			t.Errorf("Pod of deployment %s that keeps its capabilities: %v; want it forbidden by PodSecurity", name, err)
		}
	}
}

// TestContainers: each process is what its name says, can write nowhere but where it must, can be probed, and is bounded.
func TestContainers(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	type facts struct {
		Args      []string
		Image     string
		Live      string
		Ready     string
		Writable  []string
		APIAccess bool
	}
	const image = "ghcr.io/cartero-mail/cartero:v0.1.0"
	want := map[string]facts{
		"operator": {
			Args: []string{"operator"}, Image: image, Live: "/livez:probes", Ready: "/readyz:probes", APIAccess: true,
			Writable: []string{"/tmp"},
		},
		"facade": {
			Args: []string{"facade"}, Image: image, Live: "/livez:http", Ready: "/readyz:http",
			Writable: []string{"/var/lib/cartero", "/tmp"},
		},
		"worker": {
			Args: []string{"worker"}, Image: image, Live: "/livez:probes", Ready: "/readyz:probes",
			Writable: []string{"/var/lib/cartero", "/tmp"},
		},
	}

	got := map[string]facts{}
	for name, container := range containers(t, cluster) {
		f := facts{
			Args: container.Args, Image: container.Image, Live: probe(container.LivenessProbe), Ready: probe(container.ReadinessProbe),
		}
		for _, mount := range container.VolumeMounts {
			if !mount.ReadOnly {
				f.Writable = append(f.Writable, mount.MountPath)
			}
			f.APIAccess = f.APIAccess || mount.MountPath == "/var/run/secrets/kubernetes.io/serviceaccount"
		}
		got[name] = f
		if root := container.SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
			t.Errorf("Container %s can write to its root file system", name)
		}
		if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
			t.Errorf("Container %s has no memory limit or CPU request", name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Containers (-want +got):\n%s", diff)
	}

	for name, deployment := range deployments(t, cluster) {
		spec := deployment.Spec.Template.Spec
		if mounts := spec.AutomountServiceAccountToken; mounts == nil || *mounts {
			t.Errorf("Deployment %s mounts a token into every container", name)
		}
		ports := map[int32]bool{}
		for _, container := range spec.Containers {
			for _, port := range container.Ports {
				if ports[port.ContainerPort] {
					t.Errorf("Deployment %s has port %d twice", name, port.ContainerPort)
				}
				ports[port.ContainerPort] = true
			}
		}
	}
}

func probe(p *corev1.Probe) string {
	if p == nil || p.HTTPGet == nil || p.HTTPGet.Port.Type != intstr.String {
		return ""
	}
	return p.HTTPGet.Path + ":" + p.HTTPGet.Port.StrVal
}

// TestSettings: the example file has exactly the keys that the containers take from the Secret, and what a container
// can't start without is not optional.
func TestSettings(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	want := map[string][]string{
		"operator": {"DATABASE_URL", "REDIS_URL"},
		"facade":   {"API_KEY", "DATABASE_URL", "REDIS_URL"},
		"worker":   {"DATABASE_URL", "REDIS_URL", "SMTP_SERVER"},
	}
	got, keys := map[string][]string{}, map[string]bool{}
	for name, container := range containers(t, cluster) {
		for _, variable := range container.Env {
			if variable.ValueFrom == nil {
				continue
			}
			ref := variable.ValueFrom.SecretKeyRef
			if ref == nil || ref.Name != "cartero-settings" || ref.Key != variable.Name {
				t.Errorf("Variable %s of container %s does not come from its key of cartero-settings", variable.Name, name)
				continue
			}
			keys[ref.Key] = true
			if ref.Optional == nil || !*ref.Optional {
				got[name] = append(got[name], ref.Key)
			}
		}
		slices.Sort(got[name])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Required keys of the Secret (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(keys)), exampleKeys(t)); diff != "" {
		t.Errorf("Keys in settings.example.env (-want +got):\n%s", diff)
	}
}

func exampleKeys(t *testing.T) []string {
	t.Helper()
	file, err := os.Open(kubetest.Root(t) + "/config/default/settings.example.env")
	if err != nil {
		t.Fatalf("Opening the example: %v", err)
	}
	defer file.Close()
	var keys []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, _, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(key, "#") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// TestSettings_Secret makes the Secret of the example file as the comment in it says.
func TestSettings_Secret(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	cluster.MustKubectl(t, "", "-n", system, "create", "secret", "generic", "cartero-settings",
		"--from-env-file="+kubetest.Root(t)+"/config/default/settings.example.env")
	var secret corev1.Secret
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "cartero-settings"}, &secret); err != nil {
		t.Fatalf("Reading the Secret: %v", err)
	}
	if got, want := string(secret.Data["SMTP_FROM"]), "News <news@example.com>"; got != want {
		t.Errorf("SMTP_FROM is %q; want %q", got, want)
	}
}

// TestNetworkComponent builds an overlay with the optional component, as its comment says, and applies it.
func TestNetworkComponent(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	output := apply(t, cluster, "test/manifests/testdata/network")
	for _, want := range []string{"networkpolicy.networking.k8s.io/cartero-operator", "networkpolicy.networking.k8s.io/cartero-worker"} {
		if !strings.Contains(output, want+" serverside-applied") {
			t.Errorf("kubectl apply says\n%s\nwant it to contain %s", output, want)
		}
	}
}
