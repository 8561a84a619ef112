package queuetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// takes takes n times, and returns what came; "" is none.
func takes(t *testing.T, queue *bull.Queue, n int) []string {
	t.Helper()
	var ids []string
	for range n {
		taken, err := queue.Take(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		id := ""
		if taken.Delivery != nil {
			id = taken.Delivery.ID
		}
		ids = append(ids, id)
	}
	return ids
}

// testLimiter: what may not start waits in delayed, behind what waits there already, and the counter is Bull's.
func testLimiter(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) { c.Limiter = bull.Limiter{Max: 2, Duration: time.Hour} })
	f.seed(t, dump{"wait": list{"e", "d", "c", "b", "a"}, "priority": zset{"c": 1}})
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		f.seed(t, dump{id: job(nil)})
	}
	if diff := cmp.Diff([]string{"a", "b", "", ""}, takes(t, queue, 4)); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	got := f.dump(t)
	delayed, _ := got["delayed"].(zset)
	hour := float64(time.Hour.Milliseconds())
	for id, want := range map[string]float64{"c": hour, "d": hour*1.1/2 + hour} {
		// What is left of the window is the server's clock; the low bits say how many had started.
		if pause := delayed[id]/4096 - float64(start); pause > want+1 || pause < want-60_000 {
			t.Errorf("%s waits %.0f ms, want %.0f", id, pause, want)
		}
	}
	if diff := cmp.Diff(zset{"c": 0, "d": 0}, delayed, cmp.Comparer(func(_, _ float64) bool { return true })); diff != "" {
		t.Errorf("delayed (-want +got):\n%s", diff)
	}
	delete(got, "delayed")
	started := job(hash{"processedOn": "1767323045000"})
	want := dump{
		"wait": list{"e"}, "active": list{"b", "a"}, "a:lock": "token", "b:lock": "token", "a": started, "b": started,
		"c": job(nil), "d": job(nil), "e": job(nil), "limiter": "2", "limiter:limited": set{"c": true, "d": true},
		"limiter:index": hash{"c": f.base + "limiter:limited", "d": f.base + "limiter:limited"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all keys (-want +got):\n%s", diff)
	}

	// The window is over: what waited is let in, and what never waited still queues up behind.
	f.redis.Del(t.Context(), f.base+"limiter", f.base+"delayed")
	f.redis.RPush(t.Context(), f.base+"wait", "c")
	if diff := cmp.Diff([]string{"c", ""}, takes(t, queue, 2)); diff != "" {
		t.Errorf("taken in the next window (-want +got):\n%s", diff)
	}
	got = f.dump(t)
	if left := f.redis.PTTL(t.Context(), f.base+"limiter").Val(); left <= 59*time.Minute || left > time.Hour || got["limiter"] != "1" {
		t.Errorf("the counter is %v and ends in %s, want 1 and an hour", got["limiter"], left)
	}
	if diff := cmp.Diff(set{"d": true, "e": true}, got["limiter:limited"]); diff != "" {
		t.Errorf("limited (-want +got):\n%s", diff)
	}
}

func testLimiterByGroup(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) {
		c.Limiter = bull.Limiter{Max: 1, Duration: time.Hour, GroupKey: "team"}
	})
	f.seed(t, dump{"wait": list{"4:", "3:red", "2:blue", "1:red"}})
	for _, id := range []string{"1:red", "2:blue", "3:red", "4:"} {
		f.seed(t, dump{id: job(nil)})
	}
	if diff := cmp.Diff([]string{"1:red", "2:blue", "", "4:"}, takes(t, queue, 4)); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	got := f.dump(t)
	counted := dump{
		"limiter:red": "1", "limiter:blue": "1", "limiter": "1", "limiter:red:limited": set{"3:red": true},
		"limiter:index": hash{"3:red": f.base + "limiter:red:limited"},
	}
	for key, want := range counted {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// testLimiterDropsGhosts: an id without a job is no start; and only taking starts a job.
func testLimiterDropsGhosts(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) { c.Limiter = bull.Limiter{Max: 1, Duration: time.Hour} })
	f.seed(t, dump{"wait": list{"b", "a", "orphan"}, "a": job(nil), "b": job(nil)})
	taken, err := queue.Take(t.Context(), "")
	if err != nil || taken.Delivery == nil || taken.Delivery.ID != "a" {
		t.Fatalf("taken %+v, %v, want a", taken, err)
	}
	// Completing does not start the next, which would be one too many.
	if taken, err := queue.Complete(t.Context(), taken.Delivery, nil, true); err != nil || taken.Delivery != nil {
		t.Errorf("Complete = %+v, %v, want no next job", taken, err)
	}
	if got := f.dump(t); got["limiter"] != "1" || got["delayed"] != nil {
		t.Errorf("the counter is %v, delayed %v, want one start", got["limiter"], got["delayed"])
	}
}

