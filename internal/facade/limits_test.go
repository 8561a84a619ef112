package facade_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/submit"
)

// client is a connection that says what the test tells it to.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Error(err)
	}
}

// answer waits for an answer and returns its status and its body.
func (c *client) answer() (int, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Errorf("reading an answer: %v", err)
		return 0, ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Errorf("reading an answer's body: %v", err)
	}
	return response.StatusCode, string(body)
}

// head is the head of a request with a body of this length.
func head(path, key string, length int, more ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: cartero\r\nContent-Type: application/json\r\nX-API-Key: %s\r\nContent-Length: %d\r\n%s\r\n",
		path, key, length, strings.Join(more, ""))
}

const (
	expect  = "Expect: 100-continue\r\n" // the answer 100 tells that the body is waited for
	oneMail = `{"to":"ada@example.com","subject":"Hi","body":"text"}`
)

// TestSlowClientsStarveNobody (S18): some hundred connections dribble headers and bodies, with and without a key, and
// everybody else is answered.
func TestSlowClientsStarveNobody(t *testing.T) {
	t.Parallel()
	const inFlight = 8
	f := newFixture(t, func(cfg *facade.Config) { cfg.MaxInFlight = inFlight })
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- facade.Serve(ctx, listener, f.handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	var clients []*client
	open := func() *client {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, conn: conn, in: bufio.NewReader(conn)}
		clients = append(clients, c)
		return c
	}
	waits := func(c *client, want int) {
		t.Helper()
		if got, body := c.answer(); got != want {
			t.Errorf("answer %d, want %d: %s", got, want, body)
		}
	}

	for range 100 { // a header that does not end; the answer before it tells that the server listens
		c := open()
		c.say("GET /health HTTP/1.1\r\nHost: cartero\r\n\r\n")
		waits(c, http.StatusOK)
		c.say("POST /send HTTP/1.1\r\nHost: cartero\r\nX-Slow:")
	}
	for range 100 { // a body that does not end, with a key
		c := open()
		c.say(head("/send_async", key, len(oneMail), expect))
		waits(c, http.StatusContinue)
		c.say(oneMail[:10])
	}
	for i := range 100 { // campaigns: some are read, and the others refused
		c := open()
		c.say(head("/send-campaign", key, 1<<20, expect))
		if i < inFlight/2 {
			waits(c, http.StatusContinue)
			c.say(small[:10])
			continue
		}
		waits(c, http.StatusServiceUnavailable)
	}
	for range 20 { // no key, and a body that nobody waits for
		open().say(head("/send", "wrong", len(oneMail)) + oneMail[:10])
	}

	for range 2 * inFlight {
		c := open()
		c.say("GET /health HTTP/1.1\r\nHost: cartero\r\n\r\n")
		waits(c, http.StatusOK)
		c.say(head("/send_async", key, len(oneMail)) + oneMail)
		waits(c, http.StatusAccepted)
	}
	for _, c := range clients {
		if err := c.conn.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestHeadersAreBounded: to 32 KiB, and the few that net/http adds for itself.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t)
		for size, want := range map[int]int{16 << 10: http.StatusOK, 40 << 10: http.StatusRequestHeaderFieldsTooLarge} {
			c := p.open()
			go func() { // the server stops reading in the middle
				_, _ = io.WriteString(c.conn, "GET /health HTTP/1.1\r\nHost: cartero\r\n"+
					strings.Repeat("X-A: "+strings.Repeat("a", 1<<10-7)+"\r\n", size>>10)+"\r\n")
			}()
			if got, _ := c.answer(); got != want {
				t.Errorf("%d bytes: answer %d, want %d", size, got, want)
			}
			p.end(c)
		}
		p.stop()
	})
}

