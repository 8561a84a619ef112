package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPinned(t *testing.T) {
	t.Parallel()
	const block = "module m\n\nrequire (\n\tk8s.io/api v0.36.3\n\tk8s.io/kubernetes v1.36.3 // pinned\n)\n"
	for name, tc := range map[string]struct{ gomod, module, want string }{
		"in a block":      {block, "k8s.io/kubernetes", "v1.36.3"},
		"on its own line": {"module m\n\nrequire go.etcd.io/etcd/server/v3 v3.7.3\n", "go.etcd.io/etcd/server/v3", "v3.7.3"},
		"pre-release":     {"require k8s.io/kubernetes v1.37.0-rc.1\n", "k8s.io/kubernetes", "v1.37.0-rc.1"},
		"a prefix only":   {"require (\n\tk8s.io/kubernetes-more v1.0.0\n)\n", "k8s.io/kubernetes", ""},
		"absent":          {"module m\n", "k8s.io/kubernetes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pinned(tc.gomod, tc.module)
			if (err != nil) != (tc.want == "") {
				t.Fatalf("pinned() error = %v", err)
			}
			if got != tc.want {
				t.Errorf("pinned() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReadPinsOfThisRepository(t *testing.T) {
	t.Parallel()
	got, err := readPins(".")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.kubernetes, "v1.") || !strings.HasPrefix(got.etcd, "v3.") || len(got.sum) != 16 {
		t.Errorf("readPins() = %+v", got)
	}
	if want := "1.36.x"; strings.HasPrefix(got.kubernetes, "v1.36.") && got.series() != want {
		t.Errorf("series() = %q, want %q", got.series(), want)
	}
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	want := pins{kubernetes: "v1.36.3", etcd: "v3.7.3", sum: "0123456789abcdef"}
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, bin string)
		want  bool
	}{
		"untouched": {func(*testing.T, string) {}, true},
		"no stamp":  {func(t *testing.T, bin string) { t.Helper(); remove(t, bin, stampName) }, false},
		"no etcd":   {func(t *testing.T, bin string) { t.Helper(); remove(t, bin, "etcd") }, false},
		"empty kubectl": {func(t *testing.T, bin string) {
			t.Helper()
			if err := os.Truncate(filepath.Join(bin, "kubectl"), 0); err != nil {
				t.Fatal(err)
			}
		}, false},
		"another release": {func(t *testing.T, bin string) {
			t.Helper()
			older := want
			older.kubernetes = "v1.36.2"
			if err := writeStamp(bin, older, "built"); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			for _, binary := range binaries {
				write(t, filepath.Join(bin, binary), "#!/bin/sh\n", 0o755)
			}
			if err := writeStamp(bin, want, "built"); err != nil {
				t.Fatal(err)
			}
			tc.spoil(t, bin)
			if got := current(bin, want); got != tc.want {
				t.Errorf("current() = %t, want %t", got, tc.want)
			}
		})
	}
}

// Not parallel, nor its cases: a process forked by another test while a script is open for writing keeps it busy, and
// the kernel then refuses to run it (golang/go#22315).
//
//nolint:paralleltest // for that reason
func TestAdoptAsksTheBinaries(t *testing.T) {
	want := pins{kubernetes: "v1.36.3", etcd: "v3.7.3"}
	for name, tc := range map[string]struct {
		kubectl string
		want    bool
	}{
		"the wanted releases": {"Client Version: v1.36.3", true},
		"another kubectl":     {"Client Version: v1.36.30", false},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			for binary, says := range map[string]string{
				"etcd": "etcd Version: 3.7.3", "kube-apiserver": "Kubernetes v1.36.3", "kubectl": tc.kubectl,
			} {
				write(t, filepath.Join(bin, binary), "#!/bin/sh\necho '"+says+"'\n", 0o755)
			}
			if got := adopt(t.Context(), bin, want); got != tc.want {
				t.Errorf("adopt() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestFollowTellsPackagesFromMessages(t *testing.T) {
	t.Parallel()
	var packages []string
	step := func(pkg string) { packages = append(packages, pkg) }
	script := "printf 'internal/abi\\nk8s.io/api/core/v1\\n# k8s.io/api\\nfile.go:1: no such thing\\n' >&2; exit 1"
	err := follow(exec.CommandContext(t.Context(), "sh", "-c", script), step)
	if err == nil || !strings.Contains(err.Error(), "file.go:1: no such thing") {
		t.Errorf("follow() error = %v, want the compiler's message in it", err)
	}
	if diff := cmp.Diff([]string{"internal/abi", "k8s.io/api/core/v1"}, packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestProgressWithoutATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	bar := newProgress(&out, "etcd", "a minute", 20)
	start := bar.started
	for i := range 20 {
		bar.now = func() time.Time { return start.Add(time.Duration(i+1) * time.Second) }
		bar.step(strings.Repeat("x", i+1))
		bar.step("x") // known already, as when a second binary shares it
	}
	bar.close()
	bar.close()
	want := []string{"10 %", "20 %", "30 %", "40 %", "50 %", "60 %", "70 %", "80 %", "90 %"}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		if !strings.Contains(line, "etcd: "+want[i]+" (") {
			t.Errorf("line %d = %q, want %s in it", i, line, want[i])
		}
	}
	if got, want := bar.summary(), "20 of 20 packages compiled, the others were cached, 20s"; got != want {
		t.Errorf("summary() = %q, want %q", got, want)
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown way":  {"-from", "thin-air"},
		"an argument":  {"now"},
		"unknown flag": {"-nothing"},
		"no modules":   {"-source", "nowhere", "-bin", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := run(t.Context(), args, &out); err == nil {
				t.Errorf("run(%q) succeeded, want an error", args)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
