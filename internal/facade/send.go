package facade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/worker"
)

// maxCategory is the longest message_type, in characters. The schema's limits are checked again where a request is used.
const maxCategory = 191

// mailPriority puts single mails before campaigns in the queue.
const mailPriority = 1

// addressList is one address or a list of them.
type addressList struct {
	addresses []string
	// list tells that the JSON was a list, for the way to a wrong entry.
	list bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *addressList) UnmarshalJSON(text []byte) error {
	if l.list = len(text) > 0 && text[0] == '['; l.list {
		return json.Unmarshal(text, &l.addresses)
	}
	l.addresses = make([]string, 1)
	return json.Unmarshal(text, &l.addresses[0])
}

// Schema implements huma.SchemaProvider.
func (addressList) Schema(huma.Registry) *huma.Schema {
	one, most := 1, campaign.MaxSubmission
	return &huma.Schema{
		Description: "One address, or a list of them: each gets a mail of its own.",
		OneOf: []*huma.Schema{
			{Type: huma.TypeString},
			{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, MinItems: &one, MaxItems: &most},
		},
		Examples: []any{"ada@example.com"},
	}
}

// sendRequest is the SendRequest of the Python service.
type sendRequest struct {
	_           struct{}    `additionalProperties:"true"`
	To          addressList `json:"to"`
	Subject     string      `json:"subject" doc:"One line, at most 998 characters." example:"Your code"`
	Body        string      `json:"body" doc:"At most 2 MiB. HTML if it looks like HTML, unless content_type says." example:"It is 4711."`
	MessageType *string     `json:"message_type,omitempty" nullable:"true" maxLength:"191" doc:"A category, stored with the mail."`
	ContentType *string     `json:"content_type,omitempty" nullable:"true" doc:"text/plain or text/html."`
	From        *string     `json:"from,omitempty" nullable:"true" doc:"The sender; the server's own unless given."`
}

// UnmarshalJSON implements json.Unmarshaler. Names count as they are written: To is a member that means nothing, and
// encoding/json would take it for to.
func (r *sendRequest) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for name, value := range members {
		if field := r.field(name); field != nil {
			if err := json.Unmarshal(value, field); err != nil {
				return err
			}
		}
	}
	return nil
}

// field is a pointer to that of a member, nil for one that means nothing.
func (r *sendRequest) field(name string) any {
	switch name {
	case "to":
		return &r.To
	case "subject":
		return &r.Subject
	case "body":
		return &r.Body
	case "message_type":
		return &r.MessageType
	case "content_type":
		return &r.ContentType
	case "from":
		return &r.From
	}
	return nil
}

type sendInput struct {
	Key         string `header:"X-API-Key" hidden:"true"`
	Idempotency string `header:"Idempotency-Key" doc:"With the same key and body, the first answer is given again and nothing is sent. 1 to 255 visible ASCII characters."` //nolint:lll // idempotencyDoc
	Body        sendRequest
}

// recipientAnswer is what became of one of several recipients.
type recipientAnswer struct {
	_         struct{} `additionalProperties:"true"`
	To        string   `json:"to" doc:"The address."`
	OK        bool     `json:"ok" doc:"Whether the mail was taken: by the SMTP server, or for sending."`
	MessageID string   `json:"messageId" doc:"The Message-ID of the mail."`
	Error     string   `json:"error,omitempty"`
	InDoubt   bool     `json:"inDoubt,omitempty" doc:"The connection was lost when the relay may already have accepted the mail."`
}

// sendResponse is the SendResponse of the Python service, and more.
type sendResponse struct {
	_         struct{} `additionalProperties:"true"`
	OK        bool     `json:"ok" doc:"Whether the mail was taken: by the SMTP server, or for sending."`
	Error     string   `json:"error,omitempty"`
	JobID     string   `json:"jobId,omitempty" doc:"For GET /jobs/{id}."`
	MessageID string   `json:"messageId,omitempty" doc:"The Message-ID of the mail, where there is one recipient."`
	InDoubt   bool     `json:"inDoubt,omitempty" doc:"The connection was lost when the relay may already have accepted the mail: sending it again may deliver it twice."`
	// Recipients are in the order of the request, where there are several.
	Recipients []recipientAnswer `json:"recipients,omitempty" nullable:"false" doc:"In the order of the request, where there are several."`
}

type sendOutput struct {
	Status   int
	Location string `header:"Location" doc:"The job."`
	Replayed string `header:"Idempotent-Replayed" doc:"true where the answer is that of an earlier request."`
	Body     sendResponse
}

