package interop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// runs waits until Node's worker has begun n jobs, and returns their ids in this order.
func (f *fixture) runs(n int) []string {
	f.Helper()
	var ids []string
	for range n {
		ids = append(ids, f.node.Next("run").ID)
	}
	return ids
}

// reaches waits until all these jobs are in a state.
func (f *fixture) reaches(state bull.State, ids ...string) {
	f.Helper()
	f.eventually(fmt.Sprintf("%v are %s", ids, state), func() bool {
		states, err := f.queue.State(f.Context(), ids)
		return err == nil && !slices.ContainsFunc(ids, func(id string) bool { return states[id] != state })
	})
}

// addBoth adds plain jobs with these options by Node ("node-…") or by us.
func (f *fixture) addBoth(id string, options object, ours bull.Opts) {
	f.Helper()
	if strings.HasPrefix(id, "node-") {
		f.nodeAdds(id, options)
	} else {
		f.add(bull.Job{ID: id, Opts: ours})
	}
}

// TestNodeRunsWhatWeAdd: the job that a Node worker's handler sees is the one that we added.
func TestNodeRunsWhatWeAdd(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("process", nil, nil)
		f.add(bull.Job{Data: []byte(`{"jobUuid":"ä"}`)})
		if got := f.node.Next("run"); got.ID != "1" || got.Name != "__default__" || string(got.Data) != `{"jobUuid":"ä"}` {
			f.Errorf("Node's handler saw %+v", got)
		}
		f.reaches(bull.StateCompleted, "1")
		var got object
		f.ask("state", object{"id": "1"}, &got)
		if diff := cmp.Diff(object{"saw": object{"jobUuid": "ä"}, "attempts": 0.0}, got["returnvalue"]); diff != "" {
			f.Errorf("the result (-want +got):\n%s", diff)
		}
	})
}

// TestNodeKnowsWhereOurJobsAre: Bull's own getters find each job where ours do.
func TestNodeKnowsWhereOurJobsAre(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.add(bull.Job{ID: "plain"})
		f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Hour}})
		f.add(bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 1}})
		want := map[string]string{"plain": "waiting", "late": "delayed", "urgent": "waiting", "none": "absent"}
		got := map[string]string{}
		for id := range want {
			var state struct{ State string }
			f.ask("state", object{"id": id}, &state)
			got[id] = state.State
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("Bull's getState (-want +got):\n%s", diff)
		}
		var counts map[string]int
		f.ask("counts", nil, &counts)
		if diff := cmp.Diff(map[string]int{"waiting": 2, "active": 0, "completed": 0, "failed": 0, "delayed": 1, "paused": 0}, counts); diff != "" {
			f.Errorf("Bull's getJobCounts (-want +got):\n%s", diff)
		}
	})
}

// TestNodeRunsOurDelayedJobWhenDue: Bull looks for due jobs when the channel "delayed" tells it to, else each guard
// interval, which is longer here than the test may take.
func TestNodeRunsOurDelayedJobWhenDue(t *testing.T) {
	t.Parallel()
	onEach(t, setup{settings: object{"guardInterval": time.Hour.Milliseconds()}}, func(f *fixture, _ release) {
		f.ask("process", nil, nil)
		f.eventually("Node listens", func() bool {
			return f.redis.PubSubNumSub(f.Context(), f.key("delayed")).Val()[f.key("delayed")] > 0
		})
		f.add(bull.Job{ID: "first"}) // its worker is idle then
		f.reaches(bull.StateCompleted, "first")

		const delay = 150 * time.Millisecond
		f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: delay}})
		f.reaches(bull.StateCompleted, "late")
		hash := f.redis.HGetAll(f.Context(), f.key("late")).Val()
		added, _ := strconv.ParseInt(hash["timestamp"], 10, 64)
		ran, _ := strconv.ParseInt(hash["processedOn"], 10, 64)
		if ran < added+delay.Milliseconds() {
			f.Errorf("added at %d for %s later, ran at %d", added, delay, ran)
		}
		if hash["delay"] != "0" || f.redis.Exists(f.Context(), f.key("delayed")).Val() != 0 {
			f.Errorf("after it ran: hash %v, delayed %v", hash, f.raw()["delayed"])
		}
	})
}

