package interop

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// The traps that a worker can fall into.

// TestTrapCompletedEvent: job.finished() in Node parses the value of the event completed only if it is JSON text inside
// JSON. The jobs are removed as they end, so nothing but the event can tell; Bull's watchdog finds nothing.
func TestTrapCompletedEvent(t *testing.T) {
	t.Parallel()
	values := []any{
		object{"sent": 3.0, "to": []any{"a", nil, true}, "text": "ä <b> \u2028 \""}, "text", "", "3", 42.0, 0.0, false, []any{}, object{},
	}
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		settled := func(id string) (result object) {
			got := f.node.Next("settled")
			if got.ID != id {
				t.Fatalf("job %s settled, want %s", got.ID, id)
			}
			if err := json.Unmarshal(got.Value, &result); err != nil {
				t.Fatal(err)
			}
			return result
		}
		add := func() *bull.Delivery {
			id := f.nodeAdds("", object{"removeOnComplete": true, "removeOnFail": true})
			f.ask("settled", object{"id": id}, nil)
			taken, err := f.queue.Take(t.Context(), "")
			if err != nil || taken.Delivery == nil || taken.Delivery.ID != id {
				t.Fatalf("took %+v, %v, want %s", taken.Delivery, err, id)
			}
			return taken.Delivery
		}
		for _, value := range values {
			d := add()
			if _, err := f.queue.Complete(t.Context(), d, value, false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(object{"value": value, "undefined": false}, settled(d.ID)); diff != "" {
				t.Errorf("finished() of %v (-want +got):\n%s", value, diff)
			}
		}
		d := add()
		if _, err := f.queue.Complete(t.Context(), d, nil, false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(object{"undefined": true}, settled(d.ID)); diff != "" {
			t.Errorf("finished() of no result (-want +got):\n%s", diff)
		}
		d = add()
		if _, err := f.queue.Fail(t.Context(), d, errors.New(`boom "quoted" ü`)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(object{"failed": `boom "quoted" ü`}, settled(d.ID)); diff != "" {
			t.Errorf("finished() of a failed job (-want +got):\n%s", diff)
		}

		// The trap: an event whose value is encoded once.
		d = add()
		f.redis.Del(t.Context(), f.key(d.ID))
		f.redis.Publish(t.Context(), f.key("completed"), `{"jobId":"`+d.ID+`","val":{"sent":3}}`)
		if diff := cmp.Diff(object{"undefined": true}, settled(d.ID)); diff != "" {
			t.Errorf("finished() of an event that is encoded once (-want +got):\n%s", diff)
		}
	})
}

// TestTrapLostLock: a Bull worker that lost its job to another one still writes its failure into it. Ours writes nothing.
func TestTrapLostLock(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		f.nodeAdds("theirs", object{"attempts": 3})
		f.ask("takeNext", nil, nil)
		f.redis.Set(t.Context(), f.key("theirs:lock"), "of another worker", 0)
		var end struct{ Error string }
		f.ask("finishLocked", object{"id": "theirs", "error": "boom"}, &end)
		hash := f.redis.HGetAll(t.Context(), f.key("theirs")).Val()
		if end.Error == "" || hash["attemptsMade"] != "1" || hash["failedReason"] != "boom" {
			t.Errorf("Bull's failing says %q and leaves %v", end.Error, hash)
		}

		ours := openDesk(t, setup{})
		for _, lost := range []string{"deleted", "replaced"} {
			ours.add(bull.Job{ID: lost, Opts: bull.Opts{Attempts: 3}})
			taken, err := ours.queue.Take(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			d := taken.Delivery
			if lost == "deleted" {
				ours.redis.Del(t.Context(), ours.key(d.ID+":lock"))
			} else {
				ours.redis.Set(t.Context(), ours.key(d.ID+":lock"), "of another worker", 0)
			}
			want, heard := ours.raw(), ours.overhear()
			_, completeErr := ours.queue.Complete(t.Context(), d, "done", true)
			_, failErr := ours.queue.Fail(t.Context(), d, errors.New("boom"))
			_, finalErr := ours.queue.Fail(t.Context(), d, bull.Unrecoverable(errors.New("boom")))
			backErr := ours.queue.GiveBack(t.Context(), d)
			for step, err := range map[string]error{"Complete": completeErr, "Fail": failErr, "last Fail": finalErr, "GiveBack": backErr} {
				if !errors.Is(err, bull.ErrLockLost) {
					t.Errorf("%s with a %s lock: %v, want ErrLockLost", step, lost, err)
				}
			}
			if held, err := ours.queue.Extend(t.Context(), d); held || err != nil {
				t.Errorf("Extend with a %s lock: %v, %v", lost, held, err)
			}
			if diff := cmp.Diff(want, ours.raw()); diff != "" {
				t.Errorf("%s: all keys (-before +after):\n%s", lost, diff)
			}
			if diff := cmp.Diff([]string{}, heard()); diff != "" {
				t.Errorf("%s: was published (-want +got):\n%s", lost, diff)
			}
		}
	})
}

// TestTrapOrphans: an id without a hash, as evictions and FLUSHes of one of several databases leave them. Bull's worker
// runs it with empty data, or makes a hash that blocks the id; ours drops it, and the id can be used again.
func TestTrapOrphans(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		f := newDesk(t, r, setup{})
		f.redis.ZAdd(t.Context(), f.key("delayed"), redis.Z{Member: "late", Score: 4096})
		f.redis.LPush(t.Context(), f.key("active"), "dead")
		f.ask("moveStalled", nil, nil) // suspects
		f.ask("moveStalled", nil, nil) // finds
		f.ask("process", nil, nil)
		f.redis.LPush(t.Context(), f.key("wait"), "waits")
		ran := f.runs(3)
		slices.Sort(ran)
		if diff := cmp.Diff([]string{"dead", "late", "waits"}, ran); diff != "" {
			t.Errorf("Node ran (-want +got):\n%s", diff)
		}
		for _, id := range ran {
			f.eventually(id+" is a ghost", func() bool { return f.redis.ZScore(t.Context(), f.key("completed"), id).Err() == nil })
			if hash := f.redis.HGetAll(t.Context(), f.key(id)).Val(); hash["data"] != "" || hash["finishedOn"] == "" {
				t.Errorf("the hash of %s is %v", id, hash)
			}
			if got := f.nodeAdds(id, nil); got != id || f.redis.HExists(t.Context(), f.key(id), "data").Val() {
				t.Errorf("the ghost %s does not block its id", id)
			}
		}

		ours := openDesk(t, setup{})
		ours.redis.ZAdd(t.Context(), ours.key("delayed"), redis.Z{Member: "late", Score: 4096})
		ours.redis.LPush(t.Context(), ours.key("wait"), "waits")
		ours.redis.LPush(t.Context(), ours.key("active"), "dead")
		for range 2 {
			ours.redis.Del(t.Context(), ours.key("stalled-check"))
			if _, err := ours.queue.CheckStalled(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := ours.queue.PromoteDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if taken, err := ours.queue.Take(t.Context(), ""); err != nil || taken.Delivery != nil {
			t.Errorf("took %+v, %v", taken.Delivery, err)
		}
		left := ours.raw()
		maps.DeleteFunc(left, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
		if diff := cmp.Diff(map[string]any{}, left); diff != "" {
			t.Errorf("what we leave (-want +got):\n%s", diff)
		}
		for _, id := range ran {
			ours.wantAdded(bull.Job{ID: id, Data: []byte("{}")}, bull.Added{ID: id, Created: true})
		}
	})
}
