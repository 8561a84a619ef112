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
	Rounds  int             `json:"rounds"`
	Rows    []row           `json:"rows"`
}

// row is one number over all rounds.
type row struct {
	measure.Series

	Part string `json:"part"`
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Target is what the median is meant to be at most; 0 for none.
	Target float64 `json:"target,omitempty"`
	Met    bool    `json:"met"`
}

// newRow makes a row of the values of all rounds.
func newRow(name, unit string, target float64, values []float64) row {
	r := row{Series: measure.NewSeries(values), Name: name, Unit: unit, Target: target}
	r.Met = target == 0 || r.Median <= target
	return r
}

// print writes the report for people.
func (r report) print(out io.Writer) error {
	fmt.Fprintf(out, "\n%s; %d rounds: median (lowest–highest)\n\n", r.Machine, r.Rounds)
	table, last := measure.NewTable(), ""
	for _, row := range r.Rows {
		if row.Part != last {
			last = row.Part
			table.Section(strings.ToUpper(last))
		}
		target, verdict := "", ""
		if row.Target > 0 {
			target, verdict = fmt.Sprintf("≤ %.4g", row.Target), measure.Verdict(row.Met)
		}
		table.Row(row.Name, row.Text(2)+" "+row.Unit, target, verdict)
	}
	return table.Print(out)
}