// TestPriorityOrder: jobs run by priority and then in the order of adding, when both sides add by turns.
func TestPriorityOrder(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		byNode := map[bool]string{true: "node", false: "go"}
		var lists [][]string
		for _, nodeFirst := range []bool{true, false} {
			add := func(from, to int) {
				for i := from; i < to; i++ {
					side := byNode[(i%2 == 0) == nodeFirst]
					f.addBoth(fmt.Sprintf("%s-%d", side, i), object{"priority": priorities[i]}, bull.Opts{Priority: priorities[i]})
				}
			}
			add(0, 5)
			// One that is taken leaves the order of the others as it is.
			taken, err := f.queue.Take(f.Context(), "")
			if err != nil {
				f.Fatal(err)
			}
			add(5, len(priorities))
			var order []string
			for _, id := range slices.Backward(f.redis.LRange(f.Context(), f.key("wait"), 0, -1).Val()) {
				order = append(order, id[strings.Index(id, "-")+1:])
			}
			lists = append(lists, append([]string{taken.Delivery.ID[strings.Index(taken.Delivery.ID, "-")+1:]}, order...))
			f.ask("process", nil, nil)
			var ran []string
			for _, id := range f.runs(len(priorities) - 1) {
				ran = append(ran, id[strings.Index(id, "-")+1:])
			}
			if diff := cmp.Diff(order, ran); diff != "" {
				f.Errorf("Node ran in another order than wait has (-wait +ran):\n%s", diff)
			}
			if nodeFirst {
				f = f.openBeside(asItIs)
			}
		}
		want := []string{"2", "6", "1", "3", "4", "0", "5"}
		for _, order := range lists {
			if diff := cmp.Diff(want, order); diff != "" {
				f.Errorf("order of running (-want +got):\n%s", diff)
			}
		}
	})
}

// TestLIFO: the last comes first, whoever adds it.
func TestLIFO(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.addBoth("node-a", nil, bull.Opts{})
		f.addBoth("go-b", nil, bull.Opts{})
		f.addBoth("go-c", nil, bull.Opts{LIFO: true})
		f.addBoth("node-d", object{"lifo": true}, bull.Opts{})
		f.addBoth("go-e", nil, bull.Opts{LIFO: true})
		f.ask("process", nil, nil)
		if diff := cmp.Diff([]string{"go-e", "node-d", "go-c", "node-a", "go-b"}, f.runs(5)); diff != "" {
			f.Errorf("Node ran (-want +got):\n%s", diff)
		}
	})
}

// TestBulkOrder: a bulk with duplicates is run in the order of the call, each id once.
func TestBulkOrder(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(byUs *fixture, _ release) {
		byNode := byUs.openBeside(asItIs)
		var jobs []bull.Job
		var wanted []string
		var bulk []object
		for i := range 1000 {
			id := fmt.Sprintf("j-%d", i)
			if i%100 == 99 {
				id = fmt.Sprintf("j-%d", i-99) // known by then
			} else {
				wanted = append(wanted, id)
			}
			jobs = append(jobs, bull.Job{ID: id, Data: fmt.Appendf(nil, `{"n":%d}`, i)})
			bulk = append(bulk, object{"data": object{"n": i}, "opts": object{"jobId": id}})
		}
		added, err := byUs.queue.AddBulk(byUs.Context(), jobs)
		if err != nil {
			byUs.Fatal(err)
		}
		var created []string
		for _, a := range added {
			if a.Created {
				created = append(created, a.ID)
			}
		}
		if diff := cmp.Diff(wanted, created); diff != "" {
			byUs.Errorf("created (-want +got):\n%s", diff)
		}
		byNode.ask("addBulk", object{"jobs": bulk}, nil)
		same(byUs.T, "a bulk", byNode, byUs)
		byUs.ask("process", nil, nil)
		if diff := cmp.Diff(wanted, byUs.runs(len(wanted))); diff != "" {
			byUs.Errorf("Node ran (-want +got):\n%s", diff)
		}
	})
}

