package smtp

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// TestMixedUpReplies: replies that are too many, too few, in another order, or not believable never decide about a mail.
// It goes again, one command at a time, and so do those after it, for a while.
func TestMixedUpReplies(t *testing.T) {
	t.Parallel()
	type on = map[smtptest.Step][]smtptest.Reaction
	tests := map[string]struct {
		on   on
		want judgement
	}{
		"one too many, at MAIL":        {on{smtptest.MAIL: {{Raw: "250 ok\r\n250 ok\r\n", Accept: true}}}, sent},
		"one refusal too many":         {on{smtptest.MAIL: {{Raw: "550 no\r\n250 ok\r\n", Accept: true}}}, sent},
		"one too few":                  {on{smtptest.MAIL: {{Silent: true, Accept: true}}}, sent},
		"in another order":             {on{smtptest.RCPT: {{Raw: "354 go ahead\r\n", Accept: true}}, smtptest.DATA: {{Raw: "250 ok\r\n"}}}, sent},
		"RCPT after a refused MAIL":    {on{smtptest.MAIL: {{Reply: "550 no"}}, smtptest.RCPT: {{}}}, senderFault},
		"250 to DATA":                  {on{smtptest.DATA: {{Raw: "250 ok\r\n"}}}, sent},
		"something after 354":          {on{smtptest.DATA: {{Raw: "354 go ahead\r\n250 ok\r\n"}}}, sent},
		"refused and hung up":          {on{smtptest.MAIL: {{Reply: "554 5.5.0 synchronization error", Then: smtptest.Close}}}, sent},
		"refused, then something else": {on{smtptest.MAIL: {{Reply: "550 no", Accept: true}}}, sent},
		"DATA for nobody": {
			on{smtptest.RCPT: {{Reply: "550 5.1.1 who?"}}, smtptest.DATA: {{Reply: "354 go ahead"}}}, badMailbox,
		},
		"refused, and silence": {
			on{smtptest.RCPT: {{Reply: "550 5.1.1 who?"}}, smtptest.DATA: {{Silent: true}}}, badMailbox,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, smtptest.Script{Features: []string{"PIPELINING"}, On: tt.on})
			clock := newFakeClock()
			pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections, c.Timeouts.Data = 1, 5*shortly })
			if v := send(t, pool, "alice@receiver.example"); judge(v) != tt.want {
				t.Errorf("got %+v", v)
			}
			wantSent(t, send(t, pool, "bob@receiver.example"))
			want := map[string]int{"bob@receiver.example": 1}
			if tt.want == sent {
				want["alice@receiver.example"] = 1
			}
			if diff := cmp.Diff(want, server.Accepts()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
			ordinary := tt.want == senderFault // three replies that fit: nothing is wrong with that
			if got := pool.Stats(); got.Pipelining != ordinary || (got.Disorders == 0) != ordinary {
				t.Errorf("stats: %+v", got)
			}
			clock.advance(lockStepFor)
			if !pool.Stats().Pipelining {
				t.Error("not tried again")
			}
		})
	}
}

