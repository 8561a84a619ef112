package harness

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/devstack/inbox"
)

// Relay is the inbox of cartero dev as an SMTP server of the test's: it outlives whoever sends to it.
type Relay struct {
	*inbox.Inbox

	mu     sync.Mutex
	mails  int
	onMail func(n int)
}

// StartRelay starts a relay that lives as long as the test.
func StartRelay(tb testing.TB) *Relay {
	tb.Helper()
	r := &Relay{}
	box, err := inbox.Start(context.Background(), inbox.Config{
		SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Dir: tb.TempDir(),
		Now: func() time.Time { r.dot(); return time.Now() },
	})
	if err != nil {
		tb.Fatal(err)
	}
	r.Inbox = box
	tb.Cleanup(func() {
		r.OnMail(nil)
		if err := box.Close(); err != nil {
			tb.Errorf("Closing the relay: %v", err)
		}
	})
	return r
}

// OnMail has f called for each mail, n counting them from 1, when its final dot has arrived and before it is stored and
// acknowledged. f may block, and is called by several goroutines at once.
func (r *Relay) OnMail(f func(n int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onMail = f
}

func (r *Relay) dot() {
	r.mu.Lock()
	r.mails++
	n, f := r.mails, r.onMail
	r.mu.Unlock()
	if f != nil {
		f(n)
	}
}

// Env are the settings of whoever sends to the relay.
func (r *Relay) Env() Env {
	return relayEnv(r.SMTPAddr())
}

func relayEnv(addr string) Env {
	host, port, _ := net.SplitHostPort(addr)
	return Env{"SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_USE_TLS": "false", "SMTP_HELO_NAME": "worker.example.com"}
}
