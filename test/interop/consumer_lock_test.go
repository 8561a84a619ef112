package interop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// shortLock is how long a lock lives whose owner is to be killed.
const shortLock = 300 * time.Millisecond

// doomed are jobs that differ in what is kept of them once they failed.
func doomed() []job {
	var all []job
	for i, keep := range []any{nil, true, false, 2, map[string]any{"count": 3}, map[string]any{"age": 3600, "count": 5}, map[string]any{"age": 3600}} {
		opts := map[string]any{"attempts": 3, "backoff": 1000}
		if keep != nil {
			opts["removeOnFail"] = keep
		}
		all = append(all, job{id: fmt.Sprintf("j-%d", i), data: "hold", opts: opts})
	}
	return append(all, job{id: "urgent", data: "hold", opts: map[string]any{"priority": 3}})
}

// TestKilledWorkers: jobs whose worker is killed are taken back, and after a second time failed, in the same way, whichever
// side the worker and the stalled check are of.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		left := map[string][]map[string]any{}
		t.Run("all", func(t *testing.T) {
			for _, name := range []string{"Node for Node", "Node for ours", "ours for Node", "ours for ours"} {
				states := make([]map[string]any, 2)
				left[name] = states
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					checker, dead, _ := strings.Cut(name, " for ")
					f := newDesk(t, r, setup{})
					for _, j := range doomed() {
						addBy(f.node, j)
					}
					for i := range states {
						killOne(f, r, dead == "Node")
						check(f, checker == "Node")
						states[i] = f.dump()
					}
				})
			}
		})
		for name, states := range left {
			control := left["Node for Node"]
			if r.old && strings.HasPrefix(name, "ours for") {
				// 4.10.4's check does not look at removeOnFail and writes no finishedOn; ours does, as 4.16.5's.
				states, control = states[:1], control[:1]
			}
			if diff := cmp.Diff(control, states); diff != "" {
				t.Errorf("all keys after one and after two kills (-Node for Node +%s):\n%s", name, diff)
			}
		}
	})
}

// killOne lets a worker begin all jobs, kills it, and waits until their locks ran out.
func killOne(f *fixture, r release, node bool) {
	f.Helper()
	n := len(doomed())
	var v victim
	if node {
		v = startNodeVictim(f, r, n, shortLock)
	} else {
		v = startOurVictim(f, n, shortLock)
	}
	v.holds(n)
	v.kill()
	f.eventually("the locks ran out", func() bool {
		return len(f.redis.Keys(context.Background(), f.key("*:lock")).Val()) == 0
	})
}

// check runs a side's stalled check twice: it marks, and then takes back.
func check(f *fixture, node bool) {
	f.Helper()
	for range 2 {
		if node {
			f.node.Do("moveStalled", nil, nil)
			continue
		}
		f.redis.Del(f.Context(), f.key("stalled-check"))
		if _, err := f.queue.CheckStalled(f.Context()); err != nil {
			f.Fatal(err)
		}
	}
}

// TestWhoeverLivesTakesOver: with their own timers, the workers of the other side run the job of a killed one, once.
func TestWhoeverLivesTakesOver(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		s := setup{
			config:   func(c *bull.Config) { c.StalledInterval = 100 * time.Millisecond },
			settings: map[string]any{"stalledInterval": 100},
		}
		t.Run("Node for ours", func(t *testing.T) {
			t.Parallel()
			f := newDesk(t, r, s)
			f.node.Do("listen", map[string]any{"events": []string{"stalled", "completed"}}, nil)
			addBy(f.node, job{id: "j"})
			v := startOurVictim(f, 1, shortLock)
			v.holds(1)
			v.kill()
			f.node.Do("work", nil, nil)
			f.tells("j", "stalled", "run", "completed")
			ranOnceMore(f)
		})
		t.Run("ours for Node", func(t *testing.T) {
			t.Parallel()
			f := newDesk(t, r, s)
			f.node.Do("listen", map[string]any{"events": []string{"stalled", "completed"}}, nil)
			addBy(f.node, job{id: "j", data: "hold"})
			v := startNodeVictim(f, r, 1, shortLock)
			v.holds(1)
			v.kill()
			h := newHands()
			f.begin(&bull.Consumer{Handler: h.handle, Concurrency: 3})
			h.let("j") <- nil
			f.tells("j", "stalled", "completed")
			if len(h.ran) != 1 {
				t.Errorf("our worker ran it %d times, want once", len(h.ran))
			}
			ranOnceMore(f)
		})
	})
}

// ranOnceMore checks that job j stalled once and was completed.
func ranOnceMore(f *fixture) {
	f.Helper()
	f.idle()
	hash := f.redis.HGetAll(f.Context(), f.key("j")).Val()
	got := map[string]string{"stalledCounter": hash["stalledCounter"], "attemptsMade": hash["attemptsMade"], "failedReason": hash["failedReason"]}
	if diff := cmp.Diff(map[string]string{"stalledCounter": "1", "attemptsMade": "", "failedReason": ""}, got); diff != "" {
		f.Errorf("job (-want +got):\n%s", diff)
	}
	if f.redis.ZScore(f.Context(), f.key("completed"), "j").Err() != nil {
		f.Errorf("the job is not completed; all keys: %v", f.dump())
	}
}

