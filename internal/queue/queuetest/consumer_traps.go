package queuetest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

const repeatID = "repeat:6fd5b2a1e3c7d9f80b1a2c3d4e5f6071:1767323045000"

// testRepeatableIsLeft: a repeatable job stays the next to run, as it was, whoever meets it.
func testRepeatableIsLeft(t *testing.T, f *fixture) {
	state := dump{
		"wait": list{"x", repeatID, "a"}, "priority": zset{repeatID: 1}, "x": job(nil), "a": job(nil),
		repeatID: job(hash{"priority": "1"}),
	}
	f.seed(t, state)
	refused := func(taken bull.Taken, err error) {
		t.Helper()
		if err != nil || taken.Delivery != nil || taken.Refused == nil || !strings.Contains(taken.Refused.Error(), repeatID) {
			t.Errorf("taken %+v, %v, want a refusal that names %s", taken, err, repeatID)
		}
	}
	refused(f.queue.Complete(t.Context(), f.take(t, "a"), nil, true))
	delete(state, "a")
	want := dump{
		"wait": list{"x", repeatID}, "priority": zset{repeatID: 1}, "x": job(nil), repeatID: job(hash{"priority": "1"}),
		"completed": zset{"a": float64(start)},
		"a":         job(hash{"processedOn": "1767323045000", "finishedOn": "1767323045000", "returnvalue": "null"}),
	}
	f.want(t, want)
	refused(f.queue.Take(t.Context(), ""))
	f.want(t, want)

	// As a blocking pop leaves it, while somebody pauses the queue.
	f.redis.LMove(t.Context(), f.base+"wait", f.base+"active", "RIGHT", "LEFT")
	f.redis.Rename(t.Context(), f.base+"wait", f.base+"paused")
	f.seed(t, dump{"meta-paused": "1"})
	refused(f.queue.Take(t.Context(), repeatID))
	want["paused"], want["meta-paused"] = want["wait"], "1"
	delete(want, "wait")
	f.want(t, want)
}

// testConsumerRefusesRepeatable: a consumer that met a repeatable job ends with an error, and finishes what runs.
func testConsumerRefusesRepeatable(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	started, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	consumer := &bull.Consumer{
		Queue: queue, Concurrency: 2, Logger: slog.New(slog.DiscardHandler),
		Handler: func(ctx context.Context, _ *bull.Delivery) (any, error) {
			close(started)
			<-finish
			return nil, context.Cause(ctx)
		},
	}
	go func() { done <- consumer.Run(t.Context()) }()
	f.add(t, bull.Job{ID: "a"})
	<-started
	f.seed(t, dump{repeatID: job(nil), "wait": list{repeatID}})
	f.eventually(t, "the repeatable job is left", func() bool {
		select {
		case err := <-done:
			t.Errorf("Run ended before its handler: %v", err)
		default:
		}
		got := f.dump(t)
		return cmp.Equal(list{"a"}, toList(got["active"])) && cmp.Equal(list{repeatID}, toList(got["wait"]))
	})
	close(finish)
	if refused, ok := errors.AsType[*bull.DialectError](<-done); !ok || !strings.Contains(refused.Error(), repeatID) {
		t.Errorf("Run = %v, want a *DialectError that names the job", refused)
	}
	got := f.dump(t)
	if diff := cmp.Diff(list{repeatID}, got["wait"]); diff != "" || got[repeatID+":lock"] != nil || got["active"] != nil {
		t.Errorf("lock %v, active %v, wait (-want +got):\n%s", got[repeatID+":lock"], got["active"], diff)
	}
	if completed, _ := got["completed"].(zset); len(completed) != 1 {
		t.Errorf("completed %v, want the job that ran", completed)
	}
}

