package bull

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Delivery is one run of a job: who holds it owns the job's lock, until the lock runs out or the run is finished.
type Delivery struct {
	ID   string
	Name string
	// Data is what the producer stored; never empty, but not necessarily JSON.
	Data []byte
	// Timestamp is when the job was added.
	Timestamp time.Time
	// AttemptsMade is the number of attempts that failed before this run.
	AttemptsMade int
	// StalledCount is how often a worker of this job died.
	StalledCount int

	queue      *Queue
	opts       receivedOpts
	token      string
	debounceID string
	stacktrace []string
	lockedAt   time.Time // taken before the call that locked, so that the lock never ends earlier than assumed
}

// The fields of a job's hash that a run needs, in the order in which the scripts return them, and the id.
const (
	fieldData = iota
	fieldName
	fieldOpts
	fieldTimestamp
	fieldAttemptsMade
	fieldStalledCounter
	fieldStacktrace
	fieldDebounceID
	fieldID
)

// newDelivery reads the fields of a hash; one that is not there is nil.
func newDelivery(queue *Queue, fields []any, token string, lockedAt time.Time) *Delivery {
	text := func(i int) string {
		s, _ := fields[i].(string)
		return s
	}
	d := &Delivery{
		queue:        queue,
		ID:           text(fieldID),
		debounceID:   text(fieldDebounceID),
		Name:         cmp.Or(text(fieldName), DefaultName),
		Data:         []byte(text(fieldData)),
		Timestamp:    time.UnixMilli(parseInt(text(fieldTimestamp))),
		AttemptsMade: int(parseInt(text(fieldAttemptsMade))),
		StalledCount: int(parseInt(text(fieldStalledCounter))),
		opts:         parseOpts(text(fieldOpts)),
		token:        token,
		lockedAt:     lockedAt,
	}
	// A trace that can't be read is replaced: it is shown to people, nothing depends on it.
	if trace := text(fieldStacktrace); trace != "" && json.Unmarshal([]byte(trace), &d.stacktrace) != nil {
		d.stacktrace = nil
	}
	return d
}

// parseInt reads a whole number as JavaScript's parseInt does for the texts that Bull writes; anything else is 0.
func parseInt(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// receivedOpts are the options that a worker acts on, read leniently: any producer wrote them.
type receivedOpts struct {
	attempts         int
	backoff          Backoff
	lifo             bool
	timeout          time.Duration
	removeOnComplete Keep
	removeOnFail     Keep
	stackTraceLimit  int // 0: all
}

func parseOpts(text string) receivedOpts {
	opts := receivedOpts{attempts: 1}
	members(text, func(name string, value []byte) {
		switch name {
		case "attempts":
			n, _ := number(value) // null and what is no number: not tried again, as in Bull
			opts.attempts = int(min(max(n, 0), math.MaxInt32))
		case "backoff":
			opts.backoff = parseBackoff(value)
		case "lifo":
			opts.lifo = string(value) == "true"
		case "timeout": // Bull itself fails a job whose timeout is no positive number, unrun
			if n, ok := number(value); ok && n > 0 {
				opts.timeout = max(milliseconds(n), time.Millisecond)
			}
		case "stackTraceLimit":
			if n, ok := number(value); ok && n > 0 {
				opts.stackTraceLimit = int(min(n, math.MaxInt32))
			}
		case "removeOnComplete":
			_ = opts.removeOnComplete.UnmarshalJSON(value) // never fails
		case "removeOnFail":
			_ = opts.removeOnFail.UnmarshalJSON(value) // likewise
		}
	})
	return opts
}

// members calls f for each member of a JSON object; with anything else it does nothing. Options are read for every job,
// and this takes a fifth of the time that encoding/json does. A name that is written with escapes is not recognized.
func members(text string, f func(name string, value []byte)) {
	object := bytes.TrimSpace([]byte(text))
	if len(object) == 0 || object[0] != '{' || !json.Valid(object) {
		return
	}
	// As the text is valid, what is looked for is there.
	for i := 1; ; i++ { // behind the brace, or a comma
		name := i + bytes.IndexAny(object[i:], `"}`)
		if object[name] == '}' {
			return
		}
		colon := endOfString(object, name)
		value := colon + bytes.IndexByte(object[colon:], ':') + 1
		i = endOfValue(object, value)
		f(string(object[name+1:colon-1]), bytes.TrimSpace(object[value:i]))
		if object[i] == '}' {
			return
		}
	}
}

// endOfString is the index behind a string of valid JSON that begins at i.
func endOfString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// endOfValue is the index of the comma or brace behind a member's value, in valid JSON.
func endOfValue(text []byte, i int) int {
	for depth := 0; ; i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i) - 1
		case '{', '[':
			depth++
		case ',', '}', ']':
			if depth == 0 {
				return i
			}
			if text[i] != ',' {
				depth--
			}
		}
	}
}

