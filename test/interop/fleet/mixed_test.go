package fleet

import (
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// many is the number of jobs of the test without disturbances.
const many = 20_000

// retries are the options of all jobs, for each producer.
var (
	retries   = bull.Opts{Attempts: attempts, Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: 20 * time.Millisecond}}
	retriesJS = map[string]any{"attempts": attempts, "backoff": map[string]any{"type": "fixed", "delay": 20}}
)

// joinFour starts two Node workers, of both versions, and two of ours.
func (f *fleet) joinFour() {
	f.Helper()
	f.join("node-new", nodeNew, nil)
	f.join("go-a", ours, nil)
	f.join("node-old", nodeOld, nil)
	f.join("go-b", ours, nil)
	f.await(4)
}

// produceBoth adds n jobs, half of them from Node.
func (f *fleet) produceBoth(n int) (ids []string) {
	f.Helper()
	wait := f.produceNode(nodeNew, "node", batch{Count: n / 2, Opts: retriesJS})
	urgent := retries
	urgent.Priority = 3
	ids = append(ids, f.produceGo("urgent", n/20, urgent)...)
	ids = append(ids, f.produceGo("go", n/2-n/20, retries)...)
	return append(ids, wait()...)
}

// produceAhead is produceBoth while the queue is paused, so that all of it is there when the work begins.
func (f *fleet) produceAhead(n int) (ids []string) {
	f.Helper()
	if err := f.queue.Pause(f.Context()); err != nil {
		f.Fatal(err)
	}
	ids = f.produceBoth(n)
	if err := f.queue.Resume(f.Context()); err != nil {
		f.Fatal(err)
	}
	return ids
}

// TestMixedFleet is case 37: every job ends once, whoever added it and whoever ran it.
func TestMixedFleet(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	f := newFleet(t, settings{URL: redistest.Start(t).URL(), WorkMS: 4})
	f.joinFour()
	stop := f.ends()
	ids := f.produceBoth(many)
	f.awaitFinished(len(ids))
	ends := stop()

	outcomes, runs := f.outcomes(ids), f.runs()
	f.wantEnds(ids, outcomes)
	f.wantRuns(ids, outcomes, runs)
	f.wantNoStalls(outcomes, runs)
	f.wantShares(runs)
	f.wantNothingLeft(ids)
	f.wantOneEvent(ids, ends)
}

// wantOneEvent checks that listeners were told of each end once.
func (f *fleet) wantOneEvent(ids []string, ends map[string]int) {
	f.Helper()
	for _, id := range ids {
		if ends[id] != 1 {
			f.Errorf("%d events tell of the end of job %s", ends[id], id)
		}
	}
	if len(ends) != len(ids) {
		f.Errorf("events tell of the end of %d jobs, want %d", len(ends), len(ids))
	}
}

// TestKilledFleet is case 38: every job ends, and runs again only where a stall was counted.
func TestKilledFleet(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	const jobs, kills = 10_000, 16
	f := newFleet(t, settings{
		URL: redistest.Start(t).URL(), WorkMS: 40, LockMS: 3_000, StalledMS: 500, MaxStalled: 100,
	})
	f.joinFour()
	stop := f.ends()
	ids := f.produceAhead(jobs)
	for i := range kills {
		f.awaitFinished((i + 1) * jobs / (kills + 2))
		m := f.members[i%len(f.members)] // Node and Go in turn
		m.kill()
		m.start()
	}
	f.awaitFinished(len(ids))
	ends := stop()

	outcomes, runs := f.outcomes(ids), f.runs()
	f.wantEnds(ids, outcomes)
	all, again := f.wantRuns(ids, outcomes, runs)
	f.wantShares(runs)
	f.wantNothingLeft(ids)
	f.wantOneEvent(ids, ends)
	if again == 0 {
		t.Errorf("%d processes were killed, and none of %d runs was a second one: they were idle", kills, all)
	}
	t.Logf("%d runs, %d of them after a death", all, again)
}
