package queuetest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// consumerCases are the cases of the consumer beyond those of the harness.
var consumerCases = []testCase{
	{"Reports", testReports},
	{"ReportsNotOurs", testReportsNotOurs},
	{"Later", testLater},
	{"Limiter", testLimiter},
	{"LimiterByGroup", testLimiterByGroup},
	{"LimiterDropsGhosts", testLimiterDropsGhosts},
	{"Metrics", testMetrics},
	{"MetricsOfFailures", testMetricsOfFailures},
	{"RepeatableIsLeft", testRepeatableIsLeft},
	{"ConsumerHandlers", testConsumerHandlers},
	{"ConsumerSettings", testConsumerSettings},
	{"ConsumerLater", testConsumerLater},
	{"ConsumerLimited", testConsumerLimited},
	{"ConsumerRefusesRepeatable", testConsumerRefusesRepeatable},
	{"ConsumerPoison", testConsumerPoison},
	{"ConsumerKeyOfAnotherType", testConsumerKeyOfAnotherType},
	{"PromoteSkipsOtherTypes", testPromoteSkipsOtherTypes},
	{"FinishedOfAnotherType", testFinishedOfAnotherType},
	{"StalledPoison", testStalledPoison},
	{"FailUnknownBackoff", testFailUnknownBackoff},
}

// hear subscribes to one channel of the queue, and returns what reads its next message.
func (f *fixture) hear(t *testing.T, channel string) func() string {
	t.Helper()
	heard := f.redis.Subscribe(t.Context(), f.base+channel)
	t.Cleanup(func() { _ = heard.Close() })
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		message, err := heard.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return message.Payload
	}
}

