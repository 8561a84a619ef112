package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// TestTroubleshooting: every reason that a condition can have has its heading there, and no other has.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	want := constants(t, "Reason")
	var got []string
	for _, text := range headings(pages(t)["docs/troubleshooting.md"]) {
		if name, ok := strings.CutPrefix(text, "`"); ok {
			got = append(got, strings.TrimSuffix(name, "`"))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Reasons with a heading in docs/troubleshooting.md (-want +got):\n%s", diff)
	}
}

// TestVerbs: every annotation is described.
func TestVerbs(t *testing.T) {
	t.Parallel()
	page := pages(t)["docs/verbs.md"]
	for _, annotation := range constants(t, "Annotation") {
		if !strings.Contains(page, annotation) {
			t.Errorf("docs/verbs.md does not mention %s", annotation)
		}
	}
}

// constants are the values of the API's constants whose names begin so, sorted.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	var values []string
	for _, file := range []string{"conditions.go", "annotations.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(kubetest.Root(t), "api/v1alpha1", file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
			return true
		})
	}
	slices.Sort(values)
	return values
}
