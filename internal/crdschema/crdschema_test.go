package crdschema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/internal/crdschema"
	"github.com/cartero-mail/cartero/internal/manifest"
)

const valid = `
apiVersion: mail.cartero.dev/v1alpha1
kind: EmailCampaign
metadata: {name: news}
spec:
  message: {subject: News, text: There is news., from: {address: news@example.com}}
  recipients: {inline: [{address: ada@example.org}]}
`

func TestApply(t *testing.T) {
	t.Parallel()
	schema, err := crdschema.New()
	if err != nil {
		t.Fatal(err)
	}
	set := func(path []string, value any) func(map[string]any) {
		return func(object map[string]any) {
			for _, name := range path[:len(path)-1] {
				object = object[name].(map[string]any)
			}
			object[path[len(path)-1]] = value
		}
	}
	for _, test := range []struct {
		name   string
		mutate func(map[string]any)
		want   []manifest.Problem
	}{
		{"valid", func(map[string]any) {}, nil},
		{"unknown field", set([]string{"spec", "message", "subjekt"}, "News"), []manifest.Problem{
			{Path: "spec.message.subjekt", Message: "there is no such field", Unknown: true},
		}},
		{"wrong type", set([]string{"spec", "jobSize"}, "many"), []manifest.Problem{
			{Path: "spec.jobSize", Message: `must be of type integer: "string"`},
		}},
		{"missing", func(object map[string]any) { delete(object["spec"].(map[string]any), "message") }, []manifest.Problem{
			{Path: "spec.message", Message: "is required"},
		}},
		{"word", set([]string{"spec", "mode"}, "Dry"), []manifest.Problem{
			{Path: "spec.mode", Message: `supported values: "Send", "DryRun"`, Value: "Dry"},
		}},
		{"rule", set([]string{"spec", "message", "from", "address"}, "News <news@example.com>"), []manifest.Problem{{
			Path: "spec.message.from.address", Value: "News <news@example.com>",
			Message: "spec.message.from.address must be a plain address, like news@example.com; the display name goes into spec.message.from.name",
		}}},
		{"name", set([]string{"metadata", "name"}, "News!"), []manifest.Problem{{
			Path: "metadata.name", Value: "News!",
			Message: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with " +
				"an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var object map[string]any
			if err := yaml.Unmarshal([]byte(valid), &object); err != nil {
				t.Fatal(err)
			}
			test.mutate(object)
			got := schema.Apply(t.Context(), object)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	schema, err := crdschema.New()
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := yaml.Unmarshal([]byte(valid), &object); err != nil {
		t.Fatal(err)
	}
	schema.Apply(t.Context(), object)
	spec := object["spec"].(map[string]any)
	got := []any{spec["category"], spec["recipients"].(map[string]any)["format"], spec["message"].(map[string]any)["engine"]}
	if diff := cmp.Diff([]any{"Marketing", "CSV", "None"}, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}
