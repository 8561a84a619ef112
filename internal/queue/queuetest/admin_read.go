package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// plainInfo is what a plain job reads as.
func plainInfo(id string, state bull.State) *bull.Info {
	return &bull.Info{
		ID: id, Name: bull.DefaultName, State: state, Data: []byte(`{"jobUuid":"x"}`),
		Opts: []byte(`{"attempts":1,"delay":0,"timestamp":1767323045000}`), Timestamp: time.UnixMilli(start),
		Attempts: 1, ReturnValue: []byte{}, Progress: []byte{},
	}
}

func testJob(t *testing.T, f *fixture) {
	state := dump{
		"wait": list{"w"}, "paused": list{"p"}, "active": list{"a"}, "delayed": zset{"d": float64((start+500)*4096 + 7)},
		"completed": zset{"c": 1}, "failed": zset{"f": 1},
		"w": job(nil), "p": job(hash{"priority": "3"}), "a": job(hash{"processedOn": "1767323046000", "stalledCounter": "2", "progress": `{"sent":1}`}),
		"a:lock": "token", "a:logs": list{"one", "two"}, "d": job(hash{"delay": "500"}), "stuck": job(nil),
		"c": job(hash{"returnvalue": `"ok"`, "finishedOn": "1767323047000", "name": "other", "deid": "once"}),
		"f": failedJob(hash{"opts": `{"attempts":3}`, "retriedOn": "1767323041000", "attemptsMade": "2", "stacktrace": `["one","two"]`}),
		"repeat:5d41402abc4b2a76b9719d911017c592:1767323045000": job(nil),
	}
	f.seed(t, state)
	f.redis.PExpire(t.Context(), f.base+"a:lock", time.Hour)

	w, p, a, d := plainInfo("w", bull.StateWaiting), plainInfo("p", bull.StateWaiting), plainInfo("a", bull.StateActive), plainInfo("d", bull.StateDelayed)
	c, failed := plainInfo("c", bull.StateCompleted), plainInfo("f", bull.StateFailed)
	p.Priority = 3
	a.ProcessedOn, a.StalledCounter, a.Progress, a.Logs, a.Lock = time.UnixMilli(1767323046000), 2, []byte(`{"sent":1}`), 2, time.Hour
	d.Delay, d.Due = 500*time.Millisecond, time.UnixMilli(start+500)
	c.Name, c.ReturnValue, c.FinishedOn, c.DebounceID = "other", []byte(`"ok"`), time.UnixMilli(1767323047000), "once"
	failed.Opts, failed.Attempts, failed.AttemptsMade, failed.FailedReason = []byte(`{"attempts":3}`), 3, 2, "no"
	failed.ProcessedOn, failed.FinishedOn, failed.RetriedOn = time.UnixMilli(1767323000000), time.UnixMilli(1767323040000), time.UnixMilli(1767323041000)
	failed.Stacktrace = []string{"one", "two"}
	instance := plainInfo("repeat:5d41402abc4b2a76b9719d911017c592:1767323045000", bull.StateStuck)
	for _, want := range []*bull.Info{w, p, a, d, c, failed, plainInfo("stuck", bull.StateStuck), instance} {
		got, err := f.queue.Job(t.Context(), want.ID)
		must(t, err)
		if got.Lock > 0 && got.Lock <= want.Lock {
			got.Lock = want.Lock
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Job(%s) (-want +got):\n%s", want.ID, diff)
		}
	}
	f.want(t, state)
}

// testJobOddFields: whatever another program wrote, something is read.
func testJobOddFields(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"bare": hash{"data": "{}"},
		"odd": hash{
			"data": "text", "opts": "null", "timestamp": "soon", "delay": "1e3", "priority": "1.0", "attemptsMade": "NaN",
			"stalledCounter": "1e300", "stacktrace": `{"no":"list"}`, "processedOn": "-5", "finishedOn": "1767323045000.25",
		},
		"quoted": hash{"data": "{}", "opts": `{"attempts":"5"}`},
		"null":   hash{"data": "{}", "opts": `{"attempts":null}`},
	})
	none := []byte{}
	for _, want := range []*bull.Info{
		{ID: "bare", Name: "__default__", State: "stuck", Data: []byte("{}"), Opts: none, Attempts: 1},
		{
			ID: "odd", Name: "__default__", State: "stuck", Data: []byte("text"), Opts: []byte("null"), Attempts: 1,
			Delay: time.Second, Priority: 1, FinishedOn: time.UnixMilli(1767323045000),
		},
		{ID: "quoted", Name: "__default__", State: "stuck", Data: []byte("{}"), Opts: []byte(`{"attempts":"5"}`), Attempts: 5},
		{ID: "null", Name: "__default__", State: "stuck", Data: []byte("{}"), Opts: []byte(`{"attempts":null}`), Attempts: 1},
	} {
		want.ReturnValue, want.Progress = none, none
		got, err := f.queue.Job(t.Context(), want.ID)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Job(%s) (-want +got):\n%s", want.ID, diff)
		}
	}
}

