package pace

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// rates returns those of one more worker.
func (s *server) rates(t *testing.T) *Rates {
	t.Helper()
	return NewRates(s.client(t))
}

// mailing sends through a rate as a worker does: window mails at most are asked for, and each goes when its turn has come,
// until ctx ends. It returns when they went.
func mailing(ctx context.Context, t *testing.T, rate *Rate, window int) []time.Time {
	t.Helper()
	var sent []time.Time
	for {
		n, first, every, err := rate.Take(ctx, window)
		if err != nil {
			return sent
		}
		if n < 1 || n > window {
			t.Errorf("got %d turns of %d", n, window)
		}
		if last := time.Until(first.Add(time.Duration(n-1) * every)); last > horizon+time.Millisecond {
			t.Errorf("the last of %d turns is %s away", n, last)
		}
		for i := range n {
			select {
			case <-time.After(time.Until(first.Add(time.Duration(i) * every))):
				sent = append(sent, time.Now())
			case <-ctx.Done():
				return sent
			}
		}
	}
}

// mailAll has all rates send for so long, each with so many runs at once, and returns when mails went, in order.
func mailAll(t *testing.T, lasting time.Duration, window, runs int, rates ...*Rate) []time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var mu sync.Mutex
	var all []time.Time
	var group sync.WaitGroup
	for _, rate := range rates {
		for range runs {
			group.Go(func() {
				sent := mailing(ctx, t, rate, window)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, sent...)
			})
		}
	}
	group.Wait()
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// most is the largest number of mails in any time of that length.
func most(sent []time.Time, length time.Duration) int {
	largest, from := 0, 0
	for i := range sent {
		for sent[i].Sub(sent[from]) >= length {
			from++
		}
		largest = max(largest, i-from+1)
	}
	return largest
}

// TestRateIsKeptAndReached: over all workers and runs together, no more than the rate and the burst in any time, and in the
// long run the rate to two percent.
func TestRateIsKeptAndReached(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		messages int
		period   time.Duration
		burst    int
		lasting  time.Duration
	}{
		"600 a minute":             {600, time.Minute, 1, 3 * time.Minute},
		"600 a minute, burst 100":  {600, time.Minute, 100, 3 * time.Minute},
		"7 an hour":                {7, time.Hour, 1, 6 * time.Hour},
		"1000 a second":            {1000, time.Second, 1, 20 * time.Second},
		"7000 a second, burst 500": {7000, time.Second, 500, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				var rates []*Rate
				for range 2 {
					rates = append(rates, s.rates(t).Of("shop/spring", test.messages, test.period, test.burst))
				}
				began := time.Now()
				sent := mailAll(t, test.lasting, 80, 2, rates...)

				every := test.period / time.Duration(test.messages)
				want := float64(test.burst-1) + float64(test.lasting)/float64(every)
				if got := float64(len(sent)); got < 0.98*want-1 || got > 1.0001*want+1 {
					t.Errorf("%d mails were sent, want %.0f", len(sent), want)
				}
				// A turn may be late by the grace, and the next not.
				for _, length := range []time.Duration{every, time.Second, test.lasting / 3} {
					limit := test.burst + int((length+rates[0].late)/every) + 1
					if got := most(sent, length); got > limit {
						t.Errorf("%d mails went in %s, want at most %d", got, length, limit)
					}
				}
				if at := len(sent) - 1; at > test.burst && sent[test.burst-1].Sub(began) > time.Millisecond {
					t.Errorf("the burst took %s", sent[test.burst-1].Sub(began))
				}
			})
		})
	}
}

