package check

import (
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// nobodyLost is I1.
func (j *judge) nobodyLost() {
	sealed, inCampaign, inJob := map[string]bool{"": true}, map[string]int{}, map[string]int{}
	for _, c := range j.Campaigns {
		sealed[c.Key] = c.Sealed
	}
	for _, row := range j.Rows {
		inCampaign[row.Campaign]++
		inJob[row.JobID]++
		if sealed[row.Campaign] && !row.State.Terminal() {
			j.found("I1", row.ID, "it is %s, and nothing happens any more", row.State)
		}
		if row.State == campaign.StateAccepted && len(j.accepts[row.MessageID]) == 0 {
			j.found("I1", row.ID, "it counts as sent, and the relay has no mail of it")
		}
	}
	for _, e := range j.History {
		switch {
		case e.Planned != nil:
			got, want := inCampaign[e.Planned.Key], e.Planned.Recipients
			if got != want && (got != 0 || !e.Planned.MayVanish) {
				j.found("I1", e.Planned.Key, "it has %d recipients, want %d", got, want)
			}
			if got > 0 && !sealed[e.Planned.Key] && !e.Planned.MayVanish {
				j.found("I1", e.Planned.Key, "it was never sealed")
			}
		case e.Answered != nil && inJob[e.Answered.JobID] == 0:
			j.found("I1", e.Answered.JobID, "the request was answered, and the job has no recipients")
		}
	}
}

// delivered reports whether the client certainly has the reply.
func (j *judge) delivered(e ledger.Entry) bool { return e.Read || e.Replied && !j.Lossy }

// nobodyTwice is I2.
func (j *judge) nobodyTwice() {
	for id, accepts := range j.accepts {
		row, known := j.rows[id]
		if !known {
			j.found("I2", id, "the relay accepted %d mails with this Message-ID, which is nobody's", len(accepts))
			continue
		}
		allowed, lost := 1, 0
		for _, e := range accepts {
			if !j.delivered(e) {
				lost++
			}
			if e.Key != row.Key || e.Mails != 1 {
				j.found("I2", row.ID, "final dot %d was for somebody else", e.Number)
			}
		}
		if row.Retry {
			allowed += lost
		}
		if len(accepts) > allowed {
			j.found("I2", row.ID, "the relay accepted %d mails, %d of them without a reply that certainly arrived: at most %d are right",
				len(accepts), lost, allowed)
		}
	}
	jobs := map[string]string{}
	for _, e := range j.History {
		if e.Answered == nil || e.Answered.IdempotencyKey == "" {
			continue
		}
		key, job := e.Answered.IdempotencyKey, e.Answered.JobID
		if before, ok := jobs[key]; ok && before != job {
			j.found("I2", job, "the request with the same Idempotency-Key was answered with job %s before", before)
		}
		jobs[key] = job
	}
}

// nothingMadeUp is I3.
func (j *judge) nothingMadeUp() {
	for _, row := range j.Rows {
		if want := row.State.Legacy(); row.Status != want && row.State.Terminal() {
			j.found("I3", row.ID, "it is %s, and the legacy column says %s", row.State, row.Status)
		}
		if sent := row.State == campaign.StateAccepted; row.State.Terminal() && row.Dated != sent {
			j.found("I3", row.ID, "it is %s, and sentAt is %s", row.State, map[bool]string{true: "set", false: "not set"}[row.Dated])
		}
		delivered, accepts := 0, j.accepts[row.MessageID]
		for _, e := range accepts {
			if j.delivered(e) {
				delivered++
			}
		}
		sentOrDoubted := row.State == campaign.StateAccepted || row.State == campaign.StateInDoubt
		switch {
		case len(accepts) == 0 || row.State == campaign.StateAccepted:
		case delivered > 0 && !j.Lossy:
			j.found("I3", row.ID, "the relay accepted its mail and said so, and it is %s", row.State)
		case delivered == 0 && row.Retry: // a doubt that was tried again may have ended in any way
		case !sentOrDoubted:
			j.found("I3", row.ID, "the relay accepted its mail, and it is %s", row.State)
		}
	}
}

// nothingMaimed is I4.
func (j *judge) nothingMaimed() {
	for id, accepts := range j.accepts {
		row, known := j.rows[id]
		if !known {
			continue // I2
		}
		for _, e := range accepts {
			if e.Body != row.Body {
				j.found("I4", row.ID, "final dot %d ended a mail of %d octets that is not the recipient's", e.Number, e.Size)
			}
		}
	}
}
