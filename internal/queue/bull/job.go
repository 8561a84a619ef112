package bull

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// DefaultName is the name of a job that was given none.
const DefaultName = "__default__"

// Job is one job to add.
type Job struct {
	// ID makes adding idempotent: an id that the queue still knows, in whatever state, is left alone. It has 1 to 128
	// letters, digits, '_' and '-', and is neither a number nor one of Bull's own key names. Empty: the queue's counter.
	ID string
	// Name is the kind of job; DefaultName if empty.
	Name string
	// Data is a JSON object.
	Data []byte
	Opts Opts
}

// Opts are the options of a job that Bull's workers act on. Durations are kept in milliseconds.
type Opts struct {
	// Attempts is how often the job is tried in all; 0 means 1.
	Attempts int
	// Backoff is the time between two attempts; the zero value tries again at once.
	Backoff Backoff
	// Delay is how long the job waits before it may run.
	Delay time.Duration
	// Priority: 1 runs first, larger numbers later, 0 (none) last.
	Priority int
	// LIFO puts the job before those that wait already.
	LIFO bool
	// Timeout fails an attempt that takes longer; 0 means no limit.
	Timeout time.Duration
	// RemoveOnComplete and RemoveOnFail say what is kept of a finished job; the zero value keeps all.
	RemoveOnComplete Keep
	RemoveOnFail     Keep
	// StackTraceLimit keeps the last n stack traces of failed attempts; 0 keeps all.
	StackTraceLimit int
	// Debounce drops the job while another one with the same debounce id holds it. Bull knows it from 4.16 on.
	Debounce Debounce
}

// Debounce makes adding the same thing often one job. The zero value does not.
type Debounce struct {
	// ID is what the jobs have in common: 1 to 256 characters.
	ID string
	// TTL is how long the first job holds the id, even after it has ended; 0: until it completes, fails for good or is
	// removed.
	TTL time.Duration
}

// MarshalJSON writes Bull's form, with the time in milliseconds.
func (d Debounce) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID  string `json:"id"`
		TTL int64  `json:"ttl,omitempty"`
	}{d.ID, d.TTL.Milliseconds()})
}

// args are the last two arguments of the add script.
func (d Debounce) args() (id string, ttl any) {
	if d.TTL == 0 {
		return d.ID, ""
	}
	return d.ID, d.TTL.Milliseconds()
}

func (d Debounce) validate() error {
	switch {
	case d == Debounce{}:
		return nil
	case d.ID == "" || utf8.RuneCountInString(d.ID) > 256 || !utf8.ValidString(d.ID):
		return errors.New("debounce.id must have 1 to 256 characters")
	case d.TTL < 0 || d.TTL > 0 && d.TTL < time.Millisecond:
		return errors.New("debounce.ttl must be at least a millisecond, or 0 for none")
	}
	return nil
}

// BackoffType is how the time between two attempts grows.
type BackoffType string

const (
	// BackoffFixed waits Delay before each further attempt.
	BackoffFixed BackoffType = "fixed"
	// BackoffExponential waits (2^k − 1) × Delay after the k-th failed attempt: 1, 3, 7, 15 … times Delay.
	BackoffExponential BackoffType = "exponential"
)

// Backoff is the time between two attempts.
type Backoff struct {
	Type  BackoffType
	Delay time.Duration
}

// MarshalJSON writes Bull's form, with the delay in milliseconds.
func (b Backoff) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type  BackoffType `json:"type"`
		Delay int64       `json:"delay"`
	}{b.Type, b.Delay.Milliseconds()})
}

// optsJSON is the stored form. No field is ever null: Bull's finishing script aborts half-way on a null removeOnComplete
// or removeOnFail, and the job is in no list from then on.
type optsJSON struct {
	JobID            string   `json:"jobId,omitempty"`
	Priority         int      `json:"priority,omitempty"`
	LIFO             bool     `json:"lifo,omitempty"`
	Timeout          int64    `json:"timeout,omitempty"`
	Backoff          Backoff  `json:"backoff,omitzero"`
	RemoveOnComplete Keep     `json:"removeOnComplete,omitzero"`
	RemoveOnFail     Keep     `json:"removeOnFail,omitzero"`
	StackTraceLimit  int      `json:"stackTraceLimit,omitempty"`
	Debounce         Debounce `json:"debounce,omitzero"`
	Attempts         int      `json:"attempts"`
	Delay            int64    `json:"delay"`
	Timestamp        int64    `json:"timestamp"`
}

