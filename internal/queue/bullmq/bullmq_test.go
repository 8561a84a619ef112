package bullmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// start is the time at which every test begins.
const start = int64(1767323045000)

// onEachServer runs a test on a queue of its own: in the embedded Redis, and on a real cluster unless -short. What the
// stored keys must be, test/interop/bullmq says with the real BullMQ; this is about what it does not see.
func onEachServer(t *testing.T, test func(t *testing.T, q *bullmq.Queue, client redis.UniversalClient)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		test(t, open(t, connect(t, url), bullmq.Config{}), connect(t, url))
	})
	t.Run("cluster", func(t *testing.T) {
		if testing.Short() {
			t.Skip("needs Redis servers")
		}
		t.Parallel()
		url := redistest.StartCluster(t, false).URL()
		test(t, open(t, connect(t, url), bullmq.Config{}), connect(t, url))
	})
}

func connect(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func open(t *testing.T, client redis.UniversalClient, config bullmq.Config) *bullmq.Queue {
	t.Helper()
	config.Prefix, config.Queue = "{test}", "mail"
	config.Now = func() time.Time { return time.UnixMilli(start) }
	q, err := bullmq.New(client, config)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

const base = "{test}:mail:"

func TestQueue(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, q *bullmq.Queue, client redis.UniversalClient) {
		t.Helper()
		ctx := t.Context()
		rings := make([]outbox.Ring, 600)
		ids := make([]string, 0, len(rings))
		for i := range rings {
			rings[i] = outbox.Ring{BullID: fmt.Sprintf("job-%d", i), JobID: fmt.Sprintf("job-%d", i)}
			ids = append(ids, rings[i].BullID)
		}
		for range 2 { // the second time nothing happens
			if err := q.Ring(ctx, rings); err != nil {
				t.Fatal(err)
			}
		}
		if got := client.LLen(ctx, base+"wait").Val(); got != 600 {
			t.Errorf("%d jobs wait, want 600", got)
		}
		waiting, err := q.Waiting(ctx, append(ids, "never"))
		if err != nil || len(waiting) != 600 || waiting["never"] {
			t.Errorf("Waiting = %d ids, %v, want 600", len(waiting), err)
		}
		if _, err := q.AddBulk(ctx, []bullmq.Job{
			{Data: []byte(`{}`), Opts: bullmq.Opts{Delay: time.Minute}},
			{Data: []byte(`{}`), Opts: bullmq.Opts{Delay: time.Minute}},
			{Data: []byte(`{}`), Opts: bullmq.Opts{Priority: 3}},
		}); err != nil {
			t.Fatal(err)
		}
		want := bull.Counts{Waiting: 601, Delayed: 2}
		if got, err := q.Counts(ctx); err != nil || got != want {
			t.Errorf("Counts = %+v, %v, want %+v", got, err, want)
		}
		due := float64(start+60_000) * 4096
		wantDelayed := []redis.Z{{Member: "1201", Score: due}, {Member: "1202", Score: due + 1}}
		if diff := cmp.Diff(wantDelayed, client.ZRangeWithScores(ctx, base+"delayed", 0, -1).Val()); diff != "" {
			t.Errorf("delayed (-want +got):\n%s", diff)
		}
		wantMarker := []redis.Z{{Member: "0"}, {Member: "1", Score: float64(start + 60_000)}}
		if diff := cmp.Diff(wantMarker, client.ZRangeWithScores(ctx, base+"marker", 0, -1).Val()); diff != "" {
			t.Errorf("marker (-want +got):\n%s", diff)
		}
	})
}

// TestStateOfLeftovers: a hash that no list refers to never runs, nor does one without data.
func TestStateOfLeftovers(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, q *bullmq.Queue, client redis.UniversalClient) {
		t.Helper()
		ctx := t.Context()
		client.HSet(ctx, base+"zombie", "data", "{}")
		client.HSet(ctx, base+"ghost", "delay", "0")
		client.HSet(ctx, base+"parent", "data", "{}")
		client.ZAdd(ctx, base+"waiting-children", redis.Z{Member: "parent"})
		client.LPush(ctx, base+"active", "lost")
		want := map[string]bull.State{
			"zombie": bull.StateStuck, "ghost": bull.StateStuck, "parent": bull.StateDelayed, "lost": bull.StateAbsent,
			"wait": bull.StateAbsent,
		}
		got, err := q.State(ctx, []string{"zombie", "ghost", "parent", "lost", "wait"})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("State (error %v, -want +got):\n%s", err, diff)
		}
	})
}

// TestUnring takes jobs out of every list that a job waits in, and leaves all others. What is left of a job is nothing.
func TestUnring(t *testing.T) {
	t.Parallel()
	onEachServer(t, func(t *testing.T, q *bullmq.Queue, client redis.UniversalClient) {
		t.Helper()
		ctx := t.Context()
		rings := make([]outbox.Ring, 600)
		ids := []string{"late", "urgent", "unknown", "", "wait", "ended", "held", "child", "stuck"}
		for i := range rings {
			rings[i] = outbox.Ring{BullID: fmt.Sprintf("job-%d", i), JobID: fmt.Sprintf("job-%d", i)}
			ids = append(ids, rings[i].BullID)
		}
		if err := q.Ring(ctx, slices.Concat(rings, []outbox.Ring{{BullID: "other", JobID: "other"}})); err != nil {
			t.Fatal(err)
		}
		if _, err := q.AddBulk(ctx, []bullmq.Job{
			{ID: "late", Data: []byte(`{}`), Opts: bullmq.Opts{Delay: time.Minute}},
			{ID: "urgent", Data: []byte(`{}`), Opts: bullmq.Opts{Priority: 3}},
			{ID: "held", Data: []byte(`{}`)},
			{ID: "child", Data: []byte(`{}`)},
			{ID: "stuck", Data: []byte(`{}`)},
			{ID: "ended", Data: []byte(`{}`)},
		}); err != nil {
			t.Fatal(err)
		}
		client.Set(ctx, base+"held:lock", "token", 0)
		client.HSet(ctx, base+"child", "parentKey", base+"parent")
		client.LRem(ctx, base+"wait", 0, "stuck")
		client.LRem(ctx, base+"wait", 0, "ended")
		client.ZAdd(ctx, base+"completed", redis.Z{Member: "ended", Score: 1})
		for range 2 { // what is gone is no error
			if err := q.Unring(ctx, ids); err != nil {
				t.Fatal(err)
			}
			want := bull.Counts{Waiting: 3, Completed: 1}
			if got, err := q.Counts(ctx); err != nil || got != want {
				t.Errorf("Counts = %+v, %v, want %+v", got, err, want)
			}
			if diff := cmp.Diff([]string{"child", "held", "other"}, client.LRange(ctx, base+"wait", 0, -1).Val()); diff != "" {
				t.Errorf("wait (-want +got):\n%s", diff)
			}
			states, err := q.State(ctx, ids)
			for _, id := range ids[9:] {
				if states[id] != bull.StateAbsent {
					t.Errorf("%s is %s (error %v), want it gone", id, states[id], err)
				}
			}
			if removed := countRemoved(ctx, client); removed != 602 {
				t.Errorf("%d events tell of removed jobs, want 602", removed)
			}
		}
	})
}

func countRemoved(ctx context.Context, client redis.UniversalClient) (n int) {
	for _, entry := range client.XRange(ctx, base+"events", "-", "+").Val() {
		if entry.Values["event"] == "removed" {
			n++
		}
	}
	return n
}

