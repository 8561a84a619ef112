package smtp

import (
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// How long the relay has to be content before it is tried with one more connection.
const (
	firstGrowth = time.Second
	slowGrowth  = 5 * time.Minute
)

// limiter adapts the number of connections to what the relay takes: halved when it complains, one more for each while in
// which it does not. The pool's lock guards it.
type limiter struct {
	max, now int
	// cuts counts the complaints that were heeded: of many about the same crowd, one is.
	cuts int
	// since is when the number changed; pause is how long it stays then. It doubles when growing was wrong.
	since time.Time
	pause time.Duration
	grown bool
}

func newLimiter(maximum int) limiter {
	return limiter{max: maximum, now: maximum, pause: firstGrowth}
}

// cut lowers the number to this. seen is the number of cuts when what was complained about began.
func (l *limiter) cut(now time.Time, seen, to int) {
	to = max(to, 1)
	if seen != l.cuts || to >= l.now {
		return
	}
	l.cuts++
	if l.grown {
		l.pause = min(2*l.pause, slowGrowth)
	}
	l.now, l.since, l.grown = to, now, false
}

// content records a mail that the relay took without complaint.
func (l *limiter) content(now time.Time) {
	switch quiet := now.Sub(l.since); {
	case l.now < l.max && quiet >= l.pause:
		l.now++
		l.since, l.grown = now, true
	case quiet >= slowGrowth:
		l.pause, l.grown = firstGrowth, false
	}
}

// isThrottled: the relay is busy, whoever the recipient is. Greylisting and full mailboxes are not its business.
func isThrottled(phase mail.Phase, r reply) bool {
	switch {
	case r.code == 421:
		return true
	case r.code/100 != 4:
		return false
	case r.enhanced == "4.3.1", r.enhanced == "4.3.2", r.enhanced == "4.4.5", r.enhanced == "4.7.28":
		return true
	}
	return r.code == 452 && r.enhanced == "" && phase != mail.PhaseRcpt
}
