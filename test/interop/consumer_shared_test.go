package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// TestNodeReadsProgressAndLogs of a job of ours, as it happens and afterwards.
func TestNodeReadsProgressAndLogs(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		f.node.Do("listen", map[string]any{"events": []string{"progress", "completed"}}, nil)
		f.begin(&bull.Consumer{Handler: func(ctx context.Context, job *bull.Delivery) (any, error) {
			var errs []error
			for i := range 4 {
				errs = append(errs, job.Log(ctx, fmt.Sprintf("row %d <ü>", i), 3), job.Progress(ctx, 10*i))
			}
			return nil, errors.Join(append(errs, job.Progress(ctx, map[string]any{"a": 1}))...)
		}})
		addBy(f.node, job{id: "j"})
		for _, want := range []string{"0", "10", "20", "30", `{"a":1}`} {
			if got := f.node.Next("progress"); got.ID != "j" || string(got.Value) != want {
				t.Errorf("global:progress told of %s, %s; want %s", got.ID, got.Value, want)
			}
		}
		f.node.Next("completed")
		var got struct {
			Progress any
			Logs     []string
			Count    int
		}
		f.node.Do("job", map[string]any{"id": "j"}, &got)
		want := got
		want.Progress, want.Logs, want.Count = map[string]any{"a": 1.0}, []string{"row 1 <ü>", "row 2 <ü>", "row 3 <ü>"}, 3
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what Node reads (-want +got):\n%s", diff)
		}
	})
}

// TestLaterIsNotTheEnd: a job that our handler puts off waits in delayed, for Node too, and is not finished before it is
// really done.
func TestLaterIsNotTheEnd(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		var runs atomic.Int64
		f.node.Do("listen", map[string]any{"events": []string{"completed", "failed"}}, nil)
		f.begin(&bull.Consumer{Handler: func(_ context.Context, job *bull.Delivery) (any, error) {
			run := runs.Add(1)
			if run == 1 {
				return "not done", bull.Later(at)
			}
			return map[string]any{"run": run, "attempts": job.AttemptsMade}, nil
		}})
		addBy(f.node, job{id: "j", opts: map[string]any{"removeOnComplete": true}})
		var delayed []struct {
			ID           string
			AttemptsMade int
			FailedReason string
		}
		f.eventually("the job is put off", func() bool {
			f.node.Do("jobs", map[string]any{"state": "delayed"}, &delayed)
			return len(delayed) == 1
		})
		if delayed[0].ID != "j" || delayed[0].AttemptsMade != 0 || delayed[0].FailedReason != "" {
			t.Errorf("Node's getDelayed shows %+v", delayed[0])
		}
		if score := f.redis.ZScore(f.Context(), f.key("delayed"), "j").Val(); int64(score)/4096 != at.UnixMilli() {
			t.Errorf("it is due at %d, want %d", int64(score)/4096, at.UnixMilli())
		}
		// finished() resolves at once for a job that is, so this also shows that it was not.
		finished := f.node.Begin("finished", map[string]any{"id": "j"})
		var state struct{ State string }
		f.node.Do("state", map[string]any{"id": "j"}, &state) // answered after finished() asked, on the same connection
		if state.State != "delayed" {
			t.Errorf("Node says that it is %s", state.State)
		}
		f.node.Do("promote", map[string]any{"id": "j"}, nil)
		var result struct{ Value any }
		finished(&result)
		if diff := cmp.Diff(map[string]any{"run": 2.0, "attempts": 0.0}, result.Value); diff != "" {
			t.Errorf("job.finished() (-want +got):\n%s", diff)
		}
		if e := f.node.Next("completed"); e.ID != "j" {
			t.Errorf("global:completed told of %s", e.ID)
		}
		if len(f.node.Events) != 0 {
			t.Errorf("Node also heard of %+v", <-f.node.Events)
		}
	})
}

// TestNodeHearsOfOurBackoff: the due time that we announce wakes a Node worker long before it would look by itself.
func TestNodeHearsOfOurBackoff(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{settings: map[string]any{"guardInterval": 3_600_000}})
		addBy(f.node, job{id: "j", opts: map[string]any{"attempts": 2, "backoff": 1000}})
		taken, err := f.queue.Take(t.Context(), "")
		if err != nil || taken.Delivery == nil {
			t.Fatal(taken, err)
		}
		f.node.Do("work", nil, nil)
		if _, err := f.queue.Fail(t.Context(), taken.Delivery, errors.New("boom")); err != nil {
			t.Fatal(err)
		}
		var delayed []struct {
			ID           string
			AttemptsMade int
			FailedReason string
		}
		f.node.Do("jobs", map[string]any{"state": "delayed"}, &delayed)
		if len(delayed) != 1 || delayed[0].ID != "j" || delayed[0].AttemptsMade != 1 || delayed[0].FailedReason != "boom" {
			t.Errorf("Node's getDelayed shows %+v", delayed)
		}
		f.node.Next("run")
	})
}

