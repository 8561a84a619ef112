package faults

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

// endless is a body that begins somehow and then says the same over and over.
type endless struct {
	head, again string
	sent        int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.sent > 1<<30 {
		return 0, errors.New("a gibibyte was taken")
	}
	text := e.again
	if e.sent == 0 {
		text = e.head
	}
	n := copy(p, text)
	e.sent += n
	return n, nil
}

// TestFacadeUnderFire gives a facade bodies that are too long, declared and not, broken ones, and some hundred connections that
// never come to the end of their header: each is answered as it should be, mails are taken all the while, and the process stays
// small.
func TestFacadeUnderFire(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	w := harness.NewWorld(t, harness.EmbeddedServices(t))
	w.StartWorker(t.TempDir(), nil)
	facade, address := w.StartFacade("key", w.Relay.Env(), harness.Env{"WORKER_JOURNAL_DIR": t.TempDir(), "FACADE_MAX_BODY": "8MiB"})
	const mail = `{"to":"ada@example.net","subject":"News","body":"There is news."}`
	harness.Eventually(t, "the facade is ready", func() bool { return call(t, address+"/send_async", strings.NewReader(mail), -1) == http.StatusAccepted })
	before := facade.PeakMemory()

	for range 300 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "POST /send_async HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("x", 1<<15)
	got, want := map[string]int{}, map[string]int{}
	for name, request := range map[string]struct {
		path   string
		body   io.Reader
		length int64
		status int
	}{
		"a mail of a declared gibibyte":       {"/send_async", &endless{head: `{"body":"`, again: long}, 1 << 30, http.StatusRequestEntityTooLarge},
		"a mail without end":                  {"/send_async", &endless{head: `{"body":"`, again: long}, -1, http.StatusRequestEntityTooLarge},
		"a mail that waits, without end":      {"/send", &endless{head: `{"body":"`, again: long}, -1, http.StatusRequestEntityTooLarge},
		"a campaign of a declared gibibyte":   {"/send-campaign", &endless{head: `{"body":"`, again: long}, 1 << 30, http.StatusRequestEntityTooLarge},
		"a campaign's body without end":       {"/send-campaign", &endless{head: `{"subject":"x","body":"`, again: long}, -1, http.StatusUnprocessableEntity},
		"a list without end":                  {"/send-campaign", &endless{head: `{"subject":"x","body":"y","recipients":[`, again: `"ada@example.net", `}, -1, http.StatusRequestEntityTooLarge},
		"a mail whose JSON breaks off":        {"/send_async", strings.NewReader(mail[:20]), -1, http.StatusUnprocessableEntity},
		"a mail that is none":                 {"/send_async", strings.NewReader("[[[[[[[["), -1, http.StatusUnprocessableEntity},
		"a mail in the middle of all of this": {"/send_async", strings.NewReader(mail), -1, http.StatusAccepted},
	} {
		got[name], want[name] = call(t, address+request.path, request.body, request.length), request.status
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	const allowance = 192 << 20 // garbage that the facade leaves lie, the bodies that it reads at a time, and 300 connections
	if grown := facade.PeakMemory() - before; grown > allowance {
		t.Errorf("the facade took %d MiB more, want at most %d", grown>>20, int64(allowance)>>20)
	} else {
		t.Logf("the facade took %d MiB more than the %d MiB that it had", grown>>20, before>>20)
	}
	harness.Eventually(t, "the accepted mails are sent", func() bool { return w.Relay.Recipients()["ada@example.net"] == 2 })
}

// call calls the facade, whose key is "key", and returns the status. A length of -1 is not declared. The answer may come before
// all of the body is taken, and the end of the connection with it, so that it is read while the body is written.
func call(t *testing.T, url string, body io.Reader, length int64) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = length
	request.Header = http.Header{"X-Api-Key": {"key"}, "Content-Type": {"application/json"}, "Connection": {"close"}}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", request.URL.Host)
	if err != nil {
		t.Fatalf("Calling the facade: %v", err)
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() { _ = request.Write(conn) }() // it fails where the facade has heard enough
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		t.Logf("%s: %v", url, err)
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}