// TestLongHandlersKeepTheirLock: a job whose handler outlives its lock several times is run once, though workers of both
// sides compete, and look for stalled jobs all the time.
func TestLongHandlersKeepTheirLock(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{
			config:   func(c *bull.Config) { c.LockDuration, c.StalledInterval = time.Second, 50*time.Millisecond },
			settings: map[string]any{"lockDuration": 1000, "stalledInterval": 50},
		})
		h := newHands()
		addBy(f.node, job{id: "ours", data: "hold"})
		f.begin(&bull.Consumer{Handler: h.handle, Concurrency: 1})
		h.next(t)
		addBy(f.node, job{id: "theirs", data: "hold"})
		f.node.Do("work", map[string]any{"concurrency": 3}, nil)
		f.node.Next("run")
		h2 := newHands()
		f.begin(&bull.Consumer{Handler: h2.handle, Concurrency: 3})

		// Seven renewals, at half of the lock's time each: without them, both locks would have ended three times.
		last, renewed := map[string]time.Duration{}, map[string]int{}
		f.eventually("both locks were renewed", func() bool {
			for _, id := range []string{"ours", "theirs"} {
				left := f.redis.PTTL(f.Context(), f.key(id+":lock")).Val()
				if left > last[id] {
					renewed[id]++
				}
				last[id] = left
			}
			return renewed["ours"] > 7 && renewed["theirs"] > 7
		})
		h.let("ours") <- nil
		f.node.Do("release", map[string]any{"id": "theirs"}, nil)
		f.idle()

		for _, id := range []string{"ours", "theirs"} {
			if f.redis.HExists(f.Context(), f.key(id), "stalledCounter").Val() {
				t.Errorf("%s is said to have stalled", id)
			}
			if f.redis.ZScore(f.Context(), f.key("completed"), id).Err() != nil {
				t.Errorf("%s is not completed", id)
			}
		}
		if len(h.ran)+len(h2.ran) != 0 {
			t.Error("our workers ran a job a second time")
		}
		for len(f.node.Events) > 0 {
			if e := <-f.node.Events; e.Event == "run" {
				t.Errorf("Node ran %s a second time", e.ID)
			}
		}
	})
}

// TestLostLocks: what a handler of ours made of a job that is not its own any more is not written, and is reported.
func TestLostLocks(t *testing.T) {
	t.Parallel()
	theirs := func(f *fixture) { f.redis.Set(f.Context(), f.key("j:lock"), "theirs", time.Hour) }
	gone := func(f *fixture) { f.redis.Del(f.Context(), f.key("j:lock")) }
	tests := map[string]struct {
		lose func(*fixture)
		// renew is the time until our worker asks for its lock; with an hour it learns of the loss as it writes the outcome.
		renew   time.Duration
		outcome error
		says    string
	}{
		"gone, noticed":                 {gone, 20 * time.Millisecond, nil, "Lost the lock"},
		"theirs, noticed":               {theirs, 20 * time.Millisecond, nil, "Lost the lock"},
		"gone, completed":               {gone, time.Hour, nil, "not written"},
		"theirs, completed":             {theirs, time.Hour, nil, "not written"},
		"gone, failed":                  {gone, time.Hour, errors.New("boom"), "not written"},
		"theirs, failed":                {theirs, time.Hour, errors.New("boom"), "not written"},
		"theirs, failed for good":       {theirs, time.Hour, bull.Unrecoverable(errors.New("boom")), "not written"},
		"theirs, to be continued later": {theirs, time.Hour, bull.Later(time.Now().Add(time.Hour)), "not written"},
	}
	eachRelease(t, func(t *testing.T, r release) {
		node := openDesk(t, setup{}).startBull(r, setup{})
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := openDesk(t, setup{config: func(c *bull.Config) {
					c.LockRenewTime, c.LockDuration, c.StalledInterval = test.renew, 2*time.Hour, -1
				}})
				f.node = node
				side := &teller{fixture: f, node: node, base: map[string]any{"prefix": f.prefix}}
				addBy(side, job{id: "j", opts: map[string]any{"attempts": 2, "removeOnComplete": true}})

				logged, causes, written := newRecords(), make(chan error, 1), make(chan map[string]any, 1)
				stop := f.begin(&bull.Consumer{Logger: slog.New(logged), Handler: func(ctx context.Context, _ *bull.Delivery) (any, error) {
					test.lose(f)
					written <- f.dump() //nolint:contextcheck // the test's, which outlives the handler's
					if test.renew < time.Hour {
						<-ctx.Done()
						causes <- context.Cause(ctx)
					}
					return nil, test.outcome
				}})
				before := <-written
				f.eventually("the loss is reported", func() bool { return logged.has(test.says) })
				if diff := cmp.Diff(before, f.dump()); diff != "" {
					t.Errorf("all keys changed (-before +after):\n%s", diff)
				}
				if test.renew < time.Hour {
					if cause := <-causes; !errors.Is(cause, bull.ErrLockLost) {
						t.Errorf("the handler's context ended for %v", cause)
					}
				}
				// Whose job it is now is Node's to find out: it runs it and completes it.
				if err := stop(); err != nil {
					t.Error(err)
				}
				f.redis.Del(t.Context(), f.key("j:lock"))
				side.Do("moveStalled", nil, nil)
				side.Do("moveStalled", nil, nil)
				side.Do("work", nil, nil)
				f.idle()
				all := f.dump()
				maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
				if diff := cmp.Diff(map[string]any{"id": "1"}, all); diff != "" {
					t.Errorf("all keys in the end (-want +got):\n%s", diff)
				}
			})
		}
	})
}
