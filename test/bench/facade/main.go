package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if os.Getenv(sinkVariable) != "" {
		err = serveSink(context.Background(), os.Stdin, os.Stdout) // it ends with its input
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only restores what signals do
	}
}

// settings are the flags.
type settings struct {
	cartero, database, redis, dir, only, json string
	rounds, conns                             int
	window                                    time.Duration
	worker                                    bool
}

func parse(args []string, usage io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.cartero, "cartero", "bin/cartero", "the `program` that is measured")
	flags.StringVar(&s.database, "database", os.Getenv("TEST_DATABASE_URL"), "`URL` of a MariaDB whose user may create databases")
	flags.StringVar(&s.redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	flags.StringVar(&s.dir, "dir", "", "the `directory` for SQLite's files and logs, the system's temporary one unless told")
	flags.IntVar(&s.rounds, "rounds", 3, "how often each call is measured on each side: an odd number")
	flags.DurationVar(&s.window, "window", 1500*time.Millisecond, "how long each load lasts")
	flags.IntVar(&s.conns, "conns", 256, "kept connections")
	flags.BoolVar(&s.worker, "worker", false, "also run `cartero worker`, which sends what /send_async queues, while that is measured")
	flags.StringVar(&s.only, "run", "", "only the calls whose path matches this `pattern`")
	flags.StringVar(&s.json, "json", "", "also write the report, with every value, to this `file`")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.redis == "" || s.database == "":
		return s, errors.New("no Redis or no MariaDB: run `make bench-facade`, which starts them, or say -redis and -database")
	case s.rounds < 1 || s.rounds%2 == 0:
		return s, errors.New("-rounds must be odd, so that a median is one of the values")
	case s.conns < 1 || s.window <= 0:
		return s, errors.New("-conns and -window must be positive")
	}
	var err error
	if s.cartero, err = filepath.Abs(s.cartero); err != nil { // it is started in another directory
		return s, fmt.Errorf("-cartero: %w", err)
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(settings.only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var chosen []endpoint
	for _, e := range endpoints {
		if only.MatchString(e.path) {
			chosen = append(chosen, e)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("-run %s matches no call", settings.only)
	}
	load := loadAverage()
	b, err := newBench(ctx, settings, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	all, err := b.measure(ctx, chosen)
	if err != nil {
		return err
	}
	b.machine.Cores, b.machine.OS, b.machine.Load = runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, load
	r := report{Machine: b.machine, Rounds: settings.rounds, Conns: settings.conns, Worker: settings.worker, Rows: rows(chosen, all)}
	if settings.json != "" {
		if err := write(settings.json, r); err != nil {
			return err
		}
	}
	return r.print(out)
}

// loadAverage is that of the last minute, or empty.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Fields(string(text))[0]
}
