package queuetest

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

func testTake(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"wait": list{"b", "a"}, "priority": zset{"a": 3}, "stalled": set{"b": true}, "b": job(nil),
		"a": job(hash{"name": "other", "attemptsMade": "2", "stalledCounter": "1", "stacktrace": `["x","y"]`}),
	})
	f.clock.advance(time.Second)
	d := f.take(t, "a")
	want := &bull.Delivery{ID: "a", Name: "other", Data: []byte(`{"jobUuid":"x"}`), Timestamp: time.UnixMilli(start), AttemptsMade: 2, StalledCount: 1}
	if diff := cmp.Diff(want, d, cmpopts.IgnoreUnexported(bull.Delivery{})); diff != "" {
		t.Errorf("Delivery (-want +got):\n%s", diff)
	}
	f.want(t, dump{
		"wait": list{"b"}, "active": list{"a"}, "a:lock": "token", "b": job(nil), "stalled": set{"b": true},
		"a": job(hash{"name": "other", "attemptsMade": "2", "stalledCounter": "1", "stacktrace": `["x","y"]`, "processedOn": "1767323046000"}),
	})

	// As a blocking pop leaves it.
	f.redis.LMove(t.Context(), f.base+"wait", f.base+"active", "RIGHT", "LEFT")
	if taken, err := f.queue.Take(t.Context(), "b"); err != nil || taken.Delivery == nil || taken.Delivery.ID != "b" {
		t.Fatalf("Take(b) = %+v, %v", taken, err)
	}
	if taken, err := f.queue.Take(t.Context(), ""); err != nil || taken.Delivery != nil {
		t.Fatalf("Take of an empty queue = %+v, %v", taken, err)
	}
	got := f.dump(t)
	if diff := cmp.Diff(list{"b", "a"}, got["active"]); diff != "" || got["stalled"] != nil {
		t.Errorf("stalled: %v, active (-want +got):\n%s", got["stalled"], diff)
	}
}

// testTakePoppedTooLate: a worker that slept between its pop and its lock does not run what was returned meanwhile.
func testTakePoppedTooLate(t *testing.T, f *fixture) {
	f.seed(t, dump{"wait": list{"a"}, "a": job(nil)})
	f.redis.LMove(t.Context(), f.base+"wait", f.base+"active", "RIGHT", "LEFT")
	f.sweep(t, f.queue)
	f.sweep(t, f.queue)
	before := f.dump(t)
	if diff := cmp.Diff(list{"a"}, before["wait"]); diff != "" {
		t.Fatalf("wait (-want +got):\n%s", diff)
	}
	if taken, err := f.queue.Take(t.Context(), "a"); err != nil || taken.Delivery != nil {
		t.Errorf("Take(a) = %+v, %v, want none", taken, err)
	}
	f.want(t, before)

	// Nor what another worker has taken since then.
	f.take(t, "a")
	before = f.dump(t)
	token := f.redis.Get(t.Context(), f.base+"a:lock").Val()
	if taken, err := f.queue.Take(t.Context(), "a"); err != nil || taken.Delivery != nil {
		t.Errorf("Take(a) of a job that runs = %+v, %v, want none", taken, err)
	}
	f.want(t, before)
	if got := f.redis.Get(t.Context(), f.base+"a:lock").Val(); got != token {
		t.Errorf("the lock was overwritten")
	}
}

func testTakeDropsGhosts(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"wait": list{"good", "list", "empty", "ghost", "orphan"}, "priority": zset{"ghost": 1, "orphan": 1},
		"good": job(nil), "empty": job(hash{"data": ""}), "ghost": hash{"processedOn": "1"},
	})
	// An id that names another kind of key is dropped, and the key left alone.
	f.redis.RPush(t.Context(), f.base+"list", "x")

	taken, err := f.queue.Take(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"orphan", "ghost", "empty", "list"}, taken.Dropped); diff != "" {
		t.Errorf("Dropped (-want +got):\n%s", diff)
	}
	if taken.Delivery == nil || taken.Delivery.ID != "good" {
		t.Errorf("took %+v, want job good", taken.Delivery)
	}
	f.want(t, dump{
		"active": list{"good"}, "good:lock": "token", "good": job(hash{"processedOn": "1767323045000"}), "list": list{"x"},
	})
}

