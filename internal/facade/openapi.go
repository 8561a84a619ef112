package facade

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// Tags group the calls of the description.
const (
	tagMails     = "Mails"
	tagCampaigns = "Campaigns"
	tagJobs      = "Jobs"
	tagProbes    = "Probes"
	tagPages     = "This description"
)

// schemaNames are the names that the description gives to types whose own are too short to stand alone.
var schemaNames = map[string]string{
	"failureAnswer": "Failure", "unfitAnswer": "HTTPValidationError", "problem": "ValidationError", "problemAnswer": "Problem",
	"accepted": "CampaignResponse", "jobAnswer": "Job", "stateCount": "States", "recipientAnswer": "RecipientResult",
	"jobRecipient": "JobRecipient", "recipientsAnswer": "JobRecipients", "cancelAnswer": "Cancelled",
	"messagesAnswer": "Messages",
}

func newRegistry() huma.Registry {
	return huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		if name, ok := schemaNames[t.Name()]; ok {
			return name
		}
		return huma.DefaultSchemaNamer(t, hint)
	})
}

// describe returns the description of all calls as JSON.
func (f *facade) describe(api huma.API) ([]byte, error) {
	doc := api.OpenAPI()
	for _, operation := range f.unregistered(doc.Components.Schemas) {
		doc.AddOperation(operation)
	}
	for name := range doc.Components.Schemas.Map() {
		if name == "ApiError" { // huma's own view of what responses describe
			delete(doc.Components.Schemas.Map(), name)
		}
	}
	return doc.MarshalJSON()
}

// unregistered are the calls that huma does not serve: one that reads a stream, the probes, and the description itself.
func (f *facade) unregistered(registry huma.Registry) []*huma.Operation {
	open := []map[string][]string{{}}
	page := func(id, path, summary, contentType string) *huma.Operation {
		return &huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{tagPages}, Security: open,
			Responses: map[string]*huma.Response{"200": {
				Description: "The description.", Content: map[string]*huma.MediaType{contentType: {}},
			}},
		}
	}
	return []*huma.Operation{
		f.describeCampaigns(registry),
		probe("health", "/health", "Whether the process works", healthSchema("ok"), nil, open),
		probe("livez", "/livez", "Whether the process works", healthSchema("ok"), nil, open),
		probe("readyz", "/readyz", "Whether the process can do its work", healthSchema("ok"), unreadySchema(), open),
		page("openapi", "/openapi.json", "This description, as OpenAPI 3.1", typeJSON),
		page("docs", "/docs", "This description, as a page to read", "text/html"),
	}
}

func probe(id, path, summary string, well, ill *huma.Schema, security []map[string][]string) *huma.Operation {
	content := func(schema *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{typeJSON: {Schema: schema}}
	}
	operation := &huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{tagProbes}, Security: security,
		Responses: map[string]*huma.Response{"200": {Description: "It does.", Content: content(well)}},
	}
	if ill != nil {
		operation.Responses["503"] = &huma.Response{Description: "It can't at present.", Content: content(ill)}
	}
	return operation
}

func healthSchema(status string) *huma.Schema {
	return object([]string{"status"}, map[string]*huma.Schema{"status": {Type: huma.TypeString, Enum: []any{status}}})
}

func unreadySchema() *huma.Schema {
	schema := healthSchema("unavailable")
	schema.Properties["failing"] = &huma.Schema{
		Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, Description: "What is away.",
	}
	schema.Required = append(schema.Required, "failing")
	return schema
}

func object(required []string, properties map[string]*huma.Schema) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Required: required, Properties: properties, AdditionalProperties: true}
}

// describeCampaigns describes POST /send-campaign.
func (f *facade) describeCampaigns(registry huma.Registry) *huma.Operation {
	responses := failures(registry, mailFailures...)
	responses["202"] = &huma.Response{
		Description: "The list is in the database, and no crash loses it.",
		Headers: map[string]*huma.Param{
			"Location":     {Description: "The first job.", Schema: &huma.Schema{Type: huma.TypeString}},
			replayedHeader: {Description: "true where the answer is that of an earlier request.", Schema: &huma.Schema{Type: huma.TypeString}},
		},
		Content: content(registry, typeJSON, accepted{}),
	}
	return &huma.Operation{
		OperationID: "sendCampaign", Method: http.MethodPost, Path: "/send-campaign", Tags: []string{tagCampaigns},
		Summary: "Send a campaign",
		Description: "Answers once the whole list is in the database and its jobs are queued. Any other answer than 202 means that " +
			"nobody is mailed. The list is read as a stream: up to " + strconv.Itoa(f.MaxRecipients) + " recipients.",
		Parameters: []*huma.Param{{
			Name: IdempotencyKeyHeader, In: "header", Description: idempotencyDoc, Schema: &huma.Schema{Type: huma.TypeString},
		}},
		RequestBody: &huma.RequestBody{
			Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: f.campaignSchema()}},
		},
		Responses: responses,
	}
}