// TestHashTags: with a hash tag in prefix or queue, as a Redis Cluster needs it, both sides use the same keys.
func TestHashTags(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(desk *fixture, _ release) {
		for name, config := range map[string]bull.Config{
			"prefix": {Prefix: "{interop:" + uuid.NewString() + "}", Queue: queueName},
			"queue":  {Prefix: "interop:" + uuid.NewString(), Queue: "{email-queue}"},
		} {
			f := desk.openBeside(func(c *bull.Config) { c.Prefix, c.Queue = config.Prefix, config.Queue })
			base := config.Prefix + ":" + config.Queue + ":"
			f.nodeAdds("node", object{"priority": 2})
			f.add(bull.Job{ID: "go", Opts: bull.Opts{Priority: 1}})
			f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Hour}})
			if got := f.redis.LRange(desk.Context(), base+"wait", 0, -1).Val(); !slices.Equal(got, []string{"node", "go"}) {
				desk.Errorf("%s: %swait is %v", name, base, got)
			}
			f.ask("process", nil, nil)
			if diff := cmp.Diff([]string{"go", "node"}, f.runs(2)); diff != "" {
				desk.Errorf("%s: Node ran (-want +got):\n%s", name, diff)
			}
			f.reaches(bull.StateCompleted, "go", "node")
			var late struct{ State string }
			if f.ask("state", object{"id": "late"}, &late); late.State != "delayed" {
				desk.Errorf("%s: Node finds late to be %s", name, late.State)
			}
		}
	})
}

// TestBackoffOfOurJobs: with attempts and exponential backoff from us, a Node worker tries again after 1 and 3 times the
// delay. Its clock stands still, so due times are exact.
func TestBackoffOfOurJobs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		backoff bull.Backoff
		want    []int64 // ms after the failed attempts
	}{
		"exponential": {bull.Backoff{Type: bull.BackoffExponential, Delay: 100 * time.Millisecond}, []int64{100, 300}},
		"fixed":       {bull.Backoff{Type: bull.BackoffFixed, Delay: 70 * time.Millisecond}, []int64{70, 70}},
	}
	onEach(t, setup{config: standstill}, func(f *fixture, _ release) {
		f.ask("clock", object{"now": start}, nil)
		f.ask("process", nil, nil)
		n := 0
		for name, test := range tests {
			n++
			id, now := strconv.Itoa(n), start
			f.ask("clock", object{"now": now}, nil)
			f.add(bull.Job{Data: []byte(`{"do":"failTwice"}`), Opts: bull.Opts{Attempts: 3, Backoff: test.backoff}})
			for i, after := range test.want {
				f.reaches(bull.StateDelayed, id)
				due := now + after
				want := object{"delayed": map[string]float64{id: float64(due*4096 + int64(n))}, "attemptsMade": strconv.Itoa(i + 1), "delay": "0"}
				hash := f.redis.HGetAll(f.Context(), f.key(id)).Val()
				got := object{"delayed": f.raw()["delayed"], "attemptsMade": hash["attemptsMade"], "delay": hash["delay"]}
				if diff := cmp.Diff(want, got); diff != "" {
					f.Errorf("%s: after attempt %d (-want +got):\n%s", name, i+1, diff)
				}
				now = due + 1 // the low bits of the score are the id's
				f.ask("clock", object{"now": now}, nil)
				f.ask("promoteDue", nil, nil)
			}
			f.reaches(bull.StateCompleted, id)
			var got object
			f.ask("state", object{"id": id}, &got)
			want := object{"state": "completed", "attemptsMade": 2.0, "returnvalue": "third time"}
			if diff := cmp.Diff(want, object{"state": got["state"], "attemptsMade": got["attemptsMade"], "returnvalue": got["returnvalue"]}); diff != "" {
				f.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

// TestNodeHearsOfOurAdds: a listener on global:waiting is told the id of each job that is ready.
func TestNodeHearsOfOurAdds(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(f *fixture, _ release) {
		f.ask("listen", object{"events": []string{"waiting"}}, nil)
		f.add(bull.Job{})
		f.add(bull.Job{ID: "late", Opts: bull.Opts{Delay: time.Millisecond}})
		f.add(bull.Job{ID: "urgent", Opts: bull.Opts{Priority: 1}})
		f.eventually("late is due", func() bool {
			moved, _, err := f.queue.PromoteDue(f.Context())
			return err == nil && moved == 1
		})
		if err := f.queue.Pause(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.add(bull.Job{ID: "kept-back"})
		var heard []string
		for range 4 {
			heard = append(heard, f.node.Next("waiting").ID)
		}
		if diff := cmp.Diff([]string{"1", "urgent", "late", "kept-back"}, heard); diff != "" {
			f.Errorf("global:waiting told of (-want +got):\n%s", diff)
		}
	})
}
