package queuetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

var tokens = regexp.MustCompile(`@.+$`)

func testEvents(t *testing.T, f *fixture) {
	ctx := t.Context()
	heard := f.redis.PSubscribe(ctx, f.base+"*")
	defer func() { _ = heard.Close() }()
	if _, err := heard.Receive(ctx); err != nil {
		t.Fatal(err)
	}

	f.add(t, bull.Job{ID: "a"}, bull.Job{ID: "a"},
		bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Second, Attempts: 2, Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: time.Second}}})
	if _, err := f.queue.Complete(ctx, f.take(t, "a"), map[string]bool{"ok": true}, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.clock.advance(1001 * time.Millisecond)
		if _, _, err := f.queue.PromoteDue(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := f.queue.Fail(ctx, f.take(t, "late"), errors.New(`"no"`)); err != nil {
			t.Fatal(err)
		}
	}
	f.add(t, bull.Job{ID: "void"})
	f.take(t, "void")
	f.redis.Del(ctx, f.base+"void:lock")
	f.sweep(t, f.queue)
	f.sweep(t, f.queue)
	if _, err := f.queue.Complete(ctx, f.take(t, "void"), nil, false); err != nil {
		t.Fatal(err)
	}

	want := []string{
		"waiting@ a", "duplicated@ a", "delayed 1767323046000",
		"active@ a", `completed {"jobId":"a","val":"{\"ok\":true}"}`, "drained ",
		"waiting@ late", "active@ late", "delayed 1767323047001",
		"waiting@ late", "active@ late", `failed {"jobId":"late","val":"\"no\""}`,
		"waiting@ void", "active@ void", "stalled@ void", "active@ void", `completed {"jobId":"void"}`,
	}
	var got []string
	for range want {
		message, err := heard.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		channel := strings.TrimPrefix(message.Channel, f.base)
		if strings.HasSuffix(channel, "@") != (channel == "stalled@") {
			t.Errorf("channel %q: only stalled has an empty token", channel)
		}
		got = append(got, tokens.ReplaceAllString(channel, "@")+" "+message.Payload)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// consume runs a consumer until the case ends. cancel tells it to stop, stop also waits for it.
func (f *fixture) consume(t *testing.T, c bull.Consumer) (cancel, stop func()) {
	t.Helper()
	if c.Queue == nil {
		c.Queue = f.queue
	}
	c.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		cancel()
		if stopped.CompareAndSwap(false, true) {
			if err := <-done; err != nil {
				t.Errorf("Consumer.Run = %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return cancel, stop
}

// quick are settings under which a case need not wait.
func quick(c *bull.Config) {
	c.Now = nil // due times and locks on the real clock
	c.GuardInterval, c.DrainDelay = 20*time.Millisecond, 20*time.Millisecond
	c.StalledInterval = 50 * time.Millisecond
}

func testConsumerRunsEachOnce(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	const n = 300
	var jobs []bull.Job
	for i := range n {
		jobs = append(jobs, bull.Job{ID: fmt.Sprintf("j-%d", i), Data: []byte("{}"), Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}})
	}
	if _, err := queue.AddBulk(t.Context(), jobs[:n/2]); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 2*n)
	handler := func(_ context.Context, d *bull.Delivery) (any, error) { ran <- d.ID; return "ok", nil }
	_, stopA := f.consume(t, bull.Consumer{Queue: queue, Handler: handler, Concurrency: 3})
	_, stopB := f.consume(t, bull.Consumer{Queue: queue, Handler: handler})
	if _, err := queue.AddBulk(t.Context(), jobs[n/2:]); err != nil {
		t.Fatal(err)
	}
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
	delete(got, "stalled-check")
	delete(got, "stalled") // may hold what was active at the last check
	if diff := cmp.Diff(dump{"id": fmt.Sprint(n)}, got); diff != "" {
		t.Errorf("all keys (-want +got):\n%s", diff)
	}
}

func testConsumerRetries(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	runs := make(chan int, 10)
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(_ context.Context, d *bull.Delivery) (any, error) {
		runs <- d.AttemptsMade
		if d.AttemptsMade < 2 {
			return nil, errors.New("not yet")
		}
		return 42, nil
	}})
	_, err := queue.Add(t.Context(), bull.Job{ID: "a", Data: []byte("{}"), Opts: bull.Opts{
		Attempts: 3, Delay: 10 * time.Millisecond, Backoff: bull.Backoff{Type: bull.BackoffExponential, Delay: 10 * time.Millisecond},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for want := range 3 {
		if got := <-runs; got != want {
			t.Errorf("run %d had %d attempts made", want, got)
		}
	}
	f.eventually(t, "the job is completed", func() bool { return f.dump(t)["completed"] != nil })
	stop()
	got, _ := f.dump(t)["a"].(hash)
	want := hash{"attemptsMade": "2", "failedReason": "not yet", "stacktrace": `["not yet","not yet"]`, "returnvalue": "42", "delay": "0"}
	for field := range got {
		if _, ok := want[field]; !ok {
			delete(got, field)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the job's hash (-want +got):\n%s", diff)
	}
}

func testConsumerOutcomes(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	tests := map[string]struct {
		name   string
		opts   bull.Opts
		run    bull.Handler
		reason string
	}{
		"error": {run: func(context.Context, *bull.Delivery) (any, error) { return nil, errors.New("boom") }, reason: "boom"},
		"unrecoverable": {
			opts: bull.Opts{Attempts: 5},
			run: func(context.Context, *bull.Delivery) (any, error) {
				return nil, bull.Unrecoverable(errors.New("never"))
			},
			reason: "never",
		},
		"panic":      {run: func(context.Context, *bull.Delivery) (any, error) { panic("secret") }, reason: "the handler panicked"},
		"bad-result": {run: func(context.Context, *bull.Delivery) (any, error) { return func() {}, nil }, reason: "the result of the job is not JSON: json: unsupported type: func()"},
		"other-name": {name: "other", reason: "Missing process handler for job type other"},
		"too-slow": {
			opts:   bull.Opts{Timeout: time.Millisecond},
			run:    func(ctx context.Context, _ *bull.Delivery) (any, error) { <-ctx.Done(); return "late", nil },
			reason: "Promise timed out after 1 milliseconds",
		},
	}
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Concurrency: 2, Handler: func(ctx context.Context, d *bull.Delivery) (any, error) {
		return tests[d.ID].run(ctx, d)
	}})
	for id, test := range tests {
		if _, err := queue.Add(t.Context(), bull.Job{ID: id, Name: test.name, Data: []byte("{}"), Opts: test.opts}); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually(t, "all have failed", func() bool {
		failed, _ := f.dump(t)["failed"].(zset)
		return len(failed) == len(tests)
	})
	stop()
	got := f.dump(t)
	for id, test := range tests {
		if reason := got[id].(hash)["failedReason"]; reason != test.reason {
			t.Errorf("%s: failedReason %q, want %q", id, reason, test.reason)
		}
	}
}

// testConsumerStops: what runs is finished and recorded, nothing new is taken.
func testConsumerStops(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	if _, err := queue.AddBulk(t.Context(), []bull.Job{{ID: "a", Data: []byte("{}")}, {ID: "b", Data: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	started, finish := make(chan string, 2), make(chan struct{})
	cancel, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(ctx context.Context, d *bull.Delivery) (any, error) {
		started <- d.ID
		<-finish
		return nil, context.Cause(ctx)
	}})
	if id := <-started; id != "a" {
		t.Fatalf("ran %s first", id)
	}
	cancel()
	close(finish)
	stop()
	got := f.dump(t)
	if diff := cmp.Diff(list{"b"}, got["wait"]); diff != "" {
		t.Errorf("wait (-want +got):\n%s", diff)
	}
	if completed, _ := got["completed"].(zset); len(completed) != 1 || got["active"] != nil {
		t.Errorf("completed %v, active %v, want a completed and none active", completed, got["active"])
	}
}

// testConsumerGrace: a handler that does not end in time is told, and its job is the next to run, uncounted.
func testConsumerGrace(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	if _, err := queue.AddBulk(t.Context(), []bull.Job{{ID: "a", Data: []byte("{}")}, {ID: "b", Data: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	started, causes := make(chan struct{}), make(chan error, 1)
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Grace: time.Millisecond, Handler: func(ctx context.Context, _ *bull.Delivery) (any, error) {
		close(started)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, ctx.Err()
	}})
	<-started
	stop()
	if cause := <-causes; !errors.Is(cause, bull.ErrStopping) {
		t.Errorf("the handler's context ended by %v, want ErrStopping", cause)
	}
	got := f.dump(t)
	if diff := cmp.Diff(list{"b", "a"}, got["wait"]); diff != "" {
		t.Errorf("wait (-want +got):\n%s", diff)
	}
	if fields := got["a"].(hash); fields["attemptsMade"] != "" || got["a:lock"] != nil || got["active"] != nil {
		t.Errorf("a was counted or is still held: %v", got)
	}
}

// testConsumerLosesLock: the handler is told, and nothing is written.
func testConsumerLosesLock(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) {
		quick(c)
		c.LockRenewTime, c.StalledInterval = 10*time.Millisecond, -1
	})
	if _, err := queue.Add(t.Context(), bull.Job{ID: "a", Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	started, causes := make(chan struct{}), make(chan error, 1)
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(ctx context.Context, _ *bull.Delivery) (any, error) {
		close(started)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, errors.New("told to stop")
	}})
	<-started
	before := f.dump(t)
	f.redis.Set(t.Context(), f.base+"a:lock", "other", 0)
	if cause := <-causes; !errors.Is(cause, bull.ErrLockLost) {
		t.Errorf("the handler's context ended by %v, want ErrLockLost", cause)
	}
	stop()
	if diff := cmp.Diff(before, f.dump(t)); diff != "" {
		t.Errorf("all keys (-before +after):\n%s", diff)
	}
}

// testConsumerTakesOver: a job of a worker that died runs again, once.
func testConsumerTakesOver(t *testing.T, f *fixture) {
	quickLock := func(c *bull.Config) { quick(c); c.LockDuration = 30 * time.Millisecond }
	dead, queue := f.open(t, quickLock), f.open(t, quick)
	if _, err := dead.Add(t.Context(), bull.Job{ID: "a", Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if taken, err := dead.Take(t.Context(), ""); err != nil || taken.Delivery == nil {
		t.Fatal(taken, err)
	}
	ran := make(chan int, 5)
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(_ context.Context, d *bull.Delivery) (any, error) {
		ran <- d.StalledCount
		return nil, nil
	}})
	if got := <-ran; got != 1 {
		t.Errorf("StalledCount = %d, want 1", got)
	}
	f.eventually(t, "the job is completed", func() bool { return f.dump(t)["completed"] != nil })
	stop()
	if len(ran) > 0 {
		t.Error("the job ran twice")
	}
}

func testConsumerRespectsPause(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	f.seed(t, dump{"meta-paused": "1", "paused": list{"p"}, "p": job(nil)})
	if _, err := queue.Add(t.Context(), bull.Job{ID: "late", Data: []byte("{}"), Opts: bull.Opts{Delay: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan string, 5)
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(_ context.Context, d *bull.Delivery) (any, error) {
		ran <- d.ID
		return nil, nil
	}})
	f.eventually(t, "the delayed job waits, paused", func() bool {
		return slices.Equal(list{"late", "p"}, toList(f.dump(t)["paused"]))
	})
	if len(ran) > 0 {
		t.Errorf("%s ran while the queue was paused", <-ran)
	}
	// As Bull resumes.
	f.redis.Rename(t.Context(), f.base+"paused", f.base+"wait")
	f.redis.Del(t.Context(), f.base+"meta-paused")
	if diff := cmp.Diff(list{"p", "late"}, list{<-ran, <-ran}); diff != "" {
		t.Errorf("order after resuming (-want +got):\n%s", diff)
	}
	stop()
}

func toList(v any) list {
	l, _ := v.(list)
	return l
}
