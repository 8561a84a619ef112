package check

import (
	"maps"
	"slices"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// total is the name of the sum in Status.Counts.
const total = "total"

// final are the states that are never left, but for doubts, which certain knowledge replaces.
var final = []campaign.State{
	campaign.StateAccepted, campaign.StateBounced, campaign.StateFailed, campaign.StateSuppressed, campaign.StateCancelled,
}

// comesToRest is I5.
func (j *judge) comesToRest() {
	at := slices.IndexFunc(j.History, func(e Event) bool { return e.Kind == KindQuiet })
	if at < 0 {
		return // the run is not about the API
	}
	last, seen := map[string]Status{}, map[string]int{}
	for _, e := range j.History[at:] {
		if e.Status == nil {
			continue
		}
		if before, ok := last[e.Status.UID]; ok && before.ResourceVersion != e.Status.ResourceVersion {
			j.found("I5", e.Status.Name, "it changes, from resource version %s to %s, although nothing happens",
				before.ResourceVersion, e.Status.ResourceVersion)
		}
		last[e.Status.UID] = *e.Status
		seen[e.Status.UID]++
	}
	for uid, s := range last {
		ended := s.Conditions["Complete"] == "True" || s.Conditions["Failed"] == "True"
		switch {
		case s.Deleting: // I8
		case seen[uid] < 2:
			j.found("I5", s.Name, "it was looked at only once after the end")
		case !ended || s.Conditions["Reconciling"] == "True":
			j.found("I5", s.Name, "it has not ended: %v", s.Conditions)
		case s.ObservedGeneration != s.Generation:
			j.found("I5", s.Name, "its status is about generation %d of %d", s.ObservedGeneration, s.Generation)
		}
	}
}

// countsAreTrue is I6.
func (j *judge) countsAreTrue() {
	lastOf := map[string]Status{}
	for _, e := range j.History {
		if e.Kind == KindGone {
			delete(lastOf, e.Note)
		}
		if e.Status == nil || e.Status.Counts == nil {
			continue
		}
		s := *e.Status
		j.report.Judged["statuses"]++
		sum := int64(0)
		for state, n := range s.Counts {
			if state != total {
				sum += n
			}
		}
		if sum != s.Counts[total] {
			j.found("I6", s.Name, "at %s its states add up to %d, and its total is %d", s.ResourceVersion, sum, s.Counts[total])
		}
		before := lastOf[s.UID].Counts
		for _, state := range final {
			if now := s.Counts[string(state)]; now < before[string(state)] {
				j.found("I6", s.Name, "at %s it has %d %s, after %d before", s.ResourceVersion, now, state, before[string(state)])
			}
		}
		lastOf[s.UID] = s
	}
	j.lastCountsAreTheRows(lastOf)
	j.jobsAreTheRows()
}

func (j *judge) lastCountsAreTheRows(lastOf map[string]Status) {
	counted := map[string]map[string]int64{}
	for _, row := range j.Rows {
		if counted[row.Campaign] == nil {
			counted[row.Campaign] = map[string]int64{}
		}
		counted[row.Campaign][string(row.State)]++
		counted[row.Campaign][total]++
	}
	for _, s := range lastOf {
		seen := maps.Clone(s.Counts)
		maps.DeleteFunc(seen, func(_ string, n int64) bool { return n == 0 })
		if want := counted[s.Key]; !maps.Equal(want, seen) {
			j.found("I6", s.Name, "its last status counts %v, and the rows are %v", seen, want)
		}
	}
}

// jobsAreTheRows compares the legacy counters of jobs that have ended.
func (j *judge) jobsAreTheRows() {
	counted := map[string]*Job{}
	open := map[string]bool{}
	for _, row := range j.Rows {
		c := counted[row.JobID]
		if c == nil {
			c = &Job{}
			counted[row.JobID] = c
		}
		c.Total++
		switch {
		case row.State == campaign.StateAccepted:
			c.Sent++
		case row.State.Terminal():
			c.Failed++
		default:
			open[row.JobID] = true // I1
		}
	}
	for _, job := range j.Jobs {
		c := counted[job.ID]
		if c == nil || open[job.ID] {
			continue
		}
		status := campaign.JobCompleted
		if c.Sent == 0 {
			status = campaign.JobFailed
		}
		if job.Status != string(status) {
			j.found("I6", job.ID, "the job is %s, want %s", job.Status, status)
		}
		if job.Total != c.Total || job.Sent != c.Sent || job.Failed != c.Failed {
			j.found("I6", job.ID, "the job counts %d sent and %d failed of %d, and its rows are %d, %d and %d",
				job.Sent, job.Failed, job.Total, c.Sent, c.Failed, c.Total)
		}
	}
}
