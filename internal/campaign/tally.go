package campaign

import (
	"fmt"
	"time"
)

// Tally counts the recipients of a campaign or job. The counts by state are disjoint and add up to Total.
type Tally struct {
	Total      int64
	Pending    int64
	Active     int64
	Deferred   int64
	Accepted   int64
	Bounced    int64
	Failed     int64
	Suppressed int64
	Cancelled  int64
	InDoubt    int64
	// Failures counts the recipients that ended otherwise than accepted, by category, the most frequent first.
	Failures []FailureCount
	// NextAttemptAt is the earliest next attempt of a deferred recipient; nil where none is deferred.
	NextAttemptAt *time.Time
	// AttemptsUntil is the latest of them.
	AttemptsUntil *time.Time
	// LastCompletedAt is when the latest recipient ended; nil where none has.
	LastCompletedAt *time.Time
}

// FailureCount is a number of failures with the same category and enhanced status code.
type FailureCount struct {
	Category     string
	EnhancedCode string
	Count        int64
}

// Add counts n recipients in the state.
func (t *Tally) Add(state State, n int64) {
	t.Total += n
	switch state {
	case StatePending:
		t.Pending += n
	case StateActive:
		t.Active += n
	case StateDeferred:
		t.Deferred += n
	case StateAccepted:
		t.Accepted += n
	case StateBounced:
		t.Bounced += n
	case StateSuppressed:
		t.Suppressed += n
	case StateCancelled:
		t.Cancelled += n
	case StateInDoubt:
		t.InDoubt += n
	default:
		t.Failed += n
	}
}

// Finished is the number of recipients that will not be tried again.
func (t Tally) Finished() int64 { return t.Total - t.Pending - t.Active - t.Deferred }

// Unsuccessful is the number of recipients that ended otherwise than accepted.
func (t Tally) Unsuccessful() int64 { return t.Finished() - t.Accepted }

// Done reports whether every recipient has ended.
func (t Tally) Done() bool { return t.Finished() == t.Total }

// Progress is "finished/total".
func (t Tally) Progress() string { return fmt.Sprintf("%d/%d", t.Finished(), t.Total) }