// testConsumerLimited: all run, none sooner than the limit lets it, and no trace of the limiter is left.
func testConsumerLimited(t *testing.T, f *fixture) {
	const n, window = 12, 50 * time.Millisecond
	queue := f.open(t, func(c *bull.Config) { quick(c); c.Limiter = bull.Limiter{Max: 4, Duration: window} })
	var jobs []bull.Job
	for i := range n {
		jobs = append(jobs, bull.Job{ID: fmt.Sprintf("j-%d", i), Data: []byte("{}"), Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}})
	}
	if _, err := queue.AddBulk(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 2*n)
	handler := func(_ context.Context, d *bull.Delivery) (any, error) { ran <- d.ID; return nil, nil }
	_, stopA := f.consume(t, bull.Consumer{Queue: queue, Handler: handler, Concurrency: 2})
	_, stopB := f.consume(t, bull.Consumer{Queue: queue, Handler: handler, Concurrency: 2})
	runs := map[string]int{}
	for range n {
		runs[<-ran]++
	}
	stopA()
	stopB()
	if len(runs) != n || len(ran) > 0 {
		t.Errorf("%d jobs ran, %d of them twice, want %d once", len(runs), len(ran), n)
	}
	got := f.dump(t)
	for _, key := range []string{"delayed", "active", "wait", "limiter:limited", "limiter:index"} {
		if got[key] != nil {
			t.Errorf("%s is left: %v", key, got[key])
		}
	}
}

// testMetrics: a total, and a number per minute, newest first; a minute's number is written by the next minute's first job.
func testMetrics(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) { c.MetricsMaxDataPoints = 3 })
	finish := func(n int) {
		for range n {
			f.add(t, bull.Job{ID: "a", Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}})
			taken, err := queue.Take(t.Context(), "")
			if err != nil || taken.Delivery == nil {
				t.Fatal(taken, err)
			}
			if _, err := queue.Complete(t.Context(), taken.Delivery, nil, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(what string, fields hash, data any) {
		t.Helper()
		got := f.dump(t)
		if diff := cmp.Diff([]any{fields, data}, []any{got["metrics:completed"], got["metrics:completed:data"]}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	finish(3)
	want("the first minute", hash{"count": "3", "prevTS": "1767323045000", "prevCount": "0"}, nil)
	f.clock.advance(time.Minute)
	finish(2)
	want("the second", hash{"count": "5", "prevTS": "1767323105000", "prevCount": "3"}, list{"3"})
	f.clock.advance(2 * time.Minute)
	finish(1)
	want("two later", hash{"count": "6", "prevTS": "1767323225000", "prevCount": "5"}, list{"0", "2", "3"})
	f.clock.advance(time.Hour)
	finish(1)
	want("an hour later", hash{"count": "7", "prevTS": "1767326825000", "prevCount": "6"}, list{"0", "0", "1"})
}

// testMetricsOfFailures: only what fails for good counts, and not what stalled too often, as in Bull.
func testMetricsOfFailures(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) { c.MetricsMaxDataPoints = 3 })
	f.add(t, bull.Job{ID: "a", Opts: bull.Opts{Attempts: 2}})
	for range 2 {
		taken, err := queue.Take(t.Context(), "")
		if err != nil || taken.Delivery == nil {
			t.Fatal(taken, err)
		}
		if _, err := queue.Fail(t.Context(), taken.Delivery, errors.New("boom")); err != nil {
			t.Fatal(err)
		}
	}
	f.seed(t, dump{"active": list{"s"}, "s": job(hash{"stalledCounter": "9"})})
	f.sweep(t, queue)
	if found := f.sweep(t, queue); len(found.Failed) != 1 {
		t.Fatalf("found %+v", found)
	}
	got := f.dump(t)
	if diff := cmp.Diff(hash{"count": "1", "prevTS": "1767323045000", "prevCount": "0"}, got["metrics:failed"]); diff != "" {
		t.Errorf("metrics:failed (-want +got):\n%s", diff)
	}
	if got["metrics:completed"] != nil {
		t.Errorf("metrics:completed is %v", got["metrics:completed"])
	}
}
