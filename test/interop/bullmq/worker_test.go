package bullmq

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
)

// work starts a real worker that would sleep for an hour, longer than any test waits, if nothing woke it.
func (f *fixture) work(concurrency int, more object) {
	f.Helper()
	request := object{"options": object{"concurrency": concurrency, "drainDelay": 3600}}
	maps.Copy(request, more)
	f.node.Do("work", request, nil)
}

// TestMarkersWakeAnIdleWorker: each kind of job is run by a worker that sleeps, although nobody but us has ever touched
// the queue.
func TestMarkersWakeAnIdleWorker(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.work(1, nil)
		for _, job := range []bullmq.Job{
			{ID: "plain", Data: []byte(`{"jobUuid":"ä"}`)},
			{ID: "delayed-1", Opts: bullmq.Opts{Delay: 50 * time.Millisecond}},
			{ID: "prioritized-1", Opts: bullmq.Opts{Priority: 7}},
			{ID: "lifo", Name: "named", Opts: bullmq.Opts{LIFO: true}},
			{ID: "delayed-2", Opts: bullmq.Opts{Delay: time.Millisecond, Priority: 1}},
		} {
			f.awaitIdle()
			if job.Data == nil {
				job.Data = []byte(`{"jobUuid":"x"}`)
			}
			if job.Name == "" {
				job.Name = "__default__"
			}
			f.add(job)
			run := f.node.Next("run")
			got := bullmq.Job{ID: run.ID, Name: run.Name, Data: run.Data, Opts: job.Opts}
			if diff := cmp.Diff(job, got, cmp.AllowUnexported(bull.Keep{})); diff != "" {
				t.Errorf("Node's handler saw (-want +got):\n%s", diff)
			}
			f.node.Next("completed")
		}
	})
}

func TestNodeRetriesOurJobs(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.node.Do("open", nil, nil)
		f.work(1, nil)
		f.awaitIdle()
		f.add(bullmq.Job{ID: "retried", Data: []byte(`{"do":"failTwice"}`), Opts: bullmq.Opts{
			Attempts: 3, Delay: 10 * time.Millisecond,
			Backoff: bullmq.Backoff{Type: bullmq.BackoffExponential, Delay: 20 * time.Millisecond, Jitter: 0.5},
		}})
		f.node.Next("completed")
		var got object
		f.node.Do("state", object{"id": "retried"}, &got)
		want := object{
			"state": "completed", "name": "__default__", "data": object{"do": "failTwice"}, "attemptsMade": 3.0,
			"returnvalue": "third time",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the job (-want +got):\n%s", diff)
		}
	})
}

// TestOrder: jobs without a priority run first, then by priority, and each in the order of adding, whoever added them.
func TestOrder(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.node.Do("open", nil, nil)
		for i, priority := range []int{0, 5, 1, 5, 10, 0, 1} {
			id := fmt.Sprintf("%c%d", 'a'+i, priority)
			if i%2 == 0 {
				f.add(bullmq.Job{ID: id, Opts: bullmq.Opts{Priority: priority}})
				continue
			}
			f.node.Do("add", object{"jobName": "n", "data": object{}, "opts": object{"jobId": id, "priority": priority}}, nil)
		}
		f.add(bullmq.Job{ID: "first", Opts: bullmq.Opts{LIFO: true}})
		f.work(1, nil)
		want := []string{"first", "a0", "f0", "c1", "g1", "b5", "d5", "e10"}
		if diff := cmp.Diff(want, f.runs(len(want))); diff != "" {
			t.Errorf("the order of runs (-want +got):\n%s", diff)
		}
	})
}

// TestPausedThenResumed adds while the queue is paused and workers sleep. Where no Queue object has told its version, the
// default holds for either version.
func TestPausedThenResumed(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("version told %v", told), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, v, nil)
				f.node.Do("open", object{"options": object{"skipMetasUpdate": !told}}, nil)
				f.work(1, nil)
				f.awaitIdle()
				f.node.Do("pause", nil, nil)
				f.addWhilePaused()
				f.node.Do("resume", nil, nil)
				got := f.runs(5)
				slices.Sort(got)
				if diff := cmp.Diff([]string{"later", "lifo", "node", "plain", "urgent"}, got); diff != "" {
					t.Errorf("what ran after the queue was resumed (-want +got):\n%s", diff)
				}
				if paused, err := f.queue.IsPaused(t.Context()); paused || err != nil {
					t.Errorf("IsPaused = %v, %v, want false", paused, err)
				}
			})
		}
	})
}

func (f *fixture) addWhilePaused() {
	f.Helper()
	f.add(bullmq.Job{ID: "plain"})
	f.add(bullmq.Job{ID: "lifo", Opts: bullmq.Opts{LIFO: true}})
	f.add(bullmq.Job{ID: "urgent", Opts: bullmq.Opts{Priority: 1}})
	f.add(bullmq.Job{ID: "later", Opts: bullmq.Opts{Delay: time.Millisecond}})
	f.node.Do("add", object{"jobName": "n", "data": object{}, "opts": object{"jobId": "node"}}, nil)
	paused, err := f.queue.IsPaused(f.Context())
	counts, countErr := f.queue.Counts(f.Context())
	if !paused || err != nil || countErr != nil || counts.Waiting+counts.Delayed != 5 {
		f.Errorf("paused %v (%v), %+v (%v), want true and five jobs that are ready or due", paused, err, counts, countErr)
	}
	if ids, err := f.queue.Waiting(f.Context(), []string{"plain", "lifo", "urgent", "later", "node"}); len(ids) != 5 || err != nil {
		f.Errorf("Waiting = %v, %v, want all five", ids, err)
	}
	var isPaused bool
	f.node.Do("isPaused", nil, &isPaused) // its answer comes after all that the worker has told
	if !isPaused || len(f.node.Events) > 0 {
		f.Errorf("Node's isPaused() = %v, and it told of %d runs, want true and none", isPaused, len(f.node.Events))
	}
}

