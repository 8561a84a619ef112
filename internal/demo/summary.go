package demo

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// Summary is what the campaigns of a demo came to.
type Summary struct {
	// Entries counts what the lists had: recipients, duplicates, and invalid addresses.
	Entries    int64
	Recipients int64
	Duplicates int64
	Invalid    int64
	Accepted   int64
	// Failures are the recipients that were not accepted, by category and enhanced status code.
	Failures []campaign.FailureCount
	// Took is the time from the first claim to the last result.
	Took time.Duration
}

// Summarize adds up campaigns that have ended. took is the time that sending took, as the database has it.
func Summarize(campaigns []v1alpha1.EmailCampaign, took time.Duration) Summary {
	s := Summary{Took: took}
	failures := map[campaign.FailureCount]int64{}
	for _, c := range campaigns {
		if r := c.Status.Recipients; r != nil {
			s.Recipients += r.Total
			s.Accepted += r.Accepted
		}
		if l := c.Status.List; l != nil {
			s.Duplicates += l.Duplicates
			s.Invalid += l.Invalid
		}
		for _, f := range c.Status.Failures {
			failures[campaign.FailureCount{Category: f.Category, EnhancedCode: f.EnhancedCode}] += f.Count
		}
	}
	s.Entries = s.Recipients + s.Duplicates + s.Invalid
	for failure, n := range failures {
		failure.Count = n
		s.Failures = append(s.Failures, failure)
	}
	slices.SortFunc(s.Failures, func(a, b campaign.FailureCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Category, b.Category))
	})
	return s
}

// Write prints the summary.
func (s Summary) Write(w io.Writer) {
	row := func(name string, n int64, remark string) { fmt.Fprintf(w, "  %-22s%6d  %s\n", name, n, remark) }
	fmt.Fprintln(w, "\nSummary")
	row("entries in the lists", s.Entries, "")
	row("duplicates dropped", s.Duplicates, "other spellings of an address in the list")
	row("invalid addresses", s.Invalid, "left out; status.list has their line numbers")
	row("recipients", s.Recipients, "")
	row("accepted", s.Accepted, "")
	for _, f := range s.Failures {
		row("not accepted", f.Count, strings.TrimSpace(f.Category+" "+f.EnhancedCode))
	}
	if s.Took > 0 {
		fmt.Fprintf(w, "  %-22s%6.0f  in %s\n", "mails a second", float64(s.Accepted)/s.Took.Seconds(), s.Took.Round(time.Millisecond))
	}
}
