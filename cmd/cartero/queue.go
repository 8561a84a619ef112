package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// openQueue returns the queue and what closes its connection. Nothing is asked of Redis yet.
func openQueue(redis options.Redis, o options.Queue) (*bull.Queue, func() error, error) {
	client, err := conn.Open(redis.URL)
	if err != nil {
		return nil, nil, err
	}
	queue, err := bull.New(client, bull.Config{
		Prefix:          o.Prefix,
		Queue:           o.Name,
		LockDuration:    o.LockDuration,
		StalledInterval: o.StalledInterval,
		MaxStalledCount: maxStalledCount(o.MaxStalledCount),
		Limiter:         limiter(o),
		// Node's workers count for their dashboards, and ours must too where they are watched.
		MetricsMaxDataPoints: o.MetricsMaxDataPoints,
	})
	if err != nil {
		return nil, nil, err
	}
	return queue, client.Close, nil
}

// openBackends opens what every part works on, and returns what closes both. Neither is asked anything yet.
func openBackends(
	ctx context.Context, database options.Database, redis options.Redis, o options.Queue,
) (*store.Store, *bull.Queue, func() error, error) {
	db, err := openStore(ctx, database)
	if err != nil {
		return nil, nil, nil, err
	}
	queue, closeQueue, err := openQueue(redis, o)
	if err != nil {
		return nil, nil, nil, errors.Join(err, db.Close())
	}
	return db, queue, func() error { return errors.Join(closeQueue(), db.Close()) }, nil
}

// limiter is the zero value where there is no bound.
func limiter(o options.Queue) bull.Limiter {
	if o.LimiterMax == 0 {
		return bull.Limiter{}
	}
	return bull.Limiter{Max: o.LimiterMax, Duration: o.LimiterDuration}
}

// maxStalledCount says "never" as bull.Config does, for which 0 is the default.
func maxStalledCount(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// checkQueue refuses a queue of another dialect and warns of a Redis that may forget. A Redis that is away is no reason
// not to start: dialectGate asks again.
func (p *process) checkQueue(ctx context.Context, queue *bull.Queue) error {
	if err := queue.CheckDialect(ctx); err != nil {
		if !bull.IsUnavailable(err) {
			return err
		}
		p.logger.Warn("Redis does not answer; jobs wait in the database until it does", "error", err)
		return nil
	}
	policy, err := queue.EvictionPolicy(ctx)
	if err == nil && policy != "" && policy != "noeviction" {
		p.logger.Warn("Redis may drop jobs and locks: set maxmemory-policy to noeviction", "maxmemoryPolicy", policy)
	}
	return nil
}

// dialectGate lets nothing into a queue before its dialect was checked once.
type dialectGate struct {
	*bull.Queue
	checked atomic.Bool
}

// Ring adds jobs, as outbox.Queue wants it.
func (g *dialectGate) Ring(ctx context.Context, rings []outbox.Ring) error {
	if !g.checked.Load() {
		if err := g.CheckDialect(ctx); err != nil {
			return err
		}
		g.checked.Store(true)
	}
	return g.Queue.Ring(ctx, rings)
}

func (p *process) newOutbox(db *store.Store, queue *bull.Queue, o options.Outbox) (*outbox.Outbox, error) {
	return outbox.New(outbox.Config{
		Store:         db,
		Queue:         &dialectGate{Queue: queue},
		SweepInterval: o.SweepInterval,
		Logger:        p.logger,
		Metrics:       telemetry.NewOutboxMetrics(p.registry),
	})
}

func queueCheck(queue *bull.Queue) telemetry.Check {
	return telemetry.Check{Name: "queue", Probe: queue.Ping}
}
