package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks of /proc a second, whatever the kernel's own are: USER_HZ is that on all of Linux's common architectures.
const ticks = 100

// CPU is the processor time that processes have used so far, in seconds, by themselves and in the kernel. Its grain is
// 10 ms. A process that is not to be found, or is 0, counts for nothing.
func CPU(pids ...int) (seconds float64) {
	for _, pid := range pids {
		_, rest, _ := strings.Cut(read("/proc/"+strconv.Itoa(pid)+"/stat"), ") ") // behind the program's name
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12} { // utime, stime (proc(5))
			if i < len(fields) {
				n, _ := strconv.Atoi(fields[i])
				seconds += float64(n) / ticks
			}
		}
	}
	return seconds
}

// Memory is what a process has resident now, and had at most, in MiB; 0 where the system does not tell.
func Memory(pid int) (now, most float64) {
	for line := range strings.Lines(read("/proc/" + strconv.Itoa(pid) + "/status")) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if name == "VmRSS" {
			now = kib / 1024
		} else {
			most = kib / 1024
		}
	}
	return now, most
}

// read returns a small file, or nothing.
func read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}

// Start starts a program of which nobody reads but a file, with env alone as its environment.
func Start(cmd *exec.Cmd, log string, env map[string]string) error {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	defer func() { _ = file.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = file, file
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return nil
}

// End asks a process to stop, and after some seconds no more.
func End(cmd *exec.Cmd) error {
	if cmd == nil || cmd.Process == nil {
		return nil
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", cmd.Path, err)
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // what it was asked for is over
	return nil
}

// Poll asks again and again until done, or a time is over.
func Poll(ctx context.Context, what string, every, limit time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}
