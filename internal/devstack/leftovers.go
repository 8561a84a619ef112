package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// leftoverGrace is how long a process that was told to end may take.
const leftoverGrace = 10 * time.Second

// endLeftovers ends processes that run a binary of assets on one of the directories: children of a process that was
// killed and could not end them. It finds them in /proc; where there is none, it finds nothing, and etcd's own lock
// on its data speaks up.
func endLeftovers(ctx context.Context, assets string, directories ...string) error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(assets); err == nil { // as /proc has it
		assets = resolved
	}
	for _, process := range processes {
		executable, err := os.Readlink(filepath.Join(process, "exe"))
		if err != nil || filepath.Dir(executable) != assets {
			continue
		}
		arguments, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || !slices.ContainsFunc(directories, func(dir string) bool {
			return bytes.Contains(arguments, []byte("="+dir+"\x00"))
		}) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		if err := endProcess(ctx, pid); err != nil {
			return fmt.Errorf("ending a left-over %s (process %d): %w", filepath.Base(executable), pid, err)
		}
	}
	return nil
}

// endProcess asks a process to end, waits, and kills it if it does not.
func endProcess(ctx context.Context, pid int) error {
	deadline := time.Now().Add(leftoverGrace)
	signal := syscall.SIGTERM
	for {
		if err := syscall.Kill(pid, signal); err != nil {
			if errors.Is(err, syscall.ESRCH) {
				return nil
			}
			return err
		}
		// Where nobody asks for the exit codes of orphans, as in many a container, a zombie is all that is left.
		if _, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe")); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
		select { // a process that is not our child tells nobody when it ends
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