// TestTargetWhilePaused: who works on the queue decides which list is right, and 5 is the answer that loses nothing.
func TestTargetWhilePaused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		major   int
		version string
		list    string
	}{
		{0, "", "paused"},
		{0, "bullmq:5.81.5", "paused"},
		{0, "bullmq:6.7.0", "wait"},
		{0, "bullmq:10.0.0", "wait"},
		{0, "bullmq-pro:7.1.0", "paused"},
		{5, "bullmq:6.7.0", "paused"},
		{6, "bullmq:5.81.5", "wait"},
		{6, "", "wait"},
	} {
		t.Run(fmt.Sprintf("%d, %s", test.major, test.version), func(t *testing.T) {
			t.Parallel()
			url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			client := connect(t, url)
			client.HSet(t.Context(), base+"meta", "paused", "1")
			if test.version != "" {
				client.HSet(t.Context(), base+"meta", "version", test.version)
			}
			q := open(t, client, bullmq.Config{Major: test.major})
			if _, err := q.Add(t.Context(), bullmq.Job{Data: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
			if ids := client.LRange(t.Context(), base+test.list, 0, -1).Val(); !cmp.Equal(ids, []string{"1"}) {
				t.Errorf("%s = %v, want the job", test.list, ids)
			}
			if client.Exists(t.Context(), base+"marker").Val() != 0 {
				t.Error("workers are woken although the queue is paused")
			}
		})
	}
}

func TestInvalidJobs(t *testing.T) {
	t.Parallel()
	url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client := connect(t, url)
	q := open(t, client, bullmq.Config{})
	for name, job := range map[string]bullmq.Job{
		"a number":            {ID: "42"},
		"a negative number":   {ID: "-42"},
		"a colon":             {ID: "a:b"},
		"a repeatable's id":   {ID: "a:b:c"},
		"a key's name":        {ID: "wait"},
		"a key of Bull's":     {ID: "meta-paused"},
		"too long":            {ID: strings.Repeat("a", 129)},
		"no object":           {Data: []byte(`null`)},
		"no JSON":             {Data: []byte(`{`)},
		"attempts":            {Opts: bullmq.Opts{Attempts: -1}},
		"delay":               {Opts: bullmq.Opts{Delay: -1}},
		"delay too short":     {Opts: bullmq.Opts{Delay: time.Microsecond}},
		"priority":            {Opts: bullmq.Opts{Priority: -1}},
		"priority too large":  {Opts: bullmq.Opts{Priority: bullmq.MaxPriority + 1}},
		"backoff":             {Opts: bullmq.Opts{Backoff: bullmq.Backoff{Type: "custom"}}},
		"backoff's delay":     {Opts: bullmq.Opts{Backoff: bullmq.Backoff{Type: bullmq.BackoffFixed, Delay: -1}}},
		"backoff's jitter":    {Opts: bullmq.Opts{Backoff: bullmq.Backoff{Type: bullmq.BackoffFixed, Jitter: 1.5}}},
		"removeOnComplete":    {Opts: bullmq.Opts{RemoveOnComplete: bull.KeepNewest(-1)}},
		"removeOnFail by age": {Opts: bullmq.Opts{RemoveOnFail: bull.KeepFor(-time.Hour, 0)}},
	} {
		if job.Data == nil {
			job.Data = []byte(`{}`)
		}
		_, err := q.AddBulk(t.Context(), []bullmq.Job{{Data: []byte(`{}`)}, job})
		if _, ok := errors.AsType[*bullmq.InvalidJobError](err); !ok {
			t.Errorf("%s: AddBulk = %v, want an *InvalidJobError", name, err)
		}
	}
	if keys := client.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("Redis has %v, want nothing", keys)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	client := connect(t, "redis://127.0.0.1:1")
	for _, config := range []bullmq.Config{
		{Queue: "a:b"}, {Queue: "a b"}, {Prefix: "a*"}, {Major: 4}, {Major: 7}, {MaxEvents: -1},
	} {
		if _, err := bullmq.New(client, config); err == nil {
			t.Errorf("New took %+v", config)
		}
	}
	if _, err := bullmq.New(nil, bullmq.Config{}); err == nil {
		t.Error("New took no client")
	}
	q, err := bullmq.New(client, bullmq.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Ring":         q.Ring(t.Context(), []outbox.Ring{{BullID: "a", JobID: "a"}}),
		"Unring":       q.Unring(t.Context(), []string{"a"}),
		"Ping":         q.Ping(t.Context()),
		"CheckDialect": q.CheckDialect(t.Context()),
	} {
		if !bull.IsUnavailable(err) {
			t.Errorf("%s without Redis = %v, want an error that says it is unavailable", what, err)
		}
	}
}