// TestSlowRequestsAreCutOff: who dribbles is cut off after ten seconds, who merely has a lot to send is not. Time is the
// bubble's.
func TestSlowRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	long := `{"to":"ada@example.com","subject":"Hi","body":"` + strings.Repeat("x", 150<<10) + `"}`
	tests := []struct {
		name, text string
		// chunk bytes are sent each second behind the first text.
		rest   string
		chunk  int
		status int
		after  time.Duration
	}{
		{name: "a header", text: "GET /health HTTP/1.1\r\nX-Slow: ", rest: long, chunk: 1, status: 0, after: 5 * time.Second},
		{name: "a mail in bytes", text: head("/send_async", key, len(long)), rest: long, chunk: 1, status: http.StatusRequestTimeout, after: 10 * time.Second},
		{name: "a campaign in bytes", text: head("/send-campaign", key, len(long)), rest: `{"recipients":[` + long, chunk: 1, status: http.StatusRequestTimeout, after: 10 * time.Second},
		{name: "a mail that keeps the pace", text: head("/send_async", key, len(long)), rest: long, chunk: 8 << 10, status: http.StatusAccepted, after: 19 * time.Second},
		{name: "a mail that takes too long", text: head("/send_async", key, len(long)), rest: long, chunk: 4 << 10, status: http.StatusRequestTimeout, after: 30 * time.Second},
		{name: "a campaign that takes too long", text: head("/send-campaign", key, 10<<20), rest: `{"recipients":[` + strings.Repeat(`"`+strings.Repeat("x", 2045)+`",`, 5<<10), chunk: 8 << 10, status: http.StatusRequestTimeout, after: 5 * time.Minute},
		{name: "the wrong key", text: head("/send", "wrong", len(long)), rest: long, chunk: 1, status: http.StatusUnauthorized, after: 2 * time.Second},
		{name: "a probe", text: head("/health", "", len(long)), rest: long, chunk: 1, status: http.StatusMethodNotAllowed, after: 2 * time.Second},
		{name: "a campaign that is not looked at", text: head("/send-campaign", key, len(long), "Content-Encoding: gzip\r\n"), rest: long, chunk: 1, status: http.StatusUnsupportedMediaType, after: 2 * time.Second},
		{name: "a call that is not there", text: head("/nothing", key, len(long)), rest: long, chunk: 1, status: http.StatusNotFound, after: 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPipes(t)
				c := p.open()
				begin, said := time.Now(), make(chan struct{})
				go func() {
					defer close(said)
					_, _ = io.WriteString(c.conn, tt.text) // it ends when the server has had enough
					for rest := tt.rest; rest != ""; {
						<-time.After(time.Second)
						n := min(tt.chunk, len(rest))
						if _, err := io.WriteString(c.conn, rest[:n]); err != nil {
							return
						}
						rest = rest[n:]
					}
				}()
				status, text := 0, ""
				if tt.status != 0 {
					status, text = c.answer()
				} else if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
					t.Errorf("the connection was not closed: %v", err)
				}
				if diff := cmp.Diff([]any{tt.status, tt.after}, []any{status, time.Since(begin).Truncate(time.Second)}); diff != "" {
					t.Errorf("answer and time (-want +got):\n%s%s", diff, text)
				}
				p.end(c)
				<-said
				p.stop()
			})
		})
	}
}

// TestALongSendIsNotCutOff: the deadline of reading ends with the body; running out, it would cancel what is being sent.
func TestALongSendIsNotCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes(t)
		c := p.open()
		c.say(head("/send", key, len(oneMail)) + oneMail)
		if status, text := c.answer(); status != http.StatusOK {
			t.Errorf("answer %d: %s", status, text)
		}
		p.end(c)
		p.stop()
	})
}

// taking takes all mails; sending takes 80 seconds, unless the request ends before.
type taking struct{}

func (taking) Enqueue(context.Context, campaign.Submission) (submit.Queued, error) {
	return submit.Queued{JobID: "job"}, nil
}

func (taking) Send(ctx context.Context, m campaign.Submission) (submit.Sent, error) {
	select {
	case <-ctx.Done():
		return submit.Sent{}, ctx.Err()
	case <-time.After(80 * time.Second):
		return submit.Sent{JobID: "job", Recipients: []campaign.RecipientReport{{Address: m.Recipients[0].Address, State: campaign.StateAccepted}}}, nil
	}
}

// pipes is a facade without a database, with connections in memory: their deadlines are the bubble's.
type pipes struct {
	t       *testing.T
	conns   chan net.Conn
	closed  chan struct{}
	cancel  context.CancelFunc
	stopped chan error
}

func newPipes(t *testing.T) *pipes {
	t.Helper()
	handler, err := facade.New(facade.Config{
		Ledger: &ledger{}, Jobs: jobsAway{}, Submission: taking{}, Doorbell: &bell{}, Keys: []string{key},
		DefaultFrom: mail.Address{Address: "news@example.com"}, QueueLength: func(context.Context) (int64, error) { return 0, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &pipes{t: t, conns: make(chan net.Conn), closed: make(chan struct{}), cancel: cancel, stopped: make(chan error, 1)}
	go func() { p.stopped <- facade.Serve(ctx, p, handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	return p
}

func (p *pipes) open() *client {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return &client{t: p.t, conn: ours, in: bufio.NewReader(ours)}
}

func (p *pipes) end(c *client) {
	p.t.Helper()
	if err := c.conn.Close(); err != nil {
		p.t.Error(err)
	}
}

func (p *pipes) stop() {
	p.t.Helper()
	p.cancel()
	if err := <-p.stopped; err != nil {
		p.t.Error(err)
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }
