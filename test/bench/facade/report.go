package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// report is the outcome of a run, as -json writes it.
type report struct {
	Machine measure.Machine `json:"machine"`
	Servers measure.Facts   `json:"servers"`
	Rounds  int             `json:"rounds"`
	Conns   int             `json:"conns"`
	Worker  bool            `json:"worker"`
	Rows    []row           `json:"rows"`
}

// row is one number of all sides.
type row struct {
	Section string         `json:"section"`
	Name    string         `json:"name"`
	Sides   [sides]*series `json:"sides"`
	// Target is what is meant of the ratio to the peer's; AtMost says in which direction. 0 is none.
	Target float64 `json:"target,omitempty"`
	AtMost bool    `json:"atMost,omitempty"`
}

// series is one number over all rounds. Ratio is its median to that of the peer.
type series struct {
	measure.Series

	Ratio float64 `json:"ratio,omitempty"`
}

const (
	sectionRate    = "HIGHEST SUSTAINED RATE, REQUESTS PER SECOND"
	sectionLatency = "LATENCY AT PYTHON'S HIGHEST RATE, MS"
	sectionCPU     = "CPU SECONDS PER 1,000 REQUESTS"
)

// rows computes what the table shows: rates, then latencies, then processor time.
func rows(chosen []endpoint, all found) (table []row) {
	add := func(section, name string, e endpoint, target float64, number func(sample) float64) {
		r := row{Section: section, Name: e.path + name, Target: target, AtMost: section == sectionLatency}
		for side, samples := range all[e.path] {
			s := &series{Series: measure.Of(samples, number)}
			r.Sides[side] = s
			if peers := r.Sides[python].Median; peers > 0 {
				s.Ratio = s.Median / peers
			}
		}
		table = append(table, r)
	}
	for _, e := range chosen {
		add(sectionRate, "", e, e.rate, func(s sample) float64 { return s.Rate })
	}
	for _, e := range chosen {
		add(sectionLatency, " p50", e, 0, func(s sample) float64 { return s.P50 })
		add(sectionLatency, " p99", e, e.latency, func(s sample) float64 { return s.P99 })
	}
	for _, e := range chosen {
		add(sectionCPU, ": service", e, 0, func(s sample) float64 { return s.CPU })
		add(sectionCPU, ": and all behind it", e, 0, func(s sample) float64 { return s.All })
		add(sectionCPU, ": SMTP sink", e, 0, func(s sample) float64 { return s.Sink })
		add(sectionCPU, ": who asks", e, 0, func(s sample) float64 { return s.Load })
	}
	return table
}

// met reports whether a ratio is what is meant.
func (r row) met(side side) bool {
	ratio := r.Sides[side].Ratio
	return r.Target == 0 || r.AtMost && ratio <= r.Target || !r.AtMost && ratio >= r.Target
}

// print writes the report for people.
func (r report) print(out io.Writer) error {
	beside := "none"
	if r.Worker {
		beside = "one"
	}
	fmt.Fprintf(out, "\n%s; %s\n%d rounds, taking turns: median (lowest–highest). %d connections. Beside Cartero's facade: %s of its workers.\n\n",
		r.Servers, r.Machine, r.Rounds, r.Conns, beside)
	table := measure.NewTable("", "Python", "Cartero, SQLite", "ratio", "Cartero, MariaDB", "ratio", "target", "")
	section := ""
	for _, row := range r.Rows {
		if row.Section != section {
			section = row.Section
			table.Section(section)
		}
		table.Row(row.cells()...)
	}
	return table.Print(out)
}

func (r row) cells() []string {
	digits := map[string]int{sectionRate: 0, sectionLatency: 1, sectionCPU: 3}[r.Section]
	target, verdict := "", ""
	if r.Target > 0 {
		sign := "≥"
		if r.AtMost {
			sign = "≤"
		}
		target, verdict = fmt.Sprintf("%s %.1f", sign, r.Target), measure.Verdict(true)
		var missed []string
		for _, s := range []side{onSQLite, onMariaDB} {
			if !r.met(s) {
				missed = append(missed, s.String())
			}
		}
		if len(missed) > 0 {
			verdict = measure.Verdict(false) + ": " + strings.Join(missed, ", ")
		}
	}
	sqlite, mariadb := r.Sides[onSQLite], r.Sides[onMariaDB]
	return []string{
		r.Name, r.Sides[python].Text(digits), sqlite.Text(digits), fmt.Sprintf("%.2f", sqlite.Ratio),
		mariadb.Text(digits), fmt.Sprintf("%.2f", mariadb.Ratio), target, verdict,
	}
}
