package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// The traps of Bull's protocol that a producer can fall into. Each test shows with the real library that the trap is one,
// and that we don't fall into it.

// embedded is a queue on the Redis that cartero dev embeds.
func embedded(t *testing.T) *fixture {
	t.Helper()
	url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return openFixtureAt(t, url, standstill)
}

// push puts a job into wait as a producer does that knows no more than the names of the keys.
func (f *fixture) push(id string, changes map[string]string) {
	f.Helper()
	fields := map[string]string{"name": "__default__", "data": "{}", "opts": "{}", "timestamp": "1", "delay": "0", "priority": "0"}
	maps.Copy(fields, changes)
	pipe := f.redis.TxPipeline()
	pipe.HSet(f.Context(), f.key(id), fields)
	pipe.LPush(f.Context(), f.key("wait"), id)
	if _, err := pipe.Exec(f.Context()); err != nil {
		f.Fatal(err)
	}
}

// TestTrapNullOptions: Bull's finishing script aborts half-way on "removeOnComplete":null (typeof null is "object"): the
// job is in no list any more, and its hash blocks its id for ever.
func TestTrapNullOptions(t *testing.T) {
	t.Parallel()
	// after its error
	onEach(t, setup{settings: object{"retryProcessDelay": 10}}, func(f *fixture, _ release) {
		ends := map[string]string{"removeOnComplete": "ok", "removeOnFail": "fail"}
		for option, do := range ends {
			f.ask("add", object{"data": object{"do": do}, "opts": object{"jobId": option, option: nil}}, nil)
		}
		f.ask("process", nil, nil)
		f.reaches(bull.StateStuck, "removeOnComplete", "removeOnFail")
		f.nodeAdds("removeOnComplete", nil)
		f.reaches(bull.StateStuck, "removeOnComplete")

		// Our worker takes null for "not told", and our producer never writes it.
		ours := f.openBeside(asItIs)
		for option, do := range ends {
			ours.ask("add", object{"data": object{"do": do}, "opts": object{"jobId": option, option: nil}}, nil)
		}
		ours.begin(&bull.Consumer{Handler: func(_ context.Context, d *bull.Delivery) (any, error) {
			if d.ID == "removeOnFail" {
				return nil, errors.New("boom")
			}
			return "done", nil
		}})
		ours.reaches(bull.StateCompleted, "removeOnComplete")
		ours.reaches(bull.StateFailed, "removeOnFail")

		sound := f.openBeside(asItIs)
		sound.add(bull.Job{ID: "complete"})
		sound.add(bull.Job{ID: "fail", Data: []byte(`{"do":"fail"}`)})
		sound.ask("process", nil, nil)
		sound.reaches(bull.StateCompleted, "complete")
		sound.reaches(bull.StateFailed, "fail")
	})
}

// TestTrapNullOptionsNeverWritten looks at what is stored for every combination of options.
func TestTrapNullOptionsNeverWritten(t *testing.T) {
	t.Parallel()
	f := embedded(t)
	keeps := []bull.Keep{
		{},
		bull.KeepNone(),
		bull.KeepNewest(0),
		bull.KeepNewest(3),
		bull.KeepFor(time.Hour, 0),
		bull.KeepFor(time.Hour, 5),
		bull.KeepFor(time.Millisecond, 1),
	}
	switches := []func(*bull.Job){
		func(j *bull.Job) { j.Name = "other" },
		func(j *bull.Job) { j.Opts.Attempts = 3 },
		func(j *bull.Job) { j.Opts.Backoff = bull.Backoff{Type: bull.BackoffFixed} },
		func(j *bull.Job) { j.Opts.Delay = time.Second },
		func(j *bull.Job) { j.Opts.Priority, j.Opts.LIFO = 2, true },
		func(j *bull.Job) { j.Opts.Timeout, j.Opts.StackTraceLimit = time.Second, 1 },
		func(j *bull.Job) { j.Opts.Debounce.ID = "d-" + j.ID },
	}
	var jobs []bull.Job
	add := func(complete, fail, set int) {
		job := bull.Job{ID: fmt.Sprintf("j-%d-%d-%d", complete, fail, set), Data: []byte("{}")}
		job.Opts.RemoveOnComplete, job.Opts.RemoveOnFail = keeps[complete], keeps[fail]
		for bit, on := range switches {
			if set>>bit&1 == 1 {
				on(&job)
			}
		}
		jobs = append(jobs, job)
	}
	sets := 1 << len(switches)
	for pair := range len(keeps) * len(keeps) { // each rule with each, bare and with all options
		add(pair/len(keeps), pair%len(keeps), 0)
		add(pair/len(keeps), pair%len(keeps), sets-1)
	}
	for set := range sets - 2 { // each combination of options, with the rules by turns
		add(set%len(keeps), set/len(keeps)%len(keeps), set+1)
	}
	if _, err := f.queue.AddBulk(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	all := f.raw()
	for _, job := range jobs {
		hash, _ := all[job.ID].(map[string]string)
		var opts map[string]any
		if err := json.Unmarshal([]byte(hash["opts"]), &opts); err != nil || strings.Contains(hash["opts"], "null") {
			t.Fatalf("opts %s: null is in it, or it is no object: %v", hash["opts"], err)
		}
		// Nor may a field of the hash be missing or empty.
		for _, field := range []string{"name", "data", "opts", "timestamp", "delay", "priority"} {
			if hash[field] == "" {
				t.Fatalf("%s of %+v is empty", field, job)
			}
		}
	}
}

// TestTrapReservedIDs: an id that is the name of one of Bull's keys breaks the queue for everybody.
func TestTrapReservedIDs(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		for _, id := range []string{"wait", ""} { // the second is anybody's next add
			var added struct{ Error string }
			f.ask("tryAdd", object{"data": object{}, "opts": object{"jobId": id}}, &added)
			if !strings.Contains(added.Error, "WRONGTYPE") {
				f.Errorf("Bull's add of the id %q says %q", id, added.Error)
			}
		}
		_, err := f.queue.Add(f.Context(), bull.Job{ID: "wait", Data: []byte("{}")})
		if _, ok := errors.AsType[*bull.InvalidJobError](err); !ok {
			f.Errorf("our add of the id wait: %v", err)
		}
	})
}