// TestTriedAgainWhilePaused: a job that fails while the queue is paused waits with the others, by its priority.
func TestTriedAgainWhilePaused(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		byNode, byUs := newDesk(t, r, setup{}), newDesk(t, r, setup{})
		for _, f := range []*fixture{byNode, byUs} {
			addBy(f.node, job{id: "j", data: "hold", opts: map[string]any{"attempts": 2, "priority": 2}})
		}
		h := newHands()
		byNode.node.Do("work", nil, nil)
		byNode.node.Next("run")
		byUs.begin(&bull.Consumer{Handler: h.handle})
		h.next(t)
		for _, f := range []*fixture{byNode, byUs} {
			f.node.Do("pause", nil, nil)
			for _, priority := range []int{0, 3, 1, 2} {
				addBy(f.node, job{id: fmt.Sprintf("p%d", priority), opts: map[string]any{"priority": priority}})
			}
		}
		byNode.node.Do("release", map[string]any{"id": "j", "error": "boom"}, nil)
		h.let("j") <- errors.New("boom")
		byNode.idle()
		byUs.idle()
		if !r.old { // 4.10.4 ignores the priority, and leaves its lock
			same(t, "tried again while paused", byNode, byUs)
		}
		if got, want := byUs.redis.LRange(t.Context(), byUs.key("paused"), 0, -1).Val(), []string{"p0", "p3", "j", "p2", "p1"}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

// TestSharedMetrics: Node's dashboards count what both sides completed and failed.
func TestSharedMetrics(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{
			config:  func(c *bull.Config) { c.MetricsMaxDataPoints = 10 },
			options: map[string]any{"metrics": map[string]any{"maxDataPoints": 10}},
		})
		h := newHands()
		f.begin(&bull.Consumer{Handler: h.handle})
		addBy(f.node, job{id: "ours", data: "hold"})
		h.next(t)
		f.node.Do("work", nil, nil)
		addBy(f.node, job{id: "theirs", data: "hold"})
		f.node.Next("run")
		h.let("ours") <- nil
		f.node.Do("release", map[string]any{"id": "theirs"}, nil)
		for range 20 {
			addBy(f.node, job{})
			addBy(f.node, job{data: "fail", opts: map[string]any{"removeOnFail": true}})
		}
		f.idle()
		for state, want := range map[string]int{"completed": 22, "failed": 20} {
			var metrics struct{ Meta struct{ Count int } }
			f.node.Do("metrics", map[string]any{"state": state}, &metrics)
			if metrics.Meta.Count != want {
				t.Errorf("getMetrics(%q) counts %d, want %d", state, metrics.Meta.Count, want)
			}
		}
		var workers int
		f.node.Do("workers", nil, &workers)
		if workers != 2 {
			t.Errorf("getWorkers() counts %d, want Node's and ours", workers)
		}
	})
}

// limited are setups with a limiter of Bull's, equal on both sides.
func limited(limit int, duration time.Duration, group string) setup {
	limiter := map[string]any{"max": limit, "duration": duration.Milliseconds()}
	if group != "" {
		limiter["groupKey"] = group
	}
	return setup{
		config: func(c *bull.Config) {
			c.Limiter = bull.Limiter{Max: limit, Duration: duration, GroupKey: group}
			c.GuardInterval = 50 * time.Millisecond
		},
		settings: map[string]any{"guardInterval": 50},
		options:  map[string]any{"limiter": limiter},
	}
}

// unprefixed is dump without what differs from queue to queue and from run to run.
func unprefixed(f *fixture) map[string]any {
	all := f.dump()
	maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
	text, err := json.Marshal(all)
	if err != nil {
		f.Fatal(err)
	}
	clear(all)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), f.key(""), "")), &all); err != nil {
		f.Fatal(err)
	}
	return all
}

