package manifests

import (
	"context"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// permission is one question to the API server.
type permission struct {
	verb, group, resource, subresource string
	namespace, name                    string
}

// allowed asks the API server whether a user may do something.
func allowed(t *testing.T, cluster *kubetest.Cluster, user string, groups []string, p permission) bool {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: p.verb, Group: p.group, Resource: p.resource, Subresource: p.subresource, Namespace: p.namespace, Name: p.name,
		},
	}}
	if err := cluster.Client.Create(t.Context(), review); err != nil {
		t.Fatalf("Asking for %+v: %v", p, err)
	}
	return review.Status.Allowed
}

// awaitRoles waits until the API server goes by a binding that was just made: until it allows this.
func awaitRoles(t *testing.T, cluster *kubetest.Cluster, user string, groups []string, p permission) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true,
		func(context.Context) (bool, error) {
			return allowed(t, cluster, user, groups, p), nil //nolint:contextcheck // it takes the test's
		})
	if err != nil {
		t.Fatalf("Waiting until %s is allowed %+v: %v", user, p, err)
	}
}

// awaitOperator waits until the API server goes by both of the operator's bindings.
func awaitOperator(t *testing.T, cluster *kubetest.Cluster) {
	t.Helper()
	user, groups := serviceAccount("cartero-operator")
	awaitRoles(t, cluster, user, groups, permission{verb: "get", resource: "secrets"})
	awaitRoles(t, cluster, user, groups,
		permission{verb: "create", group: "coordination.k8s.io", resource: "leases", namespace: system})
}

func serviceAccount(name string) (user string, groups []string) {
	return "system:serviceaccount:" + system + ":" + name,
		[]string{"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated"}
}

// everything is each verb on each resource that Cartero has anything to do with, in a namespace of its own, in somebody
// else's, and over all.
func everything() []permission {
	verbs := []string{
		"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "escalate", "bind", "impersonate",
	}
	resources := []permission{
		{group: "mail.cartero.dev", resource: "emailcampaigns"},
		{group: "mail.cartero.dev", resource: "emailcampaigns", subresource: "status"},
		{group: "mail.cartero.dev", resource: "emailcampaigns", subresource: "finalizers"},
		{resource: "configmaps"},
		{resource: "secrets"},
		{resource: "events"},
		{group: "events.k8s.io", resource: "events"},
		{group: "coordination.k8s.io", resource: "leases"},
		{group: "coordination.k8s.io", resource: "leases", name: "operator.mail.cartero.dev"},
		{resource: "pods"},
		{resource: "pods", subresource: "exec"},
		{resource: "serviceaccounts", subresource: "token"},
		{resource: "nodes"},
		{resource: "namespaces"},
		{resource: "users"},
		{group: "apps", resource: "deployments"},
		{group: "rbac.authorization.k8s.io", resource: "clusterroles"},
		{group: "apiextensions.k8s.io", resource: "customresourcedefinitions"},
	}
	var result []permission
	for _, verb := range verbs {
		for _, p := range resources {
			for _, namespace := range []string{system, "growth", ""} {
				p.verb, p.namespace = verb, namespace
				result = append(result, p)
			}
		}
	}
	return result
}

func TestRBAC_Operator(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	user, groups := serviceAccount("cartero-operator")
	anywhere := map[permission]bool{}
	grant := func(group, resource, subresource string, verbs ...string) {
		for _, verb := range verbs {
			anywhere[permission{verb: verb, group: group, resource: resource, subresource: subresource}] = true
		}
	}
	grant("mail.cartero.dev", "emailcampaigns", "", "get", "list", "watch", "update", "patch", "delete")
	grant("mail.cartero.dev", "emailcampaigns", "status", "get", "update", "patch")
	grant("mail.cartero.dev", "emailcampaigns", "finalizers", "update")
	grant("", "configmaps", "", "get")
	grant("", "secrets", "", "get")
	grant("events.k8s.io", "events", "", "create")
	home := map[permission]bool{
		{verb: "create", resource: "events"}:                                                                  true,
		{verb: "patch", resource: "events"}:                                                                   true,
		{verb: "create", group: "coordination.k8s.io", resource: "leases"}:                                    true,
		{verb: "create", group: "coordination.k8s.io", resource: "leases", name: "operator.mail.cartero.dev"}: true,
		{verb: "get", group: "coordination.k8s.io", resource: "leases", name: "operator.mail.cartero.dev"}:    true,
		{verb: "update", group: "coordination.k8s.io", resource: "leases", name: "operator.mail.cartero.dev"}: true,
	}
	awaitOperator(t, cluster)
	for _, p := range everything() {
		rule := p
		rule.namespace = ""
		want := anywhere[rule] || p.namespace == system && home[rule]
		if got := allowed(t, cluster, user, groups, p); got != want {
			t.Errorf("Operator allowed %+v: %t; want %t", p, got, want)
		}
	}
}

