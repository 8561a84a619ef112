package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is the outcome of a run, as -json writes it.
type report struct {
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	// Load is the load average of the minute before the run; empty where the system does not tell.
	Load   string `json:"load,omitempty"`
	Rounds int    `json:"rounds"`
	Rows   []row  `json:"rows"`
}

// row is one number over all rounds.
type row struct {
	Part   string    `json:"part"`
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Median float64   `json:"median"`
	// Target is what the median is meant to be at most; 0 for none.
	Target float64 `json:"target,omitempty"`
	Met    bool    `json:"met"`
}

// newRow makes a row of the values of all rounds.
func newRow(name, unit string, target float64, values []float64) row {
	r := row{Name: name, Unit: unit, Values: values, Target: target}
	if len(values) > 0 {
		r.Median = slices.Sorted(slices.Values(values))[len(values)/2]
	}
	r.Met = target == 0 || r.Median <= target
	return r
}

func write(file string, r report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// print writes the report for people.
func (r report) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s, %d cores", r.OS, r.Cores)
	if r.Load != "" {
		fmt.Fprintf(out, ", load %s before", r.Load)
	}
	fmt.Fprintf(out, "; %d rounds: median (lowest–highest)\n\n", r.Rounds)
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	last := ""
	for _, row := range r.Rows {
		if row.Part != last {
			last = row.Part
			fmt.Fprintf(tab, "%s\t\t\t\t\n", strings.ToUpper(last))
		}
		row.print(tab)
	}
	return tab.Flush()
}

func (r row) print(tab io.Writer) {
	target, verdict := "", ""
	if r.Target > 0 {
		target, verdict = fmt.Sprintf("≤ %.4g", r.Target), "met"
		if !r.Met {
			verdict = "NOT MET"
		}
	}
	low, high := r.Median, r.Median
	if len(r.Values) > 0 {
		low, high = slices.Min(r.Values), slices.Max(r.Values)
	}
	fmt.Fprintf(tab, "  %s\t%.2f (%.2f–%.2f) %s\t%s\t%s\n", r.Name, r.Median, low, high, r.Unit, target, verdict)
}
