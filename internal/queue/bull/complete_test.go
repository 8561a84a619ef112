package bull

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/lua"
)

// gate counts the round trips of a client that bring a script, and holds them up until it is open.
type gate struct {
	script lua.Script
	open   chan struct{}
	trips  atomic.Int64
}

func newGate(client redis.UniversalClient, s lua.Script) *gate {
	g := &gate{script: s, open: make(chan struct{})}
	client.(*redis.Client).AddHook(g)
	return g
}

func (g *gate) pass(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if args := cmd.Args(); len(args) > 1 && (args[1] == g.script.Hash() || args[1] == g.script.Source) {
			g.trips.Add(1)
			<-g.open
			return
		}
	}
}

func (g *gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g.pass(cmd)
		return next(ctx, cmd)
	}
}

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g.pass(cmds...)
		return next(ctx, cmds)
	}
}

// TestJobsThatEndTogetherShareACall: what ends while calls are on their way goes with the next one, each with an outcome
// and a next job of its own.
func TestJobsThatEndTogetherShareACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 3 * completeBatch / 2
		b := newBubble(t, Config{})
		var jobs []*Delivery
		for i := range 2 * n {
			b.add(t, fmt.Sprintf("j-%d", i))
		}
		for range n {
			taken, err := b.queue.Take(t.Context(), "")
			if err != nil || taken.Delivery == nil {
				t.Fatal(taken, err)
			}
			jobs = append(jobs, taken.Delivery)
		}
		b.Del(b.queue.keys.lock("j-3")) // one of them is not ours any more
		if err := completeScript.Load(t.Context(), b.queue.client).Err(); err != nil {
			t.Fatal(err)
		}

		g := newGate(b.queue.client, completeScript)
		co := &completer{queue: b.queue, running: func() int { return n }}
		all := make([]*completion, n)
		var done sync.WaitGroup
		for i, d := range jobs {
			var err error
			if all[i], err = b.queue.newCompletion(d, nil, true); err != nil {
				t.Fatal(err)
			}
			done.Go(func() { co.do(t.Context(), all[i]) })
			synctest.Wait()
		}
		if got := g.trips.Load(); got != completeCalls {
			t.Errorf("%d calls are on their way, want %d", got, completeCalls)
		}
		close(g.open)
		done.Wait()

		// Two went with one job each, the others in two batches; or in three, if one got its turn before another came back.
		if got := int(g.trips.Load()); got > completeCalls+3 {
			t.Errorf("%d calls for %d jobs, want at most %d", got, n, completeCalls+3)
		}
		next := map[string]int{}
		for i, c := range all {
			switch {
			case i == 3 && (c.err == nil || c.taken.Delivery != nil):
				t.Errorf("%s: %v, %v, want a lost lock", c.job.ID, c.taken.Delivery, c.err)
			case i != 3 && (c.err != nil || c.taken.Delivery == nil):
				t.Errorf("%s: %v", c.job.ID, c.err)
			case i != 3:
				next[c.taken.Delivery.ID]++
			}
		}
		if len(next) != n-1 {
			t.Errorf("%d different jobs follow, want %d", len(next), n-1)
		}
		counts, err := b.queue.Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Counts{Waiting: 1, Active: n, Completed: n - 1}, counts); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		if co.calls != 0 || len(co.waiting) != 0 {
			t.Errorf("%d calls, %d waiting at the end", co.calls, len(co.waiting))
		}
	})
}

// TestLocksAreRenewedTogether: one round trip a renewal time for all that runs, and none for what is shorter.
func TestLocksAreRenewedTogether(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		each  time.Duration
		trips int64
	}{
		"short": {14 * time.Second, 0},
		"long":  {50 * time.Second, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, Config{})
				if err := extendScript.Load(t.Context(), b.queue.client).Err(); err != nil {
					t.Fatal(err)
				}
				g := newGate(b.queue.client, extendScript)
				close(g.open)
				for i := range 20 {
					b.add(t, fmt.Sprintf("j-%d", i))
				}
				ctx, cancel := context.WithCancel(t.Context())
				var handled sync.WaitGroup
				handled.Add(10)
				consumer := &Consumer{
					Queue: b.queue, Concurrency: 10, Grace: time.Hour, Logger: slog.New(slog.DiscardHandler),
					Handler: func(ctx context.Context, _ *Delivery) (any, error) {
						handled.Done()
						<-time.After(test.each)
						return nil, context.Cause(ctx)
					},
				}
				done := make(chan error)
				go func() { done <- consumer.Run(ctx) }()
				handled.Wait()
				cancel() // what runs is finished
				if err := <-done; err != nil {
					t.Error(err)
				}
				if got := g.trips.Load(); got != test.trips {
					t.Errorf("%d round trips, want %d", got, test.trips)
				}
				counts, err := b.queue.Counts(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(Counts{Waiting: 10, Completed: 10}, counts); diff != "" {
					t.Errorf("counts (-want +got):\n%s", diff)
				}
			})
		})
	}
}