func testExtend(t *testing.T, f *fixture) {
	f.seed(t, dump{"wait": list{"a"}, "a": job(nil)})
	d := f.take(t, "a")
	f.redis.PExpire(t.Context(), f.base+"a:lock", 10*time.Second)
	f.redis.SAdd(t.Context(), f.base+"stalled", "a")
	if mine, err := f.queue.Extend(t.Context(), d); !mine || err != nil {
		t.Errorf("Extend = %v, %v, want true", mine, err)
	}
	if left := f.redis.PTTL(t.Context(), f.base+"a:lock").Val(); left <= 20*time.Second || left > 30*time.Second {
		t.Errorf("the lock lives for %s, want 30s", left)
	}
	state := dump{"active": list{"a"}, "a": job(hash{"processedOn": "1767323045000"}), "a:lock": "token"}
	f.want(t, state)

	for _, owner := range []string{"somebody", ""} {
		f.redis.Del(t.Context(), f.base+"a:lock")
		delete(state, "a:lock")
		if owner != "" {
			f.seed(t, dump{"a:lock": owner})
			state["a:lock"] = "token"
		}
		if mine, err := f.queue.Extend(t.Context(), d); mine || err != nil {
			t.Errorf("lock of %q: Extend = %v, %v, want false", owner, mine, err)
		}
		f.want(t, state)
	}
}

func testComplete(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"wait": list{"c", "b", "a"}, "a": job(nil), "b": job(hash{"deid": "x"}), "c": job(hash{"deid": "y"}), "de:x": "b",
	})
	f.redis.Set(t.Context(), f.base+"de:y", "c", time.Hour) // has a time of its own, and stays
	a, b, c := f.take(t, "a"), f.take(t, "b"), f.take(t, "c")
	f.clock.advance(2 * time.Second)
	for d, result := range map[*bull.Delivery]any{a: nil, b: map[string]int{"sent": 3}, c: "ok"} {
		if taken, err := f.queue.Complete(t.Context(), d, result, false); err != nil || taken.Delivery != nil {
			t.Errorf("Complete(%s) = %+v, %v", d.ID, taken, err)
		}
	}
	done := func(changes hash) hash {
		h := job(hash{"processedOn": "1767323045000", "finishedOn": "1767323047000"})
		maps.Copy(h, changes)
		return h
	}
	f.want(t, dump{
		"completed": zset{"a": float64(start + 2000), "b": float64(start + 2000), "c": float64(start + 2000)},
		"a":         done(hash{"returnvalue": "null"}),
		"b":         done(hash{"returnvalue": `{"sent":3}`, "deid": "x"}),
		"c":         done(hash{"returnvalue": `"ok"`, "deid": "y"}),
		"de:y":      "c",
	})
}

func testCompleteTakesNext(t *testing.T, f *fixture) {
	opts := `{"attempts":1,"removeOnComplete":true}`
	f.seed(t, dump{"wait": list{"c", "b", "a"}, "a": job(hash{"opts": opts}), "c": job(hash{"opts": opts})})
	d := f.take(t, "a")
	taken, err := f.queue.Complete(t.Context(), d, nil, true)
	if err != nil || taken.Delivery == nil || taken.Delivery.ID != "c" {
		t.Fatalf("Complete = %+v, %v, want job c as next", taken, err)
	}
	if diff := cmp.Diff([]string{"b"}, taken.Dropped); diff != "" {
		t.Errorf("Dropped (-want +got):\n%s", diff)
	}
	f.want(t, dump{"active": list{"c"}, "c:lock": "token", "c": job(hash{"opts": opts, "processedOn": "1767323045000"})})
	if taken, err := f.queue.Complete(t.Context(), taken.Delivery, nil, true); err != nil || taken.Delivery != nil {
		t.Errorf("Complete of the last = %+v, %v", taken, err)
	}
	f.want(t, dump{})
}

