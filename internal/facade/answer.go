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

// failure is the answer to a request that failed.
type failure struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
	// Detail says what is wrong where, as FastAPI does. Only with 422.
	Detail []problem `json:"detail,omitempty"`
}

// problem is one wrong field. It never holds the value.
type problem struct {
	// Loc is the way to the field: "body", then names and positions from 0; in what is not JSON, the position of the
	// byte.
	Loc []any `json:"loc"`
	// Msg is a sentence for people, Type a word for programs, one of pydantic's where it has one.
	Msg  string `json:"msg"`
	Type string `json:"type"`
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
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil { // structs of strings and numbers always marshal
		panic(fmt.Sprintf("marshalling an answer: %v", err))
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // Whoever asked has gone away.
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
