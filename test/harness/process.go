package harness

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// build is a binary that is built once for the test binary.
type build struct {
	sync.Once

	path   string
	output []byte
	err    error
}

var built, builtImage, builtFailpoints build

// Binary builds cartero, once for the test binary, and returns its path. With -short it skips the test.
func Binary(tb testing.TB) string {
	tb.Helper()
	return built.binary(tb, "cartero", "go", "build", "-o", "OUTPUT", "./cmd/cartero")
}

// ImageBinary is Binary for what the container image holds: without development stack, linked otherwise.
func ImageBinary(tb testing.TB) string {
	tb.Helper()
	return builtImage.binary(tb, "cartero-image", "hack/image/build", "OUTPUT")
}

// FailpointBinary is Binary for what goes by the plans of internal/failpoint.
func FailpointBinary(tb testing.TB) string {
	tb.Helper()
	return builtFailpoints.binary(tb, "cartero-failpoints", "go", "build", "-tags", "failpoints", "-o", "OUTPUT", "./cmd/cartero")
}

// binary runs the command in the repository's root, OUTPUT being where the binary with this name goes.
func (b *build) binary(tb testing.TB, name string, command ...string) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("runs the whole program")
	}
	if guarded == "" {
		tb.Fatal("the harness needs a TestMain that calls harness.Main")
	}
	b.Do(func() {
		b.path = filepath.Join(guarded, "bin", name)
		command[slices.Index(command, "OUTPUT")] = b.path
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = kubetest.Root(tb)
		b.output, b.err = cmd.CombinedOutput()
	})
	if b.err != nil {
		tb.Fatalf("Building %s: %v\n%s", name, b.err, b.output)
	}
	return b.path
}

// Env is the environment of a process.
type Env map[string]string

// With returns a copy with more variables, or other values.
func (e Env) With(more Env) Env {
	all := Env{}
	for _, from := range []Env{e, more} {
		maps.Copy(all, from)
	}
	return all
}

// Process is a cartero that was started.
type Process struct {
	tb     testing.TB
	name   string
	cmd    *exec.Cmd
	output string // path of the file with what it said
	ended  chan struct{}
}

// Start starts `cartero args…` with env alone as its settings, in a process group of its own. At the end of the test it
// is killed, if it still runs, and what it said is shown if the test has failed.
func Start(tb testing.TB, env Env, args ...string) *Process {
	tb.Helper()
	return startBinary(tb, Binary(tb), env, args...)
}

func startBinary(tb testing.TB, binary string, env Env, args ...string) *Process {
	tb.Helper()
	output, err := os.CreateTemp(tb.TempDir(), "output-")
	if err != nil {
		tb.Fatalf("Making a file for the output: %v", err)
	}
	defer output.Close() // the process has its own

	p := &Process{tb: tb, name: strings.Join(args, " "), output: output.Name(), ended: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + guarded, "HOME=" + guarded}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Dir = guarded
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("Starting cartero %s: %v", p.name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code says it
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("cartero %s (process %d) said:\n%s", p.name, p.cmd.Process.Pid, p.Output())
		}
	})
	return p
}

// Output is what the process has said so far, on both of its outputs.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(text)
}

// Await waits until the output contains the text, and returns the first line with it. The test fails if the process ends
// without.
func (p *Process) Await(text string) string {
	p.tb.Helper()
	var line string
	look := func() bool {
		for candidate := range strings.Lines(p.Output()) {
			if strings.Contains(candidate, text) && strings.HasSuffix(candidate, "\n") {
				line = strings.TrimSpace(candidate)
				return true
			}
		}
		return false
	}
	Eventually(p.tb, "cartero "+p.name+" says "+text, func() bool {
		ended := p.Ended() // asked first: what it said before its end counts
		if look() {
			return true
		}
		if ended {
			p.tb.Fatalf("cartero %s ended with %d and never said %q", p.name, p.Wait(), text)
		}
		return false
	})
	return line
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the process, as Ctrl-C or Kubernetes would.
func (p *Process) Signal(signal os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !p.Ended() {
		p.tb.Errorf("Signalling cartero %s: %v", p.name, err)
	}
}

// Kill ends the process with SIGKILL and returns when it is gone. Its children live on.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// Wait waits for the end of the process and returns its exit code; -1 if a signal ended it.
func (p *Process) Wait() int {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		p.tb.Fatalf("cartero %s does not end", p.name)
		return -1
	}
}

// Stop asks the process to end with SIGTERM; the test fails unless it does so in order.
func (p *Process) Stop() {
	p.tb.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.tb.Errorf("cartero %s ended with %d after SIGTERM, want 0", p.name, code)
	}
}

// Eventually polls what another process does until it holds. The test fails when Patience is over.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	if !eventually(holds) {
		tb.Fatalf("gave up waiting until %s", what)
	}
}

func eventually(holds func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