func (f *facade) campaignSchema() *huma.Schema {
	text := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description}
	}
	nullable := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Nullable: true, Description: description}
	}
	one, subject := 1, MaxSubject
	entry := object([]string{"email"}, map[string]*huma.Schema{
		"email": text("The address."),
		"name":  nullable("The display name."),
		"variables": {
			Type: huma.TypeObject, Nullable: true, AdditionalProperties: true,
			Description: "Values are texts, numbers, true, false or null.",
		},
	})
	schema := object([]string{"subject", "body", "recipients"}, map[string]*huma.Schema{
		"subject": text("One line, at most 998 characters."),
		"body":    text("At most 2 MiB. HTML if it looks like HTML, unless content_type says."),
		"recipients": {
			Type: huma.TypeArray, MinItems: &one, MaxItems: &f.MaxRecipients,
			Items:       &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, entry}},
			Description: "Addresses, or objects. An address that is there twice gets one mail; who can't be mailed is counted.",
		},
		"content_type": nullable("text/plain or text/html."),
		"from":         nullable("The sender, News <news@example.com>; the server's own unless given."),
	})
	schema.Properties["subject"].MaxLength = &subject
	schema.Examples = []any{map[string]any{
		"subject": "News of March", "body": "<p>Hello!</p>",
		"recipients": []any{"ana@example.com", map[string]any{"email": "bob@example.com", "name": "Bob"}},
	}}
	return schema
}

// content describes an answer by a value of its type.
func content(registry huma.Registry, contentType string, value any) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{contentType: {Schema: registry.Schema(reflect.TypeOf(value), true, "")}}
}

// meanings say what a failure means, for its description.
var meanings = map[int]string{
	http.StatusBadRequest:            "The body could not be read.",
	http.StatusUnauthorized:          "Missing or wrong key.",
	http.StatusForbidden:             "The key may not send from the domain of this sender.",
	http.StatusNotFound:              "There is no such job.",
	http.StatusRequestTimeout:        "The body took too long.",
	http.StatusConflict:              "A request with the same Idempotency-Key is being worked on.",
	http.StatusRequestEntityTooLarge: "The body is too large.",
	http.StatusUnsupportedMediaType:  "The body has a Content-Encoding.",
	http.StatusUnprocessableEntity:   "The request does not fit; detail says what is wrong where.",
	http.StatusTooManyRequests:       "The key has used up its rate of requests.",
	http.StatusInternalServerError:   "A fault in the server; its log has it under the request's id.",
	http.StatusServiceUnavailable:    "The database is away, the queue is full, or the server is busy: try again after Retry-After seconds.",
}

// commonFailures are those of every call that wants a key, mailFailures those of every call that takes mails, too.
var (
	commonFailures = []int{
		http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}
	mailFailures = []int{
		http.StatusBadRequest, http.StatusForbidden, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
	}
)

// failures describes the answers of a call that failed: commonFailures, and these.
func failures(registry huma.Registry, statuses ...int) map[string]*huma.Response {
	all := map[string]*huma.Response{}
	for _, status := range slices.Concat(commonFailures, statuses) {
		body, contentType := failure{}.at(status)
		response := &huma.Response{Description: meanings[status], Content: content(registry, contentType, body)}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			response.Headers = map[string]*huma.Param{"Retry-After": {
				Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger},
			}}
		}
		all[strconv.Itoa(status)] = response
	}
	return all
}

// serveDescription registers the description and the page that shows it, for everybody.
func (f *facade) serveDescription(api huma.API) error {
	text, err := f.describe(api)
	if err != nil {
		return err
	}
	f.open("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", typeJSON)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // Whoever asked has gone away.
	})
	policy := docsPolicy()
	f.open("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Cache-Control", "no-cache")
		header.Set("Content-Security-Policy", policy)
		header.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write([]byte(docsPage)) // Whoever asked has gone away.
	})
	return nil
}

// routes is a mux that remembers what it serves.
type routes struct {
	*http.ServeMux
	patterns []string
}

// Handle registers a handler.
func (r *routes) Handle(pattern string, handler http.Handler) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.Handle(pattern, handler)
}
