package fleet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestClusterFleet is case 14: on a cluster, with the hash tag in the prefix or in the queue's name, both sides see the same
// keys, and work on them as anywhere else.
func TestClusterFleet(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	cluster := redistest.StartCluster(t, false)
	for _, name := range [][2]string{{"{bull}", "email-queue"}, {"bull", "{email-queue}"}} {
		t.Run(strings.Join(name[:], ":"), func(t *testing.T) {
			f := newFleet(t, settings{
				URL: cluster.URL(), Cluster: redistest.Addrs(cluster.Masters), Prefix: name[0], Queue: name[1], WorkMS: 4,
			})
			f.joinFour()
			stop := f.ends()
			ids := f.produceBoth(2_000)
			f.awaitFinished(len(ids))
			ends := stop()

			outcomes, runs := f.outcomes(ids), f.runs()
			f.wantEnds(ids, outcomes)
			f.wantRuns(ids, outcomes, runs)
			f.wantNoStalls(outcomes, runs)
			f.wantShares(runs)
			f.wantNothingLeft(ids)
			f.wantOneEvent(ids, ends)
		})
	}
	client := newFleet(t, settings{URL: cluster.URL()}).redis
	if _, err := bull.New(client, bull.Config{}); err == nil || !strings.Contains(err.Error(), "BULL_PREFIX") {
		t.Errorf("New without a hash tag = %v, want an error that says what to set", err)
	}
}

// TestClusterFailover: the master of the queue's slot is killed under load, and its replica takes over.
func TestClusterFailover(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	cluster := redistest.StartCluster(t, true)
	f := newFleet(t, settings{
		URL: cluster.URL(), Cluster: redistest.Addrs(cluster.Masters), WorkMS: 40, LockMS: 2_000, StalledMS: 500, MaxStalled: 100,
	})
	f.failover(func() {
		master, err := f.server(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range cluster.Masters {
			if client, ok := master.(*redis.Client); ok && client.Options().Addr == s.Addr() {
				s.Kill()
				cluster.TakeOver(i)
				return
			}
		}
		t.Fatal("the queue is on none of the masters")
	})
}

// TestSentinelFailover: the master is killed under load, and the Sentinels promote its replica.
func TestSentinelFailover(t *testing.T) { //nolint:paralleltest // a fleet fills the machine
	needsServers(t)
	watched := redistest.StartWatched(t)
	f := newFleet(t, settings{
		URL: watched.URL(), Sentinels: redistest.Addrs(watched.Sentinels), Master: redistest.MasterName,
		WorkMS: 40, LockMS: 2_000, StalledMS: 500, MaxStalled: 100,
	})
	f.failover(watched.KillMaster)
}

// failover has a fleet work while the master is replaced. Jobs that the replica had are not lost; others, which are added
// all the time, are rung again by their ids, as the outbox does, and end once, too.
func (f *fleet) failover(replace func()) {
	f.Helper()
	const jobs = 3_000
	f.joinFour()
	safe := f.produceAhead(jobs)
	f.fence()
	rung := make(chan []string)
	go func() { rung <- f.ringMany(jobs / 10) }()

	f.awaitFinished(jobs / 4)
	replace()
	again := <-rung
	f.ring(again)
	all := slices.Concat(safe, again)
	f.awaitFinished(len(all))
	f.wantFinishedOnce(all)
	f.wantNothingLeft(all)
	f.wantAllAtWork(all)
}

// fence waits until a replica has all that was written until now.
func (f *fleet) fence() {
	f.Helper()
	server, err := f.server(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	client, ok := server.(*redis.Client)
	if !ok {
		f.Fatalf("the queue is on a %T", server)
	}
	connection := client.Conn() // WAIT is for what this connection has written, and all that came before
	defer func() { _ = connection.Close() }()
	if err := connection.Set(f.Context(), strings.TrimSuffix(f.base, ":")+"-fence", "", 0).Err(); err != nil {
		f.Fatal(err)
	}
	if n, err := connection.Wait(f.Context(), 1, time.Minute).Result(); err != nil || n < 1 {
		f.Fatalf("%d replicas have what was written: %v", n, err)
	}
}

// ringMany adds jobs ten at a time, each until that was confirmed.
func (f *fleet) ringMany(n int) []string {
	var ids []string
	for i := 0; i < n; i += 10 {
		var ten []string
		for j := range 10 {
			ten = append(ten, "ring-"+strconv.Itoa(i+j))
		}
		f.ring(ten)
		ids = append(ids, ten...)
	}
	return ids
}

func (f *fleet) ring(ids []string) {
	jobs := make([]bull.Job, len(ids))
	for i, id := range ids {
		jobs[i] = bull.Job{ID: id, Data: []byte(`{}`), Opts: retries}
	}
	redistest.Eventually(f, "jobs are added", func(ctx context.Context) error {
		_, err := f.queue.AddBulk(ctx, jobs)
		if err != nil && !bull.IsUnavailable(err) {
			f.Errorf("adding while Redis is away: %v (%s), which says that it is no use to try again", err, fmt.Sprintf("%T", err))
		}
		return err
	})
}
