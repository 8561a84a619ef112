package controllers

import (
	"errors"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// stalledError: somebody must change something before the campaign can go on.
type stalledError struct {
	// reason is the condition reason, err the message for the user.
	reason string
	err    error
	// recheckAfter is when to look again, for what may be repaired without touching the object, such as a missing
	// ConfigMap; 0 where only a new generation helps.
	recheckAfter time.Duration
}

func (e *stalledError) Error() string { return e.err.Error() }
func (e *stalledError) Unwrap() error { return e.err }

// dependencyError: MySQL, Redis or the API server is away; it is retried with backoff.
type dependencyError struct {
	// dependency is the name for the user: database or queue.
	dependency string
	// reason is the condition reason of the step that failed.
	reason string
	err    error
}

func (e *dependencyError) Error() string {
	return "the " + e.dependency + " is not ready: " + e.err.Error()
}
func (e *dependencyError) Unwrap() error { return e.err }

// asStalled returns the stalledError in err's chain, or nil.
func asStalled(err error) *stalledError {
	stalled, _ := errors.AsType[*stalledError](err)
	return stalled
}

// asDependency returns the dependencyError in err's chain, or nil.
func asDependency(err error) *dependencyError {
	dependency, _ := errors.AsType[*dependencyError](err)
	return dependency
}

// isQueueAway reports whether the queue failed.
func isQueueAway(err error) bool {
	dependency := asDependency(err)
	return dependency != nil && dependency.reason == v1alpha1.ReasonQueueUnavailable
}
