package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
)

func testAdd(t *testing.T, f *fixture) {
	f.add(t,
		bull.Job{},
		bull.Job{ID: "late", Opts: bull.Opts{Delay: 1500 * time.Millisecond}},
		bull.Job{ID: "first", Name: "other", Opts: bull.Opts{LIFO: true}},
		bull.Job{ID: "careful", Opts: bull.Opts{
			Attempts: 3, Backoff: bull.Backoff{Type: bull.BackoffExponential, Delay: time.Second}, Timeout: time.Minute,
			RemoveOnComplete: bull.KeepNone(), RemoveOnFail: bull.KeepNewest(5), StackTraceLimit: 2,
		}},
		bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 7, RemoveOnComplete: bull.KeepFor(time.Hour, 10), RemoveOnFail: bull.KeepFor(time.Hour, 0)}},
	)
	f.want(t, dump{
		"id":       "5",
		"wait":     list{"careful", "1", "first", "urgent"},
		"delayed":  zset{"late": float64((start+1500)*4096 + 2)},
		"priority": zset{"urgent": 7},
		"1":        job(nil),
		"late":     job(hash{"delay": "1500", "opts": `{"jobId":"late","attempts":1,"delay":1500,"timestamp":1767323045000}`}),
		"first":    job(hash{"name": "other", "opts": `{"jobId":"first","lifo":true,"attempts":1,"delay":0,"timestamp":1767323045000}`}),
		"careful": job(hash{"opts": `{"jobId":"careful","timeout":60000,"backoff":{"type":"exponential","delay":1000},` +
			`"removeOnComplete":true,"removeOnFail":5,"stackTraceLimit":2,"attempts":3,"delay":0,"timestamp":1767323045000}`}),
		"urgent": job(hash{"priority": "7", "opts": `{"jobId":"urgent","priority":7,"removeOnComplete":{"age":3600,"count":10},` +
			`"removeOnFail":{"age":3600},"attempts":1,"delay":0,"timestamp":1767323045000}`}),
	})
}

