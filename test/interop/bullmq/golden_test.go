package bullmq

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
)

// addedAt is the time at which both sides of a comparison add: due times and scores are compared to the last bit.
var addedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func clock() time.Time { return addedAt }

// adds is one job as either side says it.
var adds = map[string]struct {
	opts object
	job  bullmq.Job
}{
	"plain":     {object{}, bullmq.Job{}},
	"named":     {object{}, bullmq.Job{Name: "welcome"}},
	"custom id": {object{"jobId": "mail-1"}, bullmq.Job{ID: "mail-1"}}, // the second and third are duplicates
	"delayed":   {object{"delay": 60000}, bullmq.Job{Opts: bullmq.Opts{Delay: time.Minute}}},
	"delayed, custom id": {
		object{"jobId": "mail-2", "delay": 60000},
		bullmq.Job{ID: "mail-2", Opts: bullmq.Opts{Delay: time.Minute}},
	},
	"priority":         {object{"priority": 3}, bullmq.Job{Opts: bullmq.Opts{Priority: 3}}},
	"highest priority": {object{"priority": bullmq.MaxPriority}, bullmq.Job{Opts: bullmq.Opts{Priority: bullmq.MaxPriority}}},
	"priority, delayed": {
		object{"priority": 3, "delay": 1},
		bullmq.Job{Opts: bullmq.Opts{Priority: 3, Delay: time.Millisecond}},
	},
	"lifo": {object{"lifo": true}, bullmq.Job{Opts: bullmq.Opts{LIFO: true}}},
	"lifo, priority": {
		object{"lifo": true, "priority": 1},
		bullmq.Job{Opts: bullmq.Opts{LIFO: true, Priority: 1}},
	},
	"attempts, backoff": {
		object{"attempts": 5, "backoff": object{"type": "exponential", "delay": 1000, "jitter": 0.5}},
		bullmq.Job{Opts: bullmq.Opts{Attempts: 5, Backoff: bullmq.Backoff{
			Type: bullmq.BackoffExponential, Delay: time.Second, Jitter: 0.5,
		}}},
	},
	"backoff as a number": {
		object{"attempts": 2, "backoff": 500},
		bullmq.Job{Opts: bullmq.Opts{Attempts: 2, Backoff: bullmq.Backoff{
			Type: bullmq.BackoffFixed, Delay: 500 * time.Millisecond,
		}}},
	},
	"remove": {
		object{"removeOnComplete": true, "removeOnFail": 7},
		bullmq.Job{Opts: bullmq.Opts{RemoveOnComplete: bull.KeepNone(), RemoveOnFail: bull.KeepNewest(7)}},
	},
	"remove by age": {
		object{"removeOnComplete": object{"age": 86400, "count": 1000}, "removeOnFail": object{"age": 60}},
		bullmq.Job{Opts: bullmq.Opts{
			RemoveOnComplete: bull.KeepFor(24*time.Hour, 1000), RemoveOnFail: bull.KeepFor(time.Minute, 0),
		}},
	},
}

// byNode adds the job with the real Queue.
func (f *fixture) byNode(job bullmq.Job, opts object) {
	f.Helper()
	withTime := object{"timestamp": addedAt.UnixMilli()}
	maps.Copy(withTime, opts)
	name := job.Name
	if name == "" {
		name = bullmq.DefaultName
	}
	f.node.Do("add", object{"jobName": name, "data": object{"jobUuid": "x"}, "opts": withTime}, nil)
}

// same compares what Node and we left behind.
func same(t *testing.T, what string, byNode, byUs *fixture) {
	t.Helper()
	if diff := cmp.Diff(byNode.dump(), byUs.dump()); diff != "" {
		t.Errorf("%s: all keys (-Node +ours):\n%s", what, diff)
	}
}

// TestAddWritesWhatBullMQWrites adds each kind of job three times, with a Queue object on both queues and a queue in each
// of its conditions: open, full (as many active as meta.concurrency allows), and paused.
func TestAddWritesWhatBullMQWrites(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		byNode, byUs := newFixture(t, v, clock), newFixture(t, v, clock)
		for _, f := range []*fixture{byNode, byUs} {
			f.node.Do("open", nil, nil)
		}
		for _, condition := range []string{"open", "full", "paused"} {
			addAll(byNode, byUs, condition)
		}
	})
}

// TestAddWithoutQueueObject adds to queues where no Queue object has written its version, as with workers alone: what the
// workers are, only the setting says.
func TestAddWithoutQueueObject(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		byNode, byUs := newFixture(t, v, clock), newFixture(t, v, clock)
		byUs.queue = byUs.open(bullmq.Config{Major: v.major, Now: clock})
		for _, f := range []*fixture{byNode, byUs} {
			f.node.Do("open", object{"options": object{"skipMetasUpdate": true}}, nil)
		}
		for _, condition := range []string{"open", "paused"} {
			addAll(byNode, byUs, condition)
		}
	})
}

// addAll adds all jobs on both sides, three of each: counters, order and duplicates count.
func addAll(byNode, byUs *fixture, condition string) {
	byUs.Helper()
	for _, f := range []*fixture{byNode, byUs} {
		f.enter(condition)
	}
	for _, name := range slices.Sorted(maps.Keys(adds)) {
		job, opts := adds[name].job, maps.Clone(adds[name].opts)
		if job.ID != "" {
			job.ID += "-" + condition
			opts["jobId"] = job.ID
		}
		for i := range 3 {
			byNode.byNode(job, opts)
			byUs.add(job)
			same(byUs.T, fmt.Sprintf("%s, %s, add %d", condition, name, i+1), byNode, byUs)
		}
	}
}

// enter brings the queue into a condition.
func (f *fixture) enter(condition string) {
	f.Helper()
	switch condition {
	case "full":
		f.node.Do("concurrency", object{"n": 1}, nil)
		f.redis.LPush(f.Context(), f.key("active"), "another")
		f.redis.Del(f.Context(), f.key("marker"))
	case "paused":
		f.node.Do("pause", nil, nil)
	}
}

// TestAddKeepsTheLimitOfEvents: where a Queue object has said how many events it wants, that is left alone.
func TestAddKeepsTheLimitOfEvents(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		f := newFixture(t, v, nil)
		f.node.Do("open", object{"options": object{"streams": object{"events": object{"maxLen": 50}}}}, nil)
		jobs := make([]bullmq.Job, 1000)
		for i := range jobs {
			jobs[i] = bullmq.Job{Data: []byte(`{}`)}
		}
		if _, err := f.queue.AddBulk(t.Context(), jobs); err != nil {
			t.Fatal(err)
		}
		if limit := f.redis.HGet(t.Context(), f.key("meta"), "opts.maxLenEvents").Val(); limit != "50" {
			t.Errorf("opts.maxLenEvents = %s, want 50", limit)
		}
		// Redis trims whole nodes of the stream, 100 entries each.
		if n := f.redis.XLen(t.Context(), f.key("events")).Val(); n < 50 || n > 200 {
			t.Errorf("the stream has %d events, want about 50", n)
		}
	})
}
