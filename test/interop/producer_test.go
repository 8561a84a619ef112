package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

func TestAddWritesWhatBullWrites(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	tests := map[string]struct {
		opts object
		job  bull.Job
	}{
		"plain":     {object{}, bull.Job{}},
		"named":     {object{}, bull.Job{Name: "other"}},
		"custom id": {object{"jobId": "mail-1"}, bull.Job{ID: "mail-1"}},
		"delayed":   {object{"delay": 60000}, bull.Job{Opts: bull.Opts{Delay: time.Minute}}},
		"delayed, custom id": {
			object{"jobId": "mail-1", "delay": 60000},
			bull.Job{ID: "mail-1", Opts: bull.Opts{Delay: time.Minute}},
		},
		"priority": {object{"priority": 3}, bull.Job{Opts: bull.Opts{Priority: 3}}},
		"lifo":     {object{"lifo": true}, bull.Job{Opts: bull.Opts{LIFO: true}}},
		"attempts, backoff": {
			object{"attempts": 5, "backoff": object{"type": "exponential", "delay": 1000}},
			bull.Job{Opts: bull.Opts{Attempts: 5, Backoff: bull.Backoff{Type: bull.BackoffExponential, Delay: time.Second}}},
		},
		"backoff as a number": {
			object{"attempts": 2, "backoff": 500},
			bull.Job{Opts: bull.Opts{Attempts: 2, Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: 500 * time.Millisecond}}},
		},
		"timeout, traces": {object{"timeout": 2000, "stackTraceLimit": 3}, bull.Job{Opts: bull.Opts{Timeout: 2 * time.Second, StackTraceLimit: 3}}},
		"remove":          {object{"removeOnComplete": true, "removeOnFail": 7}, bull.Job{Opts: bull.Opts{RemoveOnComplete: bull.KeepNone(), RemoveOnFail: bull.KeepNewest(7)}}},
		"remove by age": {
			object{"removeOnComplete": object{"age": 86400, "count": 1000}, "removeOnFail": object{"age": 60}},
			bull.Job{Opts: bull.Opts{RemoveOnComplete: bull.KeepFor(24*time.Hour, 1000), RemoveOnFail: bull.KeepFor(time.Minute, 0)}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byNode, byUs := newFixture(t, nil), newFixtureBeside(t)
			for _, paused := range []bool{false, true} {
				if paused {
					byNode.node.Do("pause", nil, nil)
					byUs.node.Do("pause", nil, nil)
				}
				for range 3 { // counters, order, duplicates
					args := object{"data": object{"jobUuid": "x"}, "opts": test.opts}
					if test.job.Name != "" {
						args["jobName"] = test.job.Name
					}
					byNode.node.Do("add", args, nil)
					byUs.add(test.job)
				}
				same(t, fmt.Sprintf("paused %v", paused), byNode, byUs)
			}
		})
	}
}

func TestNodeWorkerRunsOurJobs(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.node.Do("process", map[string]any{"concurrency": 1}, nil)
	f.add(bull.Job{ID: "plain", Data: []byte(`{"jobUuid":"ä"}`)})
	if got := f.node.Next("run"); got.ID != "plain" || got.Name != "__default__" || string(got.Data) != `{"jobUuid":"ä"}` {
		t.Errorf("Node's handler saw %+v", got)
	}
	f.add(bull.Job{ID: "retried", Data: []byte(`{"do":"failTwice"}`), Opts: bull.Opts{
		Attempts: 3, Delay: 50 * time.Millisecond, Backoff: bull.Backoff{Type: bull.BackoffExponential, Delay: 20 * time.Millisecond},
	}})
	type state struct {
		State        string `json:"state"`
		AttemptsMade int    `json:"attemptsMade"`
		ReturnValue  any    `json:"returnvalue"`
	}
	for id, want := range map[string]state{
		"plain":   {"completed", 0, map[string]any{"saw": map[string]any{"jobUuid": "ä"}, "attempts": 0.0}},
		"retried": {"completed", 2, "third time"},
	} {
		f.eventually(id+" is completed", func() bool {
			states, err := f.queue.State(t.Context(), []string{id})
			return err == nil && states[id] == bull.StateCompleted
		})
		var got state
		f.node.Do("state", map[string]any{"id": id}, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}
