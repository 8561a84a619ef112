package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// patience bounds a wait for something that should come.
const patience = 5 * time.Minute

// sample is what one measurement found.
type sample struct {
	// Rate is mails a second, from the first moment to the last.
	Rate float64 `json:"rate"`
	// CPU is processor time by process, in ms for 1,000 mails. The client is the program that sends.
	CPU map[string]float64 `json:"cpu"`
	// Resident is what the client had of memory at most, in MiB; 0 where it is not known.
	Resident float64 `json:"resident"`
	// Octets is the mean size of the mails.
	Octets int `json:"octets"`
	// Stages are those of a step that measures them, Recovery is that of the step that kills.
	Stages   []stage   `json:"stages,omitempty"`
	Recovery *recovery `json:"recovery,omitempty"`
}

// The processes whose time is counted.
const (
	cpuClient  = "client"
	cpuMariaDB = "MariaDB"
	cpuRedis   = "Redis"
	cpuSink    = "sink"
)

var processes = []string{cpuClient, cpuMariaDB, cpuRedis, cpuSink}

// bench is one run.
type bench struct {
	*measure.Workbench

	settings settings
	progress io.Writer
	source   string // the program smtp-source
	node     string // the directory of its scripts
	begun    time.Time
}

func newBench(ctx context.Context, s settings, progress io.Writer) (*bench, error) {
	stand, err := measure.OpenWorkbench(ctx, s.Flags, "")
	if err != nil {
		return nil, err
	}
	return &bench{Workbench: stand, settings: s, progress: progress, begun: time.Now()}, nil
}

// found are the samples of all rounds, by step.
type found map[string][]sample

// measure makes all steps, round after round. In every second round the order is reversed.
func (b *bench) measure(ctx context.Context, steps []step) (found, error) {
	if err := b.prepare(ctx, steps); err != nil {
		return nil, err
	}
	all := found{}
	for round := range b.settings.Rounds {
		order := slices.Clone(steps)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, s := range order {
			if s.once && round > 0 {
				continue
			}
			one, err := b.one(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			all[s.name] = append(all[s.name], one)
			fmt.Fprintf(b.progress, "%4.0f s  round %d of %d: %-18s %s  load %s\n",
				time.Since(b.begun).Seconds(), round+1, b.settings.Rounds, s.name, one.brief(s), measure.LoadAverage())
		}
	}
	return all, nil
}

func (b *bench) one(ctx context.Context, s step) (sample, error) {
	if s.special != nil {
		return s.special(ctx, b)
	}
	return s.side.run(ctx, b, s.load)
}

func (s sample) brief(of step) string {
	switch {
	case s.Recovery != nil:
		return s.Recovery.String()
	case s.Stages != nil:
		var all []string
		for _, one := range s.Stages {
			all = append(all, fmt.Sprintf("%s %.0f/s", one.Name, one.Rate))
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%7.0f mails/s (%d of %d octets), %6.1f ms of processor for 1,000 of them", s.Rate, of.load.mails, s.Octets, s.CPU[cpuClient])
}

// watch takes the time of one measurement.
type watch struct {
	b      *bench
	client []int
	begin  time.Time
	cpu    map[string]float64
}

// watch begins to measure. The client is a process that is there already; without one, its time is told at the end.
func (b *bench) watch(client ...int) *watch {
	w := &watch{b: b, client: client}
	w.cpu = w.now()
	w.begin = time.Now()
	return w
}

func (w *watch) now() map[string]float64 {
	return map[string]float64{
		cpuClient: measure.CPU(w.client...), cpuSink: measure.CPU(w.b.Sink.PID()),
		cpuMariaDB: measure.CPU(w.b.Servers.DatabasePID), cpuRedis: measure.CPU(w.b.Servers.RedisPID),
	}
}

// end is the sample of so many mails. The sink must have got each once.
func (w *watch) end(mails int) (sample, error) {
	seconds := time.Since(w.begin).Seconds()
	s := sample{Rate: float64(mails) / seconds, CPU: map[string]float64{}}
	for name, now := range w.now() {
		s.CPU[name] = (now - w.cpu[name]) * 1e6 / float64(mails)
	}
	for _, pid := range w.client {
		_, s.Resident = measure.Memory(pid)
	}
	ledger, err := w.b.Sink.Report()
	if err != nil {
		return s, err
	}
	s.Octets = ledger.Octets
	return s, ledger.Check()
}

// awaitMails waits until the sink has so many, or the step takes too long.
func (b *bench) awaitMails(ctx context.Context, n int) error {
	return measure.Poll(ctx, "all mails have come", 5*time.Millisecond, patience, func(context.Context) (bool, error) {
		got, err := b.Sink.Mails()
		return got >= n, err
	})
}
