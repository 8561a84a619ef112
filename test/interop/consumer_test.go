package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

func TestNodeSeesWhatOurWorkerDoes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.node.Do("listen", map[string]any{"events": []string{"waiting", "active", "completed", "failed"}}, nil)
	ready := make(chan struct{})
	f.consume(func(_ context.Context, job *bull.Delivery) (any, error) {
		<-ready
		if string(job.Data) == `{"do":"fail"}` {
			return nil, errors.New("boom")
		}
		return map[string]any{"sent": 3, "of": string(job.Data)}, nil
	})

	// The job is removed as it completes: only the event can tell finished() its value.
	var added struct{ ID string }
	f.node.Do("add", map[string]any{"data": map[string]any{"jobUuid": "x"}, "opts": map[string]any{"removeOnComplete": true}}, &added)
	finished := f.node.Begin("finished", map[string]any{"id": added.ID})
	f.node.Do("add", map[string]any{"data": map[string]any{"do": "fail"}, "opts": map[string]any{"jobId": "bad"}}, nil)
	var state struct{ State string }
	f.node.Do("state", map[string]any{"id": added.ID}, &state) // answered after finished() asked, on the same connection
	close(ready)

	var result struct {
		Value any `json:"value"`
	}
	finished(&result)
	if diff := cmp.Diff(map[string]any{"sent": 3.0, "of": `{"jobUuid":"x"}`}, result.Value); diff != "" {
		t.Errorf("job.finished() (-want +got):\n%s", diff)
	}
	if got := f.node.Next("failed"); got.ID != "bad" || string(got.Value) != `"boom"` {
		t.Errorf("global:failed told of %s, %s", got.ID, got.Value)
	}
	var failed struct {
		State        string   `json:"state"`
		FailedReason string   `json:"failedReason"`
		Stacktrace   []string `json:"stacktrace"`
		AttemptsMade int      `json:"attemptsMade"`
	}
	f.node.Do("state", map[string]any{"id": "bad"}, &failed)
	if failed.State != "failed" || failed.FailedReason != "boom" || len(failed.Stacktrace) != 1 || failed.AttemptsMade != 1 {
		t.Errorf("Node reads the failed job as %+v", failed)
	}
	var workers int
	f.node.Do("workers", nil, &workers)
	if workers != 1 {
		t.Errorf("getWorkers() counts %d, want ours", workers)
	}
}

// TestOutcomesEqualBulls lets each side work on the same jobs, and compares what is left.
func TestOutcomesEqualBulls(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data string
		opts bull.Opts
		end  string // the key that the job ends in
	}{
		"completed":         {`{"do":"ok"}`, bull.Opts{}, "completed"},
		"failed":            {`{"do":"fail"}`, bull.Opts{}, "failed"},
		"failed, of two":    {`{"do":"fail"}`, bull.Opts{Attempts: 2, Priority: 2}, "failed"},
		"waits for a retry": {`{"do":"fail"}`, bull.Opts{Attempts: 3, Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: time.Hour}}, "delayed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byNode, byUs := newFixture(t, nil), newFixtureBeside(t)
			byNode.node.Do("process", nil, nil)
			byUs.consume(func(_ context.Context, job *bull.Delivery) (any, error) {
				if string(job.Data) == `{"do":"fail"}` {
					return nil, errors.New("boom")
				}
				return map[string]any{"saw": map[string]any{"do": "ok"}, "attempts": job.AttemptsMade}, nil
			})
			for _, f := range []*fixture{byNode, byUs} {
				f.add(bull.Job{Data: []byte(test.data), Opts: test.opts})
				f.eventually("the job is "+test.end, func() bool {
					return f.redis.Exists(t.Context(), f.key(test.end)).Val() == 1
				})
			}
			left := func(f *fixture) map[string]any {
				all := f.dump()
				maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
				return all
			}
			if diff := cmp.Diff(left(byNode), left(byUs)); diff != "" {
				t.Errorf("all keys (-Node +ours):\n%s", diff)
			}
		})
	}
}

// TestStalledCheckEqualsBulls runs each side's check twice on the same dead jobs.
func TestStalledCheckEqualsBulls(t *testing.T) {
	t.Parallel()
	byNode, byUs := newFixture(t, nil), newFixtureBeside(t)
	for _, f := range []*fixture{byNode, byUs} {
		for _, id := range []string{"dead", "alive", "twice", "twice-gone", "twice-one"} {
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
}

// TestEachTakesOverFromTheOther: a job whose worker died is run by the other side, once.
func TestEachTakesOverFromTheOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *bull.Config) { c.LockDuration = 100 * time.Millisecond })
	f.add(bull.Job{ID: "ours"})
	if taken, err := f.queue.Take(t.Context(), ""); err != nil || taken.Delivery == nil {
		t.Fatal(taken, err)
	}
	f.eventually("our lock ran out", func() bool { return f.redis.Exists(t.Context(), f.key("ours:lock")).Val() == 0 })
	f.node.Do("process", nil, nil)
	f.node.Do("moveStalled", nil, nil)
	f.node.Do("moveStalled", nil, nil)
	if got := f.node.Next("run"); got.ID != "ours" {
		t.Errorf("Node ran %s", got.ID)
	}
	f.eventually("Node completed it", func() bool {
		states, err := f.queue.State(t.Context(), []string{"ours"})
		return err == nil && states["ours"] == bull.StateCompleted
	})
	if got := f.redis.HGet(t.Context(), f.key("ours"), "stalledCounter").Val(); got != "1" {
		t.Errorf("stalledCounter %q, want 1", got)
	}
}

// TestMixedFleet: Node's workers and ours share a queue that both sides fill; every job runs once.
func TestMixedFleet(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	const each = 250
	ran := make(chan string, 4*each)
	f.node.Do("process", map[string]any{"concurrency": 4}, nil)
	f.consume(func(_ context.Context, job *bull.Delivery) (any, error) {
		ran <- job.ID
		return nil, nil
	})
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
