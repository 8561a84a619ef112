package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

func main() {
	ctrllog.SetLogger(logr.Discard()) // the API's client says what it does; errors come back
	measure.Program{Run: run}.Main()
}

// settings are the flags.
type settings struct {
	*measure.Flags

	assets                string
	campaigns, recipients int
	finished, latencies   int
	reconciles            int
}

func parse(args []string, usage io.Writer) (settings, error) {
	s := settings{Flags: measure.NewFlags("bench-operator", usage).Program().Servers(true)}
	s.StringVar(&s.assets, "assets", "bin", "the `directory` of etcd and kube-apiserver")
	s.IntVar(&s.campaigns, "campaigns", 1000, "campaigns that are applied at once")
	s.IntVar(&s.recipients, "recipients", 100, "recipients of each")
	s.IntVar(&s.finished, "finished", 10_000, "campaigns that have ended when the idle operator is looked at, those before among them; 0 leaves that out")
	s.IntVar(&s.latencies, "latencies", 200, "campaigns that are applied one after another to an idle system")
	s.IntVar(&s.reconciles, "reconciles", 0, "MAX_CONCURRENT_RECONCILES of the operator; 0 for its default")
	if err := s.Parse(args); err != nil {
		return s, err
	}
	if min(s.campaigns, s.recipients, s.latencies) < 1 || s.recipients > 500 {
		return s, errors.New("-campaigns, -recipients and -latencies must be positive, and -recipients at most 500")
	}
	var err error
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
	machine := measure.ThisMachine()
	b, err := newBench(ctx, s, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	var r report
	fmt.Fprintln(out, machine)
	for _, step := range []struct {
		measure func(context.Context, *report) error
		print   func(report, io.Writer) error
	}{{b.applyToFirstMail, report.printFirstMail}, {b.manyAtOnce, report.printAtOnce}, {b.manyFinished, report.printFinished}} {
		if err := step.measure(ctx, &r); err != nil {
			return err
		}
		if err := step.print(r, out); err != nil {
			return err
		}
	}
	return nil
}
