package interop

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// TestAddOfKnownID: an id that the queue knows, in whatever state, is left alone, whoever brought it there and adds it.
func TestAddOfKnownID(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(byNode *fixture, r release) {
		byUs := byNode.openBeside(asItIs)
		states := map[string]bull.State{
			"x-active": bull.StateActive, "x-completed": bull.StateCompleted, "x-failed": bull.StateFailed,
			"x-delayed": bull.StateDelayed, "x-wait": bull.StateWaiting,
		}
		byNode.seedByNode()
		byUs.seedByUs()
		for _, paused := range []bool{false, true} {
			if paused { // what waits is in another list now
				byNode.ask("pause", nil, nil)
				if err := byUs.queue.Pause(byNode.Context()); err != nil {
					byNode.Fatal(err)
				}
			}
			for id, state := range states {
				byNode.reaches(state, id)
				byUs.reaches(state, id)
				want := []string{"duplicated@token " + id}
				byNode.changesNothing("our add of "+id, want, func() {
					added, err := byNode.queue.Add(byNode.Context(), bull.Job{
						ID: id, Name: "new", Data: []byte(`{"new":true}`), Opts: bull.Opts{Priority: 1, LIFO: true},
					})
					if err != nil || added != (bull.Added{ID: id, Created: false}) {
						byNode.Errorf("Add(%s) = %+v, %v, want that it was known", id, added, err)
					}
				})
				if r.old {
					want = []string{} // 4.10.4 tells nobody
				}
				byUs.changesNothing("Node's add of "+id, want, func() {
					if got := byUs.nodeAdds(id, object{"priority": 1}); got != id {
						byNode.Errorf("Node's add of %s returned %s", id, got)
					}
				})
			}
		}
	})
}

// seedByNode brings x-<state> into its state, with Bull.
func (f *fixture) seedByNode() {
	f.Helper()
	for _, id := range []string{"x-active", "x-completed", "x-failed"} {
		f.nodeAdds(id, nil)
		var taken struct{ ID string }
		if f.ask("takeNext", nil, &taken); taken.ID != id {
			f.Fatalf("Node took %q, want %s", taken.ID, id)
		}
	}
	f.ask("finish", object{"id": "x-completed"}, nil)
	f.ask("finish", object{"id": "x-failed", "error": "boom"}, nil)
	f.nodeAdds("x-delayed", object{"delay": 3600000})
	f.nodeAdds("x-wait", nil)
}

// seedByUs brings x-<state> into its state, with Cartero.
func (f *fixture) seedByUs() {
	f.Helper()
	for _, id := range []string{"x-active", "x-completed", "x-failed"} {
		f.add(bull.Job{ID: id})
		taken, err := f.queue.Take(f.Context(), "")
		if err == nil && id == "x-completed" {
			_, err = f.queue.Complete(f.Context(), taken.Delivery, nil, false)
		}
		if err == nil && id == "x-failed" {
			_, err = f.queue.Fail(f.Context(), taken.Delivery, errors.New("boom"))
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	f.add(bull.Job{ID: "x-delayed", Opts: bull.Opts{Delay: time.Hour}})
	f.add(bull.Job{ID: "x-wait"})
}

// changesNothing compares all keys, but for the counter, which counts one more, and what is published.
func (f *fixture) changesNothing(what string, events []string, do func()) {
	f.Helper()
	want, end := f.raw(), f.overhear()
	counter, _ := want["id"].(string)
	n, err := strconv.Atoi(counter)
	if err != nil {
		f.Fatal(err)
	}
	want["id"] = strconv.Itoa(n + 1)
	do()
	if diff := cmp.Diff(want, f.raw()); diff != "" {
		f.Errorf("%s: all keys (-before +after):\n%s", what, diff)
	}
	if diff := cmp.Diff(events, end()); diff != "" {
		f.Errorf("%s: what was published (-want +got):\n%s", what, diff)
	}
}

// TestAddAgainAfterCompletion: how long an id is known is as long as the job is kept.
func TestAddAgainAfterCompletion(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("process", nil, nil)
		gone := bull.Job{ID: "gone", Data: []byte("{}"), Opts: bull.Opts{RemoveOnComplete: bull.KeepNone()}}
		kept := bull.Job{ID: "kept", Data: []byte("{}"), Opts: bull.Opts{RemoveOnComplete: bull.KeepFor(time.Hour, 0)}}
		f.add(gone)
		f.add(kept)
		f.reaches(bull.StateAbsent, "gone")
		f.reaches(bull.StateCompleted, "kept")
		added, err := f.queue.AddBulk(f.Context(), []bull.Job{kept, gone, {ID: "last", Data: []byte("{}")}})
		if err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff([]bull.Added{{ID: "kept"}, {ID: "gone", Created: true}, {ID: "last", Created: true}}, added); diff != "" {
			f.Errorf("the second add (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"gone", "kept", "gone", "last"}, f.runs(4)); diff != "" {
			f.Errorf("Node ran (-want +got):\n%s", diff)
		}
	})
}
