package bull

import (
	"errors"
	"fmt"
	"time"
)

// Limiter is Bull's rate limiter (its option limiter): of the workers of a queue together, at most Max jobs start within
// Duration, counted in Redis. A job beyond that waits in the delayed set, so the order of jobs is not kept. All workers
// of the queue, Node's too, must have the same limiter: one without it neither counts nor waits.
//
// Bull's option bounceBack is not offered: it loses jobs.
type Limiter struct {
	// Max is how many jobs may start within Duration; 0, with Duration 0, is no limit.
	Max int
	// Duration is the length of the window, in whole milliseconds.
	Duration time.Duration
	// GroupKey gives each group of jobs a window of its own. The group is the part of a job's id after its last ':',
	// which is where Bull's producers with this option put the field of that name of the job's data.
	GroupKey string
}

func (k keys) limiter() string { return k.base + "limiter" }

// enabled reports whether there is a limit.
func (l Limiter) enabled() bool { return l.Max > 0 }

func (l Limiter) validate() error {
	switch {
	case l == Limiter{}:
		return nil
	case l.Max < 1:
		return fmt.Errorf("Limiter.Max must be at least 1, not %d", l.Max)
	case l.Duration < time.Millisecond || l.Duration%time.Millisecond != 0:
		return fmt.Errorf("Limiter.Duration must be a whole number of milliseconds, at least 1, not %s", l.Duration)
	case l.Duration > 366*24*time.Hour:
		return errors.New("Limiter.Duration must be at most 366 days")
	}
	return nil
}

// args are the four arguments of the take script: max or "", duration in ms, "1" if by group.
func (l Limiter) args() (limit any, duration int64, grouped string) {
	if !l.enabled() {
		return "", 0, ""
	}
	if l.GroupKey != "" {
		grouped = "1"
	}
	return l.Max, l.Duration.Milliseconds(), grouped
}
