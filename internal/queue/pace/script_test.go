package pace

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestSlots runs the scripts on each server: slots are an interval apart whoever asks, turns as far as the burst allows, and
// the last ones can be given back.
func TestSlots(t *testing.T) {
	t.Parallel()
	servers := map[string]func(t *testing.T) string{
		"embedded": func(t *testing.T) string {
			t.Helper()
			url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			return url
		},
		"real": func(t *testing.T) string {
			t.Helper()
			if testing.Short() {
				t.Skip("needs a Redis server")
			}
			url := os.Getenv("TEST_REDIS_URL")
			if url == "" {
				t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
			}
			return url
		},
		"cluster": func(t *testing.T) string {
			t.Helper()
			if testing.Short() {
				t.Skip("needs Redis servers")
			}
			return redistest.StartCluster(t, false).URL()
		},
	}
	for name, url := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := conn.Open(url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			testSlots(t, client)
			testTurns(t, client, "test-"+uuid.NewString())
			testPlan(t, client)
		})
	}
}

func testSlots(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	account := "test-" + uuid.NewString()
	open := func(worker string) *Pacer {
		p, err := New(client, account, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		p.worker = worker
		return p
	}
	a, b := open("a"), open("b")
	t.Cleanup(func() { client.Del(context.Background(), a.next, a.workers) })

	type slot struct {
		In      time.Duration
		Rank, N int
	}
	reserve := func(p *Pacer, slots int, notBefore time.Duration) slot {
		reply, err := p.call(t.Context(), slots, notBefore)
		if err != nil {
			t.Fatal(err)
		}
		return slot{(time.Duration(reply.wait) * time.Microsecond).Round(time.Minute), p.view.rank, p.view.n}
	}
	got := []slot{
		reserve(b, 1, 0),
		reserve(a, 2, 0),
		reserve(b, 0, 0),
		reserve(b, 1, 0),
		reserve(a, 1, 10*time.Hour),
		reserve(b, 1, 0),
	}
	want := []slot{
		{0, 0, 1},
		{time.Hour, 0, 2},
		{0, 1, 2},
		{3 * time.Hour, 1, 2},
		{10 * time.Hour, 0, 2},
		{11 * time.Hour, 1, 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}

	booked, err := a.reserve(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, wantFreed := range []int64{1, 0} { // the second time it is not the last any more
		freed, err := releaseScript.Run(t.Context(), client, []string{a.next}, booked.next, booked.first).Int64()
		if err != nil || freed != wantFreed {
			t.Errorf("release %d = %d, %v, want %d", i, freed, err, wantFreed)
		}
	}
	if got, want := reserve(b, 1, 0), (slot{12 * time.Hour, 1, 2}); got != want {
		t.Errorf("after giving back: %v, want %v", got, want)
	}
	if left := client.PTTL(t.Context(), a.next).Val(); left < 13*time.Hour-time.Minute || left > 14*time.Hour {
		t.Errorf("the next slot is remembered for %s, want until it begins, in 13h", left)
	}
}
