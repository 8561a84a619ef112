package smtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	gosmtpd "github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
)

// TestAgainstAnotherServer sends through a server that is not ours, many mails at a time behind each other's dots.
func TestAgainstAnotherServer(t *testing.T) {
	t.Parallel()
	backend := &mailboxes{taken: map[string][]string{}}
	server := gosmtpd.NewServer(backend)
	server.Domain, server.AllowInsecureAuth = "relay.example", true
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	pool, err := NewPool(Config{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got, want := map[string]mail.Outcome{}, map[string]mail.Outcome{}
	bodies := map[string][]string{}
	var senders sync.WaitGroup
	for i := range 60 {
		env := mail.Envelope{From: envelope.From, To: fmt.Sprintf("r%d@receiver.example", i)}
		raw := fmt.Sprintf("Subject: %d\r\n\r\n.a line\r\n..\r\nthe end of %s\r\n", i, env.To)
		want[env.To], bodies[env.To] = mail.Sent, []string{raw}
		switch i % 5 {
		case 1:
			env.To = "gone-" + env.To
			want[env.To] = mail.Permanent
		case 2:
			env.To = "spam-" + env.To
			want[env.To] = mail.Permanent
		}
		if i%5 == 1 || i%5 == 2 {
			delete(want, env.To[5:])
			delete(bodies, env.To[5:])
		}
		senders.Go(func() {
			v := pool.Send(testContext(t), env, []byte(raw), func() error { return nil })
			mu.Lock()
			defer mu.Unlock()
			got[env.To] = v.Outcome
		})
	}
	senders.Wait()
	stats := pool.Stats()
	_ = pool.Close()
	_ = server.Close()
	if err := <-serving; err != nil && !errors.Is(err, gosmtpd.ErrServerClosed) {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bodies, backend.taken); diff != "" {
		t.Errorf("mails (-want +got):\n%s", diff)
	}
	if stats.Followed == 0 || stats.Disorders != 0 {
		t.Errorf("stats: %+v", stats)
	}
}

// mailboxes is a backend without a recipient that begins with gone-, and one that refuses what is for spam-.
type mailboxes struct {
	mu    sync.Mutex
	taken map[string][]string
}

// NewSession implements smtp.Backend of go-smtp.
func (m *mailboxes) NewSession(*gosmtpd.Conn) (gosmtpd.Session, error) {
	return &visit{mailboxes: m}, nil
}

type visit struct {
	mailboxes *mailboxes
	to        string
}

// Reset implements smtp.Session of go-smtp.
func (v *visit) Reset() { v.to = "" }

// Logout implements smtp.Session of go-smtp.
func (v *visit) Logout() error { return nil }

// Mail implements smtp.Session of go-smtp.
func (v *visit) Mail(string, *gosmtpd.MailOptions) error { return nil }

// Rcpt implements smtp.Session of go-smtp.
func (v *visit) Rcpt(to string, _ *gosmtpd.RcptOptions) error {
	if strings.HasPrefix(to, "gone-") {
		return &gosmtpd.SMTPError{Code: 550, EnhancedCode: gosmtpd.EnhancedCode{5, 1, 1}, Message: "gone"}
	}
	v.to = to
	return nil
}

// Data implements smtp.Session of go-smtp.
func (v *visit) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if strings.HasPrefix(v.to, "spam-") {
		return &gosmtpd.SMTPError{Code: 554, EnhancedCode: gosmtpd.EnhancedCode{5, 7, 1}, Message: "spam"}
	}
	v.mailboxes.mu.Lock()
	defer v.mailboxes.mu.Unlock()
	v.mailboxes.taken[v.to] = append(v.mailboxes.taken[v.to], string(raw))
	return nil
}
