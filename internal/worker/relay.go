package worker

import (
	"sync"
	"time"
)

// Bounds of the wait after trouble with the relay.
const (
	relayFirstPause = time.Second
	relayMaxPause   = 30 * time.Second
)

// relay is what this process knows of its relay: whether it works, and until when it is left alone.
type relay struct {
	random func() float64

	mu sync.Mutex
	// epoch changes with every piece of news, so that ten mails that failed together count as one failure.
	epoch    int
	failures int
	downAt   time.Time
	pausedTo time.Time
	// detail says what the last trouble was.
	detail string
}

// news is what a transaction that began in the epoch tells.
func (r *relay) news(e effect, epoch int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.relay {
	case relayWorks:
		if r.failures > 0 && epoch == r.epoch {
			r.failures, r.pausedTo, r.downAt, r.detail = 0, time.Time{}, time.Time{}, ""
			r.epoch++
		}
	case relayTrouble:
		if pause := now.Add(e.retryAfter); e.retryAfter > 0 && pause.After(r.pausedTo) {
			r.pausedTo = pause
		}
		if epoch != r.epoch {
			return
		}
		if r.failures == 0 {
			r.downAt = now
		}
		if pause := now.Add(r.pause()); pause.After(r.pausedTo) {
			r.pausedTo = pause
		}
		r.failures++
		r.detail = e.detail
		r.epoch++
	}
}

// pause is the wait after the next failure: doubled for each, half of it random.
func (r *relay) pause() time.Duration {
	ceiling := relayFirstPause
	for range r.failures {
		if ceiling >= relayMaxPause {
			break
		}
		ceiling *= 2
	}
	ceiling = min(ceiling, relayMaxPause)
	return ceiling/2 + time.Duration(r.random()*float64(ceiling/2))
}

// trouble says what is wrong with the relay: empty while it works, and where a hold says it.
func (r *relay) trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.detail
}

// state says how the relay stands: the epoch, how long it is still to be left alone, since when it is down (zero if it
// works).
func (r *relay) state(now time.Time) (epoch int, wait time.Duration, downAt time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, max(0, r.pausedTo.Sub(now)), r.downAt
}
