package gitops_test

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// With the expressions, Flux waits for the end of a campaign; a state that needs a person is a failure at once.
func TestFluxHealthCheckExpressions(t *testing.T) {
	t.Parallel()
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	load(t, "../../config/gitops/flux/kustomization.yaml", &kustomization)
	check := kustomization.Spec.HealthCheckExprs[0]
	evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
	if err != nil {
		t.Fatal(err)
	}
	failed := []string{
		"a-source-is-missing", "not-one-accepted", "the-others-failed", "cancelled", "the-relay-refuses-the-credentials", "too-many-failed",
		"stopped-by-a-rule", "nobody-ends", "could-not-start-in-time", "took-too-long", "cancelled-with-its-object-and-applied-again",
	}
	current := []string{
		"everybody-accepted", "some-bounced", "some-suppressed", "everybody-suppressed", "applied-again-after-it-had-ended", "its-deadline-came-when-everybody-had-been-sent-to",
	}
	want, got := map[string]status.Status{}, map[string]status.Status{}
	for name, object := range states(t) {
		want[name] = status.InProgressStatus
		result, err := evaluator.Evaluate(t.Context(), object)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got[name] = result.Status
	}
	for _, name := range failed {
		want[name] = status.FailedStatus
	}
	for _, name := range current {
		want[name] = status.CurrentStatus
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An object that the operator has not seen yet is in progress.
func TestFluxWaitsForTheOperator(t *testing.T) {
	t.Parallel()
	for name, object := range states(t) {
		if !strings.HasPrefix(name, "everybody") {
			continue
		}
		object.SetGeneration(object.GetGeneration() + 1)
		result, err := status.Compute(object)
		if err != nil {
			t.Fatal(err)
		}
		if result.Status != status.InProgressStatus {
			t.Errorf("%s, edited: %s", name, result.Status)
		}
	}
}

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}