func TestRBAC_Worker(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	awaitOperator(t, cluster)
	user, groups := serviceAccount("cartero-worker")
	for _, p := range everything() {
		if allowed(t, cluster, user, groups, p) {
			t.Errorf("Worker allowed %+v; want nothing", p)
		}
	}
}

// TestRBAC_Secrets reads as the operator: one Secret by its name, never a list of them.
func TestRBAC_Secrets(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	awaitOperator(t, cluster)
	namespace := cluster.Namespace(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "audience"}}
	if err := cluster.Client.Create(t.Context(), secret); err != nil {
		t.Fatalf("Creating the Secret: %v", err)
	}
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate.UserName, config.Impersonate.Groups = serviceAccount("cartero-operator")
	operator, err := client.New(config, client.Options{Scheme: cluster.Scheme})
	if err != nil {
		t.Fatalf("Making a client: %v", err)
	}
	if err := operator.Get(t.Context(), client.ObjectKeyFromObject(secret), &corev1.Secret{}); err != nil {
		t.Errorf("Reading the Secret: %v", err)
	}
	if err := operator.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)); !apierrors.IsForbidden(err) {
		t.Errorf("Listing Secrets: %v; want it forbidden", err)
	}
}

// TestRBAC_Users binds the roles for people directly, as there is no controller here that aggregates them, and looks at
// the labels that make it aggregate them.
func TestRBAC_Users(t *testing.T) {
	t.Parallel()
	cluster := install(t)
	read := []string{"get", "list", "watch"}
	write := append([]string{"create", "update", "patch", "delete"}, read...)
	cases := []struct {
		role, label string
		campaigns   []string
		status      []string
	}{
		{role: "viewer", label: "aggregate-to-view", campaigns: read, status: read},
		{role: "editor", label: "aggregate-to-edit", campaigns: write, status: []string{"get"}},
		{role: "admin", label: "aggregate-to-admin", campaigns: append([]string{"deletecollection"}, write...), status: []string{"get"}},
	}
	for _, tc := range cases {
		t.Run(tc.role, func(t *testing.T) {
			t.Parallel()
			name := "cartero-emailcampaign-" + tc.role
			var role rbacv1.ClusterRole
			if err := cluster.Client.Get(t.Context(), client.ObjectKey{Name: name}, &role); err != nil {
				t.Fatalf("Reading the role: %v", err)
			}
			if role.Labels["rbac.authorization.k8s.io/"+tc.label] != "true" {
				t.Errorf("Labels of %s are %v; want %s", name, role.Labels, tc.label)
			}
			namespace := cluster.Namespace(t)
			binding := &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "test"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: tc.role}},
			}
			if err := cluster.Client.Create(t.Context(), binding); err != nil {
				t.Fatalf("Binding the role: %v", err)
			}
			want := map[permission]bool{}
			for subresource, verbs := range map[string][]string{"": tc.campaigns, "status": tc.status} {
				for _, verb := range verbs {
					want[permission{
						verb: verb, group: "mail.cartero.dev", resource: "emailcampaigns", subresource: subresource, namespace: namespace,
					}] = true
				}
			}
			awaitRoles(t, cluster, tc.role, nil, permission{
				verb: "get", group: "mail.cartero.dev", resource: "emailcampaigns", namespace: namespace,
			})
			for _, p := range everything() {
				p.namespace = namespace
				if got := allowed(t, cluster, tc.role, nil, p); got != want[p] {
					t.Errorf("%s allowed %+v: %t; want %t", tc.role, p, got, want[p])
				}
			}
		})
	}
}