// TestBurstComesBackWithQuiet: what is not sent is saved up to the burst, and no further.
func TestBurstComesBackWithQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a, b := s.rates(t).Of("c", 60, time.Minute, 10), s.rates(t).Of("c", 60, time.Minute, 10)
		for _, quiet := range []time.Duration{0, 5 * time.Second, time.Hour} {
			<-time.After(quiet)
			at := time.Now()
			sent := mailAll(t, 100*time.Millisecond, 80, 1, a, b)
			// One of the five was in the hands of the run that was ended.
			want := map[time.Duration]int{0: 10, 5 * time.Second: 4, time.Hour: 10}[quiet]
			if len(sent) != want {
				t.Errorf("after %s of quiet %d mails went at once, want %d (%v)", quiet, len(sent), want, at)
			}
		}
	})
}

// TestFewTurnsAreTakenAtOnce: as many as may be announced without waiting for long.
func TestFewTurnsAreTakenAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ messages, burst, want int }{
		"slow":                {1, 1, 1},
		"one a second":        {60, 1, 2},
		"ten a second":        {600, 1, 11},
		"a thousand a second": {60_000, 1, 80},
		"a burst":             {60, 50, 51},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, err := newServer(t).rates(t).Of("c", test.messages, time.Minute, test.burst).Take(t.Context(), 80)
			if err != nil || n != test.want {
				t.Errorf("%s: %d turns, %v, want %d", name, n, err, test.want)
			}
		})
	}
}

// TestEndedRunsLeaveNothingReserved: however many wait for a slow rate when a campaign is suspended, its next mail goes when
// it would have gone.
func TestEndedRunsLeaveNothingReserved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		var rates []*Rate
		for range 3 {
			rates = append(rates, s.rates(t).Of("c", 1, time.Hour, 1))
		}
		began := time.Now()
		if sent := mailAll(t, 30*time.Minute, 80, 4, rates...); len(sent) != 1 {
			t.Errorf("%d mails went, want 1", len(sent))
		}
		if sent := mailAll(t, 31*time.Minute, 80, 4, rates...); len(sent) != 1 || sent[0].Sub(began).Round(time.Second) != time.Hour {
			t.Errorf("then %d mails went, want one an hour after the first", len(sent))
		}
		// Ended within the last second, with the turn in hand.
		ctx, cancel := context.WithCancelCause(t.Context())
		stopping := errors.New("stopping")
		time.AfterFunc(time.Until(began.Add(2*time.Hour-time.Second/2)), func() { cancel(stopping) })
		if _, _, _, err := rates[0].Take(ctx, 1); !errors.Is(err, stopping) {
			t.Errorf("Take = %v, want the cause", err)
		}
		if _, _, _, err := rates[1].Take(t.Context(), 1); err != nil || time.Since(began).Round(time.Second) != 2*time.Hour {
			t.Errorf("the next mail went after %s, %v, want 2h", time.Since(began), err)
		}
	})
}

// TestAnotherRateBeginsAtOnce: what an old rate had handed out does not delay a new one.
func TestAnotherRateBeginsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rates := newServer(t).rates(t)
		mailAll(t, time.Minute, 80, 2, rates.Of("c", 1, time.Hour, 1))
		if n := len(mailAll(t, time.Minute, 80, 2, rates.Of("c", 600, time.Minute, 1))); n < 590 || n > 601 {
			t.Errorf("%d mails in the first minute of the new rate, want 600", n)
		}
		if again := rates.Of("c", 600, time.Minute, 1); again != rates.Of("c", 600, time.Minute, 1) {
			t.Error("the same rate is two")
		}
		<-time.After(2 * rateKept)
		rates.Of("d", 1, time.Hour, 1)
		if n := len(rates.known); n != 1 {
			t.Errorf("%d rates are remembered after a time without use, want 1", n)
		}
	})
}

// TestRatesAreForgottenByRedis: a campaign that is over leaves no keys.
func TestRatesAreForgottenByRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		mailAll(t, 10*time.Second, 80, 1, s.rates(t).Of("c", 600, time.Minute, 100))
		if keys := s.Keys(); len(keys) != 2 {
			t.Errorf("keys: %v, want two", keys)
		}
		<-time.After(memberTime + 20*time.Second)
		s.FastForward(0)
		if keys := s.Keys(); len(keys) != 0 {
			t.Errorf("keys that stay: %v", keys)
		}
	})
}

