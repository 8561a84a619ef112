package harness

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// EndChildren kills, at the end of the test, whatever still works below a directory: the control plane of a `cartero dev`
// that was killed itself.
func EndChildren(tb testing.TB, directory string) {
	tb.Helper()
	tb.Cleanup(func() {
		for _, pid := range Children(directory) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	})
}

// Children are the processes that have a directory among their arguments.
func Children(directory string) []int { return processesOf(directory) }

// AwaitEnd waits until processes run no more; that nobody has asked for their exit codes is no matter.
func AwaitEnd(tb testing.TB, pids []int) {
	tb.Helper()
	Eventually(tb, "left-over processes have ended", func() bool {
		for _, pid := range pids {
			if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				return false
			}
		}
		return true
	})
}