// TestLimitedAlike: what a limiter does to jobs is the same, whichever side works, and also when both do.
func TestLimitedAlike(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		group    string
		admitted int64
	}{"all": {"", 3}, "by group": {"customer", 6}}
	eachRelease(t, func(t *testing.T, r release) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := limited(3, time.Hour, test.group)
				byNode, byUs, byBoth := newDesk(t, r, s), openDesk(t, s), openDesk(t, s)
				side := func(f *fixture) *teller {
					return &teller{fixture: f, node: byNode.node, base: map[string]any{"prefix": f.prefix}}
				}
				for _, f := range []*fixture{byNode, byUs, byBoth} {
					for i := range 8 {
						addBy(side(f), job{id: fmt.Sprintf("j%d", i), more: map[string]any{"customer": i % 2}})
					}
				}
				byNode.node.Do("work", nil, nil)
				side(byBoth).Do("work", nil, nil)
				byUs.begin(&bull.Consumer{Handler: newHands().handle})
				byBoth.begin(&bull.Consumer{Handler: newHands().handle})
				for _, f := range []*fixture{byNode, byUs, byBoth} {
					f.idle()
				}
				if diff := cmp.Diff(unprefixed(byNode), unprefixed(byUs)); diff != "" {
					t.Errorf("all keys (-Node +ours):\n%s", diff)
				}
				// Which jobs are let in depends on who is faster, how many does not.
				completed := func(f *fixture) int64 { return f.redis.ZCard(t.Context(), f.key("completed")).Val() }
				if completed(byNode) != test.admitted || completed(byBoth) != test.admitted {
					t.Errorf("both together let %d in, Node alone %d, want %d", completed(byBoth), completed(byNode), test.admitted)
				}
			})
		}
	})
}

// TestLimitedTogether: with both sides at work, all jobs are run in the end, and nothing is left of the limiter.
func TestLimitedTogether(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, limited(4, 200*time.Millisecond, ""))
		f.begin(&bull.Consumer{Handler: newHands().handle, Concurrency: 2})
		f.node.Do("work", map[string]any{"concurrency": 2}, nil)
		const n = 12
		for range n {
			addBy(f.node, job{opts: onComplete(true)})
		}
		f.eventually("all jobs ran, and nothing is left of the limiter", func() bool {
			all := f.dump()
			maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
			return cmp.Equal(map[string]any{"id": fmt.Sprint(n)}, all)
		})
	})
}

// TestRepeatableJobsAreLeftToNode: our worker refuses a queue that has some, and if they come later gives the job back and
// stops; Node's workers keep the chain going.
func TestRepeatableJobsAreLeftToNode(t *testing.T) {
	t.Parallel()
	repeats := map[string]any{"every": map[string]any{"every": 300}, "cron": map[string]any{"cron": "* * * * * *"}}
	refused := func(t *testing.T, err error) {
		t.Helper()
		if _, ok := errors.AsType[*bull.DialectError](err); !ok || !strings.Contains(err.Error(), "repeatable") {
			t.Errorf("Consumer.Run = %v, want a *bull.DialectError about repeatable jobs", err)
		}
	}
	eachRelease(t, func(t *testing.T, r release) {
		for name, repeat := range repeats {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newDesk(t, r, setup{})
				h := newHands()
				ours := &bull.Consumer{Queue: f.queue, Handler: h.handle}
				late := make(chan error, 1)
				go func() { late <- ours.Run(f.Context()) }()
				addBy(f.node, job{id: "first"}) // so that ours has started
				if got := h.next(t); got != "first" {
					t.Fatalf("our worker ran %s", got)
				}
				var added struct{ ID string }
				f.node.Do("add", map[string]any{"data": map[string]any{"n": 1}, "opts": map[string]any{"repeat": repeat}}, &added)

				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				select {
				case <-ctx.Done():
					t.Fatal("our worker went on")
				case err := <-late:
					refused(t, err)
				}
				refused(t, ours.Run(ctx))
				if len(h.ran) != 0 {
					t.Errorf("our worker ran %s", <-h.ran)
				}
				if next := f.redis.LRange(ctx, f.key("wait"), 0, -1).Val(); !slices.Equal(next, []string{added.ID}) {
					t.Errorf("waiting: %v, want %s", next, added.ID)
				}
				if hash := f.redis.HGetAll(ctx, f.key(added.ID)).Val(); hash["attemptsMade"]+hash["stalledCounter"]+hash["failedReason"] != "" {
					t.Errorf("the job bears traces: %v", hash)
				}

				f.node.Do("work", nil, nil)
				var ran []string
				for range 3 {
					ran = append(ran, f.node.Next("run").ID)
				}
				if ran[0] != added.ID || slices.Contains(ran[1:], added.ID) {
					t.Errorf("Node ran %v, want %s and then others", ran, added.ID)
				}
				var repeatable []map[string]any
				f.node.Do("repeatable", nil, &repeatable)
				if len(repeatable) != 1 {
					t.Errorf("getRepeatableJobs() finds %v", repeatable)
				}
			})
		}
	})
}