func testAddKnownID(t *testing.T, f *fixture) {
	state := dump{
		"id": "9", "wait": list{"w"}, "active": list{"a"}, "delayed": zset{"d": 4096}, "completed": zset{"c": 1},
		"failed": zset{"f": 1},
		"w":      job(nil), "a": job(nil), "d": job(nil), "c": job(nil), "f": job(nil), "stuck": job(nil),
	}
	f.seed(t, state)
	for i, id := range []string{"w", "a", "d", "c", "f", "stuck"} {
		added, err := f.queue.Add(t.Context(), bull.Job{ID: id, Data: []byte(`{"jobUuid":"new"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bull.Added{ID: id, Created: false}, added); diff != "" {
			t.Errorf("Add(%s) (-want +got):\n%s", id, diff)
		}
		state["id"] = fmt.Sprint(10 + i)
		f.want(t, state)
	}
}

func testAddByPriority(t *testing.T, f *fixture) {
	for i, priority := range []int{0, 5, 1, 5, 10, 0, 1} {
		f.add(t, bull.Job{ID: string(rune('a' + i)), Opts: bull.Opts{Priority: priority}})
	}
	got := f.dump(t)
	if diff := cmp.Diff(list{"f", "a", "e", "d", "b", "g", "c"}, got["wait"]); diff != "" {
		t.Errorf("wait (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(zset{"b": 5, "c": 1, "d": 5, "e": 10, "g": 1}, got["priority"]); diff != "" {
		t.Errorf("priority (-want +got):\n%s", diff)
	}
	var order []string
	for range 7 {
		taken, err := f.queue.Take(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, taken.Delivery.ID)
	}
	if diff := cmp.Diff(list{"c", "g", "b", "d", "e", "a", "f"}, order); diff != "" {
		t.Errorf("order of running (-want +got):\n%s", diff)
	}
}

func testAddWhilePaused(t *testing.T, f *fixture) {
	f.seed(t, dump{"meta-paused": "1", "paused": list{"old"}, "old": job(nil)})
	f.add(t, bull.Job{ID: "plain"}, bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 1}})
	paused, err := f.queue.IsPaused(t.Context())
	if err != nil || !paused {
		t.Errorf("IsPaused = %v, %v, want true", paused, err)
	}
	f.want(t, dump{
		"id": "2", "meta-paused": "1", "paused": list{"plain", "old", "urgent"}, "priority": zset{"urgent": 1},
		"old":    job(nil),
		"plain":  job(hash{"opts": `{"jobId":"plain","attempts":1,"delay":0,"timestamp":1767323045000}`}),
		"urgent": job(hash{"priority": "1", "opts": `{"jobId":"urgent","priority":1,"attempts":1,"delay":0,"timestamp":1767323045000}`}),
	})
}

func testAddBulk(t *testing.T, f *fixture) {
	var jobs []bull.Job
	var wantWait list
	for i := range 1200 {
		id := fmt.Sprintf("j-%d", i)
		if i%100 == 99 {
			id = fmt.Sprintf("j-%d", i-1) // known by then
		} else {
			wantWait = append(list{id}, wantWait...)
		}
		jobs = append(jobs, bull.Job{ID: id, Data: []byte("{}")})
	}
	added, err := f.queue.AddBulk(t.Context(), jobs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range added {
		if want := (bull.Added{ID: jobs[i].ID, Created: i%100 != 99}); a != want {
			t.Errorf("job %d: %+v, want %+v", i, a, want)
		}
	}
	got := f.dump(t)
	if diff := cmp.Diff(wantWait, got["wait"]); diff != "" {
		t.Errorf("wait (-want +got):\n%s", diff)
	}
	if got["id"] != "1200" {
		t.Errorf("counter %v, want 1200", got["id"])
	}
}

func testAddInvalid(t *testing.T, f *fixture) {
	data := []byte("{}")
	tests := map[string]bull.Job{
		"a reserved id":          {ID: "wait", Data: data},
		"the counter's id":       {ID: "id", Data: data},
		"the failed set's id":    {ID: "failed", Data: data},
		"the pause flag's id":    {ID: "meta-paused", Data: data},
		"a number as id":         {ID: "42", Data: data},
		"a lock's id":            {ID: "a:lock", Data: data},
		"a log's id":             {ID: "a:logs", Data: data},
		"a repeat id":            {ID: "repeat:x:1", Data: data},
		"an id with a space":     {ID: "a b", Data: data},
		"an id with an @":        {ID: "a@b", Data: data},
		"no data":                {ID: "a"},
		"null":                   {ID: "a", Data: []byte("null")},
		"an array":               {ID: "a", Data: []byte("[]")},
		"broken data":            {ID: "a", Data: []byte(`{"a":`)},
		"negative attempts":      {Data: data, Opts: bull.Opts{Attempts: -1}},
		"negative delay":         {Data: data, Opts: bull.Opts{Delay: -1}},
		"negative priority":      {Data: data, Opts: bull.Opts{Priority: -1}},
		"negative timeout":       {Data: data, Opts: bull.Opts{Timeout: -1}},
		"timeout below 1ms":      {Data: data, Opts: bull.Opts{Timeout: time.Microsecond}},
		"unknown backoff":        {Data: data, Opts: bull.Opts{Backoff: bull.Backoff{Type: "jitter", Delay: time.Second}}},
		"backoff without type":   {Data: data, Opts: bull.Opts{Backoff: bull.Backoff{Delay: time.Second}}},
		"debounce without an id": {Data: data, Opts: bull.Opts{Debounce: bull.Debounce{TTL: time.Second}}},
		"debounce below 1ms":     {Data: data, Opts: bull.Opts{Debounce: bull.Debounce{ID: "a", TTL: 1}}},
		"broken debounce id":     {Data: data, Opts: bull.Opts{Debounce: bull.Debounce{ID: "\xff"}}},
		"long debounce id":       {Data: data, Opts: bull.Opts{Debounce: bull.Debounce{ID: strings.Repeat("a", 257)}}},
		"no age to keep":         {Data: data, Opts: bull.Opts{RemoveOnComplete: bull.KeepFor(0, 5)}},
		"negative count to keep": {Data: data, Opts: bull.Opts{RemoveOnFail: bull.KeepNewest(-1)}},
	}
	for name, job := range tests {
		// A good job before the bad one: nothing of the batch may be written.
		_, err := f.queue.AddBulk(t.Context(), []bull.Job{{ID: "good", Data: data}, job})
		if _, ok := errors.AsType[*bull.InvalidJobError](err); !ok {
			t.Errorf("%s: error %v, want an *InvalidJobError", name, err)
		}
	}
	f.want(t, dump{})
}

func testRing(t *testing.T, f *fixture) {
	ctx := t.Context()
	rings := []outbox.Ring{{BullID: "j1", JobID: "uuid-1"}, {BullID: "j2-r3", JobID: "uuid-2"}}
	for range 2 { // the second changes nothing but the counter
		if err := f.queue.Ring(ctx, rings); err != nil {
			t.Fatal(err)
		}
	}
	const opts = `"removeOnComplete":{"age":86400,"count":1000},"removeOnFail":{"age":86400,"count":1000},"attempts":1,"delay":0,"timestamp":1767323045000}`
	f.want(t, dump{
		"id": "4", "wait": list{"j2-r3", "j1"},
		"j1":    job(hash{"data": `{"jobUuid":"uuid-1"}`, "opts": `{"jobId":"j1",` + opts}),
		"j2-r3": job(hash{"data": `{"jobUuid":"uuid-2"}`, "opts": `{"jobId":"j2-r3",` + opts}),
	})
	if err := f.queue.Ring(ctx, nil); err != nil {
		t.Errorf("Ring of nothing: %v", err)
	}

	f.take(t, "j1")
	waiting, err := f.queue.Waiting(ctx, []string{"j1", "j2-r3", "unknown"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"j1": true, "j2-r3": true}, waiting); diff != "" {
		t.Errorf("Waiting (-want +got):\n%s", diff)
	}
}

func testState(t *testing.T, f *fixture) {
	state := dump{
		"wait": list{"w", "orphan", "ghost"}, "paused": list{"p"}, "active": list{"a"}, "delayed": zset{"d": 4096},
		"completed": zset{"c": 1}, "failed": zset{"f": 1},
		"w": job(nil), "p": job(nil), "a": job(nil), "d": job(nil), "c": job(nil), "f": job(nil), "zombie": job(nil),
		"ghost": hash{"processedOn": "1"},
	}
	f.seed(t, state)
	ids := []string{"w", "p", "a", "d", "c", "f", "zombie", "ghost", "orphan", "unknown", "wait", "w"}
	got, err := f.queue.State(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bull.State{
		"w": bull.StateWaiting, "p": bull.StateWaiting, "a": bull.StateActive, "d": bull.StateDelayed,
		"c": bull.StateCompleted, "f": bull.StateFailed, "zombie": bull.StateStuck, "ghost": bull.StateStuck,
		"orphan": bull.StateAbsent, "unknown": bull.StateAbsent, "wait": bull.StateAbsent,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("State (-want +got):\n%s", diff)
	}
	waiting, err := f.queue.Waiting(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"w": true, "p": true, "a": true, "d": true}, waiting); diff != "" {
		t.Errorf("Waiting (-want +got):\n%s", diff)
	}
	f.want(t, state)

	var many []string
	for i := range 2500 {
		many = append(many, fmt.Sprint("none-", i))
	}
	if got, err := f.queue.State(t.Context(), append(many, "a")); err != nil || len(got) != 2501 || got["a"] != bull.StateActive {
		t.Errorf("State of 2,501 ids: %d, a is %q, %v", len(got), got["a"], err)
	}
}

func testCounts(t *testing.T, f *fixture) {
	f.seed(t, dump{
		"wait": list{"a", "b"}, "paused": list{"c"}, "active": list{"d"}, "delayed": zset{"e": 1, "f": 2},
		"completed": zset{"g": 1}, "failed": zset{"h": 1, "i": 2, "j": 3},
	})
	got, err := f.queue.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bull.Counts{Waiting: 3, Active: 1, Delayed: 2, Completed: 1, Failed: 3}, got); diff != "" {
		t.Errorf("Counts (-want +got):\n%s", diff)
	}
	if paused, err := f.queue.IsPaused(t.Context()); paused || err != nil {
		t.Errorf("IsPaused = %v, %v, want false", paused, err)
	}
	if err := f.queue.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if _, err := f.queue.EvictionPolicy(t.Context()); err != nil {
		t.Errorf("EvictionPolicy: %v", err)
	}
}

func testDialect(t *testing.T, f *fixture) {
	tests := map[string]struct {
		state                  dump
		dialectErr, consumeErr bool
	}{
		"empty":        {dump{}, false, false},
		"used by Bull": {dump{"id": "1", "meta": hash{"paused": "1"}, "meta-paused": "1"}, false, false},
		"version":      {dump{"meta": hash{"version": "bullmq:5.81.5"}}, true, true},
		"maxLenEvents": {dump{"meta": hash{"opts.maxLenEvents": "10000"}}, true, true},
		"marker":       {dump{"marker": zset{"0": 0}}, true, true},
		"events":       {dump{"events": list{"e"}}, true, true},
		"counter":      {dump{"pc": "3"}, true, true},
		"concurrency":  {dump{"meta": hash{"concurrency": "5"}}, true, true},
		"job names": {
			dump{"pc": job(nil), "events": job(nil), "marker": job(nil), "prioritized": job(nil)}, false, false,
		},
		"prioritized": {dump{"prioritized": zset{"a": 1}}, true, true},
		"repeatable":  {dump{"repeat": zset{"__default__::::* * * * *": 1}}, false, true},
	}
	for name, test := range tests {
		f.seed(t, test.state)
		consumer := &bull.Consumer{Queue: f.queue, Handler: func(context.Context, *bull.Delivery) (any, error) { return nil, nil }}
		var foreign *bull.DialectError
		if err := f.queue.CheckDialect(t.Context()); errors.As(err, &foreign) != test.dialectErr {
			t.Errorf("%s: CheckDialect = %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if !test.consumeErr {
			cancel() // it would run
		}
		if err := consumer.Run(ctx); errors.As(err, &foreign) != test.consumeErr {
			t.Errorf("%s: Consumer.Run = %v", name, err)
		}
		cancel()
		for key := range test.state {
			f.redis.Del(t.Context(), f.base+key)
		}
	}
}
