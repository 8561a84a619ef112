package pace

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// server is an in-memory Redis on the bubble's clock that can be away.
type server struct {
	*miniredis.Miniredis
	away atomic.Bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{Miniredis: miniredis.NewMiniRedis()}
	s.ClockTTL(true)
	t.Cleanup(s.Close)
	return s
}

func (s *server) pacer(t *testing.T, interval time.Duration) *Pacer {
	t.Helper()
	pacer, err := New(s.client(t), "smtp.example.com/user", interval)
	if err != nil {
		t.Fatal(err)
	}
	return pacer
}

func (s *server) client(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:0", Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			if s.away.Load() {
				return nil, errors.New("connection refused")
			}
			return s.Dial()
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestMain(m *testing.M) {
	logging.Disable()
	m.Run()
}

// leave makes Redis unreachable, comeUp undoes it.
func (s *server) leave()  { s.away.Store(true); s.SetError("LOADING gone") }
func (s *server) comeUp() { s.SetError(""); s.away.Store(false) }

// send lets every pacer send as fast as it may, until total mails are out, and returns when they were, in order.
func send(t *testing.T, pacers []*Pacer, total int) []time.Time {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan time.Time)
	for _, p := range pacers {
		go func() {
			for p.Wait(ctx, 1) == nil {
				select {
				case sent <- time.Now():
				case <-ctx.Done():
				}
			}
		}()
	}
	times := make([]time.Time, 0, total)
	for len(times) < total {
		times = append(times, <-sent)
	}
	cancel()
	synctest.Wait()
	return times
}

func gaps(times []time.Time) []time.Duration {
	var all []time.Duration
	for i := 1; i < len(times); i++ {
		all = append(all, times[i].Sub(times[i-1]))
	}
	return all
}

func TestWorkersShareTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		pacers := []*Pacer{s.pacer(t, 10*time.Second), s.pacer(t, 10*time.Second), s.pacer(t, 10*time.Second)}
		start := time.Now()
		times := send(t, pacers, 7)
		if first := times[0].Sub(start); first > time.Millisecond {
			t.Errorf("the first mail waited %s, want none", first)
		}
		want := slices.Repeat([]time.Duration{10 * time.Second}, 6)
		if diff := cmp.Diff(want, gaps(times)); diff != "" {
			t.Errorf("gaps (-want +got):\n%s", diff)
		}
	})
}

func TestShortIntervalsAreLeasedInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		p := s.pacer(t, time.Millisecond)
		times := send(t, []*Pacer{p}, 1000)
		if shortest := slices.Min(gaps(times)); shortest < time.Millisecond {
			t.Errorf("shortest gap %s, want 1ms", shortest)
		}
		if took := times[999].Sub(times[0]); took > 1100*time.Millisecond {
			t.Errorf("1000 mails took %s, want about 999ms", took)
		}
		// The count includes the eight or so commands inside each call of the script.
		if calls := s.CommandCount() / 8; calls > 50 {
			t.Errorf("about %d calls of Redis for 1000 mails, want 40", calls)
		}
	})
}

func TestIdleTimeIsNotHoarded(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{time.Millisecond, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := newServer(t).pacer(t, interval)
			send(t, []*Pacer{p}, 3)
			<-time.After(time.Hour) // the bubble's clock
			times := send(t, []*Pacer{p}, 5)
			if shortest := slices.Min(gaps(times)); shortest < interval {
				t.Errorf("shortest gap after an idle hour %s, want %s", shortest, interval)
			}
		})
	}
}

func TestGroupTakesItsSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t).pacer(t, time.Second)
		start := time.Now()
		var got []time.Duration
		for range 3 {
			if err := p.Wait(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			got = append(got, time.Since(start).Round(time.Millisecond))
		}
		if diff := cmp.Diff([]time.Duration{0, 5 * time.Second, 10 * time.Second}, got); diff != "" {
			t.Errorf("groups of 5 began at (-want +got):\n%s", diff)
		}
	})
}

func TestCancelledWaitGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		a, b := s.pacer(t, time.Minute), s.pacer(t, time.Minute)
		start := time.Now()
		if err := a.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		stopping := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stopping) })
		if err := a.Wait(ctx, 1); !errors.Is(err, stopping) {
			t.Errorf("Wait = %v, want the cause", err)
		}
		if err := b.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start).Round(time.Second); got != time.Minute {
			t.Errorf("the other worker's mail went after %s, want the slot that was given back, after 1m", got)
		}
	})
}

func TestWithoutRedisEachKeepsToItsShare(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{2 * time.Millisecond, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			pacers := []*Pacer{s.pacer(t, interval), s.pacer(t, interval), s.pacer(t, interval)}
			for range 2 { // twice, so that each knows of all
				for _, p := range pacers {
					if _, err := p.call(t.Context(), 0, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			away := time.AfterFunc(10*interval+interval/2, s.leave)
			back := time.AfterFunc(100*interval+interval/2, s.comeUp)
			defer away.Stop()
			defer back.Stop()

			times := send(t, pacers, 150)
			if shortest := slices.Min(gaps(times)); shortest < interval-time.Microsecond {
				t.Errorf("interval %s: shortest gap %s (gaps %v)", interval, shortest, gaps(times))
			}
			// All that an outage may cost is a round or two at its ends, and a retry's pause.
			if limit, took := 170*interval+6*batchTime+2*retryPause, times[149].Sub(times[0]); took > limit {
				t.Errorf("interval %s: 150 mails took %s, want at most %s", interval, took, limit)
			}
		})
	}
}

func TestWorkerThatNeverReachedRedisWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.leave()
		p := s.pacer(t, time.Second)
		time.AfterFunc(time.Minute, s.comeUp)
		start := time.Now()
		if err := p.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start).Round(retryPause); got < time.Minute || got > time.Minute+2*retryPause {
			t.Errorf("sent after %s, want right after Redis came up at 1m", got)
		}
	})
}

func TestRunKeepsAnIdleWorkerOnTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		idle, busy := s.pacer(t, time.Second), s.pacer(t, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- idle.Run(ctx) }()
		<-time.After(10 * memberTime)
		if _, err := busy.call(t.Context(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if busy.view.n != 2 {
			t.Errorf("knows of %d workers, want 2", busy.view.n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		<-time.After(2 * memberTime)
		if _, err := busy.call(t.Context(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if busy.view.n != 1 {
			t.Errorf("knows of %d workers after one left, want 1", busy.view.n)
		}
	})
}

func TestNoIntervalNeedsNoRedis(t *testing.T) {
	t.Parallel()
	p, err := New(nil, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context(), 1); err != nil {
		t.Errorf("Wait = %v, want nil", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait on an ended context = %v, want context.Canceled", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	for name, open := range map[string]func() (*Pacer, error){
		"a negative interval":     func() (*Pacer, error) { return New(client, "a", -time.Second) },
		"a tiny interval":         func() (*Pacer, error) { return New(client, "a", time.Nanosecond) },
		"an interval, no client":  func() (*Pacer, error) { return New(nil, "a", time.Second) },
		"an interval, no account": func() (*Pacer, error) { return New(client, "", time.Second) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("New accepted %s", name)
		}
	}
}

func TestSharesAreDisjoint(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 123)
	const interval, n = 10 * time.Second, 3
	seen := map[int64]int{}
	for rank := range n {
		// Each worker's own clock is off by something else; the slots are on Redis's.
		offset := time.Duration(rank) * 777 * time.Millisecond
		v := view{known: true, offset: offset, rank: rank, n: n}
		at := start.Add(-offset)
		for range 100 {
			slot := v.share(at, interval)
			if slot.Before(at) {
				t.Fatalf("slot %s before %s", slot, at)
			}
			seen[slot.Add(offset).UnixNano()/int64(interval)]++
			at = slot.Add(time.Nanosecond)
		}
	}
	for slot, times := range seen {
		if times != 1 {
			t.Errorf("slot %d was used %d times", slot, times)
		}
	}
	if len(seen) != 300 {
		t.Errorf("%d slots, want 300", len(seen))
	}
}
