package main

import (
	"context"
	"io"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

var program = measure.Program{
	Run: func(ctx context.Context, args []string, out, progress io.Writer) error {
		return run(ctx, args, out, progress, standard())
	},
	Children: map[string]func(context.Context, io.Reader, io.Writer) error{oursChild: serve},
}

func main() { program.Main() }

// settings are the flags.
type settings struct {
	*measure.Flags

	profile string
}

func parse(args []string, usage io.Writer) (settings, error) {
	s := settings{Flags: measure.NewFlags("bench-queue", usage).Servers(false).Repeated(5).Chosen("steps")}
	s.StringVar(&s.profile, "cpuprofile", "", "write CPU profiles of Cartero's processes to `file`.producer and file.consumer")
	return s, s.Parse(args)
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer, amount size) error {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	steps := plan(amount, settings.Only)
	if len(steps) == 0 {
		return settings.NoneChosen()
	}
	before := measure.ThisMachine()
	b, err := newBench(settings.Redis, settings.profile, progress)
	if err != nil {
		return err
	}
	// An interrupt ends the children, and so the call that waits for one of them.
	defer context.AfterFunc(ctx, b.kill)()
	found, err := b.measure(ctx, steps, settings.Rounds)
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
		Machine: machine{Machine: before, Redis: version, Peer: b.versions[peer], Ours: b.versions[ours]},
		Rounds:  settings.Rounds,
	}
	r.Rows, r.Ways = rows(steps, found)
	if err := measure.WriteJSON(settings.JSON, r); err != nil {
		return err
	}
	return r.print(out)
}
