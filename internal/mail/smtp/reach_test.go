package smtp

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// TestOutOfReach: a relay that has no name, refuses, or says nothing to a SYN is away: nobody's attempt is counted, and it is
// left alone for a while.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		where  func(t *testing.T) (host string, port int)
		detail string
	}{
		{"no such name", func(*testing.T) (string, int) { return "relay.invalid", 25 }, "connecting"},
		{"nobody listens", nobodyListens, "the relay refused the connection"},
		{"a black hole", blackHole, "did not answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host, port := tt.where(t)
			pool, err := NewPool(Config{Host: host, Port: port, Timeouts: Timeouts{Connect: 5 * shortly}})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			v := send(t, pool, "alice@receiver.example")
			if judge(v) != relayAway || v.Phase != mail.PhaseConnect || v.RetryAfter == 0 || !strings.Contains(v.Detail, tt.detail) {
				t.Errorf("got %+v", v)
			}
			if again := send(t, pool, "bob@receiver.example"); judge(again) != relayAway || again.RetryAfter == 0 {
				t.Errorf("right after: %+v", again)
			}
		})
	}
}

func nobodyListens(t *testing.T) (host string, port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	return "127.0.0.1", portOf(t, listener.Addr())
}

// blackHole is a port whose queue of connections is full: the kernel drops what comes.
func blackHole(t *testing.T) (host string, port int) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(socket)
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	port = name.(*syscall.SockaddrInet4).Port //nolint:forcetypeassert // it was bound as one
	for {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*shortly)
		if err != nil {
			return "127.0.0.1", port
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

func portOf(t *testing.T, addr net.Addr) int {
	t.Helper()
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		t.Fatalf("%v has no port", addr)
	}
	return tcp.Port
}

// TestExtensionsAreThoseUnderTLS: what the relay says before TLS, or somebody on the way in its place, is forgotten.
func TestExtensionsAreThoseUnderTLS(t *testing.T) {
	t.Parallel()
	generous, poor := []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 100000"}, []string{}
	eightBit := []byte("From: a@b.example\r\nMessage-ID: <1@x>\r\n\r\nñandú\r\n")
	for _, tt := range []struct {
		name              string
		inClear, underTLS []string
		raw               []byte
		want              judgement
		params            string
	}{
		{"more before than after", generous, poor, message, sent, ""},
		{"8 bit was offered before only", generous, poor, eightBit, badContent, ""},
		{"less before than after", []string{"SIZE 1"}, generous, eightBit, sent, fmt.Sprintf("SIZE=%d BODY=8BITMIME", len(eightBit))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// The server calls commands that go out together a violation unless it offers PIPELINING under TLS.
			server := smtptest.Start(t, smtptest.Script{Security: smtptest.StartTLS, InClear: tt.inClear, Features: tt.underTLS})
			pool := newPool(t, server, withTLS)
			v := pool.Send(testContext(t), mail.Envelope{From: "news@sender.example", To: "alice@receiver.example"}, tt.raw, nil)
			if diff := cmp.Diff(tt.want, judge(v)); diff != "" {
				t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
			}
			var params []string
			for _, entry := range server.Ledger() {
				params = append(params, entry.MailParams)
			}
			var want []string
			if tt.want == sent {
				want = []string{tt.params}
			}
			if diff := cmp.Diff(want, params); diff != "" {
				t.Errorf("parameters of MAIL (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoChunking: BDAT has no final dot, and a refusal in the middle of a window would have to be matched to its mail; we don't
// use it, whatever the relay offers.
func TestNoChunking(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Features: []string{"CHUNKING", "BINARYMIME", "PIPELINING"}})
	pool := newPool(t, server)
	wantSent(t, send(t, pool, "alice@receiver.example"))
	wantSent(t, send(t, pool, "bob@receiver.example"))
	_ = pool.Close()
	want := [][]string{{
		"EHLO worker.sender.example",
		"MAIL FROM:<news@sender.example>", "RCPT TO:<alice@receiver.example>", "DATA", "<body>", ".",
		"MAIL FROM:<news@sender.example>", "RCPT TO:<bob@receiver.example>", "DATA", "<body>", ".",
		"QUIT",
	}}
	if diff := cmp.Diff(want, server.Commands()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
