package bullmq

import (
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
)

// TestUnringLeavesWhatRemoveLeaves takes jobs out of a queue, open and paused, one by one by Node's job.remove() and at
// once by us: what is left is the same, the stream of events too.
func TestUnringLeavesWhatRemoveLeaves(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		byNode, byUs := newFixture(t, v, clock), newFixture(t, v, clock)
		ids := []string{"late", "first", "urgent", "second", "most-urgent"}
		for _, f := range []*fixture{byNode, byUs} {
			f.node.Do("open", nil, nil)
		}
		for _, condition := range []string{"open", "paused"} {
			for _, f := range []*fixture{byNode, byUs} {
				f.enter(condition)
				for _, job := range []bullmq.Job{
					{ID: "first"},
					{ID: "stays"},
					{ID: "second"},
					{ID: "urgent", Opts: bullmq.Opts{Priority: 2}},
					{ID: "most-urgent", Opts: bullmq.Opts{Priority: 1}},
					{ID: "late", Opts: bullmq.Opts{Delay: time.Minute}},
					{ID: "later", Opts: bullmq.Opts{Delay: time.Hour}},
				} {
					f.add(job)
				}
				f.redis.RPush(t.Context(), f.key("first:logs"), "row")
				f.redis.HSet(t.Context(), f.key("second"), "deid", "mine")
				f.redis.Set(t.Context(), f.key("de:mine"), "second", 0)
			}
			for _, id := range ids {
				byNode.node.Do("remove", object{"id": id}, nil)
			}
			if err := byUs.queue.Unring(t.Context(), append(ids, "never")); err != nil {
				t.Fatal(err)
			}
			same(t, condition, byNode, byUs)
		}
	})
}

// TestUnringAndRingAgain: QueueEvents tells that the job was removed, and a worker runs its next ring.
func TestUnringAndRingAgain(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		ring := func(id string) {
			if err := f.queue.Ring(t.Context(), []outbox.Ring{{BullID: id, JobID: "x"}}); err != nil {
				t.Fatal(err)
			}
		}
		f.node.Do("open", nil, nil)
		ring("mail")
		f.node.Do("listen", nil, nil)
		if err := f.queue.Unring(t.Context(), []string{"mail"}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`["added",null]`, `["waiting",null]`, `["removed",null]`} {
			if e := f.node.Next("events"); e.ID != "mail" || string(e.Value) != want {
				t.Errorf("event %s of %s, want %s of mail", e.Value, e.ID, want)
			}
		}
		ring("mail-r1")
		f.work(1, nil)
		if ids := f.runs(1); ids[0] != "mail-r1" {
			t.Errorf("ran %v, want the second ring", ids)
		}
	})
}
