package queuetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// beside returns another queue on the same server.
func (f *fixture) beside(t *testing.T) *fixture {
	t.Helper()
	g := *f
	g.config.Queue = "beside"
	g.base = g.config.Prefix + ":beside:"
	g.queue = g.open(t, func(*bull.Config) {})
	t.Cleanup(func() {
		ctx := context.Background()
		for _, key := range g.scan(ctx, t) {
			g.redis.Del(ctx, key)
		}
	})
	return &g
}

// listen notes what is published about the queue, as "channel payload" without base and tokens, until the returned
// function is called.
func (f *fixture) listen(t *testing.T) (stop func() []string) {
	t.Helper()
	ctx := t.Context()
	sub := f.redis.PSubscribe(ctx, f.base+"*")
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		t.Helper()
		f.redis.Publish(ctx, f.base+"end", "")
		var all []string
		for {
			message, err := sub.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			channel, _, _ := strings.Cut(strings.TrimPrefix(message.Channel, f.base), "@")
			if channel == "end" {
				return all
			}
			all = append(all, channel+" "+message.Payload)
		}
	}
}

// anyJobs are jobs of all kinds, in runs of some length, with ids that come again.
func anyJobs(random *rand.Rand, n int) (jobs []bull.Job) {
	kinds := []bull.Opts{
		{},
		{RemoveOnComplete: bull.KeepNone()},
		{LIFO: true},
		{Priority: 3},
		{Priority: 1, Attempts: 3, Backoff: bull.Backoff{Type: bull.BackoffFixed, Delay: time.Second}},
		{Delay: time.Minute},
		{Debounce: bull.Debounce{ID: "one"}},
		{Debounce: bull.Debounce{ID: "two", TTL: time.Hour}, LIFO: true},
	}
	for len(jobs) < n {
		job := bull.Job{Opts: kinds[random.IntN(len(kinds))]}
		if random.IntN(4) == 0 {
			job.Name = "named"
		}
		for range 1 + random.IntN(40) {
			job.ID = ""
			if random.IntN(2) == 0 {
				job.ID = fmt.Sprintf("id-%d", random.IntN(n/2))
			}
			job.Data = fmt.Appendf(nil, `{"jobUuid":"%d"}`, len(jobs))
			jobs = append(jobs, job)
		}
	}
	return jobs[:n]
}

// testAddBulkIsAddInTurn adds the same jobs at once and one after another.
func testAddBulkIsAddInTurn(t *testing.T, f *fixture) {
	single := f.beside(t)
	jobs := anyJobs(rand.New(rand.NewPCG(1, 2)), 700)
	published, publishedSingly := f.listen(t), single.listen(t)

	got, err := f.queue.AddBulk(t.Context(), jobs)
	if err != nil {
		t.Fatal(err)
	}
	var want []bull.Added
	for _, job := range jobs {
		added, err := single.queue.Add(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, added)
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what AddBulk returned (-one by one +at once):\n%s", diff)
	}
	if diff := cmp.Diff(single.dump(t), f.dump(t)); diff != "" {
		t.Errorf("all keys (-one by one +at once):\n%s", diff)
	}
	if diff := cmp.Diff(publishedSingly(), published()); diff != "" {
		t.Errorf("events (-one by one +at once):\n%s", diff)
	}
}

// testAddBulkBreaksOff lets a call fail in the middle: the jobs before are whole, and nothing is there of the others.
func testAddBulkBreaksOff(t *testing.T, f *fixture) {
	state := dump{"id": "10", "13": "not a job"}
	f.seed(t, state)
	jobs := []bull.Job{{}, {ID: "mine"}, {}, {}, {ID: "later"}}
	for i := range jobs {
		jobs[i].Data = []byte(`{"jobUuid":"x"}`)
	}
	if _, err := f.queue.AddBulk(t.Context(), jobs); err == nil {
		t.Error("AddBulk returned no error")
	}
	maps.Copy(state, dump{
		"id": "15", "wait": list{"mine", "11"}, "11": job(nil),
		"mine": job(hash{"opts": `{"jobId":"mine","attempts":1,"delay":0,"timestamp":1767323045000}`}),
	})
	f.want(t, state)
}

// testAddBulkLarge divides jobs by the size of their data, too.
func testAddBulkLarge(t *testing.T, f *fixture) {
	want := dump{"id": "5", "wait": list{"5", "4", "3", "2", "1"}}
	var jobs []bull.Job
	for i := range 5 {
		data := fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("x", 600<<10))
		jobs = append(jobs, bull.Job{Data: []byte(data)})
		want[fmt.Sprint(i+1)] = job(hash{"data": data})
	}
	if _, err := f.queue.AddBulk(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	f.want(t, want)
}
