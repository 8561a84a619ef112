package facade

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// maxMail is the largest body of a request with one mail: the mail's own, with room for JSON's escapes.
	maxMail = 4 * MaxContent
	// mailTimeout bounds the reading of such a body.
	mailTimeout = 30 * time.Second
)

// newAPI returns the API whose operations are registered on f's mux, behind its guards.
func (f *facade) newAPI() huma.API {
	config := huma.DefaultConfig("Cartero", f.Version)
	config.Info.Description = "Mails and campaigns over HTTP. Every call but the probes and this description wants a key. " +
		"Every answer has ok and, where it is false, error: a sentence for people."
	config.Components.Schemas = newRegistry()
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "apiKey", In: "header", Name: "X-API-Key"},
	}
	config.Security = []map[string][]string{{"key": {}}}
	// The specification and its page are served by us: huma's page loads from the Internet.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema in answers
	config.Formats = jsonFormats(config.Formats)
	return humago.New(guardedMux{f}, config)
}

// guardedMux registers what huma serves as the facade's own routes are.
type guardedMux struct{ f *facade }

// HandleFunc implements humago.Mux.
func (m guardedMux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.f.guarded(pattern, func(w http.ResponseWriter, r *http.Request) {
		if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
			answer(w, http.StatusUnsupportedMediaType, failure{Error: encodedBody})
			return
		}
		// There is one format: a body is taken for JSON whatever it is called, and answered so whatever is asked for.
		r.Header.Set("Content-Type", typeJSON)
		r.Header.Del("Accept")
		w.Header().Set("Cache-Control", "no-store")
		handler(w, r)
	})
}

// ServeHTTP implements humago.Mux.
func (m guardedMux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.f.mux.ServeHTTP(w, r) }

// apiError is a failure in huma's terms. Its answer is the same as that of every other route.
type apiError struct {
	failure
	status int
	retry  bool
}

// Error implements error.
func (e *apiError) Error() string { return e.failure.Error }

// GetStatus implements huma.StatusError.
func (e *apiError) GetStatus() int { return e.status }

// GetHeaders implements huma.HeadersError.
func (e *apiError) GetHeaders() http.Header {
	header := http.Header{}
	if e.retry {
		header.Set("Retry-After", retryAfter)
	}
	return header
}

// ContentType implements huma.ContentTypeFilter: one type, whatever the client asks for.
func (e *apiError) ContentType(string) string {
	_, contentType := e.failure.at(e.status)
	return contentType
}

// MarshalJSON implements json.Marshaler.
func (e *apiError) MarshalJSON() ([]byte, error) {
	body, _ := e.failure.at(e.status)
	return marshal(body), nil
}

// Schema implements huma.SchemaProvider; what answers look like is described by failures.
func (*apiError) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeObject} }

func failed(status int, text string) error {
	return &apiError{failure: failure{Error: text}, status: status}
}

// failedForNow is for what may succeed a little later.
func failedForNow(status int, text string) error {
	return &apiError{failure: failure{Error: text}, status: status, retry: true}
}

func init() { //nolint:gochecknoinits // huma has one constructor of errors for all APIs
	huma.NewError = newError
}

// newError says what huma found, in the words that the other routes have for it.
func newError(status int, message string, errs ...error) huma.StatusError {
	problems := make([]problem, 0, len(errs))
	for _, err := range errs {
		if err != nil {
			problems = append(problems, fromHuma(err))
		}
	}
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return &apiError{failure: failure{Error: fmt.Sprintf("the body is larger than %d bytes", maxMail-1)}, status: status}
	case status == http.StatusRequestTimeout:
		return &apiError{failure: failure{Error: slowBody}, status: status}
	case message == brokenBody: // the client went away, or broke the framing
		return &apiError{failure: failure{Error: unreadableBody}, status: http.StatusBadRequest}
	case message == noBody:
		problems = []problem{wrong("missing", "is required")}
	case status != http.StatusUnprocessableEntity && status != http.StatusBadRequest:
		return &apiError{failure: failure{Error: message}, status: status}
	case len(problems) == 0:
		problems = []problem{wrong("value_error", message)}
	}
	return &apiError{failure: refusal(problems), status: http.StatusUnprocessableEntity}
}

// What huma says where the status alone does not tell.
const (
	brokenBody = "cannot read request body"
	noBody     = "request body is required"
)

// fromHuma says in FastAPI's form what huma found, without the value, which may be an address.
func fromHuma(err error) problem {
	var detailer huma.ErrorDetailer
	if !errors.As(err, &detailer) {
		return wrong("json_invalid", notJSON)
	}
	detail := detailer.ErrorDetail()
	p := problem{Loc: location(detail.Location)}
	p.Type, p.Msg = inWords(detail.Message)
	if missing := missingProperty.FindStringSubmatch(detail.Message); missing != nil {
		return problem{Loc: append(p.Loc, missing[1]), Msg: "is required", Type: "missing"}
	}
	return p
}

const notJSON = "this is not JSON of the right form"

// inWords are the type and the sentence of one of huma's messages.
func inWords(message string) (kind, msg string) {
	switch message {
	case validation.MsgExpectedString:
		return "string_type", "must be a text"
	case validation.MsgExpectedObject:
		return "model_attributes_type", "must be a JSON object"
	case validation.MsgExpectedMatchExactlyOneSchema: // there is one such member
		return "value_error", fmt.Sprintf("must be an address, or a list of 1 to %d", campaign.MaxSubmission)
	case "invalid integer":
		return "int_parsing", "must be a whole number"
	}
	for _, bound := range []struct{ prefix, kind, msg string }{
		{"expected length <= ", "string_too_long", "must have at most %s characters"},
		{"expected number >= ", "greater_than_equal", "must be at least %s"},
		{"expected number <= ", "less_than_equal", "must be at most %s"},
	} {
		if limit, ok := strings.CutPrefix(message, bound.prefix); ok {
			return bound.kind, fmt.Sprintf(bound.msg, limit)
		}
	}
	if strings.HasPrefix(message, "expected") {
		return "value_error", message
	}
	return "json_invalid", notJSON
}

var (
	missingProperty = regexp.MustCompile(`^expected required property (\S+) to be present$`)
	pathPart        = regexp.MustCompile(`[^.\[\]]+`)
)

// location makes a path such as body.to[3] the list that FastAPI gives: "body", "to", 3.
func location(path string) []any {
	loc := []any{}
	for _, part := range pathPart.FindAllString(path, -1) {
		if n, err := strconv.Atoi(part); err == nil {
			loc = append(loc, n)
			continue
		}
		loc = append(loc, part)
	}
	if len(loc) == 0 {
		loc = append(loc, "body")
	}
	return loc
}
