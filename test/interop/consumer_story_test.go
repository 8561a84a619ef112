package interop

import (
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// story is told twice, by a Node worker and by ours, on two queues that one Node process adds to. The clock stands still
// but for the steps, so all keys must be equal to the millisecond, and so must all that was published.
type story struct {
	names []string // of the jobs that the worker has handlers for; none: those without a name
	steps []step
	// old says why 4.10.4 tells it otherwise than 4.16.5 and Cartero; empty: it does not.
	old string
}

// step lets time pass, makes what is due ready, adds jobs, and lets the worker run them, one after another.
type step struct {
	pass time.Duration
	add  []job
}

// epoch is the time at which every story begins: 2026-01-02 03:04:05 UTC.
const epoch = int64(1767323045000)

// adding is a story of one step.
func adding(jobs ...job) story { return story{steps: []step{{add: jobs}}} }

// onFail and onComplete are jobs that differ in what is kept of them.
func onFail(keep any) map[string]any     { return map[string]any{"removeOnFail": keep} }
func onComplete(keep any) map[string]any { return map[string]any{"removeOnComplete": keep} }

// age is the form of removeOnComplete and removeOnFail with a time.
func age(seconds int) map[string]any { return map[string]any{"age": seconds} }

// kept is a story of jobs that end in one state; the last is added 2 s after the others.
func kept(do string, opts func(any) map[string]any, keep any) story {
	jobs := func(ids ...string) (all []job) {
		for _, id := range ids {
			all = append(all, job{id: id, data: do, opts: opts(keep)})
		}
		return all
	}
	return story{steps: []step{{add: jobs("a", "b", "c")}, {pass: 2 * time.Second, add: jobs("d")}}}
}

// stories are the outcomes of jobs.
func stories() map[string]story {
	all := map[string]story{
		"completed":              adding(job{data: "complete"}, job{id: "own", data: "complete"}),
		"completed, no result":   adding(job{id: "j", data: "nothing"}),
		"completed, a text":      adding(job{id: "j", data: "text"}),
		"failed":                 adding(job{id: "j", data: "fail"}),
		"failed, of two":         adding(job{id: "j", data: "fail", opts: map[string]any{"attempts": 2, "stackTraceLimit": 1}}),
		"failed, discarded":      adding(job{id: "j", data: "discard", opts: map[string]any{"attempts": 5}}),
		"completed at the third": adding(job{id: "j", data: "failTwice", opts: map[string]any{"attempts": 3}}),
		"no such name":           adding(job{name: "welcome", id: "j", opts: map[string]any{"attempts": 2}}),
		"any other name":         {names: []string{"*", "news"}, steps: adding(job{name: "welcome", id: "j"}, job{name: "news", id: "k"}, job{id: "l"}).steps},
		"one name":               {names: []string{"news"}, steps: adding(job{name: "welcome", id: "j"}, job{name: "news", id: "k"}, job{id: "l"}).steps},
		"tells":                  adding(job{id: "j", data: "tell"}, job{id: "gone", data: "tell", opts: onComplete(true)}),
		"updates":                adding(job{id: "j", data: "update"}),
		"too late":               adding(job{id: "j", data: "hold", opts: map[string]any{"attempts": 2, "timeout": 20}}),
		"again at once, by priority": {
			steps: adding(
				job{id: "plain"}, job{id: "low", opts: map[string]any{"priority": 7}},
				job{id: "j", data: "failTwice", opts: map[string]any{"attempts": 3, "priority": 5}},
				job{id: "high", opts: map[string]any{"priority": 1}}).steps,
			old: "it ignores the priority of a job that is tried again at once, and does not take its lock away",
		},
		"again at once, first": adding(
			job{id: "plain"}, job{id: "j", data: "failTwice", opts: map[string]any{"attempts": 3, "lifo": true}}),
		"again at once, last": adding(
			job{id: "j", data: "failTwice", opts: map[string]any{"attempts": 3}}, job{id: "plain"}),
		"backoff": {steps: []step{
			{add: []job{
				{id: "fixed", data: "failTwice", opts: map[string]any{"attempts": 3, "backoff": map[string]any{"type": "fixed", "delay": 200}}},
				{id: "number", data: "fail", opts: map[string]any{"attempts": 3, "backoff": 150, "priority": 2}},
				{id: "exponential", data: "fail", opts: map[string]any{"attempts": 4, "backoff": map[string]any{"type": "exponential", "delay": 100}}},
				{data: "fail", opts: map[string]any{"attempts": 2, "backoff": map[string]any{"type": "exponential", "delay": 1000}}},
			}},
			{pass: 101 * time.Millisecond}, {pass: 100 * time.Millisecond}, {pass: 201 * time.Millisecond},
			{pass: time.Second},
		}},
	}
	for name, keep := range map[string]any{
		"true": true, "false": false, "0": 0, "2": 2, "age 1": age(1), "age 60": age(60),
		"count 2, age 5": map[string]any{"count": 2, "age": 5}, "count 3, age 1": map[string]any{"count": 3, "age": 1},
		"count 2": map[string]any{"count": 2}, "count 0": map[string]any{"count": 0}, "count 0, age 1": map[string]any{"count": 0, "age": 1},
	} {
		all["removeOnComplete "+name] = kept("complete", onComplete, keep)
		all["removeOnFail "+name] = kept("fail", onFail, keep)
	}
	return all
}

// TestOurWorkerTellsBullsStories: whatever a job does, Node's workers and ours leave the same keys and publish the same.
func TestOurWorkerTellsBullsStories(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		owner := t // our workers need a second to end, and may do so during the next story
		node := openDesk(t, setup{}).startBull(r, setup{settings: map[string]any{"guardInterval": 10_000}})
		all := stories()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			t.Run(name, func(t *testing.T) { tell(t, owner, r, node, all[name]) }) //nolint:paralleltest // Node has one clock
		}
	})
}

