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
	// points is Bull's option metrics.maxDataPoints; 0 for no metrics.
	points int
	steps  []step
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
		"attempts as a text": adding(job{id: "j", data: "failTwice", opts: map[string]any{"attempts": "3"}}),
		"due":                due(),
		"debounced":          debounced(),
		"later":              adding(job{id: "j", data: "later", opts: map[string]any{"attempts": 2}}),
		"metrics": {points: 3, steps: []step{
			{add: []job{{data: "complete"}, {data: "fail"}, {data: "fail", opts: map[string]any{"attempts": 2, "removeOnFail": true}}}},
			{pass: time.Minute, add: []job{{data: "complete", opts: onComplete(true)}, {data: "fail"}}},
			{pass: 2 * time.Minute, add: []job{{data: "complete"}, {data: "complete"}, {data: "fail"}}},
		}},
		"metrics, after a long time": {
			points: 3,
			steps:  []step{{add: []job{{data: "complete"}}}, {pass: 10 * time.Minute, add: []job{{data: "complete"}}}},
			old:    "it writes more points than it keeps, and so loses the number",
		},
		"metrics, across a minute": {
			points: 3,
			steps:  []step{{add: []job{{data: "complete"}}}, {pass: 55 * time.Second, add: []job{{data: "complete"}}}},
			old:    "its minutes begin with the first job, not on the clock",
		},
		"backoff": {steps: []step{
			{add: []job{
				{id: "fixed", data: "failTwice", opts: map[string]any{"attempts": 3, "backoff": map[string]any{"type": "fixed", "delay": 200}}},
				{id: "number", data: "fail", opts: map[string]any{"attempts": 3, "backoff": 150, "priority": 2}},
				{id: "exponential", data: "fail", opts: map[string]any{"attempts": 4, "backoff": map[string]any{"type": "exponential", "delay": 100}}},
				{data: "fail", opts: map[string]any{"attempts": 2, "backoff": map[string]any{"type": "exponential", "delay": 1000}}},
			}},
			{pass: 101 * time.Millisecond},
			{pass: 100 * time.Millisecond},
			{pass: 201 * time.Millisecond},
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

// due are delayed jobs that become due together, and go where their options say.
func due() story {
	in := func(id string, delay int, more map[string]any) job {
		opts := map[string]any{"delay": delay}
		maps.Copy(opts, more)
		return job{id: id, opts: opts}
	}
	return story{steps: []step{
		{add: []job{
			in("b", 200, nil), in("a", 100, nil), in("low", 100, map[string]any{"priority": 9}),
			in("high", 200, map[string]any{"priority": 1}), in("lifo", 200, map[string]any{"lifo": true}), in("far", 5000, nil),
		}},
		{pass: 201 * time.Millisecond},
	}}
}

// debounced are jobs whose debounce id is free again once they ended, unless it has a time of its own.
func debounced() story {
	in := func(id, do, debounce string, ttl int, attempts int) job {
		option := map[string]any{"id": debounce}
		if ttl > 0 {
			option["ttl"] = ttl
		}
		return job{id: id, data: do, opts: map[string]any{"debounce": option, "attempts": attempts, "backoff": 1000}}
	}
	jobs := []job{
		in("done", "complete", "d1", 0, 1), in("dropped", "complete", "d1", 0, 1), in("bad", "fail", "d2", 0, 1),
		in("again", "fail", "d3", 0, 2), in("timed", "complete", "d4", 3_600_000, 1),
	}
	again := []job{in("done-2", "complete", "d1", 0, 1), in("again-2", "complete", "d3", 0, 1), in("timed-2", "complete", "d4", 3_600_000, 1)}
	return story{steps: []step{{add: jobs}, {add: again}}}
}

// TestOurWorkerTellsBullsStories: whatever a job does, Node's workers and ours leave the same keys and publish the same.
func TestOurWorkerTellsBullsStories(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r release) {
		owner := t // our workers need a second to end, and may do so during the next story
		node := openDesk(t, setup{}).startBull(r, setup{settings: map[string]any{"guardInterval": 10_000}})
		all := stories()
		for _, name := range slices.Sorted(maps.Keys(all)) { // one after another, as Node has one clock
			t.Run(name, func(t *testing.T) { tell(t, owner, r, node, all[name]) })
		}
	})
}

// teller is one of the two queues of a story.
type teller struct {
	*fixture
	node    *nodejs.Process
	base    map[string]any // of all requests
	promote func()
	heard   func() []string
}

// Do asks Node about this queue: one process knows those of all stories.
func (q *teller) Do(do string, args map[string]any, value any) {
	q.Helper()
	all := maps.Clone(q.base)
	maps.Copy(all, args)
	q.node.Do(do, all, value)
}

func tell(t, owner *testing.T, r release, node *nodejs.Process, s story) {
	var now atomic.Int64
	open := func() *teller {
		f := openDesk(owner, setup{config: func(c *bull.Config) {
			c.Now = func() time.Time { return time.UnixMilli(now.Load()) }
			c.GuardInterval, c.MetricsMaxDataPoints = time.Hour, s.points
		}})
		q := &teller{fixture: f, node: node, heard: f.listen(), base: map[string]any{"prefix": f.prefix}}
		if s.points > 0 {
			q.base["options"] = map[string]any{"metrics": map[string]any{"maxDataPoints": s.points}}
		}
		return q
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
			byUs.begin(consumer(s.names, &now))
		}
		byNode.idle()
		byUs.idle()
		compare(t, r, s, byNode, byUs, i)
	}
	byNode.Do("close", nil, nil)
	byUs.Do("close", nil, nil)
}

// consumer has the same handlers as driver/consumer.js.
func consumer(names []string, now *atomic.Int64) *bull.Consumer {
	h := newHands()
	h.now = func() time.Time { return time.UnixMilli(now.Load()) }
	handle := h.handle
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
