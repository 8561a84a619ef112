package queuetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
)

var unringCases = []testCase{
	{"Unring", testUnring},
	{"UnringLeaves", testUnringLeaves},
	{"UnringMany", testUnringMany},
}

// testUnring: of jobs that wait, are paused or delayed nothing is left, and nothing of another's is gone.
func testUnring(t *testing.T, f *fixture) {
	limited := f.base + "limiter:limited"
	others := dump{
		"id": "9", "other": job(hash{"deid": "shared"}), "other:logs": list{"row"}, "de:shared": "other", "limiter": "3",
		"wait": list{"other"}, "delayed": zset{"later": 8192}, "later": job(nil), "priority": zset{"other": 1},
		"limiter:index": hash{"other": limited}, "limiter:limited": set{"other": true},
	}
	f.seed(t, others)
	f.seed(t, dump{
		"wait": list{"w", "urgent"}, "paused": list{"p"}, "delayed": zset{"d": 4096}, "priority": zset{"urgent": 3},
		"w": job(hash{"deid": "mine"}), "w:logs": list{"row"}, "de:mine": "w", "urgent": job(hash{"priority": "3", "deid": "shared"}),
		"p": job(nil), "d": job(hash{"delay": "60000"}), "limiter:index": hash{"d": limited}, "limiter:limited": set{"d": true},
	})
	for range 2 { // what is gone is no error
		must(t, f.queue.Unring(t.Context(), []string{"w", "urgent", "p", "d", "unknown", "w", "", "wait", "id"}))
		f.want(t, others)
	}
	must(t, f.queue.Unring(t.Context(), nil))
}

// testUnringLeaves what a worker runs, what has ended, and what is in no list.
func testUnringLeaves(t *testing.T, f *fixture) {
	state := dump{
		"active": list{"a", "dead"}, "completed": zset{"c": 1}, "failed": zset{"f": 1}, "wait": list{"held", "w"},
		"a": job(nil), "a:lock": "token", "dead": job(nil), "c": job(nil), "f": failedJob(nil), "stuck": job(nil),
		"held": job(nil), "held:lock": "token", "w": job(nil), "stalled": set{"dead": true},
	}
	f.seed(t, state)
	heard := f.listen(t)
	must(t, f.queue.Unring(t.Context(), []string{"a", "dead", "c", "f", "stuck", "held"}))
	f.want(t, state)
	must(t, f.queue.Unring(t.Context(), []string{"w"})) // as in Bull, without events
	delete(state, "w")
	state["wait"] = list{"held"}
	f.want(t, state)
	if events := heard(); len(events) > 0 {
		t.Errorf("events %q, want none", events)
	}
}

// testUnringMany: more than one call of the script, out of a queue that others use too; and back in, under new ids.
func testUnringMany(t *testing.T, f *fixture) {
	const n = 600
	var first, second []outbox.Ring
	var ids []string
	for i := range n {
		id := fmt.Sprintf("j%04d", i)
		ids = append(ids, id)
		first = append(first, outbox.Ring{BullID: id, JobID: id, Priority: i % 2})
		second = append(second, outbox.Ring{BullID: id + "-r1", JobID: id})
	}
	others := []outbox.Ring{{BullID: "x", JobID: "x"}, {BullID: "y", JobID: "y"}}
	must(t, f.queue.Ring(t.Context(), others[:1]))
	must(t, f.queue.Ring(t.Context(), first))
	must(t, f.queue.Ring(t.Context(), others[1:]))
	f.add(t, bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Hour}})

	must(t, f.queue.Unring(t.Context(), append(ids, "late")))
	all := f.dump(t)
	if diff := cmp.Diff(list{"y", "x"}, all["wait"]); diff != "" || len(all) != 4 {
		t.Errorf("%d keys are left, want the counter, the list and two jobs; wait (-want +got):\n%s", len(all), diff)
	}
	must(t, f.queue.Ring(t.Context(), second))
	counts, err := f.queue.Counts(t.Context())
	if diff := cmp.Diff(bull.Counts{Waiting: n + 2}, counts); diff != "" || err != nil {
		t.Errorf("Counts (error %v, -want +got):\n%s", err, diff)
	}
}
