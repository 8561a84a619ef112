package bull

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
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

// startExpress looks for jobs with a priority while all slots are taken, and runs them in n slots of their own. Once wait
// returns no more are taken; it returns soon after ctx has ended.
func (r *run) startExpress(ctx, jobs context.Context, n int) (wait func()) {
	if n == 0 {
		return func() {}
	}
	var loop sync.WaitGroup
	loop.Go(func() { r.expressLoop(ctx, jobs, make(chan struct{}, n)) })
	return loop.Wait
}

func (r *run) expressLoop(ctx, jobs context.Context, slots chan struct{}) {
	for sleep.For(ctx, expressInterval) {
		for len(r.slots) == cap(r.slots) && len(slots) < cap(slots) { // only this loop fills slots
			d := r.fetchExpress(ctx)
			if d == nil {
				break
			}
			slots <- struct{}{}
			r.running.Go(func() {
				defer func() { <-slots }()
				r.workExpress(ctx, jobs, d)
			})
		}
	}
}

// workExpress is work for jobs with a priority alone.
func (r *run) workExpress(ctx, jobs context.Context, d *Delivery) {
	// With a context that has ended, no other job is taken in the step that writes the outcome.
	alone, cancel := context.WithCancel(ctx)
	cancel()
	for d != nil {
		r.process(alone, jobs, d)
		d = r.fetchExpress(ctx)
	}
}

// fetchExpress takes the next job with a priority. It returns none if none waits, Redis is away, or ctx has ended.
func (r *run) fetchExpress(ctx context.Context) *Delivery {
	if ctx.Err() != nil {
		return nil
	}
	live, k := context.WithoutCancel(ctx), r.queue.keys
	id, err := expressScript.Run(live, r.queue.client, []string{k.wait(), k.active(), k.priority()}).Text()
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
