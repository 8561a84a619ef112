package harness

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cartero-mail/cartero/internal/kubetest"
)

// guardVariable makes the test binary the guard of the directory that it names.
const guardVariable = "CARTERO_TEST_GUARD"

// guarded is the root of all temporary directories of this test binary.
var guarded string

// Main runs the tests of a binary with all their files below one directory, and sees that no process with a hand in it
// outlives them, be it that the tests panic or are killed. It returns the exit code.
func Main(m *testing.M) int {
	if root := os.Getenv(guardVariable); root != "" {
		return guard(root)
	}
	flag.Parse()
	if testing.Short() {
		return kubetest.Main(m)
	}
	code, err := runGuarded(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return max(code, 1)
	}
	return code
}

// Guarded are tests whose Run is Main.
func Guarded(m *testing.M) interface{ Run() int } { return guardedTests{m} }

type guardedTests struct{ *testing.M }

func (t guardedTests) Run() int { return Main(t.M) }

func runGuarded(m *testing.M) (code int, err error) {
	if guarded, err = os.MkdirTemp("", "cartero-test-"); err != nil {
		return 1, fmt.Errorf("making the directory of the tests: %w", err)
	}
	if err := os.Setenv("TMPDIR", guarded); err != nil {
		return 1, fmt.Errorf("setting TMPDIR: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("finding the test binary: %w", err)
	}
	watchman := exec.Command(self)
	watchman.Env = append(os.Environ(), guardVariable+"="+guarded)
	watchman.Dir = "/"
	watchman.Stderr = os.Stderr
	watchman.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of what ends the tests
	life, err := watchman.StdinPipe()
	if err != nil {
		return 1, fmt.Errorf("making the guard's pipe: %w", err)
	}
	if err := watchman.Start(); err != nil {
		return 1, fmt.Errorf("starting the guard: %w", err)
	}
	ctrllog.SetLogger(logr.Discard()) // what the API's client logs is not what is tested
	code = kubetest.Main(m)
	_ = life.Close() // the guard reads to the end, and begins
	if err := watchman.Wait(); err != nil {
		return code, fmt.Errorf("processes outlived the tests (see above): %w", err)
	}
	return code, nil
}

// guard waits for the end of the tests, kills what is left of their processes, and removes their files. It returns 1
// if there was anything to kill.
func guard(root string) int {
	_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end as well
	code := 0
	for range 3 { // a process may be starting another one meanwhile
		for _, pid := range processesOf(root) {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			fmt.Fprintf(os.Stderr, "harness: killing %s (process %d)\n", strings.TrimSpace(string(command)), pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
			code = 1
		}
	}
	if err := os.RemoveAll(root); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
	}
	return code
}

// processesOf returns the processes, but this one, that run from a directory, in it, or with it in their arguments or
// environment.
func processesOf(root string) []int {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil || pid == os.Getpid() || !belongs(entry, root) {
			continue
		}
		found = append(found, pid)
	}
	return found
}

func belongs(entry, root string) bool {
	for _, link := range []string{"exe", "cwd"} {
		if target, err := os.Readlink(filepath.Join(entry, link)); err == nil && strings.HasPrefix(target, root+"/") {
			return true
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		if text, err := os.ReadFile(filepath.Join(entry, file)); err == nil && strings.Contains(string(text), root) {
			return true
		}
	}
	return false
}
