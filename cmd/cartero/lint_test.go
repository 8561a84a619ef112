//go:build !nodev

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const lintManifest = `apiVersion: mail.cartero.dev/v1alpha1
kind: EmailCampaign
metadata: {name: news}
spec:
  message:
    engine: Mustache
    from: {address: news@example.com}
    subject: News for {{city}}
    html: <p>News</p>
  recipients:
    secretKeyRef: {name: readers, key: list.csv}
`

// runCommand runs the program with these arguments.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), cli{args: args, env: func(string) (string, bool) { return "", false }, stdout: &out, stderr: &errs})
	return code, out.String(), errs.String()
}

// lintFiles writes a manifest, and two lists of which the second lacks what the manifest needs.
func lintFiles(t *testing.T) (manifest, good, bad string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"news.yaml": lintManifest, "good.csv": "email,city\nada@example.org,London\n", "bad.csv": "email,town\nada@example.org,London\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "news.yaml"), filepath.Join(dir, "good.csv"), filepath.Join(dir, "bad.csv")
}

func TestLintExitCodes(t *testing.T) {
	t.Parallel()
	manifest, good, bad := lintFiles(t)
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"clean", []string{"lint", manifest, "--list", good, "--strict"}, exitOK},
		{"warning", []string{"lint", manifest}, exitOK},
		{"strict", []string{"lint", "--strict", manifest}, exitFailed},
		{"error", []string{"lint", manifest, "--list=" + bad}, exitFailed},
		{"no files", []string{"lint"}, exitUsage},
		{"no such file", []string{"lint", manifest + ".missing"}, exitUsage},
		{"no such list", []string{"lint", manifest, "--list", bad + ".missing"}, exitUsage},
		{"no such flag", []string{"lint", manifest, "--colour"}, exitUsage},
		{"no such output", []string{"lint", manifest, "--output", "yaml"}, exitUsage},
		{"help", []string{"lint", "--help"}, exitOK},
		{"preview", []string{"preview", manifest, "--list", good}, exitOK},
		{"preview of nobody", []string{"preview", manifest, "--list", good, "--line", "7"}, exitFailed},
		{"preview that can't be made", []string{"preview", manifest, "--list", bad}, exitFailed},
		{"preview of a line that is none", []string{"preview", manifest, "--line", "x"}, exitUsage},
		{"preview of two", []string{"preview", manifest, "--line", "2", "--recipient", "ada@example.org"}, exitUsage},
		{"preview to a browser as text", []string{"preview", manifest, "--open", "--output", "text"}, exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if code, stdout, stderr := runCommand(t, test.args...); code != test.want {
				t.Errorf("exit code %d, want %d\n%s%s", code, test.want, stdout, stderr)
			}
		})
	}
}

func TestLintJSON(t *testing.T) {
	t.Parallel()
	manifest, _, bad := lintFiles(t)
	_, stdout, _ := runCommand(t, "lint", manifest, "--list", bad, "--output", "json")
	var got struct {
		Version, Errors int
		Findings        []struct {
			Rule, Path   string
			Line, Column int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	last := got.Findings[len(got.Findings)-1]
	if got.Version != 1 || got.Errors != 1 || last.Rule != "InvalidTemplate" || last.Path != "spec.message.subject" || last.Line != 8 || last.Column != 23 {
		t.Errorf("report %+v", got)
	}
	if strings.Contains(stdout, "ada@") {
		t.Errorf("the report quotes an address:\n%s", stdout)
	}
}

func TestPreviewFiles(t *testing.T) {
	t.Parallel()
	manifest, good, _ := lintFiles(t)
	for name, want := range map[string]string{
		"mail.eml": "Subject: News for London\r\n", "mail.html": "<p>News</p>", "mail.txt": "News",
	} {
		path := filepath.Join(t.TempDir(), name)
		if code, stdout, stderr := runCommand(t, "preview", manifest, "--list", good, "-o", path); code != exitOK || stdout != "" {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s:\n%s", name, text)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("-rw-------", info.Mode().String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