func testFail(t *testing.T, f *fixture) {
	type place struct {
		key   string
		value any
	}
	due := func(ms, low int64) float64 { return float64((start+ms)*4096 + low) }
	tests := []struct {
		name, id, opts string
		fields         hash
		err            error
		final          bool
		made           string
		trace          string
		places         []place
	}{
		{
			name: "no attempt left", id: "a", opts: `{"attempts":1}`, final: true, made: "1", trace: `["boom"]`,
			places: []place{{"failed", zset{"a": float64(start)}}, {"wait", list{"x"}}},
		},
		{
			name: "attempts null", id: "a", opts: `{"attempts":null,"backoff":5}`, final: true, made: "1", trace: `["boom"]`,
			places: []place{{"failed", zset{"a": float64(start)}}, {"wait", list{"x"}}},
		},
		{name: "at once", id: "a", opts: `{"attempts":"2"}`, made: "1", trace: `["boom"]`, places: []place{{"wait", list{"a", "x"}}}},
		{name: "at once, lifo", id: "a", opts: `{"attempts":2,"lifo":true}`, made: "1", trace: `["boom"]`, places: []place{{"wait", list{"x", "a"}}}},
		{
			name: "at once, by priority", id: "a", opts: `{"attempts":2}`, fields: hash{"priority": "5"}, made: "1", trace: `["boom"]`,
			places: []place{{"wait", list{"x", "a"}}, {"priority", zset{"a": 5}}},
		},
		{
			name: "fixed", id: "a", opts: `{"attempts":3,"backoff":{"type":"fixed","delay":200}}`, fields: hash{"attemptsMade": "1", "stacktrace": `["first"]`},
			made: "2", trace: `["first","boom"]`, places: []place{{"delayed", zset{"a": due(200, 0)}}, {"wait", list{"x"}}},
		},
		{
			name: "a number", id: "7", opts: `{"attempts":3,"backoff":300}`, made: "1", trace: `["boom"]`,
			places: []place{{"delayed", zset{"7": due(300, 7)}}, {"wait", list{"x"}}},
		},
		{
			name: "exponential", id: "4099", opts: `{"attempts":5,"backoff":{"type":"exponential","delay":100}}`, fields: hash{"attemptsMade": "2"},
			made: "3", trace: `["boom"]`, places: []place{{"delayed", zset{"4099": due(700, 3)}}, {"wait", list{"x"}}},
		},
		{
			name: "unrecoverable", id: "a", opts: `{"attempts":5}`, err: bull.Unrecoverable(errors.New("boom")), final: true, made: "1", trace: `["boom"]`,
			places: []place{{"failed", zset{"a": float64(start)}}, {"wait", list{"x"}}},
		},
		{
			name: "limited traces", id: "a", opts: `{"attempts":3,"stackTraceLimit":2}`, fields: hash{"stacktrace": `["1","2"]`}, made: "1", trace: `["2","boom"]`,
			places: []place{{"wait", list{"a", "x"}}},
		},
	}
	for _, test := range tests {
		for _, key := range f.scan(t.Context(), t) {
			f.redis.Del(t.Context(), key)
		}
		fields := job(hash{"opts": test.opts})
		maps.Copy(fields, test.fields)
		f.seed(t, dump{"wait": list{"x", test.id}, "x": job(nil), test.id: fields})
		d := f.take(t, test.id)
		err := test.err
		if err == nil {
			err = errors.New("boom")
		}
		final, failErr := f.queue.Fail(t.Context(), d, err)
		if failErr != nil || final != test.final {
			t.Errorf("%s: Fail = %v, %v, want %v", test.name, final, failErr, test.final)
		}
		maps.Copy(fields, hash{"attemptsMade": test.made, "stacktrace": test.trace, "failedReason": "boom", "processedOn": "1767323045000"})
		if final {
			fields["finishedOn"] = "1767323045000"
		}
		want := dump{"x": job(nil), test.id: fields}
		for _, p := range test.places {
			want[p.key] = p.value
		}
		if diff := cmp.Diff(want, f.dump(t)); diff != "" {
			t.Errorf("%s: all keys (-want +got):\n%s", test.name, diff)
		}
	}
}