// TestUnaskedReplyBehindTheDot: a 250 too many after the dot would be the next mail's, and the one after that a mail's
// that nobody took. Each mail gets what is its own.
func TestUnaskedReplyBehindTheDot(t *testing.T) {
	t.Parallel()
	for _, unasked := range []string{"250 2.0.0 ok", "550 5.7.1 no", "421 4.3.2 bye", "354 go ahead", "hello"} {
		t.Run(unasked, func(t *testing.T) {
			t.Parallel()
			first := newGate()
			reaction := first.reaction()
			reaction.Raw = "250 2.0.0 queued\r\n" + unasked + "\r\n"
			server := smtptest.Start(t, smtptest.Script{
				Features: []string{"PIPELINING"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {reaction}},
			})
			pool := newPool(t, server, newFakeClock().use, func(c *Config) { c.MaxConnections = 1 })
			ahead, follower := sendBehind(t, pool, first), sendBehind(t, pool, nil)
			awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
			first.open()
			wantSent(t, <-ahead)
			v := <-follower
			want := map[string]int{"ahead@receiver.example": 1}
			if unasked == "hello" {
				if judge(v) != relayAway {
					t.Errorf("got %+v", v)
				}
			} else {
				wantSent(t, v)
				want["follower@receiver.example"] = 1
			}
			if diff := cmp.Diff(want, server.Accepts()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGivenUpBehindADot: behind a dot goes the envelope, never a body; and a mail may be given up there without
// harm to the one ahead.
func TestGivenUpBehindADot(t *testing.T) {
	t.Parallel()
	first := newGate()
	server := smtptest.Start(t, smtptest.Script{
		Features: []string{"PIPELINING"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {first.reaction()}},
	})
	pool := newPool(t, server, func(c *Config) { c.MaxConnections = 1 })
	ahead := sendBehind(t, pool, first)
	ctx, cancel := context.WithCancel(testContext(t))
	follower := make(chan mail.Verdict, 1)
	go func() {
		follower <- pool.Send(ctx, envelope, message, func() error {
			t.Error("asked for the dot of a mail that was given up")
			return errors.New("no")
		})
	}()
	awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
	cancel()
	if v := <-follower; judge(v) != relayAway {
		t.Errorf("got %+v", v)
	}
	select {
	case v := <-ahead:
		t.Fatalf("the mail ahead did not wait for its reply: %+v", v)
	default:
	}
	first.open()
	wantSent(t, <-ahead)
	wantSent(t, send(t, pool, "bob@receiver.example"))
	if diff := cmp.Diff(map[string]int{"ahead@receiver.example": 1, "bob@receiver.example": 1}, server.Accepts()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	for _, lines := range transactions(server.Commands()) {
		for i, line := range lines {
			if line == "<body>" && lines[i-1] != "DATA" {
				t.Errorf("a body out of its place: %v", lines)
			}
		}
	}
}

// TestStuckBehindADot: who waits for long takes another connection as soon as there is one.
func TestStuckBehindADot(t *testing.T) {
	t.Parallel()
	first := newGate()
	server := smtptest.Start(t, smtptest.Script{
		Features: []string{"PIPELINING"},
		For:      map[string]map[smtptest.Step][]smtptest.Reaction{"ahead@receiver.example": {smtptest.Dot: {first.reaction()}}},
	})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections = 1 })
	ahead, follower := sendBehind(t, pool, first), sendBehind(t, pool, nil)
	awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
	clock.advance(stuckAfter)
	pool.rescue()
	select {
	case v := <-follower:
		t.Fatalf("there was no other connection, and yet: %+v", v)
	default:
	}
	pool.mu.Lock()
	pool.limit = newLimiter(2)
	pool.mu.Unlock()
	pool.rescue()
	wantSent(t, <-follower)
	first.open()
	wantSent(t, <-ahead)
	if diff := cmp.Diff(map[string]int{"ahead@receiver.example": 1, "follower@receiver.example": 1}, server.Accepts()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

// TestAloneAfterADoubt: a relay that hung up after a dot with a mail behind it is not given a mail behind a dot again soon.
func TestAloneAfterADoubt(t *testing.T) {
	t.Parallel()
	first, second := newGate(), newGate()
	hangup := first.reaction()
	hangup.Silent, hangup.Then = true, smtptest.Close
	server := smtptest.Start(t, smtptest.Script{
		Features: []string{"PIPELINING"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {hangup, {}, second.reaction()}},
	})
	clock := newFakeClock()
	pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections = 1 })
	ahead, follower := sendBehind(t, pool, first), sendBehind(t, pool, nil)
	awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
	first.open()
	if v := <-ahead; judge(v) != inDoubt {
		t.Errorf("got %+v", v)
	}
	wantSent(t, <-follower)
	ahead, follower = sendBehind(t, pool, second), sendBehind(t, pool, nil)
	awaitStats(t, pool, func(s Stats) bool { return s.Waiting == 1 })
	second.open()
	wantSent(t, <-ahead)
	wantSent(t, <-follower)
	clock.advance(aloneFor)
	if got := pool.Stats(); got.Followed != 1 || !got.Pipelining {
		t.Errorf("stats: %+v", got)
	}
}

// TestMailsPerConnection: a connection is replaced after so many mails, with nothing behind the last one.
func TestMailsPerConnection(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Features: []string{"PIPELINING"}})
	pool := newPool(t, server, func(c *Config) { c.MaxConnections, c.MaxMails = 1, 3 })
	verdicts := make(chan mail.Verdict)
	for range 12 {
		go func() { verdicts <- send(t, pool, "alice@receiver.example") }()
	}
	for range 12 {
		wantSent(t, <-verdicts)
	}
	_ = pool.Close()
	server.Close()
	if got := server.Sessions(); got != 4 {
		t.Errorf("%d sessions, want 4", got)
	}
	for _, lines := range server.Commands() {
		if lines[len(lines)-1] != "QUIT" {
			t.Errorf("no goodbye: %v", lines)
		}
	}
}

// TestFewerConnections: the number of connections is halved once for each crowd that is turned away, and grows again.
func TestFewerConnections(t *testing.T) {
	t.Parallel()
	l, now := newLimiter(8), time.Unix(0, 0)
	step := func(wait time.Duration, f func()) int { now = now.Add(wait); f(); return l.now }
	content := func() { l.content(now) }
	cut := func(seen, to int) func() { return func() { l.cut(now, seen, to) } }
	got := []int{
		step(0, cut(0, 4)), step(0, cut(0, 2)), step(0, content), // told twice about the same crowd
		step(time.Second, content), step(0, content), // 5
		step(0, cut(1, 2)), step(time.Second, content), step(time.Second, content), // 2, 2, 3: growing was wrong
		step(0, cut(2, 0)), step(4*time.Second, content), // 1, 2
		step(time.Hour, content), step(0, content), step(time.Hour, content),
	}
	if diff := cmp.Diff([]int{4, 4, 4, 5, 5, 2, 2, 3, 1, 2, 3, 3, 4}, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

func TestThrottledRelay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		step  smtptest.Step
		reply string
		limit int
	}{
		{smtptest.RCPT, "421 4.7.0 too many", 2},
		{smtptest.DATA, "452 4.3.1 disk full", 2},
		{smtptest.Dot, "452 4.3.2 not now", 2},
		{smtptest.Dot, "452 full", 2},
		{smtptest.RCPT, "450 4.7.28 rate", 2},
		{smtptest.RCPT, "451 4.7.1 greylisted", 4},
		{smtptest.RCPT, "452 4.2.2 mailbox full", 4},
		{smtptest.Dot, "554 5.7.1 spam", 4},
	} {
		t.Run(fmt.Sprint(tt.step, " ", tt.reply), func(t *testing.T) {
			t.Parallel()
			gates := []*gate{newGate(), newGate(), newGate(), newGate()}
			var dots []smtptest.Reaction
			for _, g := range gates {
				dots = append(dots, g.reaction())
			}
			server := smtptest.Start(t, smtptest.Script{
				Features: []string{"PIPELINING"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: dots},
				For: map[string]map[smtptest.Step][]smtptest.Reaction{"bad@receiver.example": {tt.step: {{Reply: tt.reply}}}},
			})
			clock := newFakeClock()
			pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections = 4 })
			var verdicts []<-chan mail.Verdict
			for _, g := range gates {
				verdicts = append(verdicts, sendBehind(t, pool, g))
			}
			for i, g := range gates {
				g.open()
				wantSent(t, <-verdicts[i])
			}
			if got := pool.Stats(); got.Limit != 4 || got.Idle != 4 {
				t.Fatalf("stats: %+v", got)
			}
			if v := send(t, pool, "bad@receiver.example"); v.Code/100 < 4 {
				t.Errorf("got %+v", v)
			}
			if got := pool.Stats(); got.Limit != tt.limit {
				t.Errorf("stats: %+v", got)
			}
			wantSent(t, send(t, pool, "bob@receiver.example"))
			for range tt.limit {
				clock.advance(firstGrowth)
				wantSent(t, send(t, pool, "bob@receiver.example"))
			}
			if got := pool.Stats(); got.Limit != 4 {
				t.Errorf("not grown: %+v", got)
			}
		})
	}
}
