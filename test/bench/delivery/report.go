package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// report is the outcome of a run, as -json writes it.
type report struct {
	Machine   measure.Machine `json:"machine"`
	LoadAfter string          `json:"loadAfter,omitempty"`
	Servers   measure.Facts   `json:"servers"`
	Rounds    int             `json:"rounds"`
	Mails     int             `json:"mails"`
	Conns     int             `json:"conns"`
	// Env are the names of settings of the worker that were not the defaults.
	Env      []string   `json:"env,omitempty"`
	Rates    []rate     `json:"rates"`
	Stages   []stageRow `json:"stages,omitempty"`
	Recovery *recovery  `json:"recovery,omitempty"`
}

// rate is one side at one round trip.
type rate struct {
	RoundTrip time.Duration  `json:"roundTrip"`
	Side      string         `json:"side"`
	Mails     int            `json:"mails"`
	Octets    int            `json:"octets"`
	Rate      measure.Series `json:"rate"`
	// Limit is what connections and round trips allow; 0 is no limit.
	Limit    float64                   `json:"limit,omitempty"`
	CPU      map[string]measure.Series `json:"cpu"`
	Resident measure.Series            `json:"resident"`
}

// stageRow is one stage over all rounds.
type stageRow struct {
	Name string                    `json:"name"`
	Rate measure.Series            `json:"rate"`
	CPU  map[string]measure.Series `json:"cpu"`
}

func cpuSeries[Sample any](samples []Sample, cpu func(Sample) map[string]float64) map[string]measure.Series {
	all := map[string]measure.Series{}
	for _, name := range processes {
		all[name] = measure.Of(samples, func(s Sample) float64 { return cpu(s)[name] })
	}
	return all
}

// fill computes the report of all samples.
func (r *report) fill(steps []step, all found) {
	for _, s := range steps {
		samples := all[s.name]
		switch {
		case len(samples) == 0:
		case s.name == stepRecovery:
			r.Recovery = samples[0].Recovery
		case s.name == stepStages:
			r.Stages = stageRows(samples)
		default:
			one := rate{
				RoundTrip: s.load.roundTrip, Side: s.side.name, Mails: s.load.mails, Octets: samples[0].Octets,
				Rate:     measure.Of(samples, func(s sample) float64 { return s.Rate }),
				CPU:      cpuSeries(samples, func(s sample) map[string]float64 { return s.CPU }),
				Resident: measure.Of(samples, func(s sample) float64 { return s.Resident }),
			}
			if limit := s.side.limit(r.Conns, s.load.roundTrip); !s.side.overlaps && !math.IsInf(limit, 1) {
				one.Limit = limit
			}
			r.Rates = append(r.Rates, one)
		}
	}
}

func stageRows(samples []sample) (rows []stageRow) {
	for i, first := range samples[0].Stages {
		var of []stage
		for _, s := range samples {
			of = append(of, s.Stages[i])
		}
		rows = append(rows, stageRow{
			Name: first.Name, Rate: measure.Of(of, func(s stage) float64 { return s.Rate }),
			CPU: cpuSeries(of, func(s stage) map[string]float64 { return s.CPU }),
		})
	}
	return rows
}

// of is a side at a round trip, or nil if it was not measured.
func (r report) of(s *side, roundTrip time.Duration) *rate {
	for i := range r.Rates {
		if r.Rates[i].Side == s.name && r.Rates[i].RoundTrip == roundTrip {
			return &r.Rates[i]
		}
	}
	return nil
}

// roundTrips are those that were measured.
func (r report) roundTrips() (all []time.Duration) {
	for _, one := range r.Rates {
		if len(all) == 0 || all[len(all)-1] != one.RoundTrip {
			all = append(all, one.RoundTrip)
		}
	}
	return all
}

