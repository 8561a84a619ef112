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
	// Loops are the reconciles of a campaign.
	Loops float64
	Each  cost

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

// section is a table of its own, for each is printed when it is measured.
type section struct{ *measure.Table }

func newSection(format string, args ...any) section {
	s := section{measure.NewTable()}
	s.Section(fmt.Sprintf(format, args...))
	return s
}

func (s section) value(what, format string, args ...any) {
	s.Row(what, fmt.Sprintf(format, args...), "", "")
}

// meant is a value that has a goal.
func (s section) meant(what, goal string, met bool, format string, args ...any) {
	s.Row(what, fmt.Sprintf(format, args...), goal, measure.Verdict(met))
}

func (r report) printFirstMail(out io.Writer) error {
	s := newSection("APPLY TO FIRST MAIL, IDLE (%d times)", len(r.FirstMail))
	for _, p := range []int{50, 90} {
		s.value(fmt.Sprintf("p%d", p), "%s", percentile(r.FirstMail, p).Round(time.Millisecond))
	}
	p99 := percentile(r.FirstMail, 99)
	s.meant("p99", "< 500ms", p99 < 500*time.Millisecond, "%s", p99.Round(time.Millisecond))
	return s.Print(out)
}

func (r report) printAtOnce(out io.Writer) error {
	s := newSection("%d CAMPAIGNS OF %d RECIPIENTS AT ONCE", r.Campaigns, r.Recipients)
	s.value("applied in", "%s", r.Applied.Round(100*time.Millisecond))
	s.value("all complete after", "%s", r.Ended.Round(100*time.Millisecond))
	s.meant("longest wait for a reconcile", "≤ 5s", r.LongestWait <= 5, "%.2gs", r.LongestWait)
	s.value("reconciles of a campaign", "%.1f", r.Loops)
	s.value("processor time of a campaign, ms", "%s", shares(r.Each.milliseconds(), "%.1f"))
	s.value("requests of a campaign", "%s", shares(r.Each.Requests, "%.2f"))
	s.value("resident at most", "%.0f MiB", r.Most)
	return s.Print(out)
}

func (r report) printFinished(out io.Writer) error {
	if r.Finished == 0 {
		return nil
	}
	s := newSection("%d CAMPAIGNS THAT HAVE ENDED", r.Finished)
	s.meant(fmt.Sprintf("resident, beyond the %.0f MiB with one", r.Base), "< 80 MiB", r.Resident-r.Base < 80,
		"%.0f MiB (at most %.0f)", r.Resident-r.Base, r.MostAnew-r.Base)
	s.value("processor time of the start", "%s", r.StartCPU.Round(10*time.Millisecond))
	s.meant("processor, idle", "< 1 %", r.IdleCPU < 0.01, "%.2f %% of a core", r.IdleCPU*100)
	return s.Print(out)
}
