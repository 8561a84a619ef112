package smtp

import (
	"math/rand/v2"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

const (
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// circuit remembers that the relay was not reached, so that not everyone who has a mail tries it again at once. The
// pool's lock guards it.
type circuit struct {
	// failures counts failures in a row. It ends with a reply in a transaction, not with a connection: a relay that
	// hangs up at every MAIL FROM is no better than one that refuses to talk.
	failures int
	// until is when the relay may be tried again, by one at first; zero while it is believed to be there.
	until time.Time
	// probing: that one is under way.
	probing bool
	verdict mail.Verdict
	// jitter returns a random duration in [0, d).
	jitter func(d time.Duration) time.Duration
}

func newCircuit() circuit {
	return circuit{jitter: rand.N[time.Duration]}
}

// fail records a failure. seen is the number of failures when the try began: of many that began together, one counts.
func (c *circuit) fail(now time.Time, seen int, verdict mail.Verdict) {
	c.probing = false
	c.verdict = verdict
	if seen != c.failures {
		return
	}
	c.failures++
	delay := maxBackoff
	// Wrong credentials do not mend by themselves, and trying them often locks accounts.
	if c.failures < 7 && verdict.Category != mail.CategoryRelayAuth {
		delay = min(firstBackoff<<(c.failures-1), maxBackoff)
	}
	c.until = now.Add(delay/2 + c.jitter(delay/2))
}

// connected records that a connection was made.
func (c *circuit) connected() { c.probing, c.until = false, time.Time{} }

// talked records that the relay answered in a transaction.
func (c *circuit) talked() { c.failures = 0 }

// open reports whether the relay must be left alone now, and the verdict to give meanwhile.
func (c *circuit) open(now time.Time) (mail.Verdict, bool) {
	if c.until.IsZero() || !now.Before(c.until) {
		return mail.Verdict{}, false
	}
	v := c.verdict
	v.RetryAfter = max(v.RetryAfter, c.until.Sub(now))
	return v, true
}

// halfOpen reports whether the time to try has come, but only for one.
func (c *circuit) halfOpen() bool { return !c.until.IsZero() }