// TestTrapNumericIDs: the counter reaches an id that is a number, overwrites that job and has its id twice in wait.
func TestTrapNumericIDs(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("add", object{"data": object{"first": true}, "opts": object{"jobId": "2"}}, nil)
		f.nodeAdds("", nil)
		if got := f.redis.LRange(f.Context(), f.key("wait"), 0, -1).Val(); !slices.Equal(got, []string{"2", "2"}) {
			f.Errorf("wait is %v", got)
		}
		if got := f.redis.HGet(f.Context(), f.key("2"), "data").Val(); got != `{"jobUuid":"x"}` {
			f.Errorf("the data of 2 is %s", got)
		}
	})
}

// bullsKeys are the names that Bull uses below a queue's prefix, as keys or channels.
var bullsKeys = []string{
	"active", "wait", "waiting", "paused", "resumed", "meta", "meta-paused", "id", "delayed", "priority", "stalled",
	"stalled-check", "completed", "failed", "repeat", "limiter", "drained", "duplicated", "debounced", "progress", "de",
	"limiter:index", "limiter:limited", "limiter:group", "metrics:completed", "metrics:failed", "metrics:completed:data",
	"de:some", "repeat:some:1", "some:lock", "some:logs",
}

// TestTrapJobsAreRefused: what would break the queue or a Node worker is refused, and Redis is unchanged.
func TestTrapJobsAreRefused(t *testing.T) {
	t.Parallel()
	f := embedded(t)
	f.add(bull.Job{ID: "before"})
	f.add(bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 1, Debounce: bull.Debounce{ID: "d"}}})
	f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Hour}})
	want := f.raw()

	data := []byte("{}")
	bad := map[string]bull.Job{
		"no data":              {},
		"null as data":         {Data: []byte("null")}, // TestTrapData
		"a text as data":       {Data: []byte(`"text"`)},
		"a list as data":       {Data: []byte("[1]")},
		"half an object":       {Data: []byte(`{"a":`)},
		"two objects":          {Data: []byte(`{}{}`)},
		"unknown backoff":      {Data: data, Opts: bull.Opts{Attempts: 2, Backoff: bull.Backoff{Type: "jitter", Delay: 1}}},
		"backoff without type": {Data: data, Opts: bull.Opts{Attempts: 2, Backoff: bull.Backoff{Delay: time.Second}}},
		"negative backoff":     {Data: data, Opts: bull.Opts{Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: -1}}},
		"negative timeout":     {Data: data, Opts: bull.Opts{Timeout: -time.Millisecond}},
		"timeout of nothing":   {Data: data, Opts: bull.Opts{Timeout: time.Nanosecond}},
		"negative delay":       {Data: data, Opts: bull.Opts{Delay: -time.Second}},
		"negative priority":    {Data: data, Opts: bull.Opts{Priority: -1}},
		"negative attempts":    {Data: data, Opts: bull.Opts{Attempts: -1}},
		"negative count":       {Data: data, Opts: bull.Opts{RemoveOnComplete: bull.KeepNewest(-1)}},
		"negative age":         {Data: data, Opts: bull.Opts{RemoveOnFail: bull.KeepFor(-time.Hour, 0)}},
		"an age of nothing":    {Data: data, Opts: bull.Opts{RemoveOnFail: bull.KeepFor(0, 3)}},
		"debounce without id":  {Data: data, Opts: bull.Opts{Debounce: bull.Debounce{TTL: time.Second}}},
	}
	ids := append(slices.Clone(bullsKeys), "0", "42", "007", "a b", "a@b", "a:b", "a*", "ä", strings.Repeat("a", 129))
	for _, r := range releases {
		for _, c := range readGolden(t, r).Cases {
			for key, value := range c.Keys {
				if hash, ok := value.(object); !ok || hash["data"] == nil {
					ids = append(ids, key)
				}
			}
		}
	}
	for _, id := range ids {
		bad["the id "+id] = bull.Job{ID: id, Data: data}
	}
	for name, job := range bad {
		_, err := f.queue.AddBulk(t.Context(), []bull.Job{{ID: "good", Data: data}, job, {Data: data}})
		if _, ok := errors.AsType[*bull.InvalidJobError](err); !ok {
			t.Errorf("%s: error %v, want an *InvalidJobError", name, err)
		}
	}
	if diff := cmp.Diff(want, f.raw()); diff != "" {
		t.Errorf("all keys (-before +after):\n%s", diff)
	}
}