// number reads a JSON number, or a string that is one.
func number(raw json.RawMessage) (float64, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return n, true // what JSON has for numbers is all Go can read, too
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// parseBackoff reads {"type","delay"}, or a number, which means fixed. What JavaScript takes for false is none; anything
// else is of a type that nobody knows.
func parseBackoff(raw json.RawMessage) Backoff {
	switch string(raw) {
	case "", "null", "false", `""`:
		return Backoff{}
	}
	var n float64
	if json.Unmarshal(raw, &n) == nil {
		return Backoff{Type: BackoffFixed, Delay: milliseconds(n)}
	}
	var object struct {
		Type  BackoffType
		Delay json.RawMessage
	}
	if json.Unmarshal(raw, &object) != nil || object.Type == "" {
		return Backoff{Type: backoffUnknown}
	}
	n, _ = number(object.Delay)
	return Backoff{Type: object.Type, Delay: milliseconds(n)}
}

const (
	// backoffUnknown stands for a backoff that names no type.
	backoffUnknown BackoffType = "?"
	// noRetry is the delay by which Bull's strategies say that there is to be no further attempt.
	noRetry = -time.Millisecond
)

// milliseconds bounds a delay to what a due time can hold.
func milliseconds(n float64) time.Duration {
	const year = 366 * 24 * time.Hour
	if n == -1 {
		return noRetry
	}
	return time.Duration(min(max(n, 0), float64(year.Milliseconds()))) * time.Millisecond
}

// after is the time to wait after the attempt number made (from 1) failed, and whether there is to be another attempt at
// all: not if the type is known only to the settings of somebody's Node worker. Bull's own worker without these settings
// throws at that, and leaves the job locked until it counts as stalled.
func (b Backoff) after(made int) (wait time.Duration, again bool) {
	switch b.Type {
	case "", BackoffFixed:
		return b.Delay, b.Delay != noRetry
	case BackoffExponential:
		wait = milliseconds(math.Round((math.Pow(2, float64(made)) - 1) * float64(b.Delay.Milliseconds())))
		return wait, wait != noRetry
	}
	return 0, false
}

// completedEvent is the payload of the event that a job completed: val is JSON text inside JSON, and is left out where
// there is no result.
func completedEvent(id, returnValue string, hasResult bool) ([]byte, error) {
	event := struct {
		JobID string `json:"jobId"`
		Val   string `json:"val,omitempty"`
	}{JobID: id}
	if hasResult {
		event.Val = returnValue
	}
	return json.Marshal(event)
}

// failedEvent is the payload of the event that a job failed for good: val is the reason as it is.
func failedEvent(id, reason string) (string, error) {
	text, err := json.Marshal(struct {
		JobID string `json:"jobId"`
		Val   string `json:"val"`
	}{id, reason})
	return string(text), err
}

// dueScore is the position in delayed of a job whose attempt failed. The low 12 bits are the id's, if it is a number.
func (d *Delivery) dueScore(due int64) string {
	low := int64(0)
	if n, err := strconv.ParseInt(d.ID, 10, 64); err == nil {
		low = n & 4095
	}
	return strconv.FormatInt(due*4096+low, 10)
}
