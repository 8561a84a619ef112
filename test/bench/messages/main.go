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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if job := os.Getenv(childVariable); job != "" {
		err = serveChild(ctx, job, os.Stdout)
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
	database, redis, only, json string
	rounds, rows                int
	// cartero is the operator's program, and assets the directory of etcd and kube-apiserver; cartero is empty to leave the
	// operator out.
	cartero, assets string
}

// part is a group of measurements that -run chooses by its name.
type part struct {
	name    string
	measure func(ctx context.Context, s settings, progress io.Writer) ([]row, error)
}

// parts are all that there are, in the order of the report.
var parts = []part{
	{"lists", measureLists},
	{"rendering", measureRendering},
}

func parse(args []string, usage io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.database, "database", os.Getenv("TEST_DATABASE_URL"), "`URL` of a MariaDB whose user may create databases")
	flags.StringVar(&s.redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	flags.IntVar(&s.rounds, "rounds", 3, "how often each is measured: an odd number")
	flags.IntVar(&s.rows, "rows", 1_000_000, "rows of a list")
	flags.StringVar(&s.only, "run", "", "only the parts whose name matches this `pattern`")
	flags.StringVar(&s.json, "json", "", "also write the report, with every value, to this `file`")
	flags.StringVar(&s.cartero, "cartero", "bin/cartero", "the `program` that lists go through as a whole; empty leaves that out")
	flags.StringVar(&s.assets, "assets", "bin", "the `directory` of etcd and kube-apiserver")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.rounds < 1 || s.rounds%2 == 0:
		return s, errors.New("-rounds must be odd, so that a median is one of the values")
	case s.rows < 1:
		return s, errors.New("-rows must be positive")
	}
	for name, path := range map[string]*string{"-cartero": &s.cartero, "-assets": &s.assets} {
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(settings.only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	r := report{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Load: loadAverage(), Rounds: settings.rounds}
	for _, p := range parts {
		if !only.MatchString(p.name) {
			continue
		}
		rows, err := p.measure(ctx, settings, progress)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for _, row := range rows {
			row.Part = p.name
			r.Rows = append(r.Rows, row)
		}
	}
	if len(r.Rows) == 0 {
		return fmt.Errorf("-run %s matches nothing", settings.only)
	}
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
