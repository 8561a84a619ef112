package main

import (
	"fmt"
	"io"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// report is what was measured.
type report struct {
	// FirstMail are the times from before the API server is asked to the end of the first mail, sorted.
	FirstMail []time.Duration

	Campaigns, Recipients int
	Applied, Ended        time.Duration
	// LongestWait is the longest that a reconcile waited in the controller's queue, in seconds, rounded up by 10 % at most.
	LongestWait float64
	OperatorCPU time.Duration

	Finished int
	// Base is what the operator has of memory with one campaign, Most the most while many were sent. Resident is what it has
	// when it was started anew and only watches those that have ended, and MostAnew the most since that start. All in MiB.
	Base, Most, Resident, MostAnew float64
	StartCPU                       time.Duration
	// IdleCPU is the share of one core that the idle operator takes.
	IdleCPU float64
}

// percentile of sorted values.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

func (r report) print(out io.Writer, machine measure.Machine) error {
	table := measure.NewTable()
	row := func(what, value, goal string, met bool) {
		verdict := ""
		if goal != "" {
			verdict = measure.Verdict(met)
		}
		table.Row(what, value, goal, verdict)
	}
	fmt.Fprintln(out, machine)
	table.Section(fmt.Sprintf("APPLY TO FIRST MAIL, IDLE (%d times)", len(r.FirstMail)))
	for _, p := range []int{50, 90} {
		row(fmt.Sprintf("p%d", p), percentile(r.FirstMail, p).Round(time.Millisecond).String(), "", true)
	}
	p99 := percentile(r.FirstMail, 99)
	row("p99", p99.Round(time.Millisecond).String(), "< 500ms", p99 < 500*time.Millisecond)
	table.Section(fmt.Sprintf("%d CAMPAIGNS OF %d RECIPIENTS AT ONCE", r.Campaigns, r.Recipients))
	row("applied in", r.Applied.Round(100*time.Millisecond).String(), "", true)
	row("all complete after", r.Ended.Round(100*time.Millisecond).String(), "", true)
	row("longest wait for a reconcile", fmt.Sprintf("%.2gs", r.LongestWait), "≤ 5s", r.LongestWait <= 5)
	row("processor time of the operator", r.OperatorCPU.Round(10*time.Millisecond).String(), "", true)
	row("resident at most", fmt.Sprintf("%.0f MiB", r.Most), "", true)
	table.Section(fmt.Sprintf("%d CAMPAIGNS THAT HAVE ENDED", r.Finished))
	row("resident, beyond the "+fmt.Sprintf("%.0f MiB with one", r.Base), fmt.Sprintf("%.0f MiB (at most %.0f)",
		r.Resident-r.Base, r.MostAnew-r.Base), "< 80 MiB", r.Resident-r.Base < 80)
	row("processor time of the start", r.StartCPU.Round(10*time.Millisecond).String(), "", true)
	row("processor, idle", fmt.Sprintf("%.2f %% of a core", r.IdleCPU*100), "< 1 %", r.IdleCPU < 0.01)
	return table.Print(out)
}
