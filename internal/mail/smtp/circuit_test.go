package smtp

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

func TestRelayAwayIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Always: map[smtptest.Step]smtptest.Reaction{
		smtptest.Connect: {Reply: "421 4.3.2 not now", Then: smtptest.Close},
	}})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use)
	pool.circuit.jitter = func(d time.Duration) time.Duration { return d }
	var got []time.Duration
	for range 9 {
		v := send(t, pool, "alice@receiver.example")
		if judge(v) != relayBusy || v.Phase != mail.PhaseConnect {
			t.Fatalf("got %+v", v)
		}
		got = append(got, v.RetryAfter)
		sessions := server.Sessions()
		clock.advance(v.RetryAfter - 1)
		if again := send(t, pool, "bob@receiver.example"); judge(again) != relayBusy || again.RetryAfter != 1 {
			t.Fatalf("while backing off: %+v", again)
		}
		if server.Sessions() != sessions {
			t.Fatal("the relay was called while backing off")
		}
		clock.advance(1)
	}
	s := time.Second
	if diff := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}, got); diff != "" {
		t.Errorf("back-off (-want +got):\n%s", diff)
	}
}

// TestOneProbe: when the back-off is over, one of many tries, and the others go by what it finds.
func TestOneProbe(t *testing.T) {
	t.Parallel()
	reached, hang := make(chan struct{}), make(chan struct{})
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Connect: {
		{Silent: true, Then: smtptest.Close}, {Reached: reached, Hang: hang, Reply: "554 go away", Then: smtptest.Close},
	}}})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use)
	if v := send(t, pool, "alice@receiver.example"); judge(v) != relayAway {
		t.Fatalf("got %+v", v)
	}
	clock.advance(maxBackoff)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			if v := send(t, pool, "alice@receiver.example"); judge(v) != relayPolicy || v.RetryAfter == 0 {
				t.Errorf("got %+v", v)
			}
		})
	}
	<-reached
	close(hang)
	senders.Wait()
	if got := server.Sessions(); got != 2 {
		t.Errorf("%d sessions, want 2", got)
	}
	clock.advance(maxBackoff)
	wantSent(t, send(t, pool, "alice@receiver.example"))
}

// TestHangupAtMAILBacksOff: a relay that accepts connections and drops them is away, too.
func TestHangupAtMAILBacksOff(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Always: map[smtptest.Step]smtptest.Reaction{
		smtptest.MAIL: {Silent: true, Then: smtptest.Close},
	}})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use)
	for i := range 3 {
		for range 3 {
			if v := send(t, pool, "alice@receiver.example"); judge(v) != relayAway {
				t.Fatalf("got %+v", v)
			}
		}
		if got := server.Sessions(); got != i+1 {
			t.Fatalf("%d sessions, want %d", got, i+1)
		}
		clock.advance(maxBackoff)
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if pool.circuit.failures != 3 {
		t.Errorf("%d failures, want 3", pool.circuit.failures)
	}
}

// TestNobodyWaitsForNothing: when the last connection ends and no other may be made, all who waited for it are told.
func TestNobodyWaitsForNothing(t *testing.T) {
	t.Parallel()
	hangup := newGate()
	reaction := hangup.reaction()
	reaction.Silent, reaction.Then = true, smtptest.Close
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {reaction}}})
	pool := newPool(t, server, newFakeClock().use, func(c *Config) { c.MaxConnections = 1 })
	verdicts := make(chan mail.Verdict)
	for range 4 {
		go func() { verdicts <- send(t, pool, "alice@receiver.example") }()
	}
	<-hangup.reached
	awaitStats(t, pool, func(s Stats) bool { return s.Waiting == 3 })
	hangup.open()
	for range 4 {
		if v := <-verdicts; judge(v) != relayAway {
			t.Errorf("got %+v", v)
		}
	}
}
