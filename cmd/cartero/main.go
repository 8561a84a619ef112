// Command cartero sends e-mail campaigns that are declared as Kubernetes objects. Its sub-commands are the parts of the
// system; this package only wires them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/cartero-mail/cartero/internal/options"
)

// version is set by the linker.
var version = "unknown"

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

// cli is what a command gets from its caller.
type cli struct {
	args   []string
	env    options.Lookup
	stdout io.Writer
	stderr io.Writer
}

// command is one sub-command.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, cli cli) error
}

func commands() []command {
	return []command{
		{"operator", "reconciles EmailCampaign objects: writes their recipients, enqueues their jobs, reports their status", runOperator},
		{"worker", "takes jobs from the queue and delivers their mails over SMTP", runWorker},
		{"facade", "serves the HTTP interface of the services that Cartero replaces", runFacade},
		{"queue", "shows the Bull queue and steers it: pause, resume, retry, promote, remove", runQueue},
		{"suppression", "shows and changes the list of addresses that campaigns leave out: list, add, remove, import, export", runSuppression},
		{"lint", "checks manifests and lists before they are applied, without a cluster", runLint},
		{"preview", "shows the mail to one recipient before it is sent, without a cluster", runPreview},
		{"migrate", "brings the tables of the database up to date, and ends", runMigrate},
		{"dev", "runs everything in one process, with what is not configured embedded", runDev},
		{"version", "prints the version", runVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, cli{args: os.Args[1:], env: os.LookupEnv, stdout: os.Stdout, stderr: os.Stderr}))
}

func run(ctx context.Context, c cli) int {
	if len(c.args) == 0 {
		printUsage(c.stderr)
		return exitUsage
	}
	name := c.args[0]
	for _, cmd := range commands() {
		if cmd.name != name {
			continue
		}
		c.args = c.args[1:]
		return exitCode(cmd.run(ctx, c), c.stderr)
	}
	if name == "help" || name == "--help" || name == "-h" {
		printUsage(c.stdout)
		return exitOK
	}
	fmt.Fprintf(c.stderr, "cartero: there is no command %q\n\n", name)
	printUsage(c.stderr)
	return exitUsage
}

func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	default:
		fmt.Fprintln(stderr, "cartero:", err)
		if _, wrongSettings := errors.AsType[*options.InvalidError](err); wrongSettings {
			return exitUsage
		}
		return exitFailed
	}
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Cartero sends e-mail campaigns that are declared as Kubernetes objects.\n\nUsage:\n  cartero <command> [flags]\n\nCommands:\n")
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", cmd.name, cmd.summary)
	}
	fmt.Fprint(w, "\n`cartero <command> --help` lists a command's settings.\n")
}

func runVersion(_ context.Context, c cli) error {
	_, err := fmt.Fprintf(c.stdout, "cartero %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