// registerMails registers the calls that take single mails.
func (f *facade) registerMails(api huma.API) {
	registry := api.OpenAPI().Components.Schemas
	operation := func(id, path, summary, description string, status int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, Description: description, Tags: []string{tagMails},
			DefaultStatus: status, MaxBodyBytes: maxMail, BodyReadTimeout: mailTimeout, SkipValidateParams: true,
			Responses: failures(registry, mailFailures...),
		}
	}
	send := operation("send", "/send", "Send a mail now",
		"Answers once the SMTP server has accepted or refused the mail; what it puts off is tried again for some seconds.",
		http.StatusOK)
	send.Responses["500"] = &huma.Response{
		Description: "Nobody got the mail: error says why.", Content: content(registry, typeJSON, sendResponse{}),
	}
	huma.Register(api, send, f.send)
	huma.Register(api, operation("sendAsync", "/send_async", "Have a mail sent",
		"Answers once the mail is durably queued. It overtakes campaigns.", http.StatusAccepted), f.sendAsync)
}

// send is POST /send.
func (f *facade) send(ctx context.Context, in *sendInput) (*sendOutput, error) {
	m, problems := f.submission(in, "send")
	if len(problems) > 0 {
		return nil, unfit(problems)
	}
	if err := f.mayUse(ctx, m.Content.From); err != nil {
		return nil, err
	}
	sent, err := f.Submission.Send(ctx, m)
	if err != nil {
		return nil, f.notSubmitted(ctx, "Sending a mail failed", err)
	}
	failpoint.Reach(failpoint.FacadeAnswering)
	out := &sendOutput{Status: http.StatusOK, Location: "/jobs/" + sent.JobID, Replayed: replayed(sent.Known)}
	out.Body = outcomeOf(m, sent, f.untried(ctx, m, sent))
	if !out.Body.OK {
		out.Status = http.StatusInternalServerError
	}
	return out, nil
}

// sendAsync is POST /send_async.
func (f *facade) sendAsync(ctx context.Context, in *sendInput) (*sendOutput, error) {
	m, problems := f.submission(in, "send_async")
	if len(problems) > 0 {
		return nil, unfit(problems)
	}
	if err := f.mayUse(ctx, m.Content.From); err != nil {
		return nil, err
	}
	if f.fill.full(ctx) {
		return nil, failedForNow(http.StatusServiceUnavailable, fullQueue)
	}
	m.Priority = mailPriority
	queued, err := f.Submission.Enqueue(ctx, m)
	if errors.Is(err, campaign.ErrUncertain) {
		f.Logger.ErrorContext(ctx, "Whether a mail was queued is not known", "error", err, "requestId", requestID(ctx))
		return nil, doubt(in.Idempotency != "")
	}
	if err != nil {
		return nil, f.notSubmitted(ctx, "Queueing a mail failed", err)
	}
	failpoint.Reach(failpoint.FacadeAnswering)
	out := &sendOutput{Status: http.StatusAccepted, Location: "/jobs/" + queued.JobID, Replayed: replayed(queued.Known)}
	out.Body = sendResponse{OK: true, JobID: queued.JobID}
	if len(m.Recipients) == 1 {
		out.Body.MessageID = messageID(queued.JobID, m, m.Recipients[0].Address)
	}
	return out, nil
}

func replayed(known bool) string {
	if known {
		return "true"
	}
	return ""
}

// submission checks the request and makes a mail of it.
func (f *facade) submission(in *sendInput, call string) (campaign.Submission, []problem) {
	request := in.Body
	fields := map[string]string{"subject": request.Subject, "body": request.Body}
	for name, value := range map[string]*string{"content_type": request.ContentType, "from": request.From} {
		if value != nil {
			fields[name] = *value
		}
	}
	check := &campaignRequest{fields: fields, mixed: f.MixedWorkers && call != "send"}
	check.problems = checkIdempotencyKey(in.Idempotency)
	if len(request.Body) > MaxContent {
		check.refuse("string_too_long", fmt.Sprintf("must have at most %d bytes", MaxContent), "body")
	}
	m := campaign.Submission{
		Key:        f.newKey(f.keys.id(in.Key), call, in.Idempotency),
		Content:    check.message(f.DefaultFrom),
		Recipients: check.addresses(request.To),
		CreatedAt:  f.Now().UTC(),
	}
	if request.MessageType != nil {
		if m.Category = *request.MessageType; utf8.RuneCountInString(m.Category) > maxCategory {
			check.refuse("string_too_long", fmt.Sprintf("must have at most %d characters", maxCategory), "message_type")
		}
	}
	return m, check.problems
}

// addresses checks the recipients; one that is there twice, in whatever spelling, gets one mail.
func (c *campaignRequest) addresses(to addressList) []campaign.Recipient {
	var all []campaign.Recipient
	seen := map[string]bool{}
	if len(to.addresses) > campaign.MaxSubmission {
		c.note(wrong("too_long", fmt.Sprintf("must have at most %d entries", campaign.MaxSubmission), "to"))
		return nil
	}
	for i, text := range to.addresses {
		address, err := recipients.ParseAddress(text)
		if err != nil {
			path := []any{"to"}
			if to.list {
				path = append(path, i)
			}
			c.note(wrong("value_error", "is no address that can be mailed", path...))
			continue
		}
		if id := recipients.Key(address); !seen[id] {
			seen[id] = true
			all = append(all, campaign.Recipient{Address: address})
		}
	}
	return all
}

