package telemetry_test

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cartero-mail/cartero/internal/telemetry"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md instead of comparing them")

// The tables stand between these lines.
const (
	tablesBegin = "<!-- metrics: begin (go test ./internal/telemetry -update) -->\n"
	tablesEnd   = "<!-- metrics: end -->\n"
)

// groups are what registers metrics, and who does.
var groups = []struct {
	constructor, title string
	register           func(prometheus.Registerer)
}{
	{"NewWorkerMetrics", "Delivery: `worker`, and `facade` with a relay", func(r prometheus.Registerer) { telemetry.NewWorkerMetrics(r) }},
	{"NewRelayMetrics", "Relay: `worker`, and `facade` with a relay", func(r prometheus.Registerer) { telemetry.NewRelayMetrics(r) }},
	{"NewOutboxMetrics", "Outbox: `operator`, `worker`, `facade`", func(r prometheus.Registerer) { telemetry.NewOutboxMetrics(r) }},
	{"NewQueueMetrics", "Queue: `operator`, `worker`, `facade`", func(r prometheus.Registerer) { telemetry.NewQueueMetrics(r, nothing) }},
	{"NewClockMetrics", "Clock: `operator`, `worker`, `facade`", func(r prometheus.Registerer) {
		telemetry.NewClockMetrics(r, func() float64 { return 0 })
	}},
	{"NewCampaignMetrics", "Campaigns: `operator`", func(r prometheus.Registerer) { telemetry.NewCampaignMetrics(r, nothing) }},
	{"NewHTTPMetrics", "HTTP: `facade`", func(r prometheus.Registerer) { telemetry.NewHTTPMetrics(r) }},
}

func nothing(context.Context) (map[string]float64, error) { return nil, nil } //nolint:nilnil // no values

// TestDocumentation holds docs/metrics.md against what is registered.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "metrics.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), tablesBegin)
	tables, tail, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines that enclose the tables", path)
	}
	var want strings.Builder
	for _, group := range groups {
		fmt.Fprintf(&want, "\n### %s\n\n| metric | labels | meaning |\n|---|---|---|\n", group.title)
		for _, row := range describe(t, group.register) {
			want.WriteString(row)
		}
	}
	want.WriteString("\n")
	if *update {
		if err := os.WriteFile(path, []byte(head+tablesBegin+want.String()+tablesEnd+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), tables); diff != "" {
		t.Errorf("%s is not what the code says; run go test ./internal/telemetry -update (-want +got):\n%s", path, diff)
	}
}

// described is how a metric presents itself.
var described = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)", .*variableLabels: \{([^}]*)\}`)

// describe returns a row for each metric, in the order of names.
func describe(t *testing.T, register func(prometheus.Registerer)) []string {
	t.Helper()
	registry := prometheus.NewRegistry()
	register(registry)
	all := make(chan *prometheus.Desc, 1000)
	registry.Describe(all)
	close(all)
	var rows []string
	for desc := range all {
		parts := described.FindStringSubmatch(desc.String())
		if parts == nil {
			t.Fatalf("a metric that describes itself otherwise: %s", desc)
		}
		labels := "none"
		if parts[3] != "" {
			labels = "`" + strings.ReplaceAll(parts[3], ",", "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", parts[1], labels, parts[2]))
	}
	slices.Sort(rows)
	return rows
}

// TestAllMetricsAreInGroups finds what this package registers and the table above does not know.
func TestAllMetricsAreInGroups(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found, known []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "New") && strings.HasSuffix(f.Name.Name, "Metrics") {
				found = append(found, f.Name.Name)
			}
		}
	}
	for _, group := range groups {
		known = append(known, group.constructor)
	}
	slices.Sort(found)
	slices.Sort(known)
	if diff := cmp.Diff(found, known); diff != "" {
		t.Errorf("what registers metrics, and what the documentation knows of (-want +got):\n%s", diff)
	}
}
