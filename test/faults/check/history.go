package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// The kinds of an Event.
const (
	// KindPlanned: a list was handed in.
	KindPlanned = "planned"
	// KindAnswered: a request over HTTP was answered with 202.
	KindAnswered = "answered"
	// KindStatus: the status of an object was seen.
	KindStatus = "status"
	// KindTold: a text that others can read was seen, such as an event of Kubernetes.
	KindTold = "told"
	// KindGone: an object is not there any more.
	KindGone = "gone"
	// KindFault: something was broken, or mended.
	KindFault = "fault"
	// KindQuiet: nothing is done from here on, and nothing is left to do.
	KindQuiet = "quiet"
)

// Event is a line of a history.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	// Note is a text for people; of KindTold it is the text.
	Note     string    `json:"note,omitempty"`
	Planned  *Planned  `json:"planned,omitempty"`
	Answered *Answered `json:"answered,omitempty"`
	Status   *Status   `json:"status,omitempty"`
}

// Planned is a list that was handed in.
type Planned struct {
	// Key is the campaign's.
	Key string `json:"key"`
	// Recipients is how many different valid addresses are on the list.
	Recipients int `json:"recipients"`
	// MayVanish: it was ended before it was certainly taken, so that there may be no rows.
	MayVanish bool `json:"mayVanish,omitempty"`
}

// Answered is a request that was answered with 202.
type Answered struct {
	IdempotencyKey string `json:"idempotencyKey"`
	JobID          string `json:"jobID"`
}

// Status is an EmailCampaign as it was seen.
type Status struct {
	Name            string `json:"name"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
	// Key is the campaign's; empty before the status has one.
	Key                string `json:"key,omitempty"`
	Generation         int64  `json:"generation"`
	ObservedGeneration int64  `json:"observedGeneration"`
	Deleting           bool   `json:"deleting,omitempty"`
	// Counts are the recipients by state, and the total as "total"; nil before they are known.
	Counts map[string]int64 `json:"counts,omitempty"`
	// Conditions are the statuses by type: True, False or Unknown.
	Conditions map[string]string `json:"conditions,omitempty"`
	// Text is the whole status as JSON.
	Text string `json:"text,omitempty"`
}

// History writes events to a file, a line each. It is safe for concurrent use.
type History struct {
	mu   sync.Mutex
	file *os.File
}

// NewHistory starts a file.
func NewHistory(path string) (*History, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting the history: %w", err)
	}
	return &History{file: file}, nil
}

// Add writes an event, with the time if it has none.
func (h *History) Add(e Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	if _, err := h.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

// Close ends the file.
func (h *History) Close() error { return h.file.Close() }

// readLines decodes a file of JSON lines.
func readLines[T any](path string) ([]T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var all []T
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("reading %s, line %d: %w", path, len(all)+1, err)
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return all, nil
}

// ReadHistory reads what a History has written.
func ReadHistory(path string) ([]Event, error) { return readLines[Event](path) }
