package pace

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/internal/sleep"
)

// alone waits for a slot of this worker's share, while Redis is away. It reports false if the time has come to try Redis
// again first; an error only if ctx ended.
func (p *Pacer) alone(ctx context.Context, n int) (ours bool, err error) {
	p.mu.Lock()
	v := p.view
	p.mu.Unlock()

	wait := time.Until(p.retryAt)
	var slot time.Time
	if v.known {
		// Each of the others may have made a reservation since that this worker does not know of.
		round := time.Duration(v.n) * max(p.interval, batchTime)
		slot = v.share(later(time.Now(), later(v.booked.Add(round), p.notYet)), p.interval)
		wait = min(time.Until(slot), wait)
	}
	if !sleep.For(ctx, wait) {
		return false, context.Cause(ctx)
	}
	if !v.known || time.Now().Before(slot) {
		return false, nil
	}
	// n mails use up n of this worker's slots. When Redis is back, the others may be within a round of their own.
	p.notYet = slot.Add(time.Duration(n*v.n) * p.interval)
	return true, nil
}

// share is the first slot at or after t that is this worker's: of the slots on Redis's clock, numbered from 1970, those
// whose number leaves the worker's rank when divided by the number of workers.
func (v view) share(t time.Time, interval time.Duration) time.Time {
	remote := t.Add(v.offset).UnixNano()
	round := int64(interval) * int64(v.n)
	begin := remote - remote%round + int64(v.rank)*int64(interval)
	for begin < remote {
		begin += round
	}
	return t.Add(time.Duration(begin - remote))
}
