package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

func TestTransactionIsLean(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{
		Features: []string{"PIPELINING", "8BITMIME", "SIZE 100000", "SMTPUTF8"},
		For:      map[string]map[smtptest.Step][]smtptest.Reaction{"bob@receiver.example": {smtptest.RCPT: {{Reply: "550 5.1.1 who?"}}}},
	})
	pool := newPool(t, server)
	wantSent(t, send(t, pool, "alice@receiver.example"))
	wantSent(t, send(t, pool, "carol@receiver.example"))
	if v := send(t, pool, "bob@receiver.example"); judge(v) != badMailbox {
		t.Errorf("want a bad mailbox, got %+v", v)
	}
	wantSent(t, send(t, pool, "dave@receiver.example"))
	_ = pool.Close()
	want := [][]string{{
		"EHLO worker.sender.example",
		"MAIL FROM:<news@sender.example> SIZE=103", "RCPT TO:<alice@receiver.example>", "DATA", "<body>", ".",
		"MAIL FROM:<news@sender.example> SIZE=103", "RCPT TO:<carol@receiver.example>", "DATA", "<body>", ".",
		"MAIL FROM:<news@sender.example> SIZE=103", "RCPT TO:<bob@receiver.example>", "DATA", "RSET",
		"MAIL FROM:<news@sender.example> SIZE=103", "RCPT TO:<dave@receiver.example>", "DATA", "<body>", ".",
		"QUIT",
	}}
	if diff := cmp.Diff(want, server.Commands()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	for _, entry := range server.Ledger() {
		if !bytes.Equal(entry.Data, message) || !entry.Replied || entry.MessageID != "m1@sender.example" {
			t.Errorf("unexpected entry: %+v", entry)
		}
	}
}

// TestDotWaitsForItsCaller: when beforeDot is called the server has the whole body and no dot, and if it says no the
// connection ends there, without QUIT, and nothing was accepted.
func TestDotWaitsForItsCaller(t *testing.T) {
	t.Parallel()
	body := make(chan struct{})
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Body: {{Reached: body}}}})
	pool := newPool(t, server)
	v := pool.Send(testContext(t), envelope, message, func() error {
		<-body
		if got := len(server.Ledger()); got != 0 {
			t.Errorf("%d messages have arrived before the dot", got)
		}
		return errors.New("the journal is full")
	})
	want := mail.Verdict{
		Outcome: mail.Temporary, Phase: mail.PhaseData, Scope: mail.ScopeRelay, Category: mail.CategoryOther,
		Detail: "at DATA: the final dot was held back",
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	wantSent(t, send(t, pool, "bob@receiver.example"))
	_ = pool.Close()
	server.Close()
	got := transactions(server.Commands())
	if diff := cmp.Diff([][]string{{"MAIL", "RCPT", "DATA", "<body>"}, {"MAIL", "RCPT", "DATA", "<body>", "."}}, got); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if slices.Contains(server.Commands()[0], "QUIT") {
		t.Error("QUIT was sent in DATA")
	}
}

// TestBodyWithDot: a small body waits for beforeDot, too, and what is refused then leaves no trace. A large one does not.
func TestBodyWithDot(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int{"small": len(message), "large": len(message) - 1} {
		for _, security := range []smtptest.Security{smtptest.Plain, smtptest.StartTLS} {
			t.Run(fmt.Sprint(name, security), func(t *testing.T) {
				t.Parallel()
				body := make(chan struct{})
				server := smtptest.Start(t, smtptest.Script{
					Security: security, Features: []string{"PIPELINING"},
					On: map[smtptest.Step][]smtptest.Reaction{smtptest.Body: {{Reached: body}}},
				})
				pool := newPool(t, server, func(c *Config) { c.BodyWithDot, c.UseTLS = limit, security == smtptest.StartTLS })
				v := pool.Send(testContext(t), envelope, message, func() error {
					if name == "large" {
						<-body
					}
					return errors.New("the journal is full")
				})
				if v.Outcome != mail.Temporary || v.Phase != mail.PhaseData || len(server.Ledger()) != 0 {
					t.Errorf("verdict %+v, ledger %+v", v, server.Ledger())
				}
				wantSent(t, send(t, pool, "bob@receiver.example"))
				_ = pool.Close()
				server.Close()
				first := server.Commands()[0]
				if got := first[len(first)-1]; (got == "<body>") != (name == "large") {
					t.Errorf("the first connection ended with %q", got)
				}
				if got := server.Ledger(); len(got) != 1 || !bytes.Equal(got[0].Data, message) {
					t.Errorf("ledger: %+v", got)
				}
			})
		}
	}
}

func TestPanicBeforeTheDotLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{})
	pool := newPool(t, server, func(c *Config) { c.MaxConnections = 1 })
	func() {
		defer func() { _ = recover() }()
		pool.Send(testContext(t), envelope, message, func() error { panic("boom") })
	}()
	wantSent(t, send(t, pool, "bob@receiver.example"))
	if diff := cmp.Diff(map[string]int{"bob@receiver.example": 1}, server.Accepts()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

// TestCancelBeforeTheDot: the send is given up wherever it hangs, and no attempt is counted.
func TestCancelBeforeTheDot(t *testing.T) {
	t.Parallel()
	for _, step := range []smtptest.Step{smtptest.Connect, smtptest.MAIL, smtptest.RCPT, smtptest.DATA} {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			server := smtptest.Start(t, smtptest.Script{
				Features: []string{"PIPELINING"},
				On:       map[smtptest.Step][]smtptest.Reaction{step: {{Reached: reached, Hang: make(chan struct{})}}},
			})
			pool := newPool(t, server)
			ctx, cancel := context.WithCancel(testContext(t))
			go func() { <-reached; cancel() }()
			v := pool.Send(ctx, envelope, message, func() error { return errors.New("must not be asked") })
			if judge(v) != relayAway || !strings.Contains(v.Detail, "cancelled") {
				t.Errorf("got %+v", v)
			}
			if !pool.Stats().Pipelining {
				t.Error("the relay is blamed for what we gave up")
			}
			wantSent(t, send(t, pool, "bob@receiver.example"))
		})
	}
}

func TestCancelAfterTheDotAwaitsTheReply(t *testing.T) {
	t.Parallel()
	reached, hang := make(chan struct{}), make(chan struct{})
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {{Reached: reached, Hang: hang}}}})
	pool := newPool(t, server)
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { <-reached; cancel(); close(hang) }()
	wantSent(t, pool.Send(ctx, envelope, message, nil))
	if v := pool.Send(ctx, envelope, message, nil); judge(v) != relayAway {
		t.Errorf("a cancelled context must not send: %+v", v)
	}
	wantSent(t, send(t, pool, "bob@receiver.example"))
	if got := server.Sessions(); got != 1 {
		t.Errorf("%d sessions, want 1: the connection was fine", got)
	}
}

func TestCloseAwaitsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	reached, hang := make(chan struct{}), make(chan struct{})
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {{}, {Reached: reached, Hang: hang}}}})
	pool := newPool(t, server)
	wantSent(t, send(t, pool, "bob@receiver.example"))
	verdict, closed := make(chan mail.Verdict, 1), make(chan struct{})
	go func() { verdict <- pool.Send(context.Background(), envelope, message, nil) }()
	<-reached
	go func() { _ = pool.Close(); close(closed) }()
	for { // the pool refuses new mails from the moment Close has begun
		if v := pool.Send(testContext(t), envelope, message, nil); strings.Contains(v.Detail, "closed") {
			break
		}
	}
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(hang)
	wantSent(t, <-verdict)
	<-closed
	server.Close()
	last := server.Commands()[0]
	if last[len(last)-1] != "QUIT" {
		t.Errorf("no goodbye: %v", last)
	}
}

// TestKeptConnectionThatEnded: a relay that hung up on an idle connection costs nobody an attempt, however it did so.
func TestKeptConnectionThatEnded(t *testing.T) {
	t.Parallel()
	tests := map[string]smtptest.Script{
		"FIN while idle":       {On: map[smtptest.Step][]smtptest.Reaction{smtptest.Idle: {{Then: smtptest.Close}}}},
		"RST while idle":       {On: map[smtptest.Step][]smtptest.Reaction{smtptest.Idle: {{Then: smtptest.Reset}}}},
		"421 while idle":       {On: map[smtptest.Step][]smtptest.Reaction{smtptest.Idle: {{Reply: "421 4.4.2 idle", Then: smtptest.Close}}}},
		"unsolicited 250":      {On: map[smtptest.Step][]smtptest.Reaction{smtptest.Idle: {{Raw: "250 2.0.0 queued\r\n"}}}},
		"two replies at once":  {On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {{Raw: "250 ok\r\n250 ok\r\n"}}}},
		"EOF at the next MAIL": {On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {{}, {Silent: true, Then: smtptest.Close}}}},
		"RST at the next MAIL": {On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {{}, {Silent: true, Then: smtptest.Reset}}}},
		"421 at the next MAIL": {On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {{}, {Reply: "421 too many", Then: smtptest.Close}}}},
		"421 that stays on":    {On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {{}, {Reply: "421 too many"}}}},
	}
	for name, script := range tests {
		for _, security := range []smtptest.Security{smtptest.Plain, smtptest.StartTLS} {
			t.Run(fmt.Sprint(name, "/", security), func(t *testing.T) {
				t.Parallel()
				script := script
				script.Security = security
				server := smtptest.Start(t, script)
				pool := newPool(t, server, func(c *Config) { c.UseTLS = security == smtptest.StartTLS })
				wantSent(t, send(t, pool, "alice@receiver.example"))
				if len(script.On[smtptest.Idle]) > 0 {
					awaitInput(t, pool)
				}
				wantSent(t, send(t, pool, "bob@receiver.example"))
				if diff := cmp.Diff(map[string]int{"alice@receiver.example": 1, "bob@receiver.example": 1}, server.Accepts()); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
				if got := server.Sessions(); got != 2 {
					t.Errorf("%d sessions, want 2", got)
				}
			})
		}
	}
}

