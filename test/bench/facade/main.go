package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

var program = measure.Program{
	Run:      run,
	Children: map[string]func(context.Context, io.Reader, io.Writer) error{measure.SinkChild: measure.ServeSink},
}

func main() { program.Main() }

// settings are the flags.
type settings struct {
	*measure.Flags

	dir    string
	conns  int
	window time.Duration
	worker bool
}

func parse(args []string, usage io.Writer) (settings, error) {
	s := settings{Flags: measure.NewFlags("bench-facade", usage).Program().Servers(true).Repeated(3).Chosen("calls")}
	s.StringVar(&s.dir, "dir", "", "the `directory` for SQLite's files and logs, the system's temporary one unless told")
	s.DurationVar(&s.window, "window", 1500*time.Millisecond, "how long each load lasts")
	s.IntVar(&s.conns, "conns", 256, "kept connections")
	s.BoolVar(&s.worker, "worker", false, "also run `cartero worker`, which sends what /send_async queues, while that is measured")
	if err := s.Parse(args); err != nil {
		return s, err
	}
	if s.conns < 1 || s.window <= 0 {
		return s, errors.New("-conns and -window must be positive")
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	var chosen []endpoint
	for _, e := range endpoints {
		if settings.Only.MatchString(e.path) {
			chosen = append(chosen, e)
		}
	}
	if len(chosen) == 0 {
		return settings.NoneChosen()
	}
	machine := measure.ThisMachine()
	b, err := newBench(ctx, settings, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	all, err := b.measure(ctx, chosen)
	if err != nil {
		return err
	}
	r := report{
		Machine: machine, Servers: b.Servers.Facts, Rounds: settings.Rounds, Conns: settings.conns, Worker: settings.worker, Rows: rows(chosen, all),
	}
	if err := measure.WriteJSON(settings.JSON, r); err != nil {
		return err
	}
	return r.print(out)
}