func testReports(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.seed(t, dump{"wait": list{"a"}, "a": job(nil)})
	progress := f.hear(t, "progress")
	d := f.take(t, "a")
	for _, err := range []error{
		d.Progress(ctx, map[string]int{"sent": 3}),
		d.Progress(ctx, 42),
		d.Log(ctx, "one", 0), d.Log(ctx, "two", 0), d.Log(ctx, "three", 2),
		d.Update(ctx, []byte(`{"jobUuid":"y"}`)),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := list{`{"jobId":"a","progress":{"sent":3}}`, `{"jobId":"a","progress":42}`}
	if diff := cmp.Diff(want, list{progress(), progress()}); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	state := dump{
		"active": list{"a"}, "a:lock": "token", "a:logs": list{"two", "three"},
		"a": job(hash{"processedOn": "1767323045000", "progress": "42", "data": `{"jobUuid":"y"}`}),
	}
	f.want(t, state)

	for name, err := range map[string]error{
		"progress": d.Progress(ctx, func() {}), "log": d.Log(ctx, "x", -1), "update": d.Update(ctx, []byte("{")),
	} {
		if err == nil {
			t.Errorf("%s: what can't be stored is no error", name)
		}
	}
	f.want(t, state)
}

func testReportsNotOurs(t *testing.T, f *fixture) {
	breakages := map[string]struct {
		do   func()
		want error
	}{
		"somebody else's lock": {func() { f.redis.Set(t.Context(), f.base+"a:lock", "other", 0) }, bull.ErrLockLost},
		"no lock":              {func() { f.redis.Del(t.Context(), f.base+"a:lock") }, bull.ErrLockLost},
		"no hash":              {func() { f.redis.Del(t.Context(), f.base+"a") }, bull.ErrJobMissing},
		"another type":         {func() { f.redis.Set(t.Context(), f.base+"a", "x", 0) }, bull.ErrJobMissing},
	}
	writes := map[string]func(*bull.Delivery) error{
		"Progress": func(d *bull.Delivery) error { return d.Progress(t.Context(), 1) },
		"Log":      func(d *bull.Delivery) error { return d.Log(t.Context(), "x", 0) },
		"Update":   func(d *bull.Delivery) error { return d.Update(t.Context(), []byte("{}")) },
		"Delay":    func(d *bull.Delivery) error { return f.queue.Delay(t.Context(), d, time.UnixMilli(start)) },
		"Complete": func(d *bull.Delivery) error { _, err := f.queue.Complete(t.Context(), d, nil, true); return err },
		"Fail":     func(d *bull.Delivery) error { _, err := f.queue.Fail(t.Context(), d, errors.New("x")); return err },
		"GiveBack": func(d *bull.Delivery) error { return f.queue.GiveBack(t.Context(), d) },
	}
	for what, b := range breakages {
		for name, write := range writes {
			f.clear(t)
			f.seed(t, dump{"wait": list{"next", "a"}, "a": job(nil), "next": job(nil)})
			d := f.take(t, "a")
			b.do()
			before := f.dump(t)
			if err := write(d); !errors.Is(err, b.want) {
				t.Errorf("%s, %s: %v, want %v", name, what, err, b.want)
			}
			if diff := cmp.Diff(before, f.dump(t)); diff != "" {
				t.Errorf("%s, %s: all keys (-before +after):\n%s", name, what, diff)
			}
		}
	}
}

// clear removes all keys.
func (f *fixture) clear(t *testing.T) {
	t.Helper()
	for _, key := range f.scan(t.Context(), t) {
		f.redis.Del(t.Context(), key)
	}
}

// testLater: the job waits in delayed as after a backoff, but nothing is counted.
func testLater(t *testing.T, f *fixture) {
	fields := hash{"attemptsMade": "1", "failedReason": "before", "stacktrace": `["before"]`}
	f.seed(t, dump{"wait": list{"x", "7", "a"}, "a": job(fields), "7": job(nil), "x": job(nil)})
	announced := f.hear(t, "delayed")
	a, seven := f.take(t, "a"), f.take(t, "7")
	for d, at := range map[*bull.Delivery]int64{a: start + 5000, seven: start + 9000} {
		if err := f.queue.Delay(t.Context(), d, time.UnixMilli(at)); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(announced(), "."); got != strconv.FormatInt(at, 10) {
			t.Errorf("announced %s, want %d", got, at)
		}
	}
	fields["processedOn"] = "1767323045000"
	state := dump{
		"delayed": zset{"a": float64((start + 5000) * 4096), "7": float64((start+9000)*4096 + 7)}, "wait": list{"x"},
		"a": job(fields), "7": job(hash{"processedOn": "1767323045000"}), "x": job(nil),
	}
	f.want(t, state)

	f.clock.advance(5 * time.Second)
	if moved, next, err := f.queue.PromoteDue(t.Context()); moved != 1 || next.UnixMilli() != start+9000 || err != nil {
		t.Errorf("PromoteDue = %d, %s, %v", moved, next, err)
	}
	maps.Copy(state, dump{"delayed": zset{"7": float64((start+9000)*4096 + 7)}, "wait": list{"a", "x"}})
	f.want(t, state)
}

func testConsumerLater(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	attempts := make(chan int, 5)
	var again time.Time // of the first run; the second must not be earlier
	_, stop := f.consume(t, bull.Consumer{Queue: queue, Handler: func(context.Context, *bull.Delivery) (any, error) {
		return nil, errors.New("not by this name")
	}, Handlers: map[string]bull.Handler{"later": func(_ context.Context, d *bull.Delivery) (any, error) {
		attempts <- d.AttemptsMade
		if again.IsZero() {
			again = time.Now().Add(20 * time.Millisecond).Truncate(time.Millisecond)
			return nil, bull.Later(again)
		}
		if time.Now().Before(again) {
			return "too early", nil
		}
		return "done", nil
	}}})
	if _, err := queue.Add(t.Context(), bull.Job{ID: "a", Name: "later", Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "the job is completed", func() bool { return f.dump(t)["completed"] != nil })
	stop()
	close(attempts)
	runs := 0
	for made := range attempts {
		runs++
		if made != 0 {
			t.Errorf("run %d had %d attempts made", runs, made)
		}
	}
	got, _ := f.dump(t)["a"].(hash)
	if runs != 2 || got["attemptsMade"]+got["failedReason"]+got["stacktrace"] != "" || got["returnvalue"] != `"done"` {
		t.Errorf("%d runs, the job is %v, want two and nothing counted", runs, got)
	}
}

func testConsumerHandlers(t *testing.T, f *fixture) {
	queue := f.open(t, quick)
	handler := func(result string) bull.Handler {
		return func(context.Context, *bull.Delivery) (any, error) { return result, nil }
	}
	run := func(c bull.Consumer, want map[string]string) {
		f.clear(t)
		c.Queue = queue
		_, stop := f.consume(t, c)
		for name := range want {
			if _, err := queue.Add(t.Context(), bull.Job{ID: "job-" + name, Name: name, Data: []byte("{}"), Opts: bull.Opts{Attempts: 2}}); err != nil {
				t.Fatal(err)
			}
		}
		f.eventually(t, "all are finished", func() bool {
			got := f.dump(t)
			completed, _ := got["completed"].(zset)
			failed, _ := got["failed"].(zset)
			return len(completed)+len(failed) == len(want)
		})
		stop()
		all := f.dump(t)
		got := map[string]string{}
		for name := range want {
			fields, _ := all["job-"+name].(hash)
			got[name] = fields["returnvalue"] + fields["failedReason"] + fields["attemptsMade"]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	}
	named := map[string]bull.Handler{"a": handler("by a"), "*": handler("by any")}
	run(bull.Consumer{Handler: handler("by none"), Handlers: named}, map[string]string{"": `"by none"`, "a": `"by a"`, "b": `"by any"`})
	run(bull.Consumer{Handlers: named}, map[string]string{"": `"by any"`, "a": `"by a"`})
	delete(named, "*")
	run(bull.Consumer{Handlers: named}, map[string]string{
		"": "Missing process handler for job type __default__2", "a": `"by a"`, "b": "Missing process handler for job type b2",
	})
}

func testConsumerSettings(t *testing.T, f *fixture) {
	handler := func(context.Context, *bull.Delivery) (any, error) { return nil, errors.New("never run") }
	for name, c := range map[string]bull.Consumer{
		"no queue":         {Handler: handler},
		"no handler":       {Queue: f.queue},
		"a nil handler":    {Queue: f.queue, Handlers: map[string]bull.Handler{"a": nil}},
		"two for one name": {Queue: f.queue, Handler: handler, Handlers: map[string]bull.Handler{bull.DefaultName: handler}},
		"negative":         {Queue: f.queue, Handler: handler, Concurrency: -1},
		"a negative grace": {Queue: f.queue, Handler: handler, Grace: -1},
	} {
		if err := c.Run(t.Context()); err == nil {
			t.Errorf("%s: Run = nil", name)
		}
	}
	for name, change := range map[string]func(*bull.Config){
		"a limit without a time":  func(c *bull.Config) { c.Limiter.Max = 1 },
		"a time without a limit":  func(c *bull.Config) { c.Limiter.Duration = time.Second },
		"a group without a limit": func(c *bull.Config) { c.Limiter.GroupKey = "g" },
		"a negative limit":        func(c *bull.Config) { c.Limiter = bull.Limiter{Max: -1, Duration: time.Second} },
		"half a millisecond":      func(c *bull.Config) { c.Limiter = bull.Limiter{Max: 1, Duration: 500 * time.Microsecond} },
		"negative metrics":        func(c *bull.Config) { c.MetricsMaxDataPoints = -1 },
	} {
		config := f.config
		change(&config)
		if _, err := bull.New(f.redis, config); err == nil {
			t.Errorf("%s: New = nil", name)
		}
	}
}
