package check_test

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// refusals are edits of the small campaign: what is written, and what instead of it.
var refusals = map[string][2]string{
	"fine":                  {"", ""},
	"unknown field":         {"subject:", "bodyText: News\n    subject:"},
	"unknown in a list":     {"        variables:", "        adress: ada@example.org\n        variables:"},
	"unknown in metadata":   {"{name: news}", "{name: news, lables: {a: b}}"},
	"name":                  {"{name: news}", "{name: News!}"},
	"label":                 {"{name: news}", "{name: news, labels: {a: b c}}"},
	"no spec.message":       {"  message:", "  massage:"},
	"no subject":            {"    subject: News for {{city}}\n", ""},
	"long subject":          {"subject: News", "subject: " + strings.Repeat("News", 300)},
	"subject of two lines":  {"subject: News for {{city}}", `subject: "a\nb"`},
	"sender with a name":    {"{address: news@example.com}", `{address: "News <news@example.com>"}`},
	"number":                {"spec:", "spec:\n  jobSize: many"},
	"small number":          {"spec:", "spec:\n  jobSize: 0"},
	"word":                  {"engine: Mustache", "engine: Handlebars"},
	"no body":               {"    html: \"HTML\"\n", ""},
	"two bodies":            {"html: \"HTML\"", "html: a\n    htmlFrom: {configMapKeyRef: {name: a, key: b}}"},
	"empty source":          {"html: \"HTML\"", "htmlFrom: {}"},
	"two lists":             {"    inline:", "    urlRef: {url: \"https://example.com/list.csv\"}\n    inline:"},
	"no list":               {"    inline:\n", "    inlines:\n"},
	"http":                  {"    inline:", "    urlRef: {url: \"http://example.com/list.csv\"}\n    inline:"},
	"headers":               {"html: \"HTML\"", "html: a\n    headers: {Bcc: eve@example.org}"},
	"header of two lines":   {"html: \"HTML\"", "html: a\n    headers: {X-A: \"a\\r\\nBcc: b\"}"},
	"attachment twice":      {"html: \"HTML\"", "html: a\n    attachments: [" + attached + ", " + attached + "]"},
	"attachment without":    {"html: \"HTML\"", "html: a\n    attachments: [{name: a.pdf, contentType: application/pdf}]"},
	"attachment of a type":  {"html: \"HTML\"", "html: a\n    attachments: [" + strings.Replace(attached, "application/pdf", "multipart/mixed", 1) + "]"},
	"no unsubscribing":      {"{mode: Managed}", "{mode: None}"},
	"external without link": {"{mode: Managed}", "{mode: External}"},
	"regular expression":    {"spec:", "spec:\n  failurePolicy: {rules: [{action: PauseCampaign, onReplies: {pattern: \"(a\"}}]}"},
	"text for a list":       {"    inline:\n", "    format: CSV\n    inline: ada@example.org\n    unused:\n"},
	"null":                  {"    from: {address: news@example.com}", "    from: null"},
	"yaml 1.1 word":         {"subject: News for {{city}}", "subject: yes"},
}

const attached = "{name: a.pdf, contentType: application/pdf, configMapKeyRef: {name: a, key: b}}"

// TestRefusedAlike has the API server refuse what lint refuses, at the same fields.
func TestRefusedAlike(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for _, name := range slices.Sorted(maps.Keys(refusals)) {
		edit := refusals[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(small, edit[0]) {
				t.Fatalf("%q is not in the manifest", edit[0])
			}
			text := strings.Replace(small, edit[0], edit[1], 1)
			set := parse(t, text)
			if len(set.Problems) > 0 {
				t.Fatal(set.Problems)
			}
			var here []string
			for _, f := range lint(t, set, opts(t)).Findings {
				if f.Rule == "InvalidField" || f.Rule == "UnknownField" {
					here = append(here, f.Path)
				}
			}
			object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(set.Campaigns[0].Object)}
			object.SetNamespace(namespace)
			there := refusedFields(t, cluster.Client, object)
			if accepted := name == "fine" || name == "null"; accepted != (len(there) == 0) {
				t.Errorf("the API server refuses the fields %q", there)
			}
			slices.Sort(here)
			if diff := cmp.Diff(there, slices.Compact(here)); diff != "" {
				t.Errorf("fields refused (-API server +lint):\n%s", diff)
			}
		})
	}
}

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

// refusedFields are those for which the API server refuses an object. Like kubectl, it is asked to refuse unknown fields;
// then it does not look any further, so that it is asked again.
func refusedFields(t *testing.T, c client.Client, object *unstructured.Unstructured) []string {
	t.Helper()
	var fields []string
	for _, validation := range []string{metav1.FieldValidationStrict, metav1.FieldValidationIgnore} {
		err := create(t.Context(), c, object.DeepCopy(), validation)
		status, isStatus := errors.AsType[*apierrors.StatusError](err)
		switch {
		case err == nil:
			continue
		case !isStatus:
			t.Fatal(err)
		}
		for _, match := range unknownField.FindAllStringSubmatch(err.Error(), -1) {
			fields = append(fields, match[1])
		}
		if details := status.Status().Details; details != nil {
			for _, cause := range details.Causes {
				if cause.Field != "" && cause.Field != "<nil>" {
					fields = append(fields, cause.Field)
				}
			}
		}
		if len(fields) == 0 {
			t.Fatalf("the API server refuses it without a field: %v", err)
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func create(ctx context.Context, c client.Client, object *unstructured.Unstructured, validation string) error {
	return c.Create(ctx, object, client.DryRunAll, client.FieldValidation(validation))
}