// testConsumerPoison: what another producer wrote badly runs once all the same, and ends; Bull's own worker throws at
// most of it, or loses the job.
func testConsumerPoison(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	jobs := map[string]hash{
		"opts-null":        {"opts": "null"},
		"opts-array":       {"opts": "[]"},
		"opts-broken":      {"opts": "{"},
		"opts-absent":      {"opts": ""},
		"keep-null":        {"opts": `{"attempts":1,"removeOnComplete":null,"removeOnFail":null}`},
		"keep-text":        {"opts": `{"removeOnComplete":"yes"}`},
		"keep-nulls":       {"opts": `{"removeOnComplete":{"age":null,"count":null}}`},
		"timeout-text":     {"opts": `{"timeout":"60000"}`},
		"timeout-minus":    {"opts": `{"timeout":-1}`},
		"timeout-huge":     {"opts": `{"timeout":1e300}`},
		"data-broken":      {"data": "{not json"},
		"data-null":        {"data": "null"},
		"attempts-null":    {"opts": `{"attempts":null}`},
		"stack-broken":     {"stacktrace": "{", "attemptsMade": "1"},
		"numbers-broken":   {"timestamp": "x", "delay": "x", "priority": "x", "attemptsMade": "x", "stalledCounter": "x"},
		"nothing-but-data": {"name": "", "opts": "", "timestamp": "", "delay": "", "priority": ""},
	}
	state := dump{}
	var ids list
	for id, fields := range jobs {
		state[id] = job(fields)
		ids = append(ids, id)
	}
	state["wait"] = ids
	f.seed(t, state)
	ran := make(chan string, 2*len(jobs))
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Concurrency: 3, Handler: func(_ context.Context, d *bull.Delivery) (any, error) {
		ran <- d.ID + " " + string(d.Data)
		return "ok", nil
	}})
	f.eventually(t, "all are completed", func() bool {
		completed, _ := f.dump(t)["completed"].(zset)
		return len(completed) == len(jobs)
	})
	stop()
	if len(ran) != len(jobs) {
		t.Errorf("%d runs, want %d", len(ran), len(jobs))
	}
	close(ran)
	for run := range ran {
		id, data, _ := strings.Cut(run, " ")
		if want := job(jobs[id])["data"]; data != want {
			t.Errorf("%s got %s, want what is stored: %s", id, data, want)
		}
	}
	for _, key := range []string{"wait", "active", "failed"} {
		if got := f.dump(t)[key]; got != nil {
			t.Errorf("%s is left: %v", key, got)
		}
	}
}

// testConsumerKeyOfAnotherType: a job whose key becomes something else while it runs does not hold the others up.
func testConsumerKeyOfAnotherType(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) { quick(c); c.StalledInterval = -1 })
	f.seed(t, dump{"wait": list{"b", "a"}, "a": job(nil), "b": job(nil)})
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(ctx context.Context, d *bull.Delivery) (any, error) {
		if d.ID == "a" {
			f.redis.Set(ctx, f.base+"a", "something else", 0)
		}
		return nil, nil
	}})
	f.eventually(t, "the other job is completed", func() bool { return f.dump(t)["completed"] != nil })
	stop()
	got := f.dump(t)
	delete(got, "b")
	delete(got, "completed")
	want := dump{"a": "something else", "a:lock": "token", "active": list{"a"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all keys (-want +got):\n%s", diff)
	}
	// The lock is not ours to end any more; once it ran out, the stalled check drops the id and leaves the key alone.
	f.redis.Del(t.Context(), f.base+"a:lock")
	f.sweep(t, f.queue)
	if diff := cmp.Diff(bull.Stalled{Dropped: list{"a"}}, f.sweep(t, f.queue)); diff != "" {
		t.Errorf("stalled (-want +got):\n%s", diff)
	}
}

// testPromoteSkipsOtherTypes: a delayed id without a job behind it does not keep the others waiting, nor come to life.
func testPromoteSkipsOtherTypes(t *testing.T, f *fixture) {
	due := float64((start - 1) * 4096)
	f.seed(t, dump{"delayed": zset{"a-text": due, "b-gone": due, "c-good": due}, "a-text": "x", "c-good": job(nil)})
	if moved, _, err := f.queue.PromoteDue(t.Context()); err != nil || moved != 3 {
		t.Errorf("PromoteDue = %d, %v", moved, err)
	}
	f.want(t, dump{"wait": list{"c-good"}, "a-text": "x", "c-good": job(nil)})
}