// print writes the report for people.
func (r report) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s", r.Machine)
	if r.LoadAfter != "" {
		fmt.Fprintf(out, ", %s after", r.LoadAfter)
	}
	fmt.Fprintf(out, "; %s\n%d rounds, taking turns: median (lowest–highest). %d connections.\n", r.Servers, r.Rounds, r.Conns)
	if len(r.Env) > 0 {
		fmt.Fprintf(out, "Not the defaults: %s.\n", strings.Join(r.Env, ", "))
	}
	for _, table := range []func() *measure.Table{r.rateTable, r.cpuTable, r.stageTable, r.targetTable} {
		if t := table(); !t.Empty() {
			fmt.Fprintln(out)
			if err := t.Print(out); err != nil {
				return err
			}
		}
	}
	if r.Recovery != nil {
		fmt.Fprintf(out, "\nWorker killed (-9) and started again: %s.\n", r.Recovery)
	}
	if disturbed := r.disturbed(); len(disturbed) > 0 {
		fmt.Fprintf(out, "\nREJECTED: the control moved by more than %.0f %% between rounds, so the machine was not quiet: %s.\n",
			maxControl*100, strings.Join(disturbed, "; "))
	}
	return nil
}

// rateTable has rates, what is possible, and ratios.
func (r report) rateTable() *measure.Table {
	t := measure.NewTable("", "mails/s", "possible", "× Node, usual", "× smtp-source", "mails of", "octets")
	for _, roundTrip := range r.roundTrips() {
		t.Section("ROUND TRIP " + roundTrip.String())
		node, source := r.of(nodeUsual, roundTrip), r.of(smtpSource, roundTrip)
		for _, s := range sides {
			one := r.of(s, roundTrip)
			if one == nil {
				continue
			}
			possible := "–"
			if one.Limit > 0 {
				possible = fmt.Sprintf("%.0f", one.Limit)
			}
			t.Row(s.title, one.Rate.Text(0), possible, one.times(node), one.times(source), fmt.Sprint(one.Mails), fmt.Sprint(one.Octets))
		}
	}
	return t
}

// times is the ratio of two medians.
func (r *rate) times(to *rate) string {
	if r == nil || to == nil || to.Rate.Median == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", r.Rate.Median/to.Rate.Median)
}

// cpuTable has processor time and memory.
func (r report) cpuTable() *measure.Table {
	t := measure.NewTable("ms of processor time for 1,000 mails", "who sends", cpuMariaDB, cpuRedis, cpuSink, "all", "MiB of who sends")
	for _, roundTrip := range r.roundTrips() {
		t.Section("ROUND TRIP " + roundTrip.String())
		for _, s := range sides {
			one := r.of(s, roundTrip)
			if one == nil {
				continue
			}
			cells, sum := cpuCells(one.CPU, s.endToEnd)
			resident := "–"
			if one.Resident.Median > 0 {
				resident = fmt.Sprintf("%.0f", one.Resident.Max)
			}
			t.Row(append(append([]string{s.title}, cells...), fmt.Sprintf("%.1f", sum), resident)...)
		}
	}
	return t
}

// cpuCells are the processes' times, and their sum. MariaDB and Redis count only where they were used: what they do
// besides, such as writing pages that are left from before, is nobody's.
func cpuCells(cpu map[string]measure.Series, database bool) (cells []string, sum float64) {
	for _, name := range processes {
		if !database && (name == cpuMariaDB || name == cpuRedis) {
			cells = append(cells, "–")
			continue
		}
		cells = append(cells, cpu[name].Text(1))
		sum += cpu[name].Median
	}
	return cells, sum
}

// stageTable has the stages, and what they sum up to.
func (r report) stageTable() *measure.Table {
	t := measure.NewTable(fmt.Sprintf("STAGES ALONE, %d recipients", r.Mails), "recipients/s", "ms for 1,000: process", cpuMariaDB, cpuSink)
	sums := map[string]float64{}
	for _, s := range r.Stages {
		t.Row(s.Name, s.Rate.Text(0), s.CPU[cpuClient].Text(1), s.CPU[cpuMariaDB].Text(1), s.CPU[cpuSink].Text(1))
		if s.Name == "parse" || s.Name == "insert" {
			continue
		}
		for name, cpu := range s.CPU {
			sums[name] += cpu.Median
		}
	}
	if len(r.Stages) == 0 {
		return t
	}
	cell := func(name string) string { return fmt.Sprintf("%.1f", sums[name]) }
	t.Row("sum from claim to result", "", cell(cpuClient), cell(cpuMariaDB), cell(cpuSink))
	if whole := r.of(cartero, 0); whole != nil {
		cell := func(name string) string { return fmt.Sprintf("%.1f", whole.CPU[name].Median) }
		t.Row("the whole, end to end", "", cell(cpuClient), cell(cpuMariaDB), cell(cpuSink))
	}
	return t
}
