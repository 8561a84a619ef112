package facade

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// retryAfter is what a refused client is told to wait, in seconds.
const retryAfter = "5"

// Content types of answers.
const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json" // RFC 9457 section 3
)

// What several calls say.
const (
	encodedBody    = "send the body without Content-Encoding"
	slowBody       = "the body took too long"
	unreadableBody = "the body could not be read"
	fullQueue      = "the queue is full: try again later"
	noDatabase     = "the database is not available: try again later"
	uncertainKeyed = "the database did not say whether the request was carried out: make it again with the same Idempotency-Key"
	uncertain      = "the database did not say whether the request was carried out: it may be, and made again it may be sent twice"
	internalError  = "internal error"
	inFlight       = "a request with the same Idempotency-Key is being worked on"
)

// failure is why a request failed.
type failure struct {
	Error string
	// Detail says what is wrong where. Only with 422.
	Detail []problem
	// InDoubt: it may have been carried out all the same. Only with 500 and 503.
	InDoubt bool
}

// failureAnswer is the answer that the contract gives to a fault and to an outage.
type failureAnswer struct {
	_     struct{} `additionalProperties:"true"`
	OK    bool     `json:"ok" doc:"false"`
	Error string   `json:"error" doc:"A sentence for people, without an address."`
	// InDoubt is of a request that may have been carried out.
	InDoubt bool `json:"inDoubt,omitempty" doc:"The request may have been carried out, and what it asks for may be sent."`
}

// unfitAnswer is the answer to a request that does not fit: detail is FastAPI's.
type unfitAnswer struct {
	_      struct{}  `additionalProperties:"true"`
	OK     bool      `json:"ok" doc:"false"`
	Error  string    `json:"error" doc:"The first of the problems in a sentence."`
	Detail []problem `json:"detail" nullable:"false" doc:"What is wrong where, as FastAPI says it."`
}

// problemAnswer is the answer to any other failure: problem details (RFC 9457) with the members of all failures.
type problemAnswer struct {
	_      struct{} `additionalProperties:"true"`
	OK     bool     `json:"ok" doc:"false"`
	Error  string   `json:"error" doc:"The same as detail."`
	Title  string   `json:"title" doc:"What the status is called."`
	Status int      `json:"status" doc:"The HTTP status."`
	Detail string   `json:"detail" doc:"A sentence for people, without an address."`
}

// at is the body, and its type, with which a failure is told. The contract has the ones of 422, 500 and 503, which
// programs parse; the others are problem details.
func (f failure) at(status int) (body any, contentType string) {
	switch status {
	case http.StatusUnprocessableEntity:
		return unfitAnswer{Error: f.Error, Detail: f.Detail}, typeJSON
	case http.StatusInternalServerError, http.StatusServiceUnavailable:
		return failureAnswer{Error: f.Error, InDoubt: f.InDoubt}, typeJSON
	}
	return problemAnswer{Error: f.Error, Title: http.StatusText(status), Status: status, Detail: f.Error}, typeProblem
}

// problem is one wrong field. It never holds the value.
type problem struct {
	_ struct{} `additionalProperties:"true"`
	// Loc is the way to the field: "body", then names and positions from 0; in what is not JSON, the position of the
	// byte.
	Loc []any `json:"loc" nullable:"false" doc:"The way to the field: body, then names and positions from 0."`
	// Msg is a sentence for people, Type a word for programs, one of pydantic's where it has one.
	Msg  string `json:"msg" doc:"A sentence for people. It never holds the value."`
	Type string `json:"type" doc:"A word for programs, one of pydantic's where it has one."`
}

func wrong(kind, msg string, path ...any) problem {
	return problem{Loc: append([]any{"body"}, path...), Msg: msg, Type: kind}
}

// String is the problem in a sentence: recipients[3].email: must be …
func (p problem) String() string {
	var path strings.Builder
	for _, part := range p.Loc[1:] {
		switch part := part.(type) {
		case int:
			if path.Len() == 0 {
				fmt.Fprintf(&path, "position %d", part)
				continue
			}
			fmt.Fprintf(&path, "[%d]", part)
		default:
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			fmt.Fprint(&path, part)
		}
	}
	if path.Len() == 0 {
		return p.Msg
	}
	return path.String() + ": " + p.Msg
}

func answer(w http.ResponseWriter, status int, body any) {
	contentType := typeJSON
	if f, ok := body.(failure); ok {
		body, contentType = f.at(status)
	}
	text := marshal(body)
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // Whoever asked has gone away.
}

// doubt is the answer to a request of which nobody knows whether it was carried out. With a key it may be made again; without one
// no client may be led to do so by itself.
func doubt(keyed bool) *apiError {
	if keyed {
		return &apiError{failure: failure{Error: uncertainKeyed, InDoubt: true}, status: http.StatusServiceUnavailable, retry: true}
	}
	return &apiError{failure: failure{Error: uncertain, InDoubt: true}, status: http.StatusInternalServerError}
}

// marshal writes a body, with a line's end.
func marshal(body any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil { // structs of strings and numbers always marshal
		panic(fmt.Sprintf("marshalling an answer: %v", err))
	}
	return text.Bytes()
}

// unprocessable answers 422 with all problems; the text names the first.
func unprocessable(w http.ResponseWriter, problems []problem) {
	answer(w, http.StatusUnprocessableEntity, refusal(problems))
}

// refusal is the answer to a request that does not fit.
func refusal(problems []problem) failure {
	text := problems[0].String()
	if more := len(problems) - 1; more > 0 {
		text = fmt.Sprintf("%s (and %d more: see detail)", text, more)
	}
	return failure{Error: text, Detail: problems}
}

// unavailable answers 503: the same request may succeed a little later.
func unavailable(w http.ResponseWriter, reason string) {
	w.Header().Set("Retry-After", retryAfter)
	answer(w, http.StatusServiceUnavailable, failure{Error: reason})
}
