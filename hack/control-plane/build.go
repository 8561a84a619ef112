package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// binary is one program and its main package.
type binary struct{ name, pkg string }

// target is what one module contributes.
type target struct {
	title    string
	usual    string // how long a build from nothing takes on two cores
	dir      string // the module, below the source directory
	binaries []binary
	flags    []string // for go build
}

func targets(want pins, optimized bool) []target {
	parts := strings.SplitN(strings.TrimPrefix(want.kubernetes, "v"), ".", 3)
	const version = "k8s.io/component-base/version."
	kubernetes := target{
		title: "Kubernetes " + want.kubernetes, usual: "8 to 15 minutes", dir: "kubernetes",
		binaries: []binary{
			{"kube-apiserver", kubernetesModule + "/cmd/kube-apiserver"},
			{"kubectl", kubernetesModule + "/cmd/kubectl"},
		},
		flags: []string{
			// Without a version, kubectl can't talk to the server that it is compared with.
			fmt.Sprintf("-ldflags=-X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s",
				version, want.kubernetes, parts[0], parts[1]),
		},
	}
	if !optimized { // a third off the build, and fast enough for an API server that serves tests
		kubernetes.usual, kubernetes.flags = "5 to 8 minutes", append(kubernetes.flags, "-gcflags=all=-N -l")
	}
	return []target{
		{
			title: "etcd " + want.etcd, usual: "about a minute", dir: "etcd",
			binaries: []binary{{"etcd", etcdModule}},
		},
		kubernetes,
	}
}

// build compiles the pinned releases from their modules into s.bin.
func build(ctx context.Context, s settings, want pins, out io.Writer) error {
	fmt.Fprintf(out, "Control plane: building %s from source into %s, once.\n", want, s.bin)
	scratch, err := os.MkdirTemp(s.bin, ".build-")
	if err != nil {
		return fmt.Errorf("making a directory for the build: %w", err)
	}
	defer removeAll(scratch)
	for _, t := range targets(want, s.optimized) {
		if err := t.build(ctx, filepath.Join(s.source, t.dir), scratch, out); err != nil {
			return fmt.Errorf("building %s: %w", t.title, err)
		}
	}
	return place(scratch, s.bin)
}

func (t target) build(ctx context.Context, dir, into string, out io.Writer) error {
	fmt.Fprintf(out, "Control plane: fetching the sources of %s …\n", t.title)
	total, err := t.count(ctx, dir)
	if err != nil {
		return err
	}
	bar := newProgress(out, t.title, t.usual, total)
	defer bar.close()
	// One binary after the other, as go build names a file only for a single package: the second finds most of
	// what it needs compiled.
	for _, b := range t.binaries {
		args := append([]string{"build", "-v", "-mod=readonly", "-o", filepath.Join(into, b.name)}, t.flags...)
		if err := follow(goCommand(ctx, dir, append(args, b.pkg)...), bar.step); err != nil {
			return err
		}
	}
	bar.close()
	fmt.Fprintf(out, "Control plane: %s is built: %s\n", t.title, bar.summary())
	return nil
}

// count asks how many packages the build has; it also downloads them.
func (t target) count(ctx context.Context, dir string) (int, error) {
	args := []string{"list", "-mod=readonly", "-deps"}
	for _, b := range t.binaries {
		args = append(args, b.pkg)
	}
	cmd := goCommand(ctx, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("fetching the sources: %w\n%s", err, lastLines(stderr.String(), 20))
	}
	return bytes.Count(text, []byte("\n")), nil
}

// goCommand prepares a go command in a module's directory, deaf to the flags and workspaces of whoever calls.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// Interrupted, go ends its compilers and leaves no half-written cache; killed, it could not.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "PWD="+dir)
	return cmd
}

// follow runs a build and hands each package that it names to step. What is not a package's name is a message of the
// compiler's, kept for the error.
func follow(cmd *exec.Cmd, step func(pkg string)) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("following the build: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the build: %w", err)
	}
	var messages strings.Builder
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.ContainsAny(line, " \t:#") {
			messages.WriteString(line + "\n")
		} else {
			step(line)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(messages.String(), 20))
	}
	return nil
}

// lastLines returns the end of a text: what failed is said last.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
