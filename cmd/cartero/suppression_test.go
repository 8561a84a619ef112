package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/store"
)

// suppressionDatabase is the environment of an empty database.
func suppressionDatabase(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{"DATABASE_URL": "sqlite://" + filepath.Join(t.TempDir(), "cartero.db")}
	db, err := store.Open(t.Context(), env["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return env
}

func suppressionCommand(t *testing.T, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), cli{
		args: append([]string{"suppression"}, args...), stdout: &stdout, stderr: &stderr,
		env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
	})
	return code, stdout.String(), stderr.String()
}

// exported are the entries of `cartero suppression export`, without their times.
func exported(t *testing.T, env map[string]string) []string {
	t.Helper()
	code, out, errs := suppressionCommand(t, env, "export")
	if code != exitOK {
		t.Fatal(errs)
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || !slices.Equal(rows[0], []string{"address", "scope", "reason", "createdAt"}) {
		t.Fatalf("the export is not CSV (%v): %s", err, out)
	}
	all := []string{}
	for _, row := range rows[1:] {
		all = append(all, strings.Join(row[:3], " "))
	}
	return all
}

func TestSuppressionAddAndRemove(t *testing.T) {
	t.Parallel()
	env := suppressionDatabase(t)
	for _, step := range []struct {
		line, out string
		want      []string
	}{
		{"add Ada@Example.com", "it gets nothing of everything any more", []string{"ada@example.com  Manual"}},
		{"add ada@example.com --reason complaint", "stays as it is", []string{"ada@example.com  Manual"}},
		{"add --scope News.example.com --reason=Unsubscribed ada@example.com", "nothing of news.example.com", []string{"ada@example.com  Manual", "ada@example.com news.example.com Unsubscribed"}},
		{"add bob@example.com --output json", "{\n  \"added\": 1\n}\n", []string{"ada@example.com  Manual", "ada@example.com news.example.com Unsubscribed", "bob@example.com  Manual"}},
		{"list ADA@example.com", "ada@example.com  news.example.com  Unsubscribed", nil},
		{"list --limit 1", "… and more", nil},
		{"list --output json --scope news.example.com", `"source": "cartero suppression add"`, nil},
		{"remove ada@example.com --scope=", "Manual for everything", []string{"ada@example.com news.example.com Unsubscribed", "bob@example.com  Manual"}},
		{"remove ada@example.com", "Unsubscribed for news.example.com", []string{"bob@example.com  Manual"}},
		{"remove ada@example.com", "was not on the list", []string{"bob@example.com  Manual"}},
	} {
		code, out, errs := suppressionCommand(t, env, strings.Fields(step.line)...)
		if code != exitOK || errs != "" || !strings.Contains(out, step.out) {
			t.Errorf("%s: code %d, stderr %q, stdout %q", step.line, code, errs, out)
		}
		if diff := cmp.Diff(step.want, exported(t, env)); step.want != nil && diff != "" {
			t.Errorf("%s: list (-want +got):\n%s", step.line, diff)
		}
	}
}

func TestSuppressionImport(t *testing.T) {
	t.Parallel()
	const file = "\ufeffreason,E-Mail,note,ListID,createdAt\r\n" +
		"complaint,Ada@Example.com,\"a, b\",,2026-03-04T05:06:07.089Z\n" +
		"\n" +
		",bob@bücher.example,,News.example.com,\n" +
		"Manual,nobody,,,\n" +
		"Whim,eve@example.com,,,\n" +
		",eve@example.com,,not a list,\n" +
		",eve@example.com,,,yesterday\n" +
		",\"eve@example.com,,,\n" +
		"Unsubscribed,ada@example.com,twice,,\n"
	path := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	env := suppressionDatabase(t)
	want := imported{Entries: 3, Added: 2, Known: 1, Invalid: 5}
	for i, args := range [][]string{{"--dry-run"}, nil, nil} {
		code, out, errs := suppressionCommand(t, env, append([]string{"import", path, "--output", "json"}, args...)...)
		var got imported
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitFailed || !strings.Contains(errs, "5 were left out") {
			t.Fatalf("code %d, stderr %q: %v", code, errs, err)
		}
		lines := map[string]string{}
		for _, d := range got.Dropped {
			lines[d.Reason] = fmt.Sprint(d.Lines)
		}
		if diff := cmp.Diff(map[string]string{"NoAt": "[5]", "Reason": "[6]", "Scope": "[7]", "CreatedAt": "[8]", "Syntax": "[9]"}, lines); diff != "" {
			t.Errorf("lines that are none (-want +got):\n%s", diff)
		}
		want.DryRun, got.Dropped = i == 0, nil
		if i == 2 {
			want.Added, want.Known = 0, 3
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("import %d (-want +got):\n%s", i, diff)
		}
		if i == 0 && len(exported(t, env)) > 0 {
			t.Error("a dry run has added entries")
		}
	}
	if diff := cmp.Diff([]string{"ada@example.com  Complaint", "bob@xn--bcher-kva.example news.example.com Manual"}, exported(t, env)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

// Files of other programs name and separate their columns in their own ways, and some are no CSV at all.
func TestSuppressionImportOfOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, out, errs string }{
		"a column called Email Address": {"\ufeffEmail Address,First Name\r\nada@example.com,Ada\r\n", "1 of 1 entries", ""},
		"semicolons and days":           {"email;createdAt\nada@example.com;2024-01-02\nbob@example.com;2024-01-02 03:04:05\n", "2 of 2 entries", ""},
		"line ends of the Mac":          {"email\rada@example.com\r", "1 of 1 entries", ""},
		"told in words": {
			"email,reason\nnobody,\nada@example.com,spam\n",
			"Left out, of the address: it has no @: line 2\nLeft out, the reason is none of BadMailbox", "2 were left out",
		},
		"unknown columns": {"correo,nombre\nada@example.com,Ada\n", "", "line 1 neither names the columns nor begins with an address"},
		"UTF-16":          {"\xff\xfee\x00m\x00", "", "line 1: the list is UTF-16: save it as UTF-8"},
		"a long line":     {"email\n" + strings.Repeat("x", 70<<10), "", "line 2 is longer than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "list.csv")
			if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := suppressionCommand(t, suppressionDatabase(t), "import", "--dry-run", path)
			if (code == exitOK) != (test.errs == "") || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
}

// What is exported is imported as it was, times and all; without a header the columns are in this order.
func TestSuppressionRoundTrip(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&file, "p%05d@example.com,%s,%s,2026-03-04T05:06:%02d.089Z\n", i, []string{"", "news.example.com"}[i%2], []string{"Manual", "BadMailbox", "Disabled"}[i%3], i%60)
	}
	path := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	env := suppressionDatabase(t)
	code, out, errs := suppressionCommand(t, env, "import", path)
	if code != exitOK || errs != "" || out != "2500 of 2500 entries were added, 0 are there already.\n" {
		t.Fatalf("code %d, stderr %q, stdout %q", code, errs, out)
	}
	_, out, _ = suppressionCommand(t, env, "export")
	if diff := cmp.Diff("address,scope,reason,createdAt\n"+file.String(), out); diff != "" {
		t.Errorf("the export (-want +got):\n%s", diff)
	}
}

func TestSuppressionRefuses(t *testing.T) {
	t.Parallel()
	env := suppressionDatabase(t)
	for line, want := range map[string]string{
		"":                                      "arguments: say what to do",
		"purge":                                 "arguments: say what to do",
		"add":                                   "arguments: add needs an argument",
		"add a@example.com b@example.com":       "arguments: there are too many",
		"export all":                            "arguments: there are too many",
		"add nobody":                            "ADDRESS: invalid address: it has no @",
		"add a@example.com --scope news":        "--scope: must be the listID",
		"add a@example.com --reason=whim":       "--reason: must be BadMailbox",
		"list --limit 0":                        "--limit: must be",
		"list --output yaml":                    "--output: must be text or json",
		"list --dry-run":                        "--dry-run: is for import only",
		"list --colour=red":                     "--colour: there is no such flag",
		"export --database-url=redis://x --x=1": "DATABASE_URL: must be",
	} {
		code, out, errs := suppressionCommand(t, env, strings.Fields(line)...)
		if code != exitUsage || out != "" || !strings.Contains(errs, want) || !strings.Contains(errs, "cartero suppression --help") {
			t.Errorf("%q: code %d, stdout %q, stderr %q", line, code, out, errs)
		}
	}
	code, out, _ := suppressionCommand(t, env, "import", "--help")
	if code != exitOK || !strings.Contains(out, "DATABASE_URL") || !strings.Contains(out, "cartero suppression export") {
		t.Errorf("--help: code %d, %s", code, out)
	}
	code, _, errs := suppressionCommand(t, env, "import", filepath.Join(t.TempDir(), "missing.csv"))
	if code != exitFailed || !strings.Contains(errs, "opening the file") {
		t.Errorf("a missing file: code %d, %s", code, errs)
	}
	fresh := map[string]string{"DATABASE_URL": "sqlite://" + filepath.Join(t.TempDir(), "fresh.db")}
	code, _, errs = suppressionCommand(t, fresh, "list")
	if code != exitFailed || !strings.Contains(errs, "cartero migrate") {
		t.Errorf("a database without tables: code %d, %s", code, errs)
	}
}
