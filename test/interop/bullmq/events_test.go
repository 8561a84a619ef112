package bullmq

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
)

// TestQueueEvents: the real QueueEvents tells of our adds as of Node's.
func TestQueueEvents(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, func() time.Time { return addedAt })
		f.node.Do("listen", nil, nil)
		f.add(bullmq.Job{ID: "plain"})
		f.add(bullmq.Job{ID: "plain"})
		f.add(bullmq.Job{ID: "named", Name: "welcome", Opts: bullmq.Opts{Priority: 1}})
		f.add(bullmq.Job{ID: "later", Opts: bullmq.Opts{Delay: time.Minute}})
		type event struct {
			ID, Name string
			What     []any
		}
		want := []event{
			{"plain", "__default__", []any{"added", nil}},
			{"plain", "", []any{"waiting", nil}},
			{"plain", "", []any{"duplicated", nil}},
			{"named", "welcome", []any{"added", nil}},
			{"named", "", []any{"waiting", nil}},
			{"later", "__default__", []any{"added", nil}},
			{"later", "", []any{"delayed", float64(addedAt.Add(time.Minute).UnixMilli())}},
		}
		var got []event
		for range want {
			e := f.node.Next("events")
			next := event{ID: e.ID, Name: e.Name}
			if err := json.Unmarshal(e.Value, &next.What); err != nil {
				t.Fatal(err)
			}
			got = append(got, next)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestGetters: Node counts and finds our jobs, and we say the same of where they are, through a job's whole life.
func TestGetters(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.node.Do("open", nil, nil)
		f.add(bullmq.Job{ID: "first", Data: []byte(`{"do":"hold"}`)})
		f.add(bullmq.Job{ID: "second"})
		f.add(bullmq.Job{ID: "urgent", Opts: bullmq.Opts{Priority: 1}})
		f.add(bullmq.Job{ID: "later", Opts: bullmq.Opts{Delay: time.Hour}})
		f.agree(
			map[string]bull.State{
				"first": bull.StateWaiting, "second": bull.StateWaiting, "urgent": bull.StateWaiting,
				"later": bull.StateDelayed, "never": bull.StateAbsent,
			},
			map[string]string{"first": "waiting", "second": "waiting", "urgent": "prioritized", "later": "delayed", "never": "absent"},
			bull.Counts{Waiting: 3, Delayed: 1},
			map[string]int{"waiting": 2, "prioritized": 1, "delayed": 1},
		)
		f.work(1, nil)
		f.runs(1)
		f.agree(
			map[string]bull.State{"first": bull.StateActive, "second": bull.StateWaiting, "urgent": bull.StateWaiting},
			map[string]string{"first": "active", "second": "waiting", "urgent": "prioritized"},
			bull.Counts{Waiting: 2, Active: 1, Delayed: 1},
			map[string]int{"active": 1, "waiting": 1, "prioritized": 1, "delayed": 1},
		)
		f.node.Do("release", object{"id": "first"}, nil)
		for range 3 {
			f.node.Next("completed")
		}
		f.agree(
			map[string]bull.State{"first": bull.StateCompleted, "later": bull.StateDelayed},
			map[string]string{"first": "completed", "later": "delayed"},
			bull.Counts{Delayed: 1, Completed: 3},
			map[string]int{"completed": 3, "delayed": 1},
		)
	})
}

// agree compares what we say of the queue, and what Node says of it, with what is right. Counts that are 0 are left out.
func (f *fixture) agree(states map[string]bull.State, inNode map[string]string, counts bull.Counts, countsInNode map[string]int) {
	f.Helper()
	ids := make([]string, 0, len(states))
	found := map[string]string{}
	for id := range states {
		ids = append(ids, id)
		var job struct{ State string }
		f.node.Do("state", object{"id": id}, &job)
		found[id] = job.State
	}
	gotStates, err := f.queue.State(f.Context(), ids)
	if diff := cmp.Diff(states, gotStates); diff != "" || err != nil {
		f.Errorf("State (error %v, -want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(inNode, found); diff != "" {
		f.Errorf("Node's getState (-want +got):\n%s", diff)
	}
	gotCounts, err := f.queue.Counts(f.Context())
	if diff := cmp.Diff(counts, gotCounts); diff != "" || err != nil {
		f.Errorf("Counts (error %v, -want +got):\n%s", err, diff)
	}
	var all map[string]int
	f.node.Do("counts", nil, &all)
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	if diff := cmp.Diff(countsInNode, all); diff != "" {
		f.Errorf("Node's getJobCounts (-want +got):\n%s", diff)
	}
}
