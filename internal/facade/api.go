package facade

import (
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"
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
	config.Info.Description = "Mails and campaigns over HTTP. Every call but the probes and these pages wants a key."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "apiKey", In: "header", Name: "X-API-Key"},
	}
	config.Security = []map[string][]string{{"key": {}}}
	// The specification and its page are served by us: huma's page loads from the Internet.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema in answers
	return humago.New(guardedMux{f}, config)
}

// guardedMux registers what huma serves as the facade's own routes are.
type guardedMux struct{ f *facade }

// HandleFunc implements humago.Mux.
func (m guardedMux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.f.guarded(pattern, func(w http.ResponseWriter, r *http.Request) {
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

func init() { //nolint:gochecknoinits // huma has one constructor of errors for all APIs
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError { //nolint:reassign // it is meant to be
		if status != http.StatusUnprocessableEntity && status != http.StatusBadRequest {
			return &apiError{failure: failure{Error: message}, status: status}
		}
		var problems []problem
		for _, err := range errs {
			if err != nil {
				problems = append(problems, fromHuma(err))
			}
		}
		if len(problems) == 0 {
			problems = []problem{wrong("value_error", message)}
		}
		return &apiError{failure: refusal(problems), status: http.StatusUnprocessableEntity}
	}
}

// fromHuma says in FastAPI's form what huma found, without the value, which may be an address.
func fromHuma(err error) problem {
	var detailer huma.ErrorDetailer
	if !errors.As(err, &detailer) {
		return wrong("json_invalid", "this is not JSON of the right form")
	}
	detail := detailer.ErrorDetail()
	message := detail.Message
	switch {
	case missingProperty.MatchString(message):
		return problem{Loc: append(location(detail.Location), missingProperty.FindStringSubmatch(message)[1]), Msg: "is required", Type: "missing"}
	case message == validation.MsgExpectedString:
		return problem{Loc: location(detail.Location), Msg: "must be a text", Type: "string_type"}
	case message == validation.MsgExpectedObject:
		return problem{Loc: location(detail.Location), Msg: "must be a JSON object", Type: "model_attributes_type"}
	case strings.HasPrefix(message, "expected length <="):
		return problem{Loc: location(detail.Location), Msg: strings.Replace(message, "expected length <=", "must have a length of at most", 1), Type: "string_too_long"}
	case strings.HasPrefix(message, "expected"):
		return problem{Loc: location(detail.Location), Msg: message, Type: "value_error"}
	}
	return problem{Loc: location(detail.Location), Msg: "this is not JSON of the right form", Type: "json_invalid"}
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
