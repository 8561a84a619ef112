package bull

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/sleep"
)

//go:embed scripts/express.lua
var expressSource string

var expressScript = newScript("express", expressSource)

// expressInterval is the time between two looks for jobs with a priority, while all slots are taken: what such a job may
// wait beyond its turn.
const expressInterval = 500 * time.Millisecond

// priorities are those from least to most that slots are for.
type priorities struct{ least, most int }

var (
	mostUrgent = priorities{1, 1}
	lessUrgent = priorities{2, math.MaxInt32}
)

// startExpress looks for jobs with a priority while all slots are taken. It runs those with the first priority in n slots of
// their own, and others in half as many besides: such may run for long, and must not be in the way of the first. Once wait
// returns no more are taken; it returns soon after ctx has ended.
func (r *run) startExpress(ctx, jobs context.Context, n int) (wait func()) {
	if n == 0 {
		return func() {}
	}
	var loop sync.WaitGroup
	loop.Go(func() { r.expressLoop(ctx, jobs, n) })
	return loop.Wait
}

func (r *run) expressLoop(ctx, jobs context.Context, n int) {
	urgent, others := make(chan struct{}, n), make(chan struct{}, max(1, n/2))
	for sleep.For(ctx, expressInterval) {
		r.fillExpress(ctx, jobs, urgent, mostUrgent)
		r.fillExpress(ctx, jobs, others, lessUrgent)
	}
}

// fillExpress runs jobs with such a priority, as long as all other slots are taken. Nobody else fills these
// slots.
func (r *run) fillExpress(ctx, jobs context.Context, slots chan struct{}, of priorities) {
	for len(r.slots) == cap(r.slots) && len(slots) < cap(slots) {
		d := r.fetchExpress(ctx, of)
		if d == nil {
			return
		}
		slots <- struct{}{}
		r.running.Go(func() {
			defer func() { <-slots }()
			r.workExpress(ctx, jobs, d, of)
		})
	}
}

// workExpress is work for jobs with such a priority alone.
func (r *run) workExpress(ctx, jobs context.Context, d *Delivery, of priorities) {
	// With a context that has ended, no other job is taken in the step that writes the outcome.
	alone, cancel := context.WithCancel(ctx)
	cancel()
	for d != nil {
		r.process(alone, jobs, d)
		d = r.fetchExpress(ctx, of)
	}
}

// fetchExpress takes the next job with such a priority. It returns none if none waits, Redis is away, or ctx has ended.
func (r *run) fetchExpress(ctx context.Context, of priorities) *Delivery {
	if ctx.Err() != nil {
		return nil
	}
	live, k := context.WithoutCancel(ctx), r.queue.keys
	id, err := expressScript.Run(live, r.queue.client, []string{k.wait(), k.active(), k.priority()}, of.least, of.most).Text()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		r.outage.report(fmt.Errorf("looking for jobs with a priority: %w", err))
		return nil
	}
	d, err := r.take(live, id)
	if err != nil {
		return nil // reported; the stalled check returns it
	}
	return d
}
