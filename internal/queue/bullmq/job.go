package bullmq

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

const (
	// DefaultName is the name of a job that was given none. BullMQ itself has no default; it is Bull's.
	DefaultName = bull.DefaultName
	// MaxPriority is the largest priority that BullMQ takes: 21 bits of the score.
	MaxPriority = 1<<21 - 1
)

// Keep is removeOnComplete and removeOnFail, which BullMQ has taken over from Bull; see bull.KeepNone, bull.KeepNewest
// and bull.KeepFor.
type Keep = bull.Keep

// InvalidJobError says what is wrong with a job that was not added.
type InvalidJobError = bull.InvalidJobError

// Job is one job to add.
type Job struct {
	// ID makes adding idempotent: an id that the queue still knows, in whatever state, is left alone. It has 1 to 128
	// letters, digits, '_' and '-', and is neither a number nor one of BullMQ's own key names. Empty: the queue's counter.
	ID string
	// Name is the kind of job; DefaultName if empty.
	Name string
	// Data is a JSON object.
	Data []byte
	Opts Opts
}

// Opts are the options of a job that BullMQ's workers act on. Durations are kept in milliseconds.
type Opts struct {
	// Attempts is how often the job is tried in all; 0 is BullMQ's default and means 1.
	Attempts int
	// Backoff is the time between two attempts; the zero value tries again at once.
	Backoff Backoff
	// Delay is how long the job waits before it may run. When it is due it goes by its priority, or else to the end of
	// those that wait.
	Delay time.Duration
	// Priority: 0 (none) runs first, then 1, then larger numbers, up to MaxPriority. Bull runs 0 last.
	Priority int
	// LIFO puts the job before those that wait already. It has no effect on delayed and prioritized jobs.
	LIFO bool
	// RemoveOnComplete and RemoveOnFail say what is kept of a finished job; the zero value keeps all.
	RemoveOnComplete Keep
	RemoveOnFail     Keep
}

// BackoffType is how the time between two attempts grows.
type BackoffType string

const (
	// BackoffFixed waits Delay before each further attempt.
	BackoffFixed BackoffType = "fixed"
	// BackoffExponential waits 2^(k−1) × Delay after the k-th failed attempt: 1, 2, 4, 8 … times Delay. Bull's is 1, 3, 7.
	BackoffExponential BackoffType = "exponential"
)

// Backoff is the time between two attempts.
type Backoff struct {
	Type  BackoffType
	Delay time.Duration
	// Jitter is the part of the delay, from 0 to 1, that is left to chance.
	Jitter float64
}

// MarshalJSON writes BullMQ's form, with the delay in milliseconds.
func (b Backoff) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Type   BackoffType `json:"type"`
		Delay  int64       `json:"delay"`
		Jitter float64     `json:"jitter,omitempty"`
	}{b.Type, b.Delay.Milliseconds(), b.Jitter})
}

// optsJSON is the stored form. No field is ever null: a worker passes what it reads on to its scripts.
type optsJSON struct {
	JobID            string  `json:"jobId,omitempty"`
	Attempts         int     `json:"attempts"`
	Backoff          Backoff `json:"backoff,omitzero"`
	Delay            int64   `json:"delay,omitempty"`
	Priority         int     `json:"priority,omitempty"`
	LIFO             bool    `json:"lifo,omitempty"`
	RemoveOnComplete Keep    `json:"removeOnComplete,omitzero"`
	RemoveOnFail     Keep    `json:"removeOnFail,omitzero"`
}

// encodeOpts renders the options as BullMQ stores them.
func (j Job) encodeOpts() (string, error) {
	text, err := json.Marshal(optsJSON{
		JobID:            j.ID,
		Attempts:         j.Opts.Attempts,
		Backoff:          j.Opts.Backoff,
		Delay:            j.Opts.Delay.Milliseconds(),
		Priority:         j.Opts.Priority,
		LIFO:             j.Opts.LIFO,
		RemoveOnComplete: j.Opts.RemoveOnComplete,
		RemoveOnFail:     j.Opts.RemoveOnFail,
	})
	return string(text), err
}

var (
	idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
	number    = regexp.MustCompile(`^-?[0-9]+$`)
)

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
	case reserved[j.ID]:
		return errors.New("this id is one of BullMQ's own key names")
	case number.MatchString(j.ID):
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
	if o.Delay < 0 || o.Delay > 0 && o.Delay < time.Millisecond {
		wrong("delay must be at least a millisecond, or 0 for none")
	}
	if o.Priority < 0 || o.Priority > MaxPriority {
		wrong("priority must be from 0 to 2097151")
	}
	if o.Backoff != (Backoff{}) && o.Backoff.Type != BackoffFixed && o.Backoff.Type != BackoffExponential {
		wrong("backoff.type must be fixed or exponential")
	}
	if o.Backoff.Delay < 0 {
		wrong("backoff.delay must not be negative")
	}
	if !(o.Backoff.Jitter >= 0 && o.Backoff.Jitter <= 1) { // NaN is neither
		wrong("backoff.jitter must be from 0 to 1")
	}
	if isNegative(o.RemoveOnComplete) {
		wrong("removeOnComplete must not be negative")
	}
	if isNegative(o.RemoveOnFail) {
		wrong("removeOnFail must not be negative")
	}
	return errors.Join(errs...)
}

// isNegative looks at the stored form, which has a minus sign for nothing else.
func isNegative(keep Keep) bool {
	text, err := keep.MarshalJSON()
	return err != nil || bytes.ContainsRune(text, '-')
}

// pushCommand is the end of the list that the job is put at: workers take from the right.
func pushCommand(lifo bool) string {
	if lifo {
		return "RPUSH"
	}
	return "LPUSH"
}

// orDefault returns the name of a job; BullMQ does not take one without.
func orDefault(name string) string {
	if strings.TrimSpace(name) == "" {
		return DefaultName
	}
	return name
}
