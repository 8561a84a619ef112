package facade

import (
	"context"
	"net/http"

	"github.com/cartero-mail/cartero/internal/campaign"
)

type recipientsInput struct {
	ID    string `path:"id" doc:"The job's id."` // not embedded: huma sets no member of an embedded type that is not exported
	After string `query:"after" doc:"next of the page before; the first page without it."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most entries of a page."`
}

// recipientsAnswer is one page of the recipients of a job.
type recipientsAnswer struct {
	_          struct{}       `additionalProperties:"true"`
	OK         bool           `json:"ok"`
	Recipients []jobRecipient `json:"recipients" nullable:"false"`
	Next       *string        `json:"next" nullable:"true" doc:"For after; null on the last page."`
}

// jobRecipient says how one recipient stands.
type jobRecipient struct {
	_     struct{} `additionalProperties:"true"`
	ID    string   `json:"id"`
	Email string   `json:"email"`
	Name  string   `json:"name,omitempty"`
	//nolint:lll // an enum is one word
	State         campaign.State `json:"state" enum:"pending,active,deferred,accepted,bounced,failed,suppressed,cancelled,inDoubt" doc:"As the states of a job."`
	Attempts      int            `json:"attempts" doc:"Those that ended with a verdict of the SMTP server's."`
	Code          int            `json:"code,omitempty" doc:"The last SMTP reply code."`
	EnhancedCode  string         `json:"enhancedCode,omitempty" doc:"The last enhanced status code (RFC 3463)."`
	Category      string         `json:"category,omitempty" doc:"A word for the kind of the last failure."`
	Error         string         `json:"error,omitempty" doc:"What is wrong, in words."`
	NextAttemptAt *string        `json:"nextAttemptAt,omitempty" doc:"When a deferred mail is tried again."`
	CompletedAt   *string        `json:"completedAt,omitempty" doc:"When it ended."`
}

type recipientsOutput struct{ Body recipientsAnswer }

// jobRecipients is GET /jobs/{id}/recipients.
func (f *facade) jobRecipients(ctx context.Context, in *recipientsInput) (*recipientsOutput, error) {
	if len(in.ID) > maxID {
		return nil, failed(http.StatusNotFound, "there is no such job")
	}
	reports, err := f.Jobs.RecipientReports(ctx, in.ID, in.After, in.Limit+1)
	if err != nil {
		return nil, f.fault(ctx, "Reading the recipients of a job failed", err)
	}
	if len(reports) == 0 { // of a job that is there, or not
		if _, err := f.report(ctx, in.ID); err != nil {
			return nil, err
		}
	}
	out := &recipientsOutput{recipientsAnswer{OK: true, Recipients: []jobRecipient{}}}
	if len(reports) > in.Limit {
		reports = reports[:in.Limit]
		out.Body.Next = &reports[in.Limit-1].ID
	}
	for _, r := range reports {
		out.Body.Recipients = append(out.Body.Recipients, jobRecipient{
			ID: r.ID, Email: r.Address, Name: r.Name, State: r.State, Attempts: r.Attempts, Code: r.Code,
			EnhancedCode: r.EnhancedCode, Category: r.Category, Error: r.Detail,
			NextAttemptAt: optionalTimestamp(r.NextAttemptAt), CompletedAt: optionalTimestamp(r.CompletedAt),
		})
	}
	return out, nil
}
