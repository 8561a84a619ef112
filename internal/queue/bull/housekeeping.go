package bull

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/sleep"
)

// promoteLoop makes delayed jobs ready when they are due: at the next due time it knows of, when somebody announces an
// earlier one, and at the latest every GuardInterval.
func (r *run) promoteLoop(ctx context.Context) {
	announced := r.queue.client.Subscribe(ctx, r.queue.keys.delayedChannel())
	defer func() { _ = announced.Close() }()
	messages := announced.Channel()

	var pause backoff
	for ctx.Err() == nil {
		moved, next, err := r.queue.PromoteDue(ctx)
		if ctx.Err() != nil {
			return
		}
		r.outage.report(err)
		if err != nil {
			pause.wait(ctx)
			continue
		}
		pause.reset()
		if moved == lookBatch {
			continue
		}
		wake := time.Now().Add(r.queue.config.GuardInterval)
		if !next.IsZero() {
			wake = earlier(wake, r.until(next))
		}
		r.waitForDue(ctx, messages, wake)
	}
}

// until gives a due time on the injected clock as a time on the real one, and a millisecond later: the low bits of the
// score put the moment a little behind the due time. Never less than a millisecond away, whatever the clocks say.
func (r *run) until(due time.Time) time.Time {
	return time.Now().Add(max(due.Sub(r.queue.config.Now())+time.Millisecond, time.Millisecond))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// waitForDue returns at wake, or at an earlier time that is announced meanwhile, or when ctx ends.
func (r *run) waitForDue(ctx context.Context, messages <-chan *redis.Message, wake time.Time) {
	for {
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			return
		case message := <-messages:
			timer.Stop()
			if message == nil {
				messages = nil // closed with the client: the guard interval remains
				continue
			}
			if ms, err := strconv.ParseFloat(message.Payload, 64); err == nil {
				wake = earlier(wake, r.until(time.UnixMilli(int64(ms))))
			}
		}
	}
}

// stalledLoop looks for jobs of dead workers, at once and every StalledInterval.
func (r *run) stalledLoop(ctx context.Context) {
	interval := r.queue.config.StalledInterval
	if interval < 0 {
		return
	}
	var pause backoff
	for ctx.Err() == nil {
		found, err := r.queue.CheckStalled(ctx)
		if ctx.Err() != nil {
			return
		}
		r.outage.report(err)
		if err != nil {
			pause.wait(ctx)
			continue
		}
		pause.reset()
		r.logDropped(found.Dropped)
		if len(found.Failed)+len(found.Again) > 0 {
			r.log.Warn("Found jobs whose worker died", "again", len(found.Again), "failed", len(found.Failed))
		}
		sleep.For(ctx, interval)
	}
}