// testNotOurs: nothing is written to a job whose lock is somebody else's, gone, or whose hash is gone.
func testNotOurs(t *testing.T, f *fixture) {
	breakages := []struct {
		name string
		do   func()
		want error
	}{
		{"somebody else's lock", func() { f.redis.Set(t.Context(), f.base+"a:lock", "other", 0) }, bull.ErrLockLost},
		{"no lock", func() { f.redis.Del(t.Context(), f.base+"a:lock") }, bull.ErrLockLost},
		{"no hash", func() { f.redis.Del(t.Context(), f.base+"a") }, bull.ErrJobMissing},
	}
	writes := map[string]func(*bull.Delivery) error{
		"Complete": func(d *bull.Delivery) error { _, err := f.queue.Complete(t.Context(), d, "x", true); return err },
		"Fail":     func(d *bull.Delivery) error { _, err := f.queue.Fail(t.Context(), d, errors.New("boom")); return err },
		"GiveBack": func(d *bull.Delivery) error { return f.queue.GiveBack(t.Context(), d) },
	}
	for _, b := range breakages {
		for name, write := range writes {
			for _, key := range f.scan(t.Context(), t) {
				f.redis.Del(t.Context(), key)
			}
			f.seed(t, dump{"wait": list{"next", "a"}, "a": job(nil), "next": job(nil)})
			d := f.take(t, "a")
			b.do()
			before := f.dump(t)
			if err := write(d); !errors.Is(err, b.want) {
				t.Errorf("%s, %s: %v, want %v", name, b.name, err, b.want)
			}
			if diff := cmp.Diff(before, f.dump(t)); diff != "" {
				t.Errorf("%s, %s: all keys (-before +after):\n%s", name, b.name, diff)
			}
		}
	}
}

