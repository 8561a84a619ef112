package smtp

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

func TestMain(m *testing.M) {
	if roundTrip := os.Getenv(sinkVariable); roundTrip != "" {
		if err := runSink(os.Stdin, os.Stdout, roundTrip); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// shortly is a timeout that a test waits out; patience is one that it must never reach.
const (
	shortly  = 150 * time.Millisecond
	patience = 30 * time.Second
)

var (
	envelope = mail.Envelope{From: "news@sender.example", To: "alice@receiver.example"}
	message  = []byte("From: news@sender.example\r\nTo: alice@receiver.example\r\nMessage-ID: <m1@sender.example>\r\n\r\nHello\r\n.dot\r\n")
)

// newPool is a pool for the server, closed with the test.
func newPool(tb testing.TB, server *smtptest.Server, change ...func(*Config)) *Pool {
	tb.Helper()
	cfg := Config{Host: server.Host(), Port: server.Port(), RootCAs: server.RootCAs(), HELO: "worker.sender.example"}
	for _, f := range change {
		f(&cfg)
	}
	pool, err := NewPool(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = pool.Close() })
	return pool
}

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// send sends the message to this recipient and fails the test if the order of body, beforeDot and dot is wrong.
func send(tb testing.TB, pool *Pool, to string) mail.Verdict {
	tb.Helper()
	env := envelope
	env.To = to
	asked := 0
	v := pool.Send(testContext(tb), env, message, func() error { asked++; return nil })
	if certain := v.Outcome == mail.Sent || v.Outcome == mail.Uncertain || v.Phase == mail.PhaseDot; certain && asked != 1 || asked > 1 {
		tb.Errorf("beforeDot was called %d times, the verdict is %+v", asked, v)
	}
	return v
}

// gate holds a relay back at a step until it is opened.
type gate struct{ reached, opened chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

func (g *gate) reaction() smtptest.Reaction {
	return smtptest.Reaction{Reached: g.reached, Hang: g.opened}
}

func (g *gate) open() { close(g.opened) }

// sendBehind sends a mail in the background: to ahead@ if it is the one that meets the gate, which it waits for, or else
// to follower@.
func sendBehind(tb testing.TB, pool *Pool, g *gate) <-chan mail.Verdict {
	tb.Helper()
	env := mail.Envelope{From: envelope.From, To: "follower@receiver.example"}
	if g != nil {
		env.To = "ahead@receiver.example"
	}
	ctx, verdict := testContext(tb), make(chan mail.Verdict, 1)
	go func() { verdict <- pool.Send(ctx, env, message, func() error { return nil }) }()
	if g != nil {
		<-g.reached
	}
	return verdict
}

// awaitStats waits until the pool is in this state.
func awaitStats(tb testing.TB, pool *Pool, reached func(Stats) bool) {
	tb.Helper()
	for ctx := testContext(tb); !reached(pool.Stats()); runtime.Gosched() {
		if ctx.Err() != nil {
			tb.Fatalf("not reached: %+v", pool.Stats())
		}
	}
}

// wantSent fails the test unless the mail was sent.
func wantSent(tb testing.TB, v mail.Verdict) {
	tb.Helper()
	if v.Outcome != mail.Sent {
		tb.Fatalf("not sent: %+v", v)
	}
}

// transactions are the commands without greeting, AUTH and goodbye.
func transactions(sessions [][]string) [][]string {
	var out [][]string
	for _, session := range sessions {
		var lines []string
		for _, line := range session {
			verb, _, _ := strings.Cut(line, " ")
			if verb != "EHLO" && verb != "AUTH" && verb != "STARTTLS" && verb != "QUIT" {
				lines = append(lines, verb)
			}
		}
		out = append(out, lines)
	}
	return out
}