// testFailUnknownBackoff: a job whose backoff only somebody's Node worker knows fails for good. Bull throws at it, and
// leaves it locked in active.
func testFailUnknownBackoff(t *testing.T, f *fixture) {
	for _, backoff := range []string{`{"type":"mine","delay":5}`, `{"delay":5}`, `"soon"`, `true`, `-1`, `{"type":"fixed","delay":-1}`} {
		f.clear(t)
		f.seed(t, dump{"wait": list{"a"}, "a": job(hash{"opts": `{"attempts":3,"backoff":` + backoff + `}`})})
		final, err := f.queue.Fail(t.Context(), f.take(t, "a"), errors.New("boom"))
		if !final || err != nil {
			t.Errorf("%s: Fail = %v, %v, want final", backoff, final, err)
		}
		f.want(t, dump{"failed": zset{"a": float64(start)}, "a": job(hash{
			"opts": `{"attempts":3,"backoff":` + backoff + `}`, "attemptsMade": "1", "failedReason": "boom",
			"stacktrace": `["boom"]`, "processedOn": "1767323045000", "finishedOn": "1767323045000",
		})})
	}
	for _, backoff := range []string{`null`, `false`, `0`, `""`, `{"type":"fixed"}`} {
		f.clear(t)
		f.seed(t, dump{"wait": list{"a"}, "a": job(hash{"opts": `{"attempts":3,"backoff":` + backoff + `}`})})
		if final, err := f.queue.Fail(t.Context(), f.take(t, "a"), errors.New("boom")); final || err != nil || f.dump(t)["wait"] == nil {
			t.Errorf("%s: Fail = %v, %v, want it back at once", backoff, final, err)
		}
	}
}

// testFinishedOfAnotherType: a job that can't be filed stays active, with its lock, instead of being in no list at all.
func testFinishedOfAnotherType(t *testing.T, f *fixture) {
	f.seed(t, dump{"wait": list{"a"}, "a": job(nil), "completed": hash{"data": "{}"}, "failed": hash{"data": "{}"}})
	d := f.take(t, "a")
	before := f.dump(t)
	if _, err := f.queue.Complete(t.Context(), d, nil, true); err == nil {
		t.Error("Complete = nil")
	}
	if _, err := f.queue.Fail(t.Context(), d, errors.New("boom")); err == nil {
		t.Error("Fail = nil")
	}
	f.want(t, before)
}

// testStalledPoison: options that can't be read do not break the stalled check off, as removeOnFail null does in Bull's.
func testStalledPoison(t *testing.T, f *fixture) {
	opts := map[string]string{
		"null": "null", "number": "5", "broken": "{", "array": "[]", "absent": "",
		"keep-null": `{"removeOnFail":null}`, "keep-nulls": `{"removeOnFail":{"age":null,"count":null}}`, "keep-text": `{"removeOnFail":"x"}`,
	}
	state, want := dump{"stalled-check": "1767323045000"}, zset{}
	var active list
	for id, text := range opts {
		state[id] = job(hash{"opts": text, "stalledCounter": "1"})
		active = append(active, id)
		want[id] = float64(start)
	}
	state["active"] = active
	f.seed(t, state)
	f.sweep(t, f.queue)
	if found := f.sweep(t, f.queue); len(found.Failed) != len(opts) {
		t.Errorf("found %+v, want all failed", found)
	}
	got := f.dump(t)
	if diff := cmp.Diff(want, got["failed"]); diff != "" || got["active"] != nil {
		t.Errorf("active %v, failed (-want +got):\n%s", got["active"], diff)
	}
	for id := range opts {
		if fields, _ := got[id].(hash); fields["failedReason"] != "job stalled more than allowable limit" {
			t.Errorf("%s: %v", id, got[id])
		}
	}
}
