package worker

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/internal/sleep"
)

// tooShort is a wait before a mail that is not worth a timer.
const tooShort = time.Millisecond

// Throttle is the rate of one campaign over all workers together.
type Throttle interface {
	// Take returns when the next mail's turn has come: how many turns there are, at least one and at most n, when the first
	// of them is, which may be in the past, and the time from each to the next. The last is about a second away at most. It
	// fails only when ctx ends.
	Take(ctx context.Context, n int) (granted int, first time.Time, every time.Duration, err error)
}

// allotment is how many recipients may be announced at once, and when each of them may be handed out.
type allotment struct {
	n int
	turns
	// group is the one of their domains, nil for none, and ofGroup are its turns.
	group   *group
	ofGroup turns
}

// turns are evenly spread moments; the zero value is at once.
type turns struct {
	first time.Time
	every time.Duration
}

// await waits for the turn of the i-th of them.
func (a allotment) await(ctx context.Context, i int) {
	a.turns.await(ctx, i)
	a.ofGroup.await(ctx, i)
}

func (t turns) await(ctx context.Context, i int) {
	if t.first.IsZero() {
		return
	}
	if wait := time.Until(t.first.Add(time.Duration(i) * t.every)); wait >= tooShort {
		sleep.For(ctx, wait)
	}
}

// awaitRate waits for the campaign's rate, where there is one, and returns what of n it allows. Meanwhile nobody is
// announced, and nothing is held that another run waits for. With another rate it begins anew.
func (r *run) awaitRate(n int) (allotment, bool) {
	for r.ctx.Err() == nil {
		p := r.policy.Load()
		if p.throttle == nil {
			return allotment{n: n}, true
		}
		if r.leaving.Load() {
			r.cancel(errMakesRoom)
			break
		}
		began := r.w.cfg.Now()
		granted, first, every, err := p.throttle.Take(p.ctx, n)
		r.w.cfg.Hooks.OnThrottled(r.w.cfg.Now().Sub(began))
		if err == nil {
			return allotment{n: granted, turns: turns{first, every}}, true
		}
		if p.ctx.Err() == nil { // it failed for a reason of its own
			r.cancel(err)
		}
	}
	return allotment{}, false
}
