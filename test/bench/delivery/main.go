package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

var program = measure.Program{
	Run: run,
	Children: map[string]func(context.Context, io.Reader, io.Writer) error{
		measure.SinkChild: measure.ServeSink, clientChild: serveClient, stagesChild: serveStages,
	},
}

func main() { program.Main() }

// settings are the flags.
type settings struct {
	*measure.Flags

	mails, conns, size int
	seconds            float64
	roundTrips         []time.Duration
	env                map[string]string
	docs               string
}

func parse(args []string, usage io.Writer) (settings, error) {
	s := settings{
		Flags:      measure.NewFlags("bench-delivery", usage).Program().Servers(true).Repeated(3).Chosen("measurements").Reported(),
		roundTrips: []time.Duration{0, time.Millisecond, 20 * time.Millisecond}, env: map[string]string{},
	}
	s.IntVar(&s.mails, "mails", 100_000, "mails of a campaign of Cartero's; fewer where the round trip allows fewer")
	s.IntVar(&s.size, "size", 4096, "octets of a mail, its header included")
	s.IntVar(&s.conns, "conns", 10, "SMTP connections")
	s.Float64Var(&s.seconds, "seconds", 5, "how long the others send, about: their number of mails follows from that")
	s.Func("round-trips", "`times` that a round trip takes, separated by commas (default 0s,1ms,20ms)", func(text string) (err error) {
		s.roundTrips, err = parseTimes(text)
		return err
	})
	s.Func("env", "one more setting of Cartero's worker, as `NAME=value`; may be repeated", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return errors.New("is not NAME=value")
		}
		s.env[name] = value
		return nil
	})
	s.StringVar(&s.docs, "docs", "", "also write the results into performance.md and performance.svg in this `directory`")
	if err := s.Parse(args); err != nil {
		return s, err
	}
	if min(s.mails, s.conns) < 1 || s.seconds <= 0 || s.size < minSize {
		return s, fmt.Errorf("-mails, -conns and -seconds must be positive, -size at least %d", minSize)
	}
	return s, nil
}

func parseTimes(text string) (times []time.Duration, err error) {
	for one := range strings.SplitSeq(text, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		times = append(times, d)
	}
	return times, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	s, err := parse(args, progress)
	if err != nil {
		return err
	}
	var r report
	if s.From != "" {
		err = measure.ReadJSON(s.From, &r)
	} else {
		r, err = measureAll(ctx, s, progress)
	}
	if err != nil {
		return err
	}
	if err := measure.WriteJSON(s.JSON, r); err != nil {
		return err
	}
	if s.docs != "" {
		if err := r.document(s.docs); err != nil {
			return err
		}
	}
	return r.print(out)
}

func measureAll(ctx context.Context, s settings, progress io.Writer) (_ report, err error) {
	steps := plan(s)
	if len(steps) == 0 {
		return report{}, s.NoneChosen()
	}
	r := report{Machine: measure.ThisMachine(), Rounds: s.Rounds, Mails: s.mails, Conns: s.conns, Env: slices.Collect(maps.Keys(s.env))}
	b, err := newBench(ctx, s, progress)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	found, err := b.measure(ctx, steps)
	if err != nil {
		return r, err
	}
	r.Servers, r.LoadAfter = b.Servers.Facts, measure.LoadAverage()
	r.fill(steps, found)
	return r, nil
}
