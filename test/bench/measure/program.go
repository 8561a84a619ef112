package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// childVariable names what the program is when it starts itself again.
const childVariable = "CARTERO_BENCH_CHILD"

// Program is a benchmark. What is measured of a process has a process of its own, which is this program again.
type Program struct {
	// Run measures and reports. Progress is for whoever waits.
	Run func(ctx context.Context, args []string, out, progress io.Writer) error
	// Children are what the program can be when it starts itself, by name. Each ends with its input.
	Children map[string]func(ctx context.Context, in io.Reader, out io.Writer) error
}

// Main is the program's main function.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	handled, err := p.child()
	if !handled {
		err = p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only restores what signals do
	}
}

// TestMain is that of the program's tests: there it is the test binary that starts itself.
func (p Program) TestMain(m interface{ Run() int }) {
	handled, err := p.child()
	if !handled {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is what the program does if it was started by itself. A signal to the terminal's processes is its parent's
// business: the child ends with its input.
func (p Program) child() (handled bool, err error) {
	name := os.Getenv(childVariable)
	if name == "" {
		return false, nil
	}
	serve, ok := p.Children[name]
	if !ok {
		return true, fmt.Errorf("unknown child %q", name)
	}
	return true, serve(context.Background(), os.Stdin, os.Stdout)
}

// Self is the command that starts this program as one of its children, with more variables, as NAME=value.
func Self(child string, env ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), env...), childVariable+"="+child)
	return cmd, nil
}