func testLogs(t *testing.T, f *fixture) {
	state := dump{"a": job(nil), "a:logs": list{"one", "two", "three"}, "quiet": job(nil), "removed:logs": list{"row"}}
	f.seed(t, state)
	for _, test := range []struct {
		id       string
		from, to int64
		rows     []string
		count    int64
	}{
		{"a", 0, -1, []string{"one", "two", "three"}, 3},
		{"a", 1, 1, []string{"two"}, 3},
		{"a", -2, -1, []string{"two", "three"}, 3},
		{"a", 5, 9, []string{}, 3},
		{"quiet", 0, -1, []string{}, 0},
		{"removed", 0, -1, []string{"row"}, 1},
	} {
		rows, count, err := f.queue.Logs(t.Context(), test.id, test.from, test.to)
		must(t, err)
		if diff := cmp.Diff(test.rows, rows); diff != "" || count != test.count {
			t.Errorf("Logs(%s, %d, %d): %d rows in all, want %d; (-want +got):\n%s", test.id, test.from, test.to, count, test.count, diff)
		}
	}
	f.want(t, state)
}

func testMetricsRead(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"metrics:completed":      hash{"count": "7", "prevTS": "1767323040000", "prevCount": "5"},
		"metrics:completed:data": list{"0", "3", "2"},
	})
	for state, want := range map[bull.State]bull.Metrics{
		bull.StateCompleted: {Count: 7, Since: time.UnixMilli(1767323040000), CountThen: 5, PerMinute: []int64{0, 3, 2}},
		bull.StateFailed:    {},
	} {
		got, err := f.queue.Metrics(t.Context(), state)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Metrics(%s) (-want +got):\n%s", state, diff)
		}
	}
	if _, err := f.queue.Metrics(t.Context(), bull.StateActive); err == nil {
		t.Error("Metrics(active) is no error")
	}
}

// testWorkers: a running consumer is listed, once.
func testWorkers(t *testing.T, f *fixture) {
	ctx := t.Context()
	before, err := f.queue.Workers(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return // the embedded server does not tell; real ones do, and are in this suite too
	}
	if err != nil || len(before) != 0 {
		t.Fatalf("Workers of a queue without any = %v, %v", before, err)
	}
	_, stop := f.consume(t, bull.Consumer{Handler: func(context.Context, *bull.Delivery) (any, error) { return nil, nil }})
	defer stop()
	f.eventually(t, "the worker is listed", func() bool {
		workers, err := f.queue.Workers(ctx)
		must(t, err)
		return len(workers) == 1 && workers[0].Address != ""
	})
}

func testDebounce(t *testing.T, f *fixture) {
	ctx := t.Context()
	opts := bull.Opts{Debounce: bull.Debounce{ID: "list 7"}}
	add := func(want bull.Added) {
		t.Helper()
		got, err := f.queue.Add(ctx, bull.Job{ID: want.ID, Data: []byte(`{"jobUuid":"x"}`), Opts: opts})
		if want.Created != got.Created || err != nil {
			t.Errorf("Add = %+v, %v, want %+v", got, err, want)
		}
	}
	add(bull.Added{ID: "first", Created: true})
	first := job(hash{
		"deid": "list 7", "opts": `{"jobId":"first","debounce":{"id":"list 7"},"attempts":1,"delay":0,"timestamp":1767323045000}`,
	})
	f.want(t, dump{"id": "1", "wait": list{"first"}, "first": first, "de:list 7": "first"})

	got, err := f.queue.Add(ctx, bull.Job{ID: "second", Data: []byte("{}"), Opts: opts})
	if diff := cmp.Diff(bull.Added{ID: "first"}, got); diff != "" || err != nil {
		t.Errorf("Add of what is debounced: %v, (-want +got):\n%s", err, diff)
	}
	add(bull.Added{ID: "first"}) // a known id comes first
	f.want(t, dump{"id": "3", "wait": list{"first"}, "first": first, "de:list 7": "first"})

	// Its end frees the debounce id, and so does its removal.
	if _, err := f.queue.Complete(ctx, f.take(t, "first"), nil, false); err != nil {
		t.Fatal(err)
	}
	add(bull.Added{ID: "third", Created: true})
	must(t, f.queue.Remove(ctx, "third"))
	add(bull.Added{ID: "fourth", Created: true})
	// A debounce id whose job was wiped out, as Bull's obliterate leaves it, does not swallow jobs for ever.
	f.clear(t)
	f.seed(t, dump{"de:list 7": "wiped"})
	add(bull.Added{ID: "fifth", Created: true})
	if got := f.redis.Get(ctx, f.base+"de:list 7").Val(); got != "fifth" {
		t.Errorf("the debounce id is %s's", got)
	}
}

