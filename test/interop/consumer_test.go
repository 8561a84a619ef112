package interop

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// TestNodeSeesWhatOurWorkerDoes: its events resolve job.finished(), and its getters read what we wrote.
func TestNodeSeesWhatOurWorkerDoes(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		f.node.Do("listen", map[string]any{"events": []string{"waiting", "active", "completed", "failed", "drained"}}, nil)
		h := newHands()
		f.begin(&bull.Consumer{Concurrency: 2, Handler: func(ctx context.Context, job *bull.Delivery) (any, error) {
			if _, err := h.handle(ctx, job); err != nil {
				return nil, err
			}
			return map[string]any{"sent": 3, "of": string(job.Data), "list": []any{1.5, nil, "<ü>"}}, nil
		}})

		// The job is removed as it completes: only the event can tell finished() its value.
		id := addBy(f.node, job{data: "hold", opts: map[string]any{"removeOnComplete": true}})
		finished := f.node.Begin("finished", map[string]any{"id": id})
		addBy(f.node, job{id: "bad", data: "fail"})
		var state struct{ State string }
		f.node.Do("state", map[string]any{"id": id}, &state) // answered after finished() asked, on the same connection
		h.let(id) <- nil

		var result struct{ Value any }
		finished(&result)
		want := map[string]any{"sent": 3.0, "of": `{"do":"hold"}`, "list": []any{1.5, nil, "<ü>"}}
		if diff := cmp.Diff(want, result.Value); diff != "" {
			t.Errorf("job.finished() (-want +got):\n%s", diff)
		}
		told := f.tells("bad", "waiting", "active", "failed")
		if got := string(told["failed"].Value); got != `"boom"` {
			t.Errorf("global:failed told of %s", got)
		}
		f.node.Next("drained")
		var failed []struct {
			ID           string
			FailedReason string
			Stacktrace   []string
			AttemptsMade int
		}
		f.node.Do("jobs", map[string]any{"state": "failed"}, &failed)
		if len(failed) != 1 || failed[0].ID != "bad" || failed[0].FailedReason != "boom" || len(failed[0].Stacktrace) != 1 || failed[0].AttemptsMade != 1 {
			t.Errorf("Node's getFailed shows %+v", failed)
		}
		var workers int
		f.node.Do("workers", nil, &workers)
		if workers != 1 {
			t.Errorf("getWorkers() counts %d, want ours", workers)
		}
	})
}

// TestStalledCheckEqualsBulls runs each side's check twice on the same jobs, dead and alive.
func TestStalledCheckEqualsBulls(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		ids := []string{"dead", "alive", "twice", "twice-gone", "twice-one"}
		if r.old {
			ids = ids[:2] // it fails a job without finishedOn, and does not look at removeOnFail
		}
		byNode, byUs := newDesk(t, r, setup{}), openDesk(t, setup{})
		for _, f := range []*fixture{byNode, byUs} {
			for _, id := range ids {
				opts := bull.Opts{}
				switch id {
				case "twice-gone":
					opts.RemoveOnFail = bull.KeepNone()
				case "twice-one":
					opts.RemoveOnFail = bull.KeepNewest(1)
				}
				f.add(bull.Job{ID: id, Opts: opts})
				if taken, err := f.queue.Take(t.Context(), ""); err != nil || taken.Delivery == nil {
					t.Fatal(taken, err)
				}
				if id != "alive" {
					f.redis.Del(t.Context(), f.key(id+":lock"))
				}
				if strings.HasPrefix(id, "twice") {
					f.redis.HSet(t.Context(), f.key(id), "stalledCounter", 1)
				}
			}
		}
		for range 2 {
			byNode.node.Do("moveStalled", nil, nil)
			byUs.redis.Del(t.Context(), byUs.key("stalled-check"))
			if _, err := byUs.queue.CheckStalled(t.Context()); err != nil {
				t.Fatal(err)
			}
			same(t, "stalled check", byNode, byUs)
		}
	})
}

// TestMixedFleet: Node's workers and ours share a queue that both sides fill; every job runs once.
func TestMixedFleet(t *testing.T) {
	t.Parallel()
	eachRelease(t, mixedFleet)
}

func mixedFleet(t *testing.T, r release) {
	f := newDesk(t, r, setup{})
	const each = 250
	ran, both := make(chan string, 4*each), make(chan struct{})
	f.node.Do("work", map[string]any{"concurrency": 4}, nil)
	f.begin(&bull.Consumer{Concurrency: 4, Handler: func(ctx context.Context, job *bull.Delivery) (any, error) {
		select { // else ours may have run all before Node has got one
		case <-both:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		ran <- job.ID
		return nil, nil
	}})
	var jobs []bull.Job
	for i := range each {
		jobs = append(jobs, bull.Job{ID: fmt.Sprintf("go-%d", i), Data: []byte("{}"), Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}})
	}
	var waits []func(any)
	for i := range each {
		waits = append(waits, f.node.Begin("add", map[string]any{
			"data": map[string]any{}, "opts": map[string]any{"jobId": fmt.Sprintf("node-%d", i), "removeOnComplete": true},
		}))
	}
	if _, err := f.queue.AddBulk(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	for _, wait := range waits {
		wait(nil)
	}

	runs, byUs := map[string]int{}, 0
	var first sync.Once
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for range 2 * each {
		select {
		case <-ctx.Done():
			t.Fatalf("%d of %d jobs ran", len(runs), 2*each)
		case id := <-ran:
			runs[id]++
			byUs++
		case e := <-f.node.Events:
			if e.Event == "run" {
				runs[e.ID]++
				first.Do(func() { close(both) })
			}
		}
	}
	if len(runs) != 2*each {
		t.Errorf("%d different jobs ran, want %d once each", len(runs), 2*each)
	}
	if byUs == 0 || byUs == 2*each {
		t.Errorf("our workers ran %d of %d: one side got none", byUs, 2*each)
	}
	f.eventually("nothing is left", func() bool {
		all := f.dump()
		maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
		return cmp.Equal(map[string]any{"id": fmt.Sprint(2 * each)}, all)
	})
}
