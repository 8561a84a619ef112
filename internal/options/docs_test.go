package options_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/settings.md instead of comparing them")

// The tables stand between these lines.
const (
	tablesBegin = "<!-- settings: begin (go test ./internal/options -update) -->\n"
	tablesEnd   = "<!-- settings: end -->\n"
)

// TestDocumentation holds docs/settings.md against the code: every setting has its place in the documentation.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "settings.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), tablesBegin)
	tables, tail, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines that enclose the tables", path)
	}
	want := renderTables()
	if *update {
		if err := os.WriteFile(path, []byte(head+tablesBegin+want+tablesEnd+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("%s is not what the code says; run go test ./internal/options -update (-want +got):\n%s", path, diff)
	}
}

func renderTables() string {
	var a all
	var text strings.Builder
	area := ""
	for _, s := range a.command().Settings() {
		if s.Area != area {
			area = s.Area
			fmt.Fprintf(&text, "\n### %s\n\n| variable | flag | default | meaning |\n|---|---|---|---|\n", area)
		}
		value := "none"
		switch {
		case s.Required:
			value = "required"
		case s.Default != "":
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&text, "| `%s` | `--%s` | %s | %s |\n", s.Variable, s.Flag, value, strings.NewReplacer("|", `\|`, "<", `\<`).Replace(s.Meaning))
	}
	return text.String() + "\n"
}
