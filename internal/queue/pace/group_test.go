package pace

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// planned is what Plan returned, in minutes.
type planned struct {
	N, First, Every int
}

// testPlan: moments of a campaign follow each other, as far apart as its share of the rate has them, and none is further
// away than asked.
func testPlan(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	rates, account := NewRates(client), "test-"+uuid.NewString()
	group := rates.Group(account, "gmail.com", 1, time.Minute, 1)
	plan := func(g *Group, campaign string, n int, farthest time.Duration) planned {
		got, first, every := g.Plan(t.Context(), campaign, n, farthest)
		return planned{got, int(time.Until(first).Round(time.Minute) / time.Minute), int(every / time.Minute)}
	}
	other := NewRates(client).Group(account, "gmail.com", 1, time.Minute, 1) // another worker's
	got := []planned{
		plan(group, "a", 10, time.Hour),
		plan(other, "a", 10, time.Hour),
		plan(group, "b", 10, time.Hour), // which has half of the rate from now on
		plan(other, "a", 10, time.Hour),
		plan(other, "a", 100, time.Hour),
		plan(other, "a", 1, 30*time.Minute),
		plan(rates.Group(account, "yahoo.com", 1, time.Minute, 1), "a", 2, time.Hour),
		plan(rates.Group(account+"-other", "gmail.com", 1, time.Minute, 1), "a", 2, time.Hour),
	}
	want := []planned{
		{10, 0, 1},
		{10, 10, 1},
		{10, 0, 2},
		{10, 20, 2},
		{11, 40, 2},
		{0, 62, 2},
		{2, 0, 1},
		{2, 0, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plans (-want +got):\n%s", diff)
	}
}

// TestPlanWithoutRedis: the moments of one call are as far apart as this worker's share of the rate has them.
func TestPlanWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		group, other := s.rates(t).Group("a", "gmail.com", 60, time.Minute, 1), s.rates(t).Group("a", "gmail.com", 60, time.Minute, 1)
		for _, g := range []*Group{other, group} {
			if _, _, _, err := g.Take(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		s.leave()
		n, first, every := group.Plan(t.Context(), "c", 100, time.Minute)
		if n != 31 || every != 2*time.Second || time.Until(first) > 0 {
			t.Errorf("planned %d from %s on, every %s, want 31 from now on, every 2s", n, time.Until(first), every)
		}
	})
}
