package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// report is the outcome of a run, as -json writes it.
type report struct {
	Machine machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	Rows    []row   `json:"rows"`
	// Ways are the ways of adding many jobs, of which the best is in Rows.
	Ways []row `json:"ways"`
}

// machine says on what a run was made.
type machine struct {
	measure.Machine

	Redis string `json:"redis"`
	Peer  string `json:"peer"`
	Ours  string `json:"ours"`
}

// row compares the two sides in one number.
type row struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Peer *series `json:"peer,omitempty"`
	Ours *series `json:"ours,omitempty"`
	// Ratio is our median to the peer's; 0 if there is nothing to compare. Lowest and Highest are those of single rounds.
	Ratio   float64 `json:"ratio,omitempty"`
	Lowest  float64 `json:"lowest,omitempty"`
	Highest float64 `json:"highest,omitempty"`
	Target  string  `json:"target,omitempty"`
	Met     bool    `json:"met,omitempty"`
}

// series is one number over all rounds.
type series struct {
	measure.Series

	// Way is how the side did it, where it had a choice.
	Way string `json:"way,omitempty"`
}

func newSeries(way string, all []sample, number func(sample) float64) *series {
	if len(all) == 0 {
		return nil
	}
	return &series{measure.Of(all, number), way}
}

func newRow(name, unit string, peers, ours *series) row {
	r := row{Name: name, Unit: unit, Peer: peers, Ours: ours}
	if peers == nil || ours == nil {
		return r
	}
	r.Ratio = ours.Median / peers.Median
	ratios := make([]float64, len(ours.Values))
	for i := range ratios {
		ratios[i] = ours.Values[i] / peers.Values[i]
	}
	r.Lowest, r.Highest = slices.Min(ratios), slices.Max(ratios)
	if t, ok := targets()[name]; ok {
		r.Target, r.Met = t.String(), t.met(r.Ratio)
	}
	return r
}

// The numbers of a sample that are compared.
var (
	rate      = func(s sample) float64 { return s.Rate }
	clientCPU = func(s sample) float64 { return s.ClientCPU }
	redisCPU  = func(s sample) float64 { return s.RedisCPU }
	latencies = []struct {
		name   string
		number func(sample) float64
	}{
		{"p50", func(s sample) float64 { return s.P50 }},
		{"p95", func(s sample) float64 { return s.P95 }},
		{"p99", func(s sample) float64 { return s.P99 }},
	}
)

const unitRate, unitLatency, unitCPU = "jobs/s", "ms", "s"

// rows computes what the table shows: rates, then latencies, then processor time.
func rows(steps []step, found samples) (all, ways []row) {
	var cpu []row
	compare := func(name string, of [2]step) {
		numbers := func(side side, number func(sample) float64) *series {
			if of[side].name == "" {
				return nil
			}
			way := ""
			if of[side].row != "" {
				way = strings.TrimPrefix(of[side].name, "add ")
			}
			return newSeries(way, found[of[side].name][side], number)
		}
		all = append(all, newRow(name, unitRate, numbers(peer, rate), numbers(ours, rate)))
		cpu = append(cpu,
			newRow(name+": client", unitCPU, numbers(peer, clientCPU), numbers(ours, clientCPU)),
			newRow(name+": Redis", unitCPU, numbers(peer, redisCPU), numbers(ours, redisCPU)))
	}
	compared := map[string]bool{}
	for _, s := range steps {
		switch {
		case s.kind == kindLatency:
			for _, l := range latencies {
				r := newRow(s.name+" "+l.name, unitLatency,
					newSeries("", found[s.name][peer], l.number), newSeries("", found[s.name][ours], l.number))
				if s.across {
					r.Ratio, r.Lowest, r.Highest = 0, 0, 0
				}
				all = append(all, r)
			}
		case s.row == "":
			compare(s.name, [2]step{s, s})
		default:
			ways = append(ways, newRow(s.name, unitRate,
				newSeries("", found[s.name][peer], rate), newSeries("", found[s.name][ours], rate)))
			if !compared[s.row] {
				compared[s.row] = true
				compare(s.row, [2]step{best(steps, found, s.row, peer), best(steps, found, s.row, ours)})
			}
		}
	}
	return append(all, cpu...), ways
}

// best is the step with the highest median rate of those that count for a row.
func best(steps []step, found samples, row string, side side) (winner step) {
	highest := 0.0
	for _, s := range steps {
		if s.row != row {
			continue
		}
		if rates := newSeries("", found[s.name][side], rate); rates != nil && rates.Median > highest {
			winner, highest = s, rates.Median
		}
	}
	return winner
}

// print writes the report for people.
func (r report) print(out io.Writer) error {
	m := r.Machine
	fmt.Fprintf(out, "\n%s; %s; Redis %s; %s\n%d rounds, taking turns: median (lowest–highest). Ratio: Cartero to bull, medians (of single rounds).\n"+
		"Across: the column's side adds, the other side handles.\n\n", m.Peer, m.Ours, m.Redis, m.Machine, r.Rounds)
	table, section := measure.NewTable("", "bull", "Cartero", "ratio", "", "target", ""), ""
	for _, row := range r.Rows {
		if row.Unit != section {
			section = row.Unit
			table.Section(map[string]string{
				unitRate: "JOBS PER SECOND", unitLatency: "IDLE, ADD TO HANDLER, MS", unitCPU: "CPU SECONDS PER 100,000 JOBS",
			}[section])
		}
		table.Row(row.cells()...)
	}
	if len(r.Ways) > 0 {
		table.Section("WAYS OF ADDING MANY, JOBS PER SECOND")
		for _, row := range r.Ways {
			table.Row(row.cells()...)
		}
	}
	return table.Print(out)
}

func (r row) cells() []string {
	ratio, span, met := "", "", ""
	if r.Ratio > 0 {
		ratio, span = fmt.Sprintf("%.2f", r.Ratio), fmt.Sprintf("(%.2f–%.2f)", r.Lowest, r.Highest)
	}
	if r.Target != "" {
		met = measure.Verdict(r.Met)
	}
	return []string{r.Name, r.Peer.text(r.Unit), r.Ours.text(r.Unit), ratio, span, r.Target, met}
}

func (s *series) text(unit string) string {
	if s == nil {
		return "–"
	}
	digits := 2
	if unit == unitRate {
		digits = 0
	}
	text := s.Text(digits)
	if s.Way != "" {
		text = s.Way + ": " + text
	}
	return text
}
