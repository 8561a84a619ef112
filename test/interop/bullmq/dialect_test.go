package bullmq

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// belongs checks whose queue it is: each dialect accepts its own, refuses the other's, and a queue without traces is
// anybody's.
func (f *fixture) belongs(toBull, toBullMQ bool) {
	f.Helper()
	for _, side := range []struct {
		name    string
		err     error
		accepts bool
	}{
		{"bull", f.openBull().CheckDialect(f.Context()), toBull},
		{"bullmq", f.queue.CheckDialect(f.Context()), toBullMQ},
	} {
		refused, isRefusal := errors.AsType[*bull.DialectError](side.err)
		if side.err != nil && !isRefusal {
			f.Errorf("%s.CheckDialect = %v, want a *DialectError", side.name, side.err)
		}
		if side.accepts != (refused == nil) {
			f.Errorf("%s.CheckDialect = %v, want accepted: %v; keys %v", side.name, side.err, side.accepts, f.dump())
		}
	}
}

func TestDialectOfAFreshQueue(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		newFixture(t, v, nil).belongs(true, true)
	})
}

// TestDialectOfBullMQ looks for traces after each thing that a side of BullMQ may have done alone.
func TestDialectOfBullMQ(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		for name, use := range map[string]func(*fixture){
			"a Queue object": func(f *fixture) { f.node.Do("open", nil, nil) },
			"a Worker": func(f *fixture) {
				f.work(1, nil)
				f.awaitIdle()
			},
			"QueueEvents and a Worker": func(f *fixture) {
				f.node.Do("listen", nil, nil)
				f.work(1, nil)
				f.awaitIdle()
			},
			"a Queue object that adds and keeps its version to itself": func(f *fixture) {
				f.node.Do("open", object{"options": object{"skipMetasUpdate": true}}, nil)
				f.node.Do("add", object{"jobName": "n", "data": object{}}, nil)
			},
			"a job that has run and gone": func(f *fixture) {
				f.node.Do("open", nil, nil)
				f.work(1, nil)
				f.node.Do("add", object{"jobName": "n", "data": object{}, "opts": object{"removeOnComplete": true}}, nil)
				f.node.Next("completed")
			},
			"a job with the name of a key of Bull's": func(f *fixture) {
				f.node.Do("open", nil, nil)
				f.node.Do("add", object{"jobName": "n", "data": object{}, "opts": object{"jobId": "priority"}}, nil)
			},
			"our producer": func(f *fixture) { f.add(bullmq.Job{}) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, v, nil)
				use(f)
				f.belongs(false, true)
			})
		}
	})
}

// TestDialectOfBull is the same with the real Bull, and with Cartero in Bull's dialect.
func TestDialectOfBull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Redis server and Node.js")
	}
	plain := object{"data": object{"jobUuid": "x"}}
	for name, use := range map[string]func(*fixture, *nodejs.Process){
		"a Queue object that adds": func(_ *fixture, node *nodejs.Process) { node.Do("add", plain, nil) },
		"a delayed job": func(_ *fixture, node *nodejs.Process) {
			node.Do("add", object{"data": object{}, "opts": object{"delay": 60000}}, nil)
		},
		"jobs with the names of BullMQ's keys": func(_ *fixture, node *nodejs.Process) {
			for _, id := range []string{"marker", "events", "pc"} {
				node.Do("add", object{"data": object{}, "opts": object{"jobId": id}}, nil)
			}
		},
		"a pause": func(_ *fixture, node *nodejs.Process) { node.Do("pause", nil, nil) },
		"a worker": func(f *fixture, node *nodejs.Process) {
			node.Do("process", nil, nil)
			f.awaitKey("stalled-check")
		},
		"a job that has run and stayed": func(f *fixture, node *nodejs.Process) {
			node.Do("process", nil, nil)
			node.Do("add", plain, nil)
			f.awaitKey("completed")
		},
		"a job that has run and gone": func(f *fixture, node *nodejs.Process) {
			node.Do("process", nil, nil)
			var job struct{ ID string }
			node.Do("add", object{"data": object{}, "opts": object{"removeOnComplete": true}}, &job)
			harness.Eventually(f, "the job is gone", func() bool {
				return f.redis.Exists(f.Context(), f.key(job.ID)).Val() == 0
			})
			f.redis.Del(f.Context(), f.key("stalled-check")) // it runs out by itself
		},
		"our producer": func(f *fixture, _ *nodejs.Process) {
			if err := f.openBull().Ring(f.Context(), []outbox.Ring{{BullID: "a", JobID: "a"}}); err != nil {
				f.Fatal(err)
			}
		},
		"our worker": func(f *fixture, _ *nodejs.Process) { f.consumeAsBull() },
	} {
		for _, pkg := range []string{"bull", "bull-4.10"} {
			t.Run(pkg+", "+name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, versions[0], nil)
				node := nodejs.Start(t, "driver.js", object{"url": f.url, "prefix": f.prefix, "name": queueName}, "BULL="+pkg)
				use(f, node)
				f.belongs(true, false)
			})
		}
	}
}

// TestDialectOfNobody: what Bull leaves nothing of is not held against the queue.
func TestDialectOfNobody(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a Redis server and Node.js")
	}
	f := newFixture(t, versions[0], nil)
	node := nodejs.Start(t, "driver.js", object{"url": f.url, "prefix": f.prefix, "name": queueName})
	node.Do("pause", nil, nil)
	node.Do("resume", nil, nil)
	f.belongs(true, true)
}

func (f *fixture) awaitKey(name string) {
	f.Helper()
	harness.Eventually(f, "there is a key "+name, func() bool {
		return f.redis.Exists(f.Context(), f.key(name)).Val() == 1
	})
}

// consumeAsBull runs Cartero's own worker on the queue until the test ends.
func (f *fixture) consumeAsBull() {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	consumer := &bull.Consumer{
		Queue: f.openBull(), Logger: slog.New(slog.DiscardHandler),
		Handler: func(context.Context, *bull.Delivery) (any, error) { return nil, nil },
	}
	go func() { done <- consumer.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Errorf("Consumer.Run = %v", err)
		}
	})
	f.awaitKey("stalled-check")
}
