package facade

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// Messages lists the record of mails that were handed to an SMTP server.
type Messages interface {
	// Messages returns the messages that query asks for, the newest first.
	Messages(ctx context.Context, query campaign.MessageQuery) ([]campaign.Message, error)
}

type messagesInput struct {
	Recipient string `query:"recipient" maxLength:"1024" doc:"An address, as people write it; everybody's messages without it."`
	Since     string `query:"since" format:"date-time" doc:"Only messages that were first handed over then or later (RFC 3339)."`
	Until     string `query:"until" format:"date-time" doc:"Only messages that were first handed over before."`
	Success   string `query:"success" enum:"true,false" doc:"Only messages that were accepted, or only those that ended otherwise."`
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most entries of a page."`
	After     string `query:"after" maxLength:"256" doc:"next of the page before; the first page without it."`
}

// messagesAnswer is one page of the record, the newest first.
type messagesAnswer struct {
	_        struct{}  `additionalProperties:"true"`
	OK       bool      `json:"ok"`
	Messages []message `json:"messages" nullable:"false" doc:"The newest first."`
	Next     *string   `json:"next" nullable:"true" doc:"For after; null on the last page."`
}

// message is a mail that was handed to the SMTP server at least once.
type message struct {
	_           struct{} `additionalProperties:"true"`
	Recipient   string   `json:"recipient" doc:"The address."`
	Subject     string   `json:"subject" doc:"The campaign's: a template as it is written. Of a Node program's job at most 191 characters."`
	Category    *string  `json:"category" nullable:"true" doc:"message_type of the request."`
	At          string   `json:"at" doc:"When it was first handed over, UTC with milliseconds."`
	CompletedAt *string  `json:"completedAt" nullable:"true" doc:"When it ended; null while it is tried again, and of a Node worker's failure."`
	Success     *bool    `json:"success" nullable:"true" doc:"Whether the SMTP server accepted it; null while it is tried again."`
	InDoubt     bool     `json:"inDoubt,omitempty" doc:"The connection was lost when the SMTP server may already have accepted it; success is false."`
	Error       *string  `json:"error" nullable:"true" doc:"Why it was not accepted, or not yet."`
	JobID       string   `json:"jobId" doc:"For GET /jobs/{id}."`
	MessageID   *string  `json:"messageId" nullable:"true" doc:"The Message-ID of the mail; null where the worker chose the sender, or another program sent it."`
	//nolint:lll // an enum is one word
	State    campaign.State `json:"state" enum:"pending,active,deferred,accepted,bounced,failed,suppressed,cancelled,inDoubt" doc:"As the states of a job."`
	Attempts int            `json:"attempts" doc:"Those that ended with a verdict of the SMTP server's; 0 where another program sent it."`
	Campaign *string        `json:"campaign" nullable:"true" doc:"The EmailCampaign that it belongs to, as namespace/name."`
}

type messagesOutput struct{ Body messagesAnswer }

// registerMessages registers the call that lists the record of sends.
func (f *facade) registerMessages(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "messages", Method: http.MethodGet, Path: "/messages", Summary: "What was sent", Tags: []string{tagMails},
		Description: "The record of every mail that was handed to the SMTP server, whoever asked for it: over HTTP, as an EmailCampaign " +
			"or, where recipient is given, through a Node program. The newest first, page by page.",
		Responses: failures(api.OpenAPI().Components.Schemas, http.StatusUnauthorized, http.StatusUnprocessableEntity,
			http.StatusInternalServerError, http.StatusServiceUnavailable),
	}, f.messages)
}

// messages is GET /messages.
func (f *facade) messages(ctx context.Context, in *messagesInput) (*messagesOutput, error) {
	query, problems := in.query()
	if len(problems) > 0 {
		return nil, unfit(problems)
	}
	query.Limit++ // one more tells whether there is another page
	found, err := f.Messages.Messages(ctx, query)
	if err != nil {
		return nil, f.fault(ctx, "Reading the record of sends failed", err)
	}
	out := &messagesOutput{messagesAnswer{OK: true, Messages: []message{}}}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		next := formatCursor(found[in.Limit-1].Cursor())
		out.Body.Next = &next
	}
	for _, m := range found {
		out.Body.Messages = append(out.Body.Messages, messageOf(m))
	}
	return out, nil
}

// query checks the parameters, as far as their description does not say what they look like.
func (in *messagesInput) query() (campaign.MessageQuery, []problem) {
	query := campaign.MessageQuery{Recipient: in.Recipient, Limit: in.Limit}
	var problems []problem
	refuse := func(name, text string) {
		problems = append(problems, problem{Loc: []any{"query", name}, Msg: text, Type: "value_error"})
	}
	if in.Recipient != "" {
		if _, err := recipients.ParseAddress(in.Recipient); err != nil {
			refuse("recipient", "is no address that can be mailed")
		}
	}
	for _, bound := range []struct {
		name, text string
		time       *time.Time
	}{{"since", in.Since, &query.Since}, {"until", in.Until, &query.Until}} {
		if bound.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, strings.ToUpper(bound.text))
		if err != nil {
			refuse(bound.name, "must be a time such as 2026-03-01T12:00:00Z; a + is %2B in a URL")
			continue
		}
		if epoch := time.Unix(0, 0); t.Before(epoch) { // older than any mail, and than some databases know
			t = epoch
		}
		*bound.time = t
	}
	if in.Success != "" {
		success := in.Success == "true"
		query.Success = &success
	}
	if in.After != "" {
		var ok bool
		if query.After, ok = parseCursor(in.After); !ok {
			refuse("after", "must be next of another page")
		}
	}
	return query, problems
}

// formatCursor writes a place as its time, in milliseconds since 1970, and the id.
func formatCursor(cursor campaign.MessageCursor) string {
	return strconv.FormatInt(cursor.At.UnixMilli(), 10) + "." + cursor.ID
}

func parseCursor(text string) (campaign.MessageCursor, bool) {
	const lastMilli = 253402300799999 // of the year 9999
	moment, id, _ := strings.Cut(text, ".")
	milli, err := strconv.ParseInt(moment, 10, 64)
	if err != nil || milli < 0 || milli > lastMilli || id == "" {
		return campaign.MessageCursor{}, false
	}
	return campaign.MessageCursor{At: time.UnixMilli(milli).UTC(), ID: id}, true
}

func messageOf(m campaign.Message) message {
	r := m.Report
	answer := message{
		Recipient: r.Address, Subject: m.Subject, Category: orNil(m.Category), At: timestamp(m.At),
		CompletedAt: optionalTimestamp(r.CompletedAt), InDoubt: r.State == campaign.StateInDoubt, JobID: m.JobID, State: r.State,
		Attempts: r.Attempts,
	}
	if m.Origin == campaign.OriginKubernetes {
		answer.Campaign = &m.Campaign
	}
	if m.From != "" {
		id := "<" + campaign.MessageID(m.JobID, r.Address, m.From) + ">"
		answer.MessageID = &id
	}
	success := r.State == campaign.StateAccepted
	switch {
	case success:
		answer.Success = &success
	case r.State.Terminal():
		answer.Success = &success
		text := explain(r, r.Detail)
		answer.Error = &text
	default:
		answer.Error = orNil(r.Detail)
	}
	return answer
}

// orNil returns a pointer to the text, or nil for none.
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