// encode renders the options as Bull stores them.
func (j Job) encodeOpts(timestamp int64) (string, error) {
	text, err := json.Marshal(optsJSON{
		JobID:            j.ID,
		Priority:         j.Opts.Priority,
		LIFO:             j.Opts.LIFO,
		Timeout:          j.Opts.Timeout.Milliseconds(),
		Backoff:          j.Opts.Backoff,
		RemoveOnComplete: j.Opts.RemoveOnComplete,
		RemoveOnFail:     j.Opts.RemoveOnFail,
		StackTraceLimit:  j.Opts.StackTraceLimit,
		Debounce:         j.Opts.Debounce,
		Attempts:         max(j.Opts.Attempts, 1),
		Delay:            j.Opts.Delay.Milliseconds(),
		Timestamp:        timestamp,
	})
	return string(text), err
}

var (
	idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	allDigits = regexp.MustCompile(`^[0-9]+$`)
)

// InvalidJobError says what is wrong with a job that was not added.
type InvalidJobError struct {
	ID  string
	Err error
}

func (e *InvalidJobError) Error() string {
	if e.ID == "" {
		return "invalid job: " + e.Err.Error()
	}
	return fmt.Sprintf("invalid job %q: %v", e.ID, e.Err)
}

func (e *InvalidJobError) Unwrap() error { return e.Err }

// Validate reports, as an *InvalidJobError, everything that is wrong with the job.
func (j Job) Validate() error {
	if err := errors.Join(j.validateID(), j.validateData(), j.Opts.validate()); err != nil {
		return &InvalidJobError{ID: j.ID, Err: err}
	}
	return nil
}

func (j Job) validateID() error {
	switch {
	case j.ID == "":
		return nil
	case isReserved(j.ID):
		return errors.New("this id is one of Bull's own key names")
	case allDigits.MatchString(j.ID):
		return errors.New("an id that is a number collides with the queue's counter")
	case !idPattern.MatchString(j.ID):
		return errors.New("an id has 1 to 128 letters, digits, '_' and '-'")
	}
	return nil
}

func (j Job) validateData() error {
	if trimmed := bytes.TrimSpace(j.Data); len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(trimmed) {
		return errors.New("data must be a JSON object")
	}
	return nil
}

func (o Opts) validate() error {
	var errs []error
	wrong := func(text string) { errs = append(errs, errors.New(text)) }
	if o.Attempts < 0 {
		wrong("attempts must not be negative")
	}
	if o.Delay < 0 {
		wrong("delay must not be negative")
	}
	if o.Priority < 0 {
		wrong("priority must not be negative")
	}
	if o.Timeout < 0 || o.Timeout > 0 && o.Timeout < time.Millisecond {
		wrong("timeout must be at least a millisecond, or 0 for none")
	}
	if o.StackTraceLimit < 0 {
		wrong("stackTraceLimit must not be negative")
	}
	if o.Backoff != (Backoff{}) && o.Backoff.Type != BackoffFixed && o.Backoff.Type != BackoffExponential {
		wrong("backoff.type must be fixed or exponential")
	}
	if o.Backoff.Delay < 0 {
		wrong("backoff.delay must not be negative")
	}
	if err := o.Debounce.validate(); err != nil {
		errs = append(errs, err)
	}
	for name, keep := range map[string]Keep{"removeOnComplete": o.RemoveOnComplete, "removeOnFail": o.RemoveOnFail} {
		if keep.count < 0 {
			wrong(name + ": the count must not be negative")
		}
		if keep.mode == keepFor && keep.age <= 0 {
			wrong(name + ": the age must be at least a millisecond")
		}
	}
	return errors.Join(errs...)
}

// pushCommand is the end of the list that the job is put at: workers take from the right.
func pushCommand(lifo bool) string {
	if lifo {
		return "RPUSH"
	}
	return "LPUSH"
}

// orDefault returns the name that Bull gives a job without one.
func orDefault(name string) string {
	if strings.TrimSpace(name) == "" {
		return DefaultName
	}
	return name
}
