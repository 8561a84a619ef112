package fleet

import (
	"context"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestFleetWithoutRedis is case 41: Redis is killed and started again, and cuts every connection, again and again under
// load. It keeps an append-only file, so that it forgets nothing; the fleet loses nothing, and goes on by itself.
func TestFleetWithoutRedis(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	const jobs = 4_000
	// What was confirmed was written before; the machine does not crash, so nothing depends on fsync.
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	f := newFleet(t, settings{URL: server.URL(), WorkMS: 40, LockMS: 2_000, StalledMS: 500, MaxStalled: 100})
	f.joinFour()
	ids := f.produceAhead(jobs)
	for i, outage := range []func(){
		func() { f.cutAll() },
		func() { server.Kill(); server.Start() },
		func() { server.Stop(); server.Start() },
		func() { f.cutAll() },
	} {
		f.awaitFinished((i + 1) * jobs / 6)
		outage()
	}
	f.awaitFinished(len(ids))
	f.wantFinishedOnce(ids)
	f.wantNothingLeft(ids)
	f.wantAllAtWork(ids)
}

// wantAllAtWork checks that each member takes part in more work, rather than only those that were quick to come back.
func (f *fleet) wantAllAtWork(ids []string) {
	f.Helper()
	before := map[string]int{}
	for _, m := range f.members {
		before[m.settings.Name] = m.lines()
	}
	more := f.produceGo("after", 2_000, retries)
	f.awaitFinished(len(ids) + len(more))
	for _, m := range f.members {
		if m.lines() == before[m.settings.Name] {
			f.Errorf("%s has not run a job since the last outage", m.settings.Name)
		}
	}
	f.wantFinishedOnce(more)
}

// cutAll has Redis end all connections but this one.
func (f *fleet) cutAll() {
	f.Helper()
	redistest.Eventually(f, "all connections are cut", func(ctx context.Context) error {
		for _, kind := range []string{"pubsub", "normal"} {
			if err := f.redis.Do(ctx, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

// wantFinishedOnce is wantEnds where Redis was away. Bull then sends commands again that were carried out already, takes the
// refusal for a failed attempt and notes that in the job's hash, finished or not; and of the two scripts that end an attempt
// badly, a Redis that was restarted may not know the one or the other, so that the attempt is not counted, or the job stalls.
// What counts is that each ended, once.
func (f *fleet) wantFinishedOnce(ids []string) {
	f.Helper()
	noted := 0
	for id, o := range f.outcomes(ids) {
		if o.completed == o.failed || !o.finished {
			f.Errorf("job %s: %+v, want it completed or failed", id, o)
		}
		if failsAlways(id) != o.failed {
			noted++
		}
	}
	f.Logf("%d of %d jobs did not end as their ids say", noted, len(ids))
}

// lines is how many runs a member has recorded.
func (m *member) lines() int {
	m.Helper()
	return strings.Count(m.read(), "\n")
}
