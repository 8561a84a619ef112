package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

var program = measure.Program{
	Run: run,
	Children: map[string]func(context.Context, io.Reader, io.Writer) error{
		readChild: serveChild(readList), loadChild: serveChild(loadList),
	},
}

func main() { program.Main() }

// settings are the flags.
type settings struct {
	*measure.Flags

	rows int
	// assets is the directory of etcd and kube-apiserver. Without a -cartero the operator is left out.
	assets string
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
	s := settings{Flags: measure.NewFlags("bench-messages", usage).Program().MaybeServers().Repeated(3).Chosen("parts")}
	s.IntVar(&s.rows, "rows", 1_000_000, "rows of a list")
	s.StringVar(&s.assets, "assets", "bin", "the `directory` of etcd and kube-apiserver")
	if err := s.Parse(args); err != nil {
		return s, err
	}
	if s.rows < 1 {
		return s, errors.New("-rows must be positive")
	}
	var err error
	if s.assets, err = filepath.Abs(s.assets); err != nil {
		return s, fmt.Errorf("-assets: %w", err)
	}
	return s, nil
}

// run measures and reports.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	settings, err := parse(args, progress)
	if err != nil {
		return err
	}
	r := report{Machine: measure.ThisMachine(), Rounds: settings.Rounds}
	for _, p := range parts {
		if !settings.Only.MatchString(p.name) {
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
		return settings.NoneChosen()
	}
	if err := measure.WriteJSON(settings.JSON, r); err != nil {
		return err
	}
	return r.print(out)
}
