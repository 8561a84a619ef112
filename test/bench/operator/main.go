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
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrllog.SetLogger(logr.Discard()) // the API's client says what it does; errors come back
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only restores what signals do
	}
}

// settings are the flags.
type settings struct {
	cartero, assets, database, redis string
	campaigns, recipients            int
	finished, latencies              int
}

func parse(args []string, usage io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.cartero, "cartero", "bin/cartero", "the `program` that is measured")
	flags.StringVar(&s.assets, "assets", "bin", "the `directory` of etcd and kube-apiserver")
	flags.StringVar(&s.database, "database", os.Getenv("TEST_DATABASE_URL"), "`URL` of an empty MariaDB")
	flags.StringVar(&s.redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	flags.IntVar(&s.campaigns, "campaigns", 1000, "campaigns that are applied at once")
	flags.IntVar(&s.recipients, "recipients", 100, "recipients of each")
	flags.IntVar(&s.finished, "finished", 10_000, "campaigns that have ended when the idle operator is looked at, those before among them")
	flags.IntVar(&s.latencies, "latencies", 200, "campaigns that are applied one after another to an idle system")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.redis == "" || s.database == "":
		return s, errors.New("no Redis or no MariaDB: run `make bench-operator`, which starts them, or say -redis and -database")
	case min(s.campaigns, s.recipients, s.latencies) < 1 || s.recipients > 500:
		return s, errors.New("-campaigns, -recipients and -latencies must be positive, and -recipients at most 500")
	}
	var err error
	if s.cartero, err = filepath.Abs(s.cartero); err != nil {
		return s, fmt.Errorf("-cartero: %w", err)
	}
	if s.assets, err = filepath.Abs(s.assets); err != nil {
		return s, fmt.Errorf("-assets: %w", err)
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	b, err := newBench(ctx, s, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	var r report
	for _, step := range []func(context.Context, *report) error{b.applyToFirstMail, b.manyAtOnce, b.manyFinished} {
		if err := step(ctx, &r); err != nil {
			return err
		}
	}
	return r.print(out, load)
}

func read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}
