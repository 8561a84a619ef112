package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/manifest"
)

const text = `# Two documents.
---
apiVersion: v1
kind: ConfigMap
metadata: {name: letter}
data:
  literal.txt: |

    first
      indented
  quoted.txt: "one line"
  plain.txt: one line
  folded.txt: >-
    two
    lines
  big-indent.txt: |2
      four
--- # the second
apiVersion: v1
kind: List
items:
- &item
  apiVersion: mail.cartero.dev/v1alpha1
  kind: EmailCampaign
  metadata:
    name: news
  spec:
    message: {headers: {X-Campaign: autumn}}
    recipients:
      inline:
      - address: ada@example.org
- <<: *item
  metadata: {name: other, namespace: elsewhere}
`

func at(line, column int) manifest.Position {
	return manifest.Position{File: "f.yaml", Line: line, Column: column}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	documents, problems := manifest.Parse("f.yaml", []byte(text))
	if len(problems) > 0 || len(documents) != 3 {
		t.Fatalf("%d documents, problems %v", len(documents), problems)
	}
	got := map[string]manifest.Position{}
	for i, paths := range [][]string{
		{"", "data[literal.txt]", "metadata.name", "metadata.namespace"},
		{"spec.message.headers.X-Campaign", "spec.message.headers[X-Campaign]", "spec.recipients.inline[0].address", "spec.recipients.inline[0].name", "[", "spec..[x"},
		{"metadata.name", "spec.message.headers"},
	} {
		for _, path := range paths {
			got[string(rune('0'+i))+" "+path] = documents[i].Position(path)
		}
	}
	got["literal"] = documents[0].InText("data[literal.txt]", 3, 5)
	got["literal, indented"] = documents[0].InText("data[literal.txt]", 2, 3)
	got["quoted"] = documents[0].InText("data[quoted.txt]", 1, 5)
	got["plain"] = documents[0].InText("data[plain.txt]", 1, 5)
	got["folded"] = documents[0].InText("data[folded.txt]", 1, 9)
	got["indicator"] = documents[0].InText("data[big-indent.txt]", 1, 3)
	want := map[string]manifest.Position{
		"0 ":                                  at(3, 1),
		"0 data[literal.txt]":                 at(7, 3),
		"0 metadata.name":                     at(5, 12),
		"0 metadata.namespace":                at(5, 1),
		"1 spec.message.headers.X-Campaign":   at(28, 25),
		"1 spec.message.headers[X-Campaign]":  at(28, 25),
		"1 spec.recipients.inline[0].address": at(31, 9),
		"1 spec.recipients.inline[0].name":    at(31, 9),
		"1 [":                                 at(22, 3),
		"1 spec..[x":                          at(27, 3),
		"2 metadata.name":                     at(33, 14),
		"2 spec.message.headers":              at(28, 15),
		"literal":                             at(10, 9),
		"literal, indented":                   at(9, 7),
		"quoted":                              at(11, 20),
		"plain":                               at(12, 18),
		"folded":                              at(13, 3),
		"indicator":                           at(17, 7),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	if documents[2].Name != "other" || documents[2].Namespace != "elsewhere" || documents[2].Kind != "EmailCampaign" {
		t.Errorf("third document: %+v", documents[2])
	}
}

// TestMerges has merges that would take forever if each were followed.
func TestMerges(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: X\na0: &a0 {b: c}\n")
	for i := 1; i < 12; i++ {
		n, before := string(rune('a'+i)), "a0"
		if i > 1 {
			before = string(rune('a' + i - 1))
		}
		b.WriteString(n + "x: &" + n + " {<<: [" + strings.Repeat("*"+before+", ", 3) + "*" + before + "]}\n")
	}
	documents, problems := manifest.Parse("f.yaml", []byte(b.String()))
	for _, d := range documents {
		d.Position("lx.missing")
	}
	if len(documents)+len(problems) != 1 {
		t.Errorf("%d documents, %d problems", len(documents), len(problems))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text, "data[literal.txt]", 1, 1)
	f.Add("a: &a [*a]", "a[0][0]", 1, 1)
	f.Add("a: |+\n\n\n", "a", 3, 3)
	f.Add("{\"kind\": \"XList\", \"items\": [{}, 1]}", "items", 1, 1)
	f.Fuzz(func(t *testing.T, text, path string, line, column int) {
		documents, _ := manifest.Parse("f.yaml", []byte(text))
		lines := strings.Count(text, "\n") + 1
		for _, d := range documents {
			if p := d.Position(path); p.Line < 1 || p.Line > lines || p.Column < 1 {
				t.Errorf("%q is at %+v of %d lines", path, p, lines)
			}
			d.InText(path, line, column)
		}
	})
}
