package gitops_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// healthTests is Argo CD's file of this name: health_test.yaml.
type healthTests struct {
	Tests []struct {
		InputPath    string       `json:"inputPath"`
		HealthStatus healthStatus `json:"healthStatus"`
	} `json:"tests"`
}

type healthStatus struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func TestArgoHealth(t *testing.T) {
	t.Parallel()
	var file healthTests
	load(t, filepath.Join(argo, "health_test.yaml"), &file)
	tested := map[string]bool{}
	for _, tc := range file.Tests {
		tested[filepath.Base(tc.InputPath)] = true
		t.Run(filepath.Base(tc.InputPath), func(t *testing.T) {
			t.Parallel()
			got, _ := fromLua(run(t, filepath.Join(argo, "health.lua"), object(t, filepath.Join(argo, tc.InputPath)))).(map[string]any)
			want := map[string]any{"status": tc.HealthStatus.Status, "message": tc.HealthStatus.Message}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for state := range states(t) {
		if !tested[state+".yaml"] {
			t.Errorf("health_test.yaml has no test of %s", state)
		}
	}
}

// actionTests is Argo CD's file actions/action_test.yaml.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string   `json:"inputPath"`
		Result    []action `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

type action struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

func TestArgoActions(t *testing.T) {
	t.Parallel()
	var file actionTests
	load(t, filepath.Join(argo, "actions", "action_test.yaml"), &file)
	for _, tc := range file.DiscoveryTests {
		t.Run("discovery/"+filepath.Base(tc.InputPath), func(t *testing.T) {
			t.Parallel()
			input := object(t, filepath.Join(argo, "actions", tc.InputPath))
			got := discovered(t, input)
			want := map[string]bool{}
			for _, a := range tc.Result {
				want[a.Name] = !a.Disabled
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, tc := range file.ActionTests {
		t.Run(tc.Action+"/"+filepath.Base(tc.InputPath), func(t *testing.T) {
			t.Parallel()
			input := object(t, filepath.Join(argo, "actions", tc.InputPath))
			if !discovered(t, input)[tc.Action] {
				t.Errorf("the action is not offered")
			}
			got, _ := fromLua(run(t, filepath.Join(argo, "actions", tc.Action, "action.lua"), input)).(map[string]any)
			want := object(t, filepath.Join(argo, "actions", tc.ExpectedOutputPath))
			if diff := cmp.Diff(want.Object, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// discovered are the actions, and whether each is enabled.
func discovered(t *testing.T, input *unstructured.Unstructured) map[string]bool {
	t.Helper()
	actions, _ := fromLua(run(t, filepath.Join(argo, "actions", "discovery.lua"), input)).(map[string]any)
	enabled := map[string]bool{}
	for name, found := range actions {
		attributes, _ := found.(map[string]any)
		enabled[name] = attributes["disabled"] != true
	}
	return enabled
}

// What argocd-cm is given is what is tested here.
func TestArgoConfigMapHasTheScripts(t *testing.T) {
	t.Parallel()
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	load(t, filepath.Join(argo, "..", "..", "argocd-cm.yaml"), &configMap)
	var actions struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name   string `json:"name"`
			Script string `json:"action.lua"`
		} `json:"definitions"`
	}
	health := configMap.Data["resource.customizations.health.mail.cartero.dev_EmailCampaign"]
	if diff := cmp.Diff(read(t, filepath.Join(argo, "health.lua")), health); diff != "" {
		t.Errorf("health.lua (-file +argocd-cm):\n%s", diff)
	}
	unmarshal(t, configMap.Data["resource.customizations.actions.mail.cartero.dev_EmailCampaign"], &actions)
	if diff := cmp.Diff(read(t, filepath.Join(argo, "actions", "discovery.lua")), actions.Discovery); diff != "" {
		t.Errorf("discovery.lua (-file +argocd-cm):\n%s", diff)
	}
	scripts := map[string]string{}
	for _, definition := range actions.Definitions {
		scripts[definition.Name] = definition.Script
	}
	files, err := filepath.Glob(filepath.Join(argo, "actions", "*", "action.lua"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, file := range files {
		want[filepath.Base(filepath.Dir(file))] = read(t, file)
	}
	if diff := cmp.Diff(want, scripts); diff != "" {
		t.Errorf("actions (-files +argocd-cm):\n%s", diff)
	}
	if names := slices.Sorted(maps.Keys(want)); len(names) != 6 {
		t.Errorf("actions: %v", names)
	}
}
