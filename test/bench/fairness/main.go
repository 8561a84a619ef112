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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only restores what signals do
	}
}

// settings are the flags.
type settings struct {
	cartero, database, redis string
	recipients, mails, small int
	rate, rated              int
	every                    time.Duration
	delays                   []time.Duration
}

func parse(args []string, usage io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.cartero, "cartero", "bin/cartero", "the `program` that is measured")
	flags.StringVar(&s.database, "database", os.Getenv("TEST_DATABASE_URL"), "`URL` of an empty MariaDB")
	flags.StringVar(&s.redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	flags.IntVar(&s.recipients, "recipients", 100_000, "recipients of the large campaign")
	flags.IntVar(&s.mails, "mails", 300, "single mails beside it")
	flags.IntVar(&s.small, "small", 10, "campaigns of 100 recipients beside it")
	flags.DurationVar(&s.every, "every", 100*time.Millisecond, "time between two single mails")
	flags.IntVar(&s.rate, "rate", 600, "mails a minute that limits allow")
	flags.IntVar(&s.rated, "rated", 300, "recipients of a campaign under a limit; 0 for none")
	delays := flags.String("delays", "0s,20ms,200ms", "how long the SMTP server takes for a mail, in each of the runs")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	for text := range strings.SplitSeq(*delays, ",") {
		delay, err := time.ParseDuration(text)
		if err != nil {
			return s, fmt.Errorf("-delays: %w", err)
		}
		s.delays = append(s.delays, delay)
	}
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.redis == "" || s.database == "":
		return s, errors.New("no Redis or no MariaDB: run `make bench-fairness`, which starts them, or say -redis and -database")
	case min(s.recipients, s.mails, s.small, s.rate) < 1 || s.every <= 0:
		return s, errors.New("-recipients, -mails, -small, -rate and -every must be positive")
	case s.rated < 0 || s.rated == 1:
		return s, errors.New("-rated must be 0, or 2 or more")
	}
	if s.cartero, err = filepath.Abs(s.cartero); err != nil {
		return s, fmt.Errorf("-cartero: %w", err)
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("reading the load: %w", err)
	}
	before, _, _ := strings.Cut(string(load), " ")
	b, err := newBench(ctx, s, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.rates(ctx, out); err != nil {
		return err
	}
	if err := b.startBoth(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "Beside a campaign of %d, from the request to the SMTP server, in ms (load before: %s)\n\n"+
		"| a mail takes | campaign, mails/s | what | number | p50 | p90 | p99 | most |\n|---|---|---|---|---|---|---|---|\n",
		s.recipients, before)
	for i, delay := range s.delays {
		if err := b.drain(ctx, i); err != nil {
			return err
		}
		m, err := b.measure(ctx, i, delay)
		if err != nil {
			return fmt.Errorf("with %s for a mail: %w", delay, err)
		}
		if err := m.print(out, delay); err != nil {
			return err
		}
	}
	return nil
}
