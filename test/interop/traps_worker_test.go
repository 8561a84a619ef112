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
	onEach(t, setup{}, func(f *fixture, _ release) {
		settled := func(id string) (result object) {
			got := f.node.Next("settled")
			if got.ID != id {
				f.Fatalf("job %s settled, want %s", got.ID, id)
			}
			if err := json.Unmarshal(got.Value, &result); err != nil {
				f.Fatal(err)
			}
			return result
		}
		add := func() *bull.Delivery {
			id := f.nodeAdds("", object{"removeOnComplete": true, "removeOnFail": true})
			f.ask("settled", object{"id": id}, nil)
			taken, err := f.queue.Take(f.Context(), "")
			if err != nil || taken.Delivery == nil || taken.Delivery.ID != id {
				f.Fatalf("took %+v, %v, want %s", taken.Delivery, err, id)
			}
			return taken.Delivery
		}
		for _, value := range values {
			d := add()
			if _, err := f.queue.Complete(f.Context(), d, value, false); err != nil {
				f.Fatal(err)
			}
			if diff := cmp.Diff(object{"value": value, "undefined": false}, settled(d.ID)); diff != "" {
				f.Errorf("finished() of %v (-want +got):\n%s", value, diff)
			}
		}
		d := add()
		if _, err := f.queue.Complete(f.Context(), d, nil, false); err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff(object{"undefined": true}, settled(d.ID)); diff != "" {
			f.Errorf("finished() of no result (-want +got):\n%s", diff)
		}
		d = add()
		if _, err := f.queue.Fail(f.Context(), d, errors.New(`boom "quoted" ü`)); err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff(object{"failed": `boom "quoted" ü`}, settled(d.ID)); diff != "" {
			f.Errorf("finished() of a failed job (-want +got):\n%s", diff)
		}

		// The trap: an event whose value is encoded once.
		d = add()
		f.redis.Del(f.Context(), f.key(d.ID))
		f.redis.Publish(f.Context(), f.key("completed"), `{"jobId":"`+d.ID+`","val":{"sent":3}}`)
		if diff := cmp.Diff(object{"undefined": true}, settled(d.ID)); diff != "" {
			f.Errorf("finished() of an event that is encoded once (-want +got):\n%s", diff)
		}
	})
}

// TestTrapLostLock: a Bull worker that lost its job to another one still writes its failure into it. Ours writes nothing.
func TestTrapLostLock(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.nodeAdds("theirs", object{"attempts": 3})
		f.ask("takeNext", nil, nil)
		f.redis.Set(f.Context(), f.key("theirs:lock"), "of another worker", 0)
		var end struct{ Error string }
		f.ask("finishLocked", object{"id": "theirs", "error": "boom"}, &end)
		hash := f.redis.HGetAll(f.Context(), f.key("theirs")).Val()
		if end.Error == "" || hash["attemptsMade"] != "1" || hash["failedReason"] != "boom" {
			f.Errorf("Bull's failing says %q and leaves %v", end.Error, hash)
		}

		ours := openDesk(f.T, setup{})
		for _, lost := range []string{"deleted", "replaced"} {
			ours.add(bull.Job{ID: lost, Opts: bull.Opts{Attempts: 3}})
			taken, err := ours.queue.Take(f.Context(), "")
			if err != nil {
				f.Fatal(err)
			}
			d := taken.Delivery
			if lost == "deleted" {
				ours.redis.Del(f.Context(), ours.key(d.ID+":lock"))
			} else {
				ours.redis.Set(f.Context(), ours.key(d.ID+":lock"), "of another worker", 0)
			}
			want, heard := ours.raw(), ours.overhear()
			_, completeErr := ours.queue.Complete(f.Context(), d, "done", true)
			_, failErr := ours.queue.Fail(f.Context(), d, errors.New("boom"))
			_, finalErr := ours.queue.Fail(f.Context(), d, bull.Unrecoverable(errors.New("boom")))
			backErr := ours.queue.GiveBack(f.Context(), d)
			for step, err := range map[string]error{"Complete": completeErr, "Fail": failErr, "last Fail": finalErr, "GiveBack": backErr} {
				if !errors.Is(err, bull.ErrLockLost) {
					f.Errorf("%s with a %s lock: %v, want ErrLockLost", step, lost, err)
				}
			}
			if held, err := ours.queue.Extend(f.Context(), d); held || err != nil {
				f.Errorf("Extend with a %s lock: %v, %v", lost, held, err)
			}
			if diff := cmp.Diff(want, ours.raw()); diff != "" {
				f.Errorf("%s: all keys (-before +after):\n%s", lost, diff)
			}
			if diff := cmp.Diff([]string{}, heard()); diff != "" {
				f.Errorf("%s: was published (-want +got):\n%s", lost, diff)
			}
		}
	})
}

