package facade

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// maxID is the width of EmailJob.id; a longer id is nobody's.
const maxID = 191

// cancelTimeout bounds the cancelling of a campaign, which goes on when its caller goes away.
const cancelTimeout = 5 * time.Minute

// jobAnswer is the answer of GET /jobs/{id}. Sent, Failed and Pending add up to Total, and so do States.
type jobAnswer struct {
	_      struct{}           `additionalProperties:"true"`
	OK     bool               `json:"ok"`
	ID     string             `json:"id"`
	Status campaign.JobStatus `json:"status" enum:"PENDING,PROCESSING,COMPLETED,FAILED" doc:"FAILED: there were recipients, and every one failed."`
	Counts
	CreatedAt   string  `json:"createdAt" doc:"UTC with milliseconds."`
	StartedAt   *string `json:"startedAt" nullable:"true"`
	CompletedAt *string `json:"completedAt" nullable:"true"`
}

// Counts says how recipients stand.
type Counts struct {
	Total int64 `json:"total" doc:"sent, failed and pending add up to it, and so do the states."`
	// Sent were accepted by the relay; Failed ended otherwise; Pending are still to be tried.
	Sent    int64      `json:"sent" doc:"Accepted by the SMTP server."`
	Failed  int64      `json:"failed" doc:"Ended otherwise."`
	Pending int64      `json:"pending" doc:"Still to be tried."`
	States  stateCount `json:"states"`
}

// stateCount counts recipients by their fine state.
type stateCount struct {
	_          struct{} `additionalProperties:"true"`
	Pending    int64    `json:"pending" doc:"Wait for their turn."`
	Active     int64    `json:"active" doc:"Are being sent."`
	Deferred   int64    `json:"deferred" doc:"Refused for now, and tried again."`
	Accepted   int64    `json:"accepted" doc:"Accepted by the SMTP server."`
	Bounced    int64    `json:"bounced" doc:"Refused for good."`
	Failed     int64    `json:"failed" doc:"Given up."`
	Suppressed int64    `json:"suppressed" doc:"Not to be mailed."`
	Cancelled  int64    `json:"cancelled" doc:"Their campaign was cancelled before they were mailed."`
	InDoubt    int64    `json:"inDoubt" doc:"The connection was lost when the SMTP server may already have accepted; not sent again."`
}

type jobInput struct {
	ID string `path:"id" doc:"The job's id: jobId of the answer that accepted it."`
}

type jobOutput struct{ Body jobAnswer }

// registerJobs registers the calls about jobs.
func (f *facade) registerJobs(api huma.API) {
	operation := func(id, method, path, summary, description string, more ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{tagJobs},
			Responses: failures(api.OpenAPI().Components.Schemas, append(more, http.StatusNotFound)...),
		}
	}
	huma.Register(api, operation("job", http.MethodGet, "/jobs/{id}", "How a job stands",
		"A campaign is one job for every 1,000 of its recipients, a mail is one."), f.job)
	huma.Register(api, operation("jobRecipients", http.MethodGet, "/jobs/{id}/recipients", "How a job's recipients stand",
		"In the order of their list, page by page.", http.StatusUnprocessableEntity), f.jobRecipients)
	cancel := operation("cancelJob", http.MethodPost, "/jobs/{id}/cancel", "Cancel a campaign",
		"Cancels the whole campaign of the job, its other jobs too. Who waits is not mailed any more; what is being handed to the SMTP "+
			"server right now is not stopped. Cancelling again changes nothing.", http.StatusConflict)
	cancel.Responses["409"].Description = "The job is another program's, or an EmailCampaign object's."
	huma.Register(api, cancel, f.cancelJob)
}