// teller is one of the two queues of a story.
type teller struct {
	*fixture
	node    *nodejs.Process
	promote func()
	heard   func() []string
}

// Do asks Node about this queue: one process knows those of all stories.
func (q *teller) Do(do string, args map[string]any, value any) {
	q.Helper()
	all := map[string]any{"prefix": q.prefix}
	maps.Copy(all, args)
	q.node.Do(do, all, value)
}

func tell(t, owner *testing.T, r release, node *nodejs.Process, s story) {
	var now atomic.Int64
	open := func() *teller {
		f := openDesk(owner, setup{config: func(c *bull.Config) {
			c.Now = func() time.Time { return time.UnixMilli(now.Load()) }
			c.GuardInterval = time.Hour
		}})
		return &teller{fixture: f, node: node, heard: f.listen()}
	}
	byNode, byUs := open(), open()
	byNode.promote = func() { byNode.Do("promoteDue", nil, nil) }
	byUs.promote = func() {
		if _, _, err := byUs.queue.PromoteDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	now.Store(epoch)
	for i, step := range s.steps {
		now.Add(step.pass.Milliseconds())
		byNode.Do("clock", map[string]any{"now": now.Load()}, nil)
		for _, side := range []*teller{byNode, byUs} {
			side.promote()
			for _, j := range step.add {
				addBy(side, j)
			}
		}
		if i == 0 {
			byNode.Do("work", map[string]any{"names": s.names}, nil)
			byUs.begin(consumer(s.names))
		}
		byNode.idle()
		byUs.idle()
		compare(t, r, s, byNode, byUs, i)
	}
	byNode.Do("close", nil, nil)
	byUs.Do("close", nil, nil)
}

// consumer has the same handlers as driver/consumer.js.
func consumer(names []string) *bull.Consumer {
	handle := newHands().handle
	if len(names) == 0 {
		return &bull.Consumer{Handler: handle}
	}
	c := &bull.Consumer{Handlers: map[string]bull.Handler{}}
	for _, name := range names {
		c.Handlers[name] = handle
	}
	return c
}

// compare looks at all keys and, after the last step, at what was published.
func compare(t *testing.T, r release, s story, byNode, byUs *teller, step int) {
	t.Helper()
	last := step == len(s.steps)-1
	diff := cmp.Diff(byNode.exact(), byUs.exact())
	if last {
		node, ours := byNode.heard(), byUs.heard()
		if len(s.names) > 1 { // Bull runs as many jobs at a time as it has handlers
			slices.Sort(node)
			slices.Sort(ours)
		}
		diff += cmp.Diff(node, ours)
	}
	switch {
	case !r.old || s.old == "":
		if diff != "" {
			t.Errorf("all keys and messages after step %d (-Node +ours):\n%s", step, diff)
		}
	case last && diff == "":
		t.Errorf("4.10.4 is said to differ and does not: %s", s.old)
	}
}
