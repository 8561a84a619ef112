package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

var adminCases = []testCase{
	{"PauseAndResume", testPauseAndResume},
	{"PauseMerges", testPauseMerges},
	{"PauseMergesMany", testPauseMergesMany},
	{"Promote", testPromote},
	{"Remove", testRemove},
	{"RemoveAnyState", testRemoveAnyState},
	{"Retry", testRetry},
	{"RetryFailed", testRetryFailed},
	{"RetryFailedMany", testRetryFailedMany},
	{"AdminRefuses", testAdminRefuses},
	{"AdminEvents", testAdminEvents},
	{"Job", testJob},
	{"JobOddFields", testJobOddFields},
	{"Logs", testLogs},
	{"MetricsRead", testMetricsRead},
	{"Workers", testWorkers},
	{"Debounce", testDebounce},
	{"DebounceForAWhile", testDebounceForAWhile},
	{"AddByGroup", testAddByGroup},
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testPauseAndResume(t *testing.T, f *fixture) {
	ctx := t.Context()
	empty := dump{"meta-paused": "1", "meta": hash{"paused": "1"}}
	for range 2 { // an empty queue, and once more
		must(t, f.queue.Pause(ctx))
		f.want(t, empty)
	}
	for range 2 {
		must(t, f.queue.Resume(ctx))
		f.want(t, dump{})
	}

	jobs := dump{"a": job(nil), "b": job(nil), "run": job(nil), "active": list{"run"}, "delayed": zset{"d": 4096}}
	waiting, paused := dump{"wait": list{"b", "a"}}, dump{"paused": list{"b", "a"}, "meta-paused": "1", "meta": hash{"paused": "1"}}
	f.seed(t, with(jobs, waiting))
	for range 2 {
		must(t, f.queue.Pause(ctx))
		f.want(t, with(jobs, paused))
	}
	if taken, err := f.queue.Take(ctx, ""); err != nil || taken.Delivery != nil {
		t.Errorf("Take while paused = %+v, %v", taken, err)
	}
	for range 2 {
		must(t, f.queue.Resume(ctx))
		f.want(t, with(jobs, waiting))
	}
}

// with joins states.
func with(states ...dump) dump {
	all := dump{}
	for _, state := range states {
		maps.Copy(all, state)
	}
	return all
}

// testPauseMerges: neither list is dropped where both have jobs, as a rename would; the order is that of priority, and
// what was paused goes first among equals.
func testPauseMerges(t *testing.T, f *fixture) {
	ctx := t.Context()
	flag := dump{"meta-paused": "1", "meta": hash{"paused": "1"}}
	tests := map[string]struct {
		wait, paused, want list
		priority           zset
	}{
		"plain":       {list{"w2", "w1"}, list{"p2", "p1"}, list{"w2", "w1", "p2", "p1"}, nil},
		"prioritized": {list{"w0", "w9", "w1"}, list{"p0", "p5", "p1"}, list{"w0", "p0", "w9", "p5", "w1", "p1"}, zset{"w9": 9, "w1": 1, "p5": 5, "p1": 1}},
		"one urgent":  {list{"w1"}, list{"p2", "p1"}, list{"p2", "p1", "w1"}, zset{"w1": 3}},
	}
	for name, test := range tests {
		state := dump{"wait": test.wait, "paused": test.paused}
		if test.priority != nil {
			state["priority"] = test.priority
		}
		f.seed(t, with(state, flag))
		if err := f.queue.Resume(ctx); err != nil {
			t.Errorf("%s: Resume = %v", name, err)
		}
		delete(state, "paused")
		state["wait"] = test.want
		f.want(t, state)

		f.redis.Del(ctx, f.base+"wait")
		f.seed(t, dump{"wait": test.wait, "paused": test.paused})
		if err := f.queue.Pause(ctx); err != nil {
			t.Errorf("%s: Pause = %v", name, err)
		}
		delete(state, "wait")
		state["paused"] = test.want
		f.want(t, with(state, flag))
		f.clear(t)
	}
}

func testPauseMergesMany(t *testing.T, f *fixture) {
	var wait, paused list
	for i := range 2500 {
		wait, paused = append(wait, fmt.Sprint("w", i)), append(paused, fmt.Sprint("p", i))
	}
	f.seed(t, dump{"wait": wait, "paused": paused, "meta-paused": "1", "meta": hash{"paused": "1"}})
	must(t, f.queue.Resume(t.Context()))
	f.want(t, dump{"wait": append(wait, paused...)})
}

func testPromote(t *testing.T, f *fixture) {
	ctx := t.Context()
	const late = float64((start + 60_000) * 4096)
	f.seed(t, dump{
		"delayed": zset{"plain": late, "urgent": late, "stays": late}, "wait": list{"w"}, "w": job(nil), "stays": job(hash{"delay": "60000"}),
		"plain": job(hash{"delay": "60000", "opts": `{"lifo":true}`}), "urgent": job(hash{"delay": "60000", "priority": "2"}),
	})
	must(t, f.queue.Promote(ctx, "urgent"))
	must(t, f.queue.Promote(ctx, "plain"))
	want := dump{
		"delayed": zset{"stays": late}, "wait": list{"plain", "w", "urgent"}, "priority": zset{"urgent": 2},
		"w": job(nil), "stays": job(hash{"delay": "60000"}),
		"plain": job(hash{"opts": `{"lifo":true}`}), "urgent": job(hash{"priority": "2"}),
	}
	f.want(t, want)
	must(t, f.queue.Pause(ctx))
	must(t, f.queue.Promote(ctx, "stays"))
	f.want(t, with(dump{
		"meta-paused": "1", "meta": hash{"paused": "1"}, "paused": list{"stays", "plain", "w", "urgent"},
		"priority": zset{"urgent": 2}, "w": want["w"], "plain": want["plain"], "urgent": want["urgent"], "stays": job(nil),
	}))
}

// testRemove: nothing that belongs to the job is left, and nothing of another's is gone.
func testRemove(t *testing.T, f *fixture) {
	ctx := t.Context()
	others := dump{
		"id": "9", "other": job(hash{"deid": "shared"}), "other:logs": list{"row"}, "de:shared": "other", "limiter": "3",
	}
	f.seed(t, with(others, dump{
		"wait": list{"other", "x", "x"}, "paused": list{"x"}, "active": list{"x", "other"}, "delayed": zset{"x": 4096, "other": 8192},
		"completed": zset{"x": 1}, "failed": zset{"x": 1, "other": 2}, "priority": zset{"x": 1, "other": 1}, "stalled": set{"x": true, "other": true},
		"limiter:index":   hash{"x": f.base + "limiter:limited", "other": f.base + "limiter:limited"},
		"limiter:limited": set{"x": true, "other": true},
		"x":               job(hash{"deid": "mine"}), "x:logs": list{"row"}, "de:mine": "x",
	}))
	must(t, f.queue.Remove(ctx, "x"))
	f.want(t, with(others, dump{
		"wait": list{"other"}, "active": list{"other"}, "delayed": zset{"other": 8192}, "failed": zset{"other": 2},
		"priority": zset{"other": 1}, "stalled": set{"other": true},
		"limiter:index": hash{"other": f.base + "limiter:limited"}, "limiter:limited": set{"other": true},
	}))

	// Its debounce id is another job's by now.
	f.clear(t)
	f.seed(t, dump{"x": job(hash{"deid": "shared"}), "other": job(hash{"deid": "shared"}), "de:shared": "other", "wait": list{"x", "other"}})
	must(t, f.queue.Remove(ctx, "x"))
	f.want(t, dump{"other": job(hash{"deid": "shared"}), "de:shared": "other", "wait": list{"other"}})
}

func testRemoveAnyState(t *testing.T, f *fixture) {
	for name, state := range map[string]dump{
		"waiting":                 {"wait": list{"x"}, "x": job(nil)},
		"paused":                  {"paused": list{"x"}, "x": job(nil)},
		"active, its worker died": {"active": list{"x"}, "x": job(nil)},
		"delayed":                 {"delayed": zset{"x": 1}, "x": job(nil)},
		"completed":               {"completed": zset{"x": 1}, "x": job(nil)},
		"failed":                  {"failed": zset{"x": 1}, "x": job(nil)},
		"in no list":              {"x": job(nil)},
		"without a hash":          {"wait": list{"x"}},
		"without data":            {"x": hash{"delay": "0"}},
		"a log alone":             {"x:logs": list{"row"}},
	} {
		f.seed(t, state)
		if err := f.queue.Remove(t.Context(), "x"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(dump{}, f.dump(t)); diff != "" {
			t.Errorf("%s: all keys (-want +got):\n%s", name, diff)
		}
		f.clear(t)
	}
}

// failed is the hash of a job that failed.
func failedJob(changes hash) hash {
	h := job(hash{
		"processedOn": "1767323000000", "finishedOn": "1767323040000", "failedReason": "no", "attemptsMade": "1",
		"stacktrace": `["no"]`,
	})
	maps.Copy(h, changes)
	return h
}

// retriedJob is what a retry makes of it; bulk retries do not note the time.
func retriedJob(changes hash) hash {
	h := failedJob(changes)
	delete(h, "processedOn")
	delete(h, "finishedOn")
	delete(h, "failedReason")
	return h
}

func testRetry(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.seed(t, dump{
		"failed": zset{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, "wait": list{"w"}, "w": job(nil),
		"a": failedJob(nil), "b": failedJob(hash{"opts": `{"lifo":true}`}), "c": failedJob(hash{"opts": `{"lifo":null}`, "priority": "3"}),
		"d": failedJob(hash{"opts": "garbled"}), "e": failedJob(nil), "a:logs": list{"row"},
	})
	for _, id := range []string{"a", "b", "c", "d"} {
		must(t, f.queue.Retry(ctx, id))
	}
	now := fmt.Sprint(start)
	want := dump{
		"failed": zset{"e": 5}, "wait": list{"d", "c", "a", "w", "b"}, "w": job(nil), "a:logs": list{"row"},
		"a": retriedJob(hash{"retriedOn": now}), "b": retriedJob(hash{"retriedOn": now, "opts": `{"lifo":true}`}),
		"c": retriedJob(hash{"retriedOn": now, "opts": `{"lifo":null}`, "priority": "3"}),
		"d": retriedJob(hash{"retriedOn": now, "opts": "garbled"}), "e": failedJob(nil),
	}
	f.want(t, want)

	must(t, f.queue.Pause(ctx))
	must(t, f.queue.Retry(ctx, "e"))
	delete(want, "failed")
	delete(want, "wait")
	f.want(t, with(want, dump{
		"meta-paused": "1", "meta": hash{"paused": "1"}, "paused": list{"e", "d", "c", "a", "w", "b"},
		"e": retriedJob(hash{"retriedOn": now}),
	}))
}

func testRetryFailed(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"failed": zset{"a": 1, "held": 2, "gone": 3, "b": 4}, "wait": list{"w"}, "w": job(nil),
		"a": failedJob(hash{"opts": `{"lifo":true}`}), "b": failedJob(nil), "held": failedJob(nil), "held:lock": "somebody",
	})
	if n, err := f.queue.RetryFailed(t.Context()); n != 2 || err != nil {
		t.Errorf("RetryFailed = %d, %v, want 2", n, err)
	}
	want := dump{
		"failed": zset{"held": 2}, "wait": list{"b", "a", "w"}, "w": job(nil), "held": failedJob(nil), "held:lock": "token",
		"a": retriedJob(hash{"opts": `{"lifo":true}`}), "b": retriedJob(nil),
	}
	f.want(t, want)
	if n, err := f.queue.RetryFailed(t.Context()); n != 0 || err != nil {
		t.Errorf("RetryFailed again = %d, %v, want 0", n, err)
	}
	f.want(t, want)
}

// testRetryFailedMany: more than one call of the script, with jobs that stay on the way. Most of the ids have no job
// behind them, as keys are what the embedded server is slow with.
func testRetryFailedMany(t *testing.T, f *fixture) {
	state, failed, held, want := dump{}, zset{}, zset{}, dump{"meta-paused": "1"}
	var paused list
	for i := range 2300 {
		id := fmt.Sprintf("j%04d", i)
		failed[id] = float64(i)
		switch i % 250 {
		case 0:
			state[id], state[id+":lock"], held[id] = failedJob(nil), "token", float64(i)
			want[id], want[id+":lock"] = failedJob(nil), "token"
		case 249:
			state[id], want[id] = failedJob(nil), retriedJob(nil)
			paused = append(list{id}, paused...)
		}
	}
	f.seed(t, with(state, dump{"failed": failed, "meta-paused": "1"}))
	if n, err := f.queue.RetryFailed(t.Context()); n != len(paused) || err != nil {
		t.Errorf("RetryFailed = %d, %v, want %d", n, err, len(paused))
	}
	want["failed"], want["paused"] = held, paused
	f.want(t, want)
}

// testAdminRefuses: what can't be done changes nothing, and says why.
func testAdminRefuses(t *testing.T, f *fixture) {
	state := dump{
		"wait": list{"w"}, "active": list{"a"}, "delayed": zset{"d": 4096, "orphan": 1}, "completed": zset{"c": 1},
		"failed": zset{"f": 1, "held": 1, "lost": 1},
		"w":      job(nil), "a": job(nil), "a:lock": "token", "a:logs": list{"row"}, "d": job(nil), "c": job(nil),
		"f": failedJob(nil), "held": failedJob(nil), "held:lock": "token",
		"meta": hash{"data": "{}"}, "limiter:index": hash{"data": "{}"}, "metrics:failed": hash{"data": "{}"},
	}
	f.seed(t, state)
	actions := map[string]func(context.Context, string) error{
		"Promote": f.queue.Promote, "Retry": f.queue.Retry, "Remove": f.queue.Remove,
		"Job":  func(ctx context.Context, id string) error { _, err := f.queue.Job(ctx, id); return err },
		"Logs": func(ctx context.Context, id string) error { _, _, err := f.queue.Logs(ctx, id, 0, -1); return err },
	}
	missing := []string{"unknown", "", "wait", "meta", "a:lock", "a:logs", "limiter:index", "metrics:failed", "de:x", "repeat:"}
	tests := map[string]map[error][]string{
		"Promote": {bull.ErrJobMissing: append(missing, "orphan"), bull.ErrNotDelayed: {"w", "a", "c", "f"}},
		"Retry":   {bull.ErrJobMissing: append(missing, "lost"), bull.ErrNotFailed: {"w", "d", "c"}, bull.ErrJobLocked: {"a", "held"}},
		"Remove":  {bull.ErrJobMissing: missing, bull.ErrJobLocked: {"a", "held"}},
		"Job":     {bull.ErrJobMissing: append(missing, "orphan")},
		"Logs":    {bull.ErrJobMissing: append(missing, "orphan")},
	}
	for action, refusals := range tests {
		for want, ids := range refusals {
			for _, id := range ids {
				if err := actions[action](t.Context(), id); !errors.Is(err, want) {
					t.Errorf("%s(%q) = %v, want %v", action, id, err, want)
				}
			}
		}
	}
	f.want(t, state)
}

func testAdminEvents(t *testing.T, f *fixture) {
	ctx := t.Context()
	heard := f.hearAll(t)
	f.seed(t, dump{
		"failed": zset{"a": 1, "b": 2}, "a": failedJob(nil), "b": failedJob(nil), "delayed": zset{"d": 4096}, "d": job(nil),
	})
	must(t, f.queue.Pause(ctx))
	must(t, f.queue.Retry(ctx, "a"))
	if _, err := f.queue.RetryFailed(ctx); err != nil { // as in Bull, without events
		t.Fatal(err)
	}
	must(t, f.queue.Promote(ctx, "d"))
	must(t, f.queue.Remove(ctx, "d"))
	must(t, f.queue.Resume(ctx))
	debounced := bull.Opts{Debounce: bull.Debounce{ID: "x"}}
	f.add(t, bull.Job{ID: "first", Opts: debounced}, bull.Job{ID: "second", Opts: debounced})

	want := []string{"paused paused", "waiting@ a", "waiting@ d", "resumed resumed", "waiting@ first", "debounced@ first"}
	if diff := cmp.Diff(want, heard(len(want))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// hearAll subscribes to all channels of the queue, and returns what reads the next n messages: channel, without its
// token, and payload.
func (f *fixture) hearAll(t *testing.T) func(n int) []string {
	t.Helper()
	heard := f.redis.PSubscribe(t.Context(), f.base+"*")
	t.Cleanup(func() { _ = heard.Close() })
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func(n int) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var got []string
		for range n {
			message, err := heard.ReceiveMessage(ctx)
			if err != nil {
				t.Fatalf("after %q: %v", got, err)
			}
			channel := message.Channel[len(f.base):]
			got = append(got, tokens.ReplaceAllString(channel, "@")+" "+message.Payload)
		}
		return got
	}
}