// TestRateWithoutRedis: each worker keeps to its share, and what was sent counts when Redis is back, without its keys.
func TestRateWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, rate := range map[string]struct{ messages, burst int }{"slow": {12, 1}, "fast": {6000, 1}, "in bursts": {600, 300}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				var rates []*Rate
				for range 3 {
					rates = append(rates, s.rates(t).Of("c", rate.messages, time.Minute, rate.burst))
				}
				time.AfterFunc(2*time.Minute, s.leave)
				time.AfterFunc(7*time.Minute, func() { s.FlushAll(); s.comeUp() })
				sent := mailAll(t, 10*time.Minute, 80, 2, rates...)
				every := time.Minute / time.Duration(rate.messages)
				for _, length := range []time.Duration{every, 10 * time.Second, 2 * time.Minute} {
					// Each run has a turn of its own to be late with.
					limit := rate.burst + int((length+rates[0].late)/every) + 1 + 6
					if got := most(sent, length); got > limit {
						t.Errorf("%d mails went in %s, want at most %d", got, length, limit)
					}
				}
				if want := 9 * rate.messages; len(sent) < want {
					t.Errorf("%d mails were sent in 10 minutes, want %d at least", len(sent), want)
				}
			})
		})
	}
}

func TestWorkerThatNeverReachedRedisHasNoShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.leave()
		rate := s.rates(t).Of("c", 60, time.Minute, 10)
		time.AfterFunc(time.Minute, s.comeUp)
		began := time.Now()
		if _, _, _, err := rate.Take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < time.Minute || waited > time.Minute+2*retryPause {
			t.Errorf("the first mail went after %s, want a minute", waited)
		}
	})
}

// TestFastRatesAskSeldom: turns are taken in batches.
func TestFastRatesAskSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		rate := s.rates(t).Of("c", 10_000, time.Second, 1)
		sent := mailAll(t, time.Second, 80, 1, rate)
		// The count includes the seven commands or so inside each call of the script.
		if calls := s.CommandCount() / 7; calls > 60 {
			t.Errorf("about %d calls of Redis for %d mails, want 40", calls, len(sent))
		}
		if len(sent) < 9_800 {
			t.Errorf("%d mails, want 10000", len(sent))
		}
	})
}

// testTurns is what TestSlots does for the script that hands out turns.
func testTurns(t *testing.T, client redis.UniversalClient, name string) {
	t.Helper()
	a, b := NewRates(client).Of(name, 1000, 1000*time.Hour, 4), NewRates(client).Of(name, 1000, 1000*time.Hour, 4)
	t.Cleanup(func() { client.Del(context.Background(), a.key, a.workers) })
	type taken struct {
		Turns, Workers int
		In             time.Duration
	}
	take := func(r *Rate, n int) taken {
		wait, err := r.reserve(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return taken{r.left.n, r.others, wait.Round(time.Minute)}
	}
	got := []taken{take(a, 3), take(b, 5), take(a, 1)}
	want := []taken{{3, 1, -3 * time.Hour}, {1, 2, 0}, {0, 2, time.Hour}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
	b.giveBack(t.Context(), b.left)
	if diff := cmp.Diff(taken{1, 2, 0}, take(a, 7)); diff != "" {
		t.Errorf("once a turn was given back (-want +got):\n%s", diff)
	}
	left := map[string]time.Duration{}
	for key := range maps.Keys(map[string]bool{a.key: true, a.workers: true}) {
		left[key] = client.PTTL(t.Context(), key).Val().Round(time.Minute)
	}
	if diff := cmp.Diff(map[string]time.Duration{a.key: 4 * time.Hour, a.workers: memberTime}, left); diff != "" {
		t.Errorf("how long the keys are kept (-want +got):\n%s", diff)
	}
}
