package v1alpha1_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// maxCRD is what the annotation of a client-side apply holds.
const maxCRD = 256 << 10

func readCRD(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kubetest.Root(t), "config/crd/bases/mail.cartero.dev_emailcampaigns.yaml"))
	if err != nil {
		t.Fatalf("Reading the CRD: %v", err)
	}
	return text
}

// schema is what this test looks at in an OpenAPI v3 schema.
type schema struct {
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Description          string            `json:"description"`
	Enum                 []any             `json:"enum"`
	MaxLength            *int              `json:"maxLength"`
	MaxItems             *int              `json:"maxItems"`
	MaxProperties        *int              `json:"maxProperties"`
	ListType             string            `json:"x-kubernetes-list-type"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties *schema           `json:"additionalProperties"`
}

// TestSchema_Bounded: every string, list and map has an upper bound, every list says how it is merged, every field says
// what it means, and the whole can be applied.
func TestSchema_Bounded(t *testing.T) {
	t.Parallel()
	text := readCRD(t)
	if len(text) > maxCRD {
		t.Errorf("The CRD has %d bytes; want at most %d", len(text), maxCRD)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatalf("Reading the CRD: %v", err)
	}
	if len(crd.Spec.Versions) != 1 {
		t.Fatalf("The CRD has %d versions; want 1", len(crd.Spec.Versions))
	}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	checkBounded(t, "spec", root.Properties["spec"])
	checkBounded(t, "status", root.Properties["status"])
}

func checkBounded(t *testing.T, path string, s schema) {
	t.Helper()
	switch s.Type {
	case "string":
		if s.MaxLength == nil && s.Enum == nil && s.Format != "date-time" {
			t.Errorf("%s is a string without maxLength", path)
		}
	case "array":
		if s.MaxItems == nil || s.ListType == "" {
			t.Errorf("%s is a list without maxItems or list type", path)
		}
		checkBounded(t, path+"[]", *s.Items)
	case "object":
		// The values of maps of strings are bounded by rules, which the tests on the API server show.
		if s.AdditionalProperties != nil && s.MaxProperties == nil {
			t.Errorf("%s is a map without maxProperties", path)
		}
		for name, property := range s.Properties {
			if property.Description == "" {
				t.Errorf("%s.%s has no description", path, name)
			}
			checkBounded(t, path+"."+name, property)
		}
	}
}

func TestConditionAccessors(t *testing.T) {
	t.Parallel()
	want := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	var campaign v1alpha1.EmailCampaign
	campaign.SetConditions(want)
	if diff := cmp.Diff(want, campaign.GetConditions()); diff != "" {
		t.Errorf("Conditions (-want +got):\n%s", diff)
	}
}
