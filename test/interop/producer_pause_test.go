package interop

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// addKinds adds a job of each kind that is placed in a way of its own, by Node and by us in turns.
func (f *fixture) addKinds() []string {
	f.Helper()
	ids := []string{"go-plain", "node-plain", "go-urgent", "node-urgent", "go-lifo", "node-lifo", "go-late", "node-late"}
	kinds := map[string]struct {
		node object
		ours bull.Opts
	}{
		"plain":  {nil, bull.Opts{}},
		"urgent": {object{"priority": 2}, bull.Opts{Priority: 2}},
		"lifo":   {object{"lifo": true}, bull.Opts{LIFO: true}},
		"late":   {object{"delay": 20}, bull.Opts{Delay: 20 * time.Millisecond}},
	}
	for _, id := range ids {
		kind := kinds[id[slices.Index([]byte(id), '-')+1:]]
		f.addBoth(id, kind.node, kind.ours)
	}
	return ids
}

// TestAddWhilePaused: what is added while either side has paused the queue waits in the list paused, where Bull keeps it,
// and runs, once each and in its order, when either side resumes.
func TestAddWhilePaused(t *testing.T) {
	t.Parallel()
	pauses := map[string]func(*fixture, string){
		"Node": func(f *fixture, do string) { f.ask(do, nil, nil) },
		"we": func(f *fixture, do string) {
			err := map[string]func() error{
				"pause":  func() error { return f.queue.Pause(f.Context()) },
				"resume": func() error { return f.queue.Resume(f.Context()) },
			}[do]()
			if err != nil {
				f.Fatal(err)
			}
		},
	}
	onEach(t, setup{}, func(desk *fixture, _ release) {
		for pauser, pause := range pauses {
			for resumer, resume := range pauses {
				desk.openBeside(asItIs).addsWhilePaused(pauser+" pause, "+resumer+" resume", pause, resume)
			}
		}
	})
}

func (f *fixture) addsWhilePaused(what string, pause, resume func(*fixture, string)) {
	f.Helper()
	f.ask("listen", object{"events": []string{"paused", "resumed"}}, nil)
	f.add(bull.Job{ID: "go-before"})
	pause(f, "pause")
	f.node.Next("paused")
	f.ask("process", nil, nil)
	ids := append([]string{"go-before"}, f.addKinds()...)
	f.eventually("all are in paused", func() bool {
		return f.redis.LLen(f.Context(), f.key("paused")).Val() == int64(len(ids))
	})
	f.isPausedForAll(true)
	list := f.redis.LRange(f.Context(), f.key("paused"), 0, -1).Val()
	slices.Reverse(list)
	if diff := cmp.Diff(slices.Sorted(slices.Values(ids)), slices.Sorted(slices.Values(list))); diff != "" {
		f.Errorf("%s: paused (-want +got):\n%s", what, diff)
	}
	if all := f.raw(); all["wait"] != nil || all["active"] != nil {
		f.Errorf("%s: while paused, wait is %v and active %v", what, all["wait"], all["active"])
	}

	resume(f, "resume")
	if diff := cmp.Diff(list, f.runs(len(list))); diff != "" {
		f.Errorf("%s: Node ran (-want +got):\n%s", what, diff)
	}
	f.reaches(bull.StateCompleted, ids...)
	f.isPausedForAll(false)
	all := f.raw()
	for _, key := range []string{"wait", "paused", "active", "delayed", "priority", "meta-paused", "meta"} {
		if all[key] != nil {
			f.Errorf("%s: %s is left: %v", what, key, all[key])
		}
	}
}

// isPausedForAll asks both sides.
func (f *fixture) isPausedForAll(want bool) {
	f.Helper()
	var byNode bool
	f.ask("isPaused", nil, &byNode)
	byUs, err := f.queue.IsPaused(f.Context())
	if err != nil || byNode != want || byUs != want {
		f.Errorf("paused: Node says %v, we say %v, %v; want %v", byNode, byUs, err, want)
	}
}

// TestPauseEqualsBulls: both sides pause and resume a queue with jobs in the same way, also twice.
func TestPauseEqualsBulls(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(byNode *fixture, _ release) {
		byUs := openDesk(byNode.T, setup{})
		for _, f := range []*fixture{byNode, byUs} {
			f.add(bull.Job{ID: "a"})
			f.add(bull.Job{ID: "b", Opts: bull.Opts{Priority: 1}})
		}
		for _, step := range []string{"pause", "pause", "resume", "resume"} {
			events := map[*fixture]func() []string{byNode: byNode.overhear(), byUs: byUs.overhear()}
			byNode.ask(step, nil, nil)
			do := byUs.queue.Pause
			if step == "resume" {
				do = byUs.queue.Resume
			}
			if err := do(byNode.Context()); err != nil {
				byNode.Fatal(err)
			}
			same(byNode.T, step, byNode, byUs)
			if diff := cmp.Diff(events[byNode](), events[byUs]()); diff != "" {
				byNode.Errorf("%s: what is published (-Node +ours):\n%s", step, diff)
			}
		}
	})
}

// TestDebounce: a debounce id that either side's job holds drops the other side's adds, until the job ends or, with a
// time of its own, until that is over. 4.10.4 does not know debounce: it drops nothing, and we do as always.
func TestDebounce(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(desk *fixture, r release) {
		for _, ttl := range []time.Duration{0, time.Hour} {
			option := object{"id": "d"}
			if ttl > 0 {
				option["ttl"] = ttl.Milliseconds()
			}
			byNode := object{"debounce": option}
			ours := bull.Job{Data: []byte("{}"), Opts: bull.Opts{Debounce: bull.Debounce{ID: "d", TTL: ttl}}}

			f := desk.openBeside(asItIs)
			f.wantAdded(ours, bull.Added{ID: "1", Created: true})
			f.wantAdded(ours, bull.Added{ID: "1", Created: false})
			wantID := "1"
			if r.old {
				wantID = "3"
			}
			if got := f.nodeAdds("", byNode); got != wantID {
				desk.Errorf("ttl %s: Node added job %s beside our 1, want %s", ttl, got, wantID)
			}
			f.ask("process", nil, nil)
			f.reaches(bull.StateCompleted, "1", wantID)
			again := bull.Added{ID: "1", Created: false} // the time is not over
			if ttl == 0 {
				again = bull.Added{ID: "4", Created: true}
				if r.old {
					again = bull.Added{ID: "1", Created: false} // it does not free the id as the job ends
				}
			}
			f.wantAdded(ours, again)
			if r.old {
				continue
			}

			// The other way round: Node's job, our worker.
			other := desk.openBeside(asItIs)
			if got := other.nodeAdds("", byNode); got != "1" {
				desk.Fatalf("Node added job %s", got)
			}
			other.wantAdded(ours, bull.Added{ID: "1", Created: false})
			other.begin(&bull.Consumer{Handler: newHands().handle})
			other.reaches(bull.StateCompleted, "1")
			wantID = "1"
			if ttl == 0 {
				wantID = "3"
			}
			if got := other.nodeAdds("", byNode); got != wantID {
				desk.Errorf("ttl %s: after our worker ended it, Node's add returned %s, want %s", ttl, got, wantID)
			}
		}
	})
}

func (f *fixture) wantAdded(job bull.Job, want bull.Added) {
	f.Helper()
	got, err := f.queue.Add(f.Context(), job)
	if err != nil || got != want {
		f.Errorf("Add = %+v, %v, want %+v", got, err, want)
	}
}
