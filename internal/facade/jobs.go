package facade

import (
	"errors"
	"net/http"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// maxID is the width of EmailJob.id; a longer id is nobody's.
const maxID = 191

// jobAnswer is the answer of GET /jobs/{id}. Sent, Failed and Pending add up to Total, and so do States.
type jobAnswer struct {
	OK     bool               `json:"ok"`
	ID     string             `json:"id"`
	Status campaign.JobStatus `json:"status"`
	Total  int64              `json:"total"`
	// Sent were accepted by the relay; Failed ended otherwise; Pending are still to be tried.
	Sent        int64      `json:"sent"`
	Failed      int64      `json:"failed"`
	Pending     int64      `json:"pending"`
	States      stateCount `json:"states"`
	CreatedAt   string     `json:"createdAt"`
	StartedAt   *string    `json:"startedAt"`
	CompletedAt *string    `json:"completedAt"`
}

// stateCount counts recipients by their fine state.
type stateCount struct {
	Pending    int64 `json:"pending"`
	Active     int64 `json:"active"`
	Deferred   int64 `json:"deferred"`
	Accepted   int64 `json:"accepted"`
	Bounced    int64 `json:"bounced"`
	Failed     int64 `json:"failed"`
	Suppressed int64 `json:"suppressed"`
	Cancelled  int64 `json:"cancelled"`
	InDoubt    int64 `json:"inDoubt"`
}

// job is GET /jobs/{id}.
func (f *facade) job(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	err := campaign.ErrNotFound
	var report campaign.JobReport
	if len(id) <= maxID {
		report, err = f.Jobs.JobReport(r.Context(), id)
	}
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		answer(w, http.StatusNotFound, failure{Error: "there is no such job"})
	case err != nil:
		f.broken(w, r, "Reading a job failed", err)
	default:
		answer(w, http.StatusOK, jobAnswerOf(report))
	}
}

func jobAnswerOf(report campaign.JobReport) jobAnswer {
	t := report.Tally
	return jobAnswer{
		OK:      true,
		ID:      report.ID,
		Status:  report.Status,
		Total:   t.Total,
		Sent:    t.Accepted,
		Failed:  t.Unsuccessful(),
		Pending: t.Total - t.Finished(),
		States: stateCount{
			Pending: t.Pending, Active: t.Active, Deferred: t.Deferred, Accepted: t.Accepted, Bounced: t.Bounced,
			Failed: t.Failed, Suppressed: t.Suppressed, Cancelled: t.Cancelled, InDoubt: t.InDoubt,
		},
		CreatedAt:   timestamp(report.CreatedAt),
		StartedAt:   optionalTimestamp(report.StartedAt),
		CompletedAt: optionalTimestamp(report.CompletedAt),
	}
}

// timestamp writes a time as JavaScript's toISOString does: UTC with milliseconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func optionalTimestamp(t *time.Time) *string {
	if t == nil {
		return nil
	}
	text := timestamp(*t)
	return &text
}
