package bull

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config says which queue, and how it is worked on. Programs that work on one queue must agree on Prefix, Queue,
// StalledInterval, MaxStalledCount and Limiter.
type Config struct {
	// Prefix comes before every key; "bull" if empty. On a Redis Cluster the prefix or the queue carries a hash tag:
	// {bull}.
	Prefix string
	// Queue is the queue's name; "email-queue" if empty.
	Queue string
	// LockDuration is how long a job belongs to a worker that stopped renewing its lock; 30 s if zero.
	LockDuration time.Duration
	// LockRenewTime is the time between two renewals; half of LockDuration if zero.
	LockRenewTime time.Duration
	// StalledInterval is the time between two searches for jobs whose worker died; 30 s if zero, no search if negative.
	StalledInterval time.Duration
	// MaxStalledCount is how often a job whose worker died is run again before it fails; 1 if zero, never if negative.
	MaxStalledCount int
	// GuardInterval is the longest time between two looks for delayed jobs that are due; 5 s if zero.
	GuardInterval time.Duration
	// DrainDelay is how long one blocking pop waits, and so how long stopping an idle consumer takes; 1 s if zero. Above
	// a second only whole ones count.
	DrainDelay time.Duration
	// Limiter bounds how many jobs start in a time, over all workers that have it; the zero value is no bound.
	Limiter Limiter
	// MetricsMaxDataPoints is how many minutes of counts of completed and failed jobs are kept for dashboards, as Bull's
	// option metrics.maxDataPoints; 0 counts nothing. Jobs that a worker without it finishes are not counted.
	MetricsMaxDataPoints int
	// Now is the clock that timestamps, scores and due times come from; time.Now if nil.
	Now func() time.Time
}

// namePattern keeps out what Bull or Redis give a meaning: '@' ends the name in Bull's event channels, glob characters
// break its pattern subscriptions, and a ':' in a name would let two queues share keys. Braces are cluster hash tags.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.{}-]{1,128}$`)

// prefixPattern also allows ':', which is how nested prefixes are usually written.
var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_.{}:-]{1,128}$`)

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, "bull")
	c.Queue = cmp.Or(c.Queue, "email-queue")
	c.LockDuration = cmp.Or(c.LockDuration, 30*time.Second)
	c.LockRenewTime = cmp.Or(c.LockRenewTime, c.LockDuration/2)
	c.StalledInterval = cmp.Or(c.StalledInterval, 30*time.Second)
	c.MaxStalledCount = max(cmp.Or(c.MaxStalledCount, 1), 0)
	c.GuardInterval = cmp.Or(c.GuardInterval, 5*time.Second)
	c.DrainDelay = cmp.Or(c.DrainDelay, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// validate reports everything that is wrong at once.
func (c Config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !prefixPattern.MatchString(c.Prefix) {
		wrong("the queue prefix %q may only have letters, digits and _ . - : { }", c.Prefix)
	}
	if !namePattern.MatchString(c.Queue) {
		wrong("the queue name %q may only have letters, digits and _ . - { }", c.Queue)
	}
	if c.LockDuration < time.Millisecond {
		wrong("LockDuration must be at least 1ms, not %s", c.LockDuration)
	}
	if c.LockRenewTime < time.Millisecond || c.LockRenewTime >= c.LockDuration {
		wrong("LockRenewTime must be at least 1ms and less than LockDuration, not %s", c.LockRenewTime)
	}
	if c.StalledInterval > 0 && c.StalledInterval < time.Millisecond {
		wrong("StalledInterval must be at least 1ms, not %s", c.StalledInterval)
	}
	if c.GuardInterval < time.Millisecond {
		wrong("GuardInterval must be at least 1ms, not %s", c.GuardInterval)
	}
	if c.DrainDelay < 10*time.Millisecond {
		wrong("DrainDelay must be at least 10ms, not %s", c.DrainDelay)
	}
	if err := c.Limiter.validate(); err != nil {
		errs = append(errs, err)
	}
	if c.MetricsMaxDataPoints < 0 {
		wrong("MetricsMaxDataPoints must not be negative")
	}
	return errors.Join(errs...)
}
