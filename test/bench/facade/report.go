package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is the outcome of a run, as -json writes it.
type report struct {
	Machine machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	Conns   int     `json:"conns"`
	Worker  bool    `json:"worker"`
	Rows    []row   `json:"rows"`
}

// machine says on what a run was made.
type machine struct {
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	// Load is the load average of the minute before the run; empty where the system does not tell.
	Load     string `json:"load,omitempty"`
	Redis    string `json:"redis"`
	Database string `json:"database"`
	// FlushAtCommit is MariaDB's innodb_flush_log_at_trx_commit: 1 is as durable as it gets.
	FlushAtCommit int `json:"flushAtCommit"`
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
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"`
	Ratio  float64   `json:"ratio,omitempty"`
}

// quantile of sorted values: the smallest that at least this share is not above.
func quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(share*float64(len(sorted)))), 1)-1]
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
			s := &series{}
			for _, one := range samples {
				s.Values = append(s.Values, number(one))
			}
			sorted := slices.Sorted(slices.Values(s.Values))
			s.Median, s.Min, s.Max = quantile(sorted, 0.5), sorted[0], sorted[len(sorted)-1]
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
	m := r.Machine
	fmt.Fprintf(out, "\nMariaDB %s (flush at commit: %d); Redis %s; %s, %d cores", m.Database, m.FlushAtCommit, m.Redis, m.OS, m.Cores)
	if m.Load != "" {
		fmt.Fprintf(out, ", load %s before", m.Load)
	}
	beside := "none"
	if r.Worker {
		beside = "one"
	}
	fmt.Fprintf(out, "\n%d rounds, taking turns: median (lowest–highest). %d connections. Beside Cartero's facade: %s of its workers.\n\n",
		r.Rounds, r.Conns, beside)
	var table bytes.Buffer
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "\tPython\tCartero, SQLite\tratio\tCartero, MariaDB\tratio\ttarget\t")
	section := ""
	for _, row := range r.Rows {
		if row.Section != section {
			section = row.Section
			fmt.Fprintf(tab, "%s\t\t\t\t\t\t\t\n", section)
		}
		row.print(tab)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	// A title is no cell: it must not make the first column wide.
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
	return nil
}

func (r row) print(tab io.Writer) {
	text := func(s *series) string {
		format := "%.3f (%.3f–%.3f)"
		switch r.Section {
		case sectionRate:
			format = "%.0f (%.0f–%.0f)"
		case sectionLatency:
			format = "%.1f (%.1f–%.1f)"
		}
		return fmt.Sprintf(format, s.Median, s.Min, s.Max)
	}
	target, verdict := "", ""
	if r.Target > 0 {
		sign := "≥"
		if r.AtMost {
			sign = "≤"
		}
		target, verdict = fmt.Sprintf("%s %.1f", sign, r.Target), "met"
		var missed []string
		for _, s := range []side{onSQLite, onMariaDB} {
			if !r.met(s) {
				missed = append(missed, s.String())
			}
		}
		if len(missed) > 0 {
			verdict = "NOT MET: " + strings.Join(missed, ", ")
		}
	}
	sqlite, mariadb := r.Sides[onSQLite], r.Sides[onMariaDB]
	fmt.Fprintf(tab, "  %s\t%s\t%s\t%.2f\t%s\t%.2f\t%s\t%s\n",
		r.Name, text(r.Sides[python]), text(sqlite), sqlite.Ratio, text(mariadb), mariadb.Ratio, target, verdict)
}
