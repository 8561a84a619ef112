package bull

import (
	"errors"
	"time"
)

// unrecoverable marks an error after which a job must not be tried again.
type unrecoverable struct{ err error }

func (e unrecoverable) Error() string { return e.err.Error() }
func (e unrecoverable) Unwrap() error { return e.err }

// Unrecoverable makes the job fail for good, whatever attempts it has left. A nil error stays nil.
func Unrecoverable(err error) error {
	if err == nil {
		return nil
	}
	return unrecoverable{err}
}

func isUnrecoverable(err error) bool {
	var u unrecoverable
	return errors.As(err, &u)
}

// later is the outcome of a run that is to go on at another time.
type later struct{ at time.Time }

func (e *later) Error() string { return "the job goes on at " + e.at.UTC().Format(time.RFC3339) }

// Later is what a handler returns whose job can't be finished before at: the job waits in the delayed set until then, and
// whoever promotes it, Node or Cartero, makes it ready to run again. No attempt is counted, and neither failedReason nor
// attemptsMade is written. A time that has passed means as soon as possible.
//
// A job that still has work to do must not be completed before it is done: job.finished() in Node resolves as soon as it
// is, and removeOnComplete lets its id be added again. Nor must it fail, as its attempts are for faults.
func Later(at time.Time) error { return &later{at} }

func asLater(err error) (*later, bool) { return errors.AsType[*later](err) }
