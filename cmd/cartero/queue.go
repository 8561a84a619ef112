package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
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

// producer is a queue as those parts see it that only add to it, whatever its dialect.
type producer interface {
	outbox.Queue
	CheckDialect(ctx context.Context) error
	EvictionPolicy(ctx context.Context) (string, error)
	IsPaused(ctx context.Context) (bool, error)
	Counts(ctx context.Context) (bull.Counts, error)
	Ping(ctx context.Context) error
}

// openProducer is openQueue in the dialect that is set.
func openProducer(redis options.Redis, o options.Queue) (producer, func() error, error) {
	if o.Dialect != options.DialectBullMQ {
		return openQueue(redis, o)
	}
	client, err := conn.Open(redis.URL)
	if err != nil {
		return nil, nil, err
	}
	queue, err := bullmq.New(client, bullmq.Config{Prefix: o.Prefix, Queue: o.Name, Major: o.BullMQMajor()})
	if err != nil {
		return nil, nil, err
	}
	return queue, client.Close, nil
}

// opener is openQueue or openProducer.
type opener[Q any] func(redis options.Redis, o options.Queue) (queue Q, closeQueue func() error, err error)

// openBackends opens what every part works on, and returns what closes both. Neither is asked anything yet.
func openBackends[Q any](
	ctx context.Context, database options.Database, redis options.Redis, o options.Queue, open opener[Q],
) (db *store.Store, queue Q, closeBoth func() error, err error) {
	db, err = openStore(ctx, database)
	if err != nil {
		return nil, queue, nil, err
	}
	queue, closeQueue, err := open(redis, o)
	if err != nil {
		return nil, queue, nil, errors.Join(err, db.Close())
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
func (p *process) checkQueue(ctx context.Context, queue producer) error {
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
	producer

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
	return g.producer.Ring(ctx, rings)
}

// waitingJobs is how many jobs of a campaign wait in a queue of Cartero's workers, who ask for more when they take one.
const waitingJobs = 8

func (p *process) newOutbox(db *store.Store, queue producer, o options.Outbox, q options.Queue) (*outbox.Outbox, error) {
	telemetry.NewQueueMetrics(p.registry, func(ctx context.Context) (map[string]float64, error) {
		counts, err := queue.Counts(ctx)
		return map[string]float64{
			"waiting": float64(counts.Waiting), "active": float64(counts.Active), "delayed": float64(counts.Delayed),
			"completed": float64(counts.Completed), "failed": float64(counts.Failed),
		}, err
	})
	window := waitingJobs
	if q.Workers == options.WorkersMixed { // Node workers ask for nothing
		window = 0
	}
	return outbox.New(outbox.Config{
		Window:        window,
		Store:         db,
		Queue:         &dialectGate{producer: queue},
		SweepInterval: o.SweepInterval,
		Now:           db.Now,
		Logger:        p.logger,
		Metrics:       telemetry.NewOutboxMetrics(p.registry),
	})
}

func queueCheck(queue producer) telemetry.Check {
	return telemetry.Check{Name: "queue", Probe: queue.Ping}
}
