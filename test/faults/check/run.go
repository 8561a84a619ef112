package check

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// Run is what a run left behind.
type Run struct {
	Campaigns []Campaign
	Jobs      []Job
	Rows      []Row
	// Leases are those that nobody has ended or swept, each with its token and job. A claim that was worked off leaves its
	// own to run out.
	Leases []string
	// Ledger is the relay's book.
	Ledger []ledger.Entry
	// History is what was done and seen, in order.
	History []Event
	// Outputs are what the processes have said, by name.
	Outputs map[string]string
	// Queue are the keys of the queue.
	Queue []QueueKey
	// Journals are the files that workers left in their journals' directories.
	Journals []string
	// Secrets must not be told anywhere; each is long enough not to be met by chance.
	Secrets []string
	// Lossy: processes were killed or connections cut, so that a reply that the relay handed to the network may be lost.
	Lossy bool
}

// Campaign is a row of the table Campaign.
type Campaign struct {
	Key string
	// Sealed: its recipients may be sent to.
	Sealed bool
	// Retry: mails in doubt are to be sent again.
	Retry bool
}

// Job is a row of the table EmailJob.
type Job struct {
	ID, Campaign, Status string
	Total, Sent, Failed  int64
}

// Row is a row of the table Recipient.
type Row struct {
	ID, JobID string
	// Campaign is the key of its campaign; empty for a legacy program's.
	Campaign string
	// Key stands for the address, as in the ledger.
	Key string
	// MessageID is that of its mail, and Body the SHA-256 of the mail composed anew, in hex.
	MessageID, Body string
	// Status is the legacy column, Dated says that sentAt is set. State is the state that follows from all columns.
	Status campaign.LegacyStatus
	Dated  bool
	State  campaign.State
	// Retry: if in doubt, it is sent again.
	Retry bool
}

// QueueKey is a key in Redis with all that it holds.
type QueueKey struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

// Violation is one instance of an invariant that does not hold.
type Violation struct {
	// Invariant is its name, such as I2.
	Invariant string
	// Subject is whom it is about: an id, a key, a name of an output.
	Subject string
	Message string
}

func (v Violation) String() string { return v.Invariant + " " + v.Subject + ": " + v.Message }

// Report is the judgement.
type Report struct {
	Violations []Violation
	// Judged counts what there was to judge, by its name.
	Judged map[string]int
}

// judge collects violations.
type judge struct {
	Run

	report Report
	// rows are the rows by Message-ID, accepts the accepted entries by it.
	rows    map[string]Row
	accepts map[string][]ledger.Entry
}

// Check judges a run.
func Check(run Run) Report {
	j := &judge{
		Run: run, rows: map[string]Row{}, accepts: map[string][]ledger.Entry{},
		report: Report{Judged: map[string]int{
			"recipients": len(run.Rows), "jobs": len(run.Jobs), "campaigns": len(run.Campaigns), "final dots": len(run.Ledger),
			"outputs": len(run.Outputs), "queue keys": len(run.Queue),
		}},
	}
	for _, row := range run.Rows {
		j.rows[row.MessageID] = row
	}
	for _, e := range run.Ledger {
		if e.Accepted {
			j.accepts[e.MessageID] = append(j.accepts[e.MessageID], e)
			j.report.Judged["accepted mails"]++
		}
	}
	for _, invariant := range []func(){
		j.nobodyLost, j.nobodyTwice, j.nothingMadeUp, j.nothingMaimed, j.comesToRest, j.countsAreTrue, j.nothingTold, j.nothingLeft,
	} {
		invariant()
	}
	slices.SortFunc(j.report.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Message, b.Message))
	})
	return j.report
}

// found notes a violation.
func (j *judge) found(invariant, subject, format string, args ...any) {
	j.report.Violations = append(j.report.Violations, Violation{invariant, subject, fmt.Sprintf(format, args...)})
}

// shown is how many violations of an invariant are printed.
const shown = 20

// Print writes the report for people.
func (r Report) Print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(r.Judged)) {
		fmt.Fprintf(w, "%8d %s\n", r.Judged[name], name)
	}
	count := map[string]int{}
	for _, v := range r.Violations {
		if count[v.Invariant]++; count[v.Invariant] <= shown {
			fmt.Fprintln(w, v)
		}
	}
	for _, invariant := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(w, "%s does not hold: %d violations\n", invariant, count[invariant])
	}
	if len(count) == 0 {
		fmt.Fprintln(w, "I1 to I8 hold")
	}
}