// TestRefusedRSET: what a relay says to RSET is never held against the next mail.
func TestRefusedRSET(t *testing.T) {
	t.Parallel()
	for _, reaction := range []smtptest.Reaction{{Reply: "550 no"}, {Reply: "421 bye", Then: smtptest.Close}, {Silent: true, Then: smtptest.Close}, {Raw: "huh\r\n"}} {
		server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{
			smtptest.RCPT: {{Reply: "550 no such user"}}, smtptest.RSET: {reaction},
		}})
		pool := newPool(t, server)
		if v := send(t, pool, "alice@receiver.example"); judge(v) != badMailbox {
			t.Errorf("got %+v", v)
		}
		wantSent(t, send(t, pool, "bob@receiver.example"))
	}
}

func TestReplyBeforeTheDot(t *testing.T) {
	t.Parallel()
	large := append(slices.Clone(message), bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 200_000)...)
	tests := []struct {
		name     string
		raw      []byte
		reaction smtptest.Reaction
		want     judgement
	}{
		{"552 and goodbye in a large body", large, smtptest.Reaction{Reply: "552 5.3.4 too big", Then: smtptest.Close}, badContent},
		{"451 and goodbye", message, smtptest.Reaction{Reply: "451 4.3.0 disk full", Then: smtptest.Close}, laterOther},
		{"RST in a large body", large, smtptest.Reaction{Silent: true, Then: smtptest.Reset}, lost},
		{"a 250 that nobody asked for", message, smtptest.Reaction{Raw: "250 ok\r\n"}, lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			tt.reaction.Reached = reached
			server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Body: {tt.reaction}}})
			pool := newPool(t, server)
			v := pool.Send(testContext(t), envelope, tt.raw, func() error { return nil })
			// A short body may be on its way before the relay speaks: then the reply is the dot's.
			if v.Phase == mail.PhaseData && judge(v) != tt.want {
				t.Errorf("got %+v", v)
			}
			if len(tt.raw) > len(message) && v.Phase != mail.PhaseData {
				t.Errorf("got %+v", v)
			}
			wantSent(t, send(t, pool, "bob@receiver.example"))
		})
	}
}

func TestConnectionsAreLimitedAndShared(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{MaxSessions: 3})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections = 5 })
	want := map[string]int{}
	var senders sync.WaitGroup
	for i := range 100 {
		to := fmt.Sprintf("r%d@receiver.example", i)
		want[to] = 1
		senders.Go(func() {
			for { // with no connection at all yet, the relay's limit can be met first
				v := send(t, pool, to)
				if v.Outcome == mail.Sent {
					return
				}
				if judge(v) != relayBusy {
					t.Errorf("got %+v", v)
					return
				}
				clock.advance(v.RetryAfter)
			}
		})
	}
	senders.Wait()
	if diff := cmp.Diff(want, server.Accepts()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

func TestAgeAndIdleness(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use)
	for _, step := range []struct {
		wait     time.Duration
		sessions int
	}{
		{0, 1},
		{59 * time.Second, 1},
		{60 * time.Second, 2},
		{50 * time.Second, 2},
		{50 * time.Second, 2},
		{50 * time.Second, 2},
		{50 * time.Second, 2},
		{50 * time.Second, 2},
		{50 * time.Second, 3},
	} {
		clock.advance(step.wait)
		wantSent(t, send(t, pool, "alice@receiver.example"))
		if got := server.Sessions(); got != step.sessions {
			t.Fatalf("after %v: %d sessions, want %d", step.wait, got, step.sessions)
		}
	}
	clock.advance(DefaultIdleTimeout)
	pool.reap()
	pool.goodbyes.Wait()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if len(pool.conns) != 0 || len(pool.idle) != 0 {
		t.Errorf("%d live and %d idle connections are left", len(pool.conns), len(pool.idle))
	}
}

// awaitInput waits until the idle connection has something to read, be it its end.
func awaitInput(t *testing.T, pool *Pool) {
	t.Helper()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for ctx := testContext(t); ctx.Err() == nil; runtime.Gosched() {
		if pool.idle[0].quiet() != nil {
			return
		}
	}
	t.Fatal("nothing came")
}