func testGiveBack(t *testing.T, f *fixture) {
	f.seed(t, dump{"wait": list{"x", "b", "a"}, "a": job(nil), "b": job(hash{"priority": "2"}), "x": job(nil)})
	a, b := f.take(t, "a"), f.take(t, "b")
	for _, d := range []*bull.Delivery{b, a} {
		if err := f.queue.GiveBack(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	f.want(t, dump{
		"wait": list{"x", "b", "a"}, "priority": zset{"b": 2}, "x": job(nil),
		"a": job(hash{"processedOn": "1767323045000"}), "b": job(hash{"priority": "2", "processedOn": "1767323045000"}),
	})
}

func testPromoteDue(t *testing.T, f *fixture) {
	at := func(ms int64) float64 { return float64((start + ms) * 4096) }
	delayed := zset{"early": at(-5), "urgent": at(-3), "gone": at(-2), "now": at(0), "later": at(1000) + 7}
	f.seed(t, dump{
		"delayed": delayed, "wait": list{"w"}, "active": list{"early"}, "w": job(nil), "early": job(hash{"delay": "100"}),
		"urgent": job(hash{"priority": "1"}), "now": job(nil), "later": job(hash{"delay": "2000"}),
	})
	moved, next, err := f.queue.PromoteDue(t.Context())
	if err != nil || moved != 4 || next.UnixMilli() != start+1000 {
		t.Errorf("PromoteDue = %d, %s, %v, want 4 and the next in 1s", moved, next, err)
	}
	state := dump{
		"delayed": zset{"later": at(1000) + 7}, "wait": list{"now", "early", "w", "urgent"}, "priority": zset{"urgent": 1},
		"w": job(nil), "early": job(nil), "urgent": job(hash{"priority": "1"}), "now": job(nil), "later": job(hash{"delay": "2000"}),
	}
	f.want(t, state)

	f.seed(t, dump{"meta-paused": "1"})
	f.clock.advance(1001 * time.Millisecond)
	if moved, next, err := f.queue.PromoteDue(t.Context()); err != nil || moved != 1 || !next.IsZero() {
		t.Errorf("PromoteDue = %d, %s, %v, want 1 and none left", moved, next, err)
	}
	delete(state, "delayed")
	maps.Copy(state, dump{"meta-paused": "1", "paused": list{"later"}, "later": job(nil)})
	f.want(t, state)
}

// sweep runs the stalled check without waiting for the interval.
func (f *fixture) sweep(t *testing.T, queue *bull.Queue) bull.Stalled {
	t.Helper()
	f.redis.Del(t.Context(), f.base+"stalled-check")
	found, err := queue.CheckStalled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func testCheckStalled(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"active": list{"dead", "alive", "orphan", "twice"}, "alive:lock": "token", "wait": list{"w"}, "w": job(nil),
		"dead": job(hash{"attemptsMade": "1"}), "alive": job(nil), "twice": job(hash{"stalledCounter": "1", "deid": "x"}), "de:x": "twice",
	})
	if diff := cmp.Diff(bull.Stalled{}, f.sweep(t, f.queue)); diff != "" {
		t.Errorf("the first check (-want +got):\n%s", diff)
	}
	marked := set{"dead": true, "alive": true, "orphan": true, "twice": true}
	if diff := cmp.Diff(marked, f.dump(t)["stalled"]); diff != "" {
		t.Errorf("marked (-want +got):\n%s", diff)
	}

	// Within the interval nobody looks again.
	if found, err := f.queue.CheckStalled(t.Context()); err != nil || len(found.Again) > 0 {
		t.Errorf("a check within the interval: %+v, %v", found, err)
	}

	want := bull.Stalled{Failed: []string{"twice"}, Again: []string{"dead"}, Dropped: []string{"orphan"}}
	if diff := cmp.Diff(want, f.sweep(t, f.queue)); diff != "" {
		t.Errorf("the second check (-want +got):\n%s", diff)
	}
	f.want(t, dump{
		"active": list{"alive"}, "alive:lock": "token", "wait": list{"w", "dead"}, "stalled": set{"alive": true},
		"stalled-check": "1767323045000", "failed": zset{"twice": float64(start)}, "w": job(nil), "alive": job(nil),
		"dead": job(hash{"attemptsMade": "1", "stalledCounter": "1"}),
		"twice": job(hash{
			"stalledCounter": "2", "deid": "x", "failedReason": "job stalled more than allowable limit",
			"finishedOn": "1767323045000",
		}),
	})
	if left := f.redis.PTTL(t.Context(), f.base+"stalled-check").Val(); left <= 0 || left > 30*time.Second {
		t.Errorf("the next check may come in %s, want 30s", left)
	}
}

// testLocksExpire: keys with a time end by themselves, on the server's clock.
func testLocksExpire(t *testing.T, f *fixture) {
	quick := f.open(t, func(c *bull.Config) {
		c.LockDuration, c.StalledInterval = 20*time.Millisecond, 20*time.Millisecond
	})
	f.seed(t, dump{"wait": list{"a"}, "a": job(nil)})
	taken, err := quick.Take(t.Context(), "")
	if err != nil || taken.Delivery == nil {
		t.Fatal(err)
	}
	f.eventually(t, "the job runs again once its lock ran out", func() bool {
		found, err := quick.CheckStalled(t.Context())
		return err == nil && cmp.Equal(found.Again, []string{"a"})
	})
	if _, err := quick.Complete(t.Context(), taken.Delivery, nil, false); !errors.Is(err, bull.ErrLockLost) {
		t.Errorf("Complete after the lock ran out: %v, want ErrLockLost", err)
	}
	f.eventually(t, "the stalled check may run again", func() bool {
		return f.redis.Exists(t.Context(), f.base+"stalled-check").Val() == 0
	})
	f.want(t, dump{"wait": list{"a"}, "a": job(hash{"processedOn": "1767323045000", "stalledCounter": "1"})})
}