func testDebounceForAWhile(t *testing.T, f *fixture) {
	ctx := t.Context()
	opts := bull.Opts{Debounce: bull.Debounce{ID: "x", TTL: time.Hour}, RemoveOnComplete: bull.KeepNone()}
	f.add(t, bull.Job{ID: "first", Opts: opts})
	f.want(t, dump{"id": "1", "wait": list{"first"}, "de:x": "first", "first": job(hash{
		"deid": "x", "opts": `{"jobId":"first","removeOnComplete":true,"debounce":{"id":"x","ttl":3600000},"attempts":1,"delay":0,"timestamp":1767323045000}`,
	})})
	if ttl := f.redis.PTTL(ctx, f.base+"de:x").Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("the debounce id holds %s", ttl)
	}
	if _, err := f.queue.Complete(ctx, f.take(t, "first"), nil, false); err != nil {
		t.Fatal(err)
	}
	f.add(t, bull.Job{ID: "second", Opts: opts}) // the time counts, not the job
	f.want(t, dump{"id": "2", "de:x": "first"})
	f.redis.Del(ctx, f.base+"de:x") // as if it had run out
	f.add(t, bull.Job{ID: "third", Opts: opts})
	if got := f.redis.Get(ctx, f.base+"de:x").Val(); got != "third" {
		t.Errorf("the debounce id is %s's", got)
	}
}

// testAddByGroup: the limiter's group is part of the id, as Bull's workers look for it there.
func testAddByGroup(t *testing.T, f *fixture) {
	queue := f.open(t, func(c *bull.Config) {
		c.Limiter = bull.Limiter{Max: 1, Duration: time.Second, GroupKey: "tenant.id"}
	})
	for data, group := range map[string]string{
		`{"tenant":{"id":"a"}}`: "a", `{"tenant":{"id":7}}`: "7", `{"tenant":{"id":true}}`: "true", `{"tenant":{"id":null}}`: "null",
		`{"tenant":[]}`: "undefined", `{"tenant.id":"dots"}`: "dots",
	} {
		added, err := queue.Add(t.Context(), bull.Job{ID: "mail", Data: []byte(data)})
		if want := (bull.Added{ID: "mail:" + group, Created: true}); added != want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", data, added, err, want)
		}
		if got, want := f.redis.HGet(t.Context(), f.base+added.ID, "opts").Val(), `{"jobId":"mail:`+group+`","attempts":1,"delay":0,"timestamp":1767323045000}`; got != want {
			t.Errorf("%s: opts %s, want %s", data, got, want)
		}
	}
	added, err := queue.Add(t.Context(), bull.Job{Data: []byte(`{"tenant":{"id":"a"}}`)})
	if err != nil || len(added.ID) != 36+len(":a") {
		t.Errorf("Add without an id = %+v, %v, want a random one with the group", added, err)
	}
	f.clear(t)
	for _, data := range []string{`{"tenant":{"id":""}}`, `{"tenant":{"id":"a:b"}}`, `{"tenant":{"id":1.5}}`, `{"tenant":{"id":{}}}`, `{"tenant":{"id":"lock"}}`, `{"tenant":{"id":"a\nb"}}`} {
		_, err := queue.Add(t.Context(), bull.Job{ID: "mail", Data: []byte(data)})
		if _, ok := errors.AsType[*bull.InvalidJobError](err); !ok {
			t.Errorf("%s: error %v, want an *InvalidJobError", data, err)
		}
	}
	f.want(t, dump{})
}
