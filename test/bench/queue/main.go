package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if os.Getenv(envChild) != "" {
		err = serve(context.Background(), os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr, standard())
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only restores what signals do
	}
}

// settings are the flags.
type settings struct {
	redis, only, json, profile string
	rounds                     int
}

func parse(args []string, usage io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	flags.IntVar(&s.rounds, "rounds", 5, "how often each step is measured on each side: an odd number")
	flags.StringVar(&s.only, "run", "", "only the steps whose name matches this `pattern`")
	flags.StringVar(&s.json, "json", "", "also write the report, with every value, to this `file`")
	flags.StringVar(&s.profile, "cpuprofile", "", "write CPU profiles of Cartero's processes to `file`.producer and file.consumer")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.redis == "":
		return s, errors.New("no Redis: run `make bench-queue`, which starts one, or say -redis redis://127.0.0.1:6379")
	case s.rounds < 1 || s.rounds%2 == 0:
		return s, errors.New("-rounds must be odd, so that a median is one of the values")
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer, amount size) error {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(settings.only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	steps := plan(amount, only)
	if len(steps) == 0 {
		return fmt.Errorf("-run %s matches no step", settings.only)
	}
	load := loadAverage()
	b, err := newBench(settings.redis, settings.profile, progress)
	if err != nil {
		return err
	}
	// An interrupt ends the children, and so the call that waits for one of them.
	defer context.AfterFunc(ctx, b.kill)()
	found, err := b.measure(ctx, steps, settings.rounds)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.kill()
		return err
	}
	version, err := b.info(ctx, "server", "redis_version")
	if err != nil {
		return err
	}
	if err := b.close(); err != nil {
		return err
	}
	r := report{
		Machine: machine{
			Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Load: load,
			Redis: version, Peer: b.versions[peer], Ours: b.versions[ours],
		},
		Rounds: settings.rounds,
	}
	r.Rows, r.Ways = rows(steps, found)
	if settings.json != "" {
		if err := write(settings.json, r); err != nil {
			return err
		}
	}
	return r.print(out)
}

func write(path string, r report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// loadAverage is that of the last minute, or empty.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Fields(string(text))[0]
}