// TestTrapAddWhilePaused: what is pushed to wait while the queue is paused is dropped when Bull resumes, as it renames
// paused over wait. Ours goes to paused (TestAddWhilePaused has all kinds).
func TestTrapAddWhilePaused(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("pause", nil, nil)
		f.push("pushed", nil)
		f.add(bull.Job{ID: "plain"})
		f.add(bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 1}})
		f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Millisecond}})
		f.eventually("late is due", func() bool {
			moved, _, err := f.queue.PromoteDue(f.Context())
			return err == nil && moved == 1
		})
		f.ask("resume", nil, nil)
		f.reaches(bull.StateStuck, "pushed")
		f.ask("process", nil, nil)
		if diff := cmp.Diff([]string{"urgent", "plain", "late"}, f.runs(3)); diff != "" {
			f.Errorf("Node ran (-want +got):\n%s", diff)
		}
	})
}

// TestTrapSilentDuplicates: Bull's add of an id that is known, even one that no worker will ever take, looks like any
// other. Ours tells which it was, and State tells why a known id does not run.
func TestTrapSilentDuplicates(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.push("zombie", nil)
		f.redis.Del(f.Context(), f.key("wait"))
		for _, id := range []string{"zombie", "twice", "twice"} {
			var added struct{ ID, Error string }
			f.ask("tryAdd", object{"data": object{"jobUuid": "x"}, "opts": object{"jobId": id}}, &added)
			if added.ID != id || added.Error != "" {
				f.Errorf("Bull's add of %s: %+v", id, added)
			}
		}
		added, err := f.queue.AddBulk(f.Context(), []bull.Job{
			{ID: "zombie", Data: []byte("{}")}, {ID: "twice", Data: []byte("{}")}, {ID: "new", Data: []byte("{}")},
		})
		if err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff([]bull.Added{{ID: "zombie"}, {ID: "twice"}, {ID: "new", Created: true}}, added); diff != "" {
			f.Errorf("AddBulk (-want +got):\n%s", diff)
		}
		f.reaches(bull.StateStuck, "zombie")
		f.reaches(bull.StateWaiting, "twice", "new")
	})
}

// TestTrapUnknownBackoff: Bull's failing of a job throws on a backoff that it does not know: the job stays active.
func TestTrapUnknownBackoff(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("add", object{
			"data": object{"do": "fail"},
			"opts": object{"jobId": "bad", "attempts": 2, "backoff": object{"type": "jitter", "delay": 1}},
		}, nil)
		f.ask("process", nil, nil)
		if got := f.node.Next("error"); !strings.Contains(string(got.Value), "jitter") {
			f.Errorf("Bull's error is %s", got.Value)
		}
		hash := f.redis.HGetAll(f.Context(), f.key("bad")).Val()
		if hash["attemptsMade"] != "" || hash["failedReason"] != "" {
			f.Errorf("Bull wrote something: %v", hash)
		}
		f.reaches(bull.StateActive, "bad")
	})
}

// TestTrapData: what a Node worker does with data, options and timeouts that we refuse to write.
func TestTrapData(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		changes map[string]string
		state   bull.State
		reason  string
	}{
		"null as data":       {map[string]string{"data": "null"}, bull.StateFailed, "of null"},
		"negative timeout":   {map[string]string{"opts": `{"timeout":-1}`}, bull.StateFailed, "a positive number"},
		"a text as timeout":  {map[string]string{"opts": `{"timeout":"5"}`}, bull.StateFailed, "a positive number"},
		"broken data":        {map[string]string{"data": "{"}, bull.StateActive, ""}, // locked, until it stalls
		"null as opts":       {map[string]string{"opts": "null"}, bull.StateActive, ""},
		"nothing is changed": {nil, bull.StateCompleted, ""},
	}
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("process", object{"concurrency": len(tests)}, nil)
		for name, test := range tests {
			id := strings.ReplaceAll(name, " ", "-")
			f.push(id, test.changes)
			f.reaches(test.state, id)
			if got := f.redis.HGet(f.Context(), f.key(id), "failedReason").Val(); !strings.Contains(strings.ToLower(got), test.reason) {
				f.Errorf("%s: failed with %q", name, got)
			}
		}
	})
}
