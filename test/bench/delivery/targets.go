package main

import (
	"fmt"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// maxControl is how far apart the control's rounds may be, as a share of their median: on a quiet machine it is less.
const maxControl = 0.10

// target is what is meant of one number.
type target struct {
	name, unit string
	value      float64
	want       float64
	atMost     bool
}

func (t target) met() bool {
	if t.atMost {
		return t.value >= 0 && t.value <= t.want
	}
	return t.value >= t.want
}

// targets are those of what was measured.
func (r report) targets() (all []target) {
	for _, roundTrip := range r.roundTrips() {
		if source, ours := r.of(smtpSource, roundTrip), r.of(sender, roundTrip); source != nil && ours != nil {
			want := 2.5
			if roundTrip == 0 {
				want = 1
			}
			all = append(all, target{
				name: "SMTP sender to smtp-source, " + roundTrip.String(), unit: "×", value: ours.Rate.Median / source.Rate.Median, want: want,
			})
		}
	}
	if whole := r.of(cartero, 0); whole != nil {
		if node := r.of(nodeUsual, 0); node != nil {
			all = append(all, target{name: "end to end to the usual Node worker", unit: "×", value: whole.Rate.Median / node.Rate.Median, want: 30})
		}
		all = append(all,
			target{name: "end to end", unit: "mails/s", value: whole.Rate.Median, want: 8000},
			target{name: "memory of the worker", unit: "MiB", value: whole.Resident.Max, want: 64, atMost: true},
			target{name: "processor time of the worker for 1,000 mails", unit: "ms", value: whole.CPU[cpuClient].Median, want: 40, atMost: true})
	}
	if r.Recovery != nil {
		all = append(all,
			target{name: "back at full speed after kill -9", unit: "s", value: r.Recovery.Back, want: 5, atMost: true},
			target{name: "mailed twice", unit: "", value: float64(r.Recovery.Twice), atMost: true})
	}
	return all
}

func (r report) targetTable() *measure.Table {
	t := measure.NewTable("MEANT", "is", "meant", "")
	for _, one := range r.targets() {
		sign := "≥"
		if one.atMost {
			sign = "≤"
		}
		t.Row(one.name, fmt.Sprintf("%.4g %s", one.value, one.unit), fmt.Sprintf("%s %g", sign, one.want), measure.Verdict(one.met()))
	}
	return t
}

// disturbed are the round trips at which the control was too different from round to round.
func (r report) disturbed() (all []string) {
	for _, roundTrip := range r.roundTrips() {
		if c := r.of(control, roundTrip); c != nil && c.Rate.Spread() > maxControl {
			all = append(all, fmt.Sprintf("%s by %.0f %%", roundTrip, c.Rate.Spread()*100))
		}
	}
	return all
}