func unfit(problems []problem) error {
	return &apiError{failure: refusal(problems), status: http.StatusUnprocessableEntity}
}

// notSubmitted answers for a mail of which it is known, or may be, that it was not taken.
func (f *facade) notSubmitted(ctx context.Context, what string, err error) error {
	switch {
	case errors.Is(err, submit.ErrKeyReused):
		return unfit([]problem{keyReused()})
	case errors.Is(err, submit.ErrInFlight):
		return failedForNow(http.StatusConflict, inFlight)
	case errors.Is(err, submit.ErrNoRelay):
		return failed(http.StatusServiceUnavailable, "this server has no SMTP relay: use /send_async")
	case errors.Is(err, submit.ErrStopped):
		return failedForNow(http.StatusServiceUnavailable, "the server is stopping: try again")
	case ctx.Err() != nil: // nobody is left to read an answer
		return failedForNow(http.StatusServiceUnavailable, "the request was given up")
	}
	if errors.Is(err, submit.ErrUnknown) {
		f.Logger.ErrorContext(ctx, what, "error", err, "requestId", requestID(ctx))
		return &apiError{
			failure: failure{Error: "the mail may have been sent, and its outcome can't be read at present", InDoubt: true},
			status:  http.StatusInternalServerError,
		}
	}
	return f.fault(ctx, what, err)
}

// fault is for an error that is no answer: an outage of the database, or a fault of ours. It is logged.
func (f *facade) fault(ctx context.Context, what string, err error) error {
	f.Logger.ErrorContext(ctx, what, "error", err, "requestId", requestID(ctx))
	if f.Unavailable(err) {
		return failedForNow(http.StatusServiceUnavailable, noDatabase)
	}
	return failed(http.StatusInternalServerError, internalError)
}

// outcomeOf is the answer for a mail that has ended. It is a success if anybody got it: who repeats the whole request
// after a failure must not mail them again.
func outcomeOf(m campaign.Submission, sent submit.Sent, untried string) sendResponse {
	response := sendResponse{JobID: sent.JobID}
	failed := 0
	all := make([]recipientAnswer, len(sent.Recipients))
	for i, r := range sent.Recipients {
		all[i] = recipientAnswer{To: r.Address, OK: r.State == campaign.StateAccepted, MessageID: messageID(sent.JobID, m, r.Address)}
		if !all[i].OK {
			failed++
			all[i].Error, all[i].InDoubt = explain(r, untried), r.State == campaign.StateInDoubt
			response.InDoubt = response.InDoubt || all[i].InDoubt
		}
	}
	response.OK = failed < len(all)
	switch {
	case len(all) == 1:
		response.MessageID, response.Error = all[0].MessageID, all[0].Error
		return response
	case failed > 0:
		response.Error = fmt.Sprintf("%d of %d recipients did not get the mail: see recipients", failed, len(all))
	}
	response.Recipients = all
	return response
}

// untried says why recipients were given up that the relay gave no verdict on; empty where there are none.
func (f *facade) untried(ctx context.Context, m campaign.Submission, sent submit.Sent) string {
	given := func(r campaign.RecipientReport) bool { return r.State == campaign.StateCancelled }
	if !slices.ContainsFunc(sent.Recipients, given) {
		return ""
	}
	why := "could not be reached in time"
	if record, err := f.Ledger.Campaign(ctx, m.Key); err == nil && record.Hold != nil { // without it, that is still true
		switch record.Hold.Reason {
		case worker.HoldSenderRefused:
			why = "refuses the sender"
		case worker.HoldAuthenticationFailed:
			why = "refuses the user name or the password of this service"
		}
	}
	return "the SMTP server " + why + "; the mail is not sent any more"
}

// explain says what became of a recipient in words that a caller can act on.
func explain(r campaign.RecipientReport, untried string) string {
	detail := ""
	if r.Detail != "" {
		detail = ": " + r.Detail
	}
	switch {
	case r.State == campaign.StateInDoubt:
		return "in doubt: the connection was lost after the mail was handed over, so that it may have been sent; it is not sent again"
	case r.State == campaign.StateBounced:
		return "the mail was refused" + detail
	case r.State == campaign.StateCancelled:
		return untried
	case r.Category == mail.CategoryInvalid:
		return "the mail could not be made" + detail
	}
	return "the mail could not be sent" + detail
}

func messageID(jobID string, m campaign.Submission, address string) string {
	return "<" + campaign.MessageID(jobID, address, m.Content.From.Address) + ">"
}