// TestTrapOrphans: an id without a hash, as evictions and FLUSHes of one of several databases leave them. Bull's worker
// runs it with empty data, or makes a hash that blocks the id; ours drops it, and the id can be used again.
func TestTrapOrphans(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.redis.ZAdd(f.Context(), f.key("delayed"), redis.Z{Member: "late", Score: 4096})
		f.redis.LPush(f.Context(), f.key("active"), "dead")
		f.ask("moveStalled", nil, nil) // suspects
		f.ask("moveStalled", nil, nil) // finds
		f.ask("process", nil, nil)
		f.redis.LPush(f.Context(), f.key("wait"), "waits")
		ran := f.runs(3)
		slices.Sort(ran)
		if diff := cmp.Diff([]string{"dead", "late", "waits"}, ran); diff != "" {
			f.Errorf("Node ran (-want +got):\n%s", diff)
		}
		for _, id := range ran {
			f.eventually(id+" is a ghost", func() bool { return f.redis.ZScore(f.Context(), f.key("completed"), id).Err() == nil })
			if hash := f.redis.HGetAll(f.Context(), f.key(id)).Val(); hash["data"] != "" || hash["finishedOn"] == "" {
				f.Errorf("the hash of %s is %v", id, hash)
			}
			if got := f.nodeAdds(id, nil); got != id || f.redis.HExists(f.Context(), f.key(id), "data").Val() {
				f.Errorf("the ghost %s does not block its id", id)
			}
		}

		ours := openDesk(f.T, setup{})
		ours.redis.ZAdd(f.Context(), ours.key("delayed"), redis.Z{Member: "late", Score: 4096})
		ours.redis.LPush(f.Context(), ours.key("wait"), "waits")
		ours.redis.LPush(f.Context(), ours.key("active"), "dead")
		for range 2 {
			ours.redis.Del(f.Context(), ours.key("stalled-check"))
			if _, err := ours.queue.CheckStalled(f.Context()); err != nil {
				f.Fatal(err)
			}
		}
		if _, _, err := ours.queue.PromoteDue(f.Context()); err != nil {
			f.Fatal(err)
		}
		left := func() map[string]any {
			all := ours.raw()
			maps.DeleteFunc(all, func(key string, _ any) bool { return strings.HasPrefix(key, "stalled") })
			return all
		}
		if diff := cmp.Diff(map[string]any{"wait": []string{"waits"}}, left()); diff != "" {
			f.Errorf("what our stalled check and promoting leave (-want +got):\n%s", diff)
		}
		taken, err := ours.queue.Take(f.Context(), "")
		if err != nil || taken.Delivery != nil || !slices.Equal(taken.Dropped, []string{"waits"}) {
			f.Errorf("took %+v, %v", taken, err)
		}
		if diff := cmp.Diff(map[string]any{}, left()); diff != "" {
			f.Errorf("what we leave (-want +got):\n%s", diff)
		}
		for _, id := range ran {
			ours.wantAdded(bull.Job{ID: id, Data: []byte("{}")}, bull.Added{ID: id, Created: true})
		}
	})
}
