package worker

import (
	"testing"
	"time"
)

func TestRelayPausesOncePerWave(t *testing.T) {
	t.Parallel()
	r := &relay{random: func() float64 { return 1 }}
	trouble, works := effect{relay: relayTrouble}, effect{relay: relayWorks}
	check := func(step string, wantWait time.Duration, wantDown bool) int {
		t.Helper()
		epoch, wait, downAt := r.state(testNow)
		if wait != wantWait || !downAt.IsZero() != wantDown {
			t.Errorf("%s: wait %s, down since %s; want %s, down %t", step, wait, downAt, wantWait, wantDown)
		}
		return epoch
	}

	first := check("at first", 0, false)
	for range 10 { // ten mails in flight fail together
		r.news(trouble, first, testNow)
	}
	second := check("after one wave", time.Second, true)
	r.news(works, first, testNow) // one that began before the failure
	check("after a success of the wave before", time.Second, true)
	r.news(effect{}, second, testNow)
	check("after no news", time.Second, true)
	r.news(trouble, second, testNow)
	third := check("after a second wave", 2*time.Second, true)
	r.news(effect{relay: relayTrouble, retryAfter: time.Hour}, second, testNow)
	check("after the relay asked for time", time.Hour, true)
	r.news(works, third, testNow)
	check("after it works", 0, false)

	for range 20 {
		epoch, _, _ := r.state(testNow)
		r.news(trouble, epoch, testNow)
	}
	check("after twenty waves", relayMaxPause, true)
}