// job is GET /jobs/{id}.
func (f *facade) job(ctx context.Context, in *jobInput) (*jobOutput, error) {
	report, err := f.report(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &jobOutput{jobAnswer{
		OK:          true,
		ID:          report.ID,
		Status:      report.Status,
		Counts:      countsOf(report.Tally),
		CreatedAt:   timestamp(report.CreatedAt),
		StartedAt:   optionalTimestamp(report.StartedAt),
		CompletedAt: optionalTimestamp(report.CompletedAt),
	}}, nil
}

// report reads a job. Its errors are answers.
func (f *facade) report(ctx context.Context, id string) (campaign.JobReport, error) {
	err := campaign.ErrNotFound
	var report campaign.JobReport
	if len(id) <= maxID {
		report, err = f.Jobs.JobReport(ctx, id)
	}
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		return report, failed(http.StatusNotFound, "there is no such job")
	case err != nil:
		return report, f.fault(ctx, "Reading a job failed", err)
	}
	return report, nil
}

func countsOf(t campaign.Tally) Counts {
	return Counts{
		Total:   t.Total,
		Sent:    t.Accepted,
		Failed:  t.Unsuccessful(),
		Pending: t.Total - t.Finished(),
		States: stateCount{
			Pending: t.Pending, Active: t.Active, Deferred: t.Deferred, Accepted: t.Accepted, Bounced: t.Bounced,
			Failed: t.Failed, Suppressed: t.Suppressed, Cancelled: t.Cancelled, InDoubt: t.InDoubt,
		},
	}
}

// cancelAnswer is the answer of POST /jobs/{id}/cancel. The counts are those of the whole campaign.
type cancelAnswer struct {
	_    struct{} `additionalProperties:"true"`
	OK   bool     `json:"ok"`
	ID   string   `json:"id" doc:"The job's id."`
	Jobs int      `json:"jobs" doc:"How many jobs the campaign has; the counts are those of all of them."`
	Counts
	CancelledAt string `json:"cancelledAt" doc:"When it was cancelled first."`
	Note        string `json:"note" doc:"What cancelling does not stop."`
}

type cancelOutput struct{ Body cancelAnswer }

// Notes of what cancelling does not stop.
const (
	wireNote  = "mails that are being handed to the SMTP server right now are not stopped"
	mixedNote = wireNote + ", nor is a job that a Node worker has begun"
)

// cancelJob is POST /jobs/{id}/cancel.
func (f *facade) cancelJob(ctx context.Context, in *jobInput) (*cancelOutput, error) {
	// Who asked may go away: half a cancelled campaign is nothing that anybody asked for.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	report, err := f.report(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if report.Key == "" {
		return nil, failed(http.StatusConflict, "the job was written by another program, which alone can cancel it")
	}
	record, err := f.Ledger.Campaign(ctx, report.Key)
	switch {
	case err == nil && !record.Sealed(), errors.Is(err, campaign.ErrNotFound): // nobody was told of the job yet
		return nil, failed(http.StatusNotFound, "there is no such job")
	case err != nil:
		return nil, f.fault(ctx, "Reading a campaign failed", err)
	case record.Origin != campaign.OriginHTTP:
		return nil, failed(http.StatusConflict, "the job belongs to an EmailCampaign object: delete or suspend that")
	}
	return f.cancelCampaign(ctx, in.ID, report.Key)
}

func (f *facade) cancelCampaign(ctx context.Context, id, key string) (*cancelOutput, error) {
	if err := f.Ledger.Cancel(ctx, key, campaign.EndCancelled, f.Now().UTC()); err != nil {
		return nil, f.fault(ctx, "Cancelling a campaign failed", err)
	}
	record, err := f.Ledger.Campaign(ctx, key)
	if err != nil {
		return nil, f.fault(ctx, "Reading a cancelled campaign failed", err)
	}
	tally, err := f.Ledger.Tally(ctx, key)
	if err != nil {
		return nil, f.fault(ctx, "Counting a cancelled campaign failed", err)
	}
	out := &cancelOutput{cancelAnswer{OK: true, ID: id, Jobs: record.Totals.Jobs, Counts: countsOf(tally), Note: wireNote}}
	if record.CancelledAt != nil {
		out.Body.CancelledAt = timestamp(*record.CancelledAt)
	}
	if f.MixedWorkers {
		out.Body.Note = mixedNote
	}
	return out, nil
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