// TestGlobalConcurrency: while as many jobs are active as meta.concurrency allows, no worker is woken; the next job starts
// when one ends.
func TestGlobalConcurrency(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.node.Do("open", nil, nil)
		f.node.Do("concurrency", object{"n": 1}, nil)
		f.work(5, object{"how": "hold"})
		f.awaitIdle()
		f.add(bullmq.Job{ID: "one"})
		if got := f.runs(1); got[0] != "one" {
			t.Fatalf("ran %v, want one", got)
		}
		f.add(bullmq.Job{ID: "two"})
		f.add(bullmq.Job{ID: "three", Opts: bullmq.Opts{Priority: 2}})
		want := bull.Counts{Waiting: 2, Active: 1}
		if got, err := f.queue.Counts(t.Context()); err != nil || got != want {
			t.Errorf("Counts = %+v, %v, want %+v", got, err, want)
		}
		for _, id := range []string{"one", "two"} {
			f.node.Do("release", object{"id": id}, nil)
			f.runs(1)
		}
		f.node.Do("release", object{"id": "three"}, nil)
	})
}

// TestBulk adds a thousand jobs, ten of them twice: 990 run, in the order of the call.
func TestBulk(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		jobs := make([]bullmq.Job, 1000)
		var want []string
		for i := range jobs {
			jobs[i] = bullmq.Job{ID: fmt.Sprintf("mail-%d", i%990), Data: fmt.Appendf(nil, `{"n":%d}`, i)}
			if i < 990 {
				want = append(want, jobs[i].ID)
			}
		}
		f.work(1, nil)
		f.awaitIdle()
		added, err := f.queue.AddBulk(t.Context(), jobs)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range added {
			if a.ID != jobs[i].ID || a.Created != (i < 990) {
				t.Errorf("add %d = %+v", i, a)
			}
		}
		if diff := cmp.Diff(want, f.runs(len(want))); diff != "" {
			t.Errorf("the order of runs (-want +got):\n%s", diff)
		}
	})
}

// TestRing: the worker gets exactly the contract's data and name, an answered ring is not rung twice, and one that was
// lost is rung under the next id.
func TestRing(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		const id = "0d2ddc08-9a3f-4e61-9b3e-2b6c1a9f0001"
		f := newFixture(t, v, nil)
		f.work(1, nil)
		for _, bullID := range []string{id, id, id + "-r1"} {
			if err := f.queue.Ring(t.Context(), []outbox.Ring{{BullID: bullID, JobID: id}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{id, id + "-r1"} {
			run := f.node.Next("run")
			if run.ID != want || run.Name != "__default__" || string(run.Data) != `{"jobUuid":"`+id+`"}` {
				t.Errorf("Node's handler saw %+v, want %s", run, want)
			}
			f.node.Next("completed")
		}
		if waiting, err := f.queue.Waiting(t.Context(), []string{id, id + "-r1", "never"}); len(waiting) != 0 || err != nil {
			t.Errorf("Waiting = %v, %v, want none", waiting, err)
		}
	})
}

// TestUrgentRings: what has a priority in Bull's sense runs before what has none, each in the order of ringing.
func TestUrgentRings(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		rings := []outbox.Ring{
			{BullID: "campaign-1", JobID: "x"},
			{BullID: "mail-2", JobID: "x", Priority: 2},
			{BullID: "mail-1a", JobID: "x", Priority: 1},
			{BullID: "campaign-2", JobID: "x"},
			{BullID: "mail-1b", JobID: "x", Priority: 1},
		}
		if err := f.queue.Ring(t.Context(), rings); err != nil {
			t.Fatal(err)
		}
		f.work(1, nil)
		want := []string{"mail-1a", "mail-1b", "mail-2", "campaign-1", "campaign-2"}
		if diff := cmp.Diff(want, f.runs(len(want))); diff != "" {
			t.Errorf("the order of runs (-want +got):\n%s", diff)
		}
	})
}

// TestRemovedWhenFinished: an id is free again when its job is gone.
func TestRemovedWhenFinished(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.work(1, nil)
		for range 2 {
			f.awaitIdle()
			if added := f.add(bullmq.Job{ID: "again", Opts: bullmq.Opts{RemoveOnComplete: bull.KeepNone()}}); !added.Created {
				t.Error("the id is still known after its job was completed and removed")
			}
			f.node.Next("run")
			f.node.Next("completed")
			want := map[string]bull.State{"again": bull.StateAbsent}
			if got, err := f.queue.State(context.Background(), []string{"again"}); err != nil || !cmp.Equal(want, got) {
				t.Errorf("State = %v, %v, want %v", got, err, want)
			}
		}
	})
}
