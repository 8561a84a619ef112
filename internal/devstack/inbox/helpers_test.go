package inbox

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

var testTime = time.Date(2026, 10, 5, 9, 30, 0, 0, time.UTC)

func startInbox(t *testing.T, dir string) *Inbox {
	t.Helper()
	in, err := Start(t.Context(), Config{
		SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Dir: dir, Now: func() time.Time { return testTime },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Errorf("closing the inbox: %v", err)
		}
	})
	return in
}

// testMail is a small mail; fields are further header lines or, after an empty one, the body.
func testMail(messageID, to, subject string, lines ...string) string {
	if len(lines) == 0 {
		lines = []string{"", "Hello."}
	}
	head := []string{
		"From: =?UTF-8?q?Ni=C3=B1a?= <news@example.com>", "To: " + to, "Subject: " + subject, "Date: Mon, 05 Oct 2026 09:30:00 +0000",
	}
	if messageID != "" {
		head = append(head, "Message-ID: <"+messageID+">")
	}
	return strings.Join(append(head, lines...), "\r\n") + "\r\n"
}

func send(t *testing.T, in *Inbox, mail string, to ...string) {
	t.Helper()
	client, err := smtp.Dial(in.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SendMail("bounces@example.com", to, strings.NewReader(mail)); err != nil {
		t.Fatal(err)
	}
	if err := client.Quit(); err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	Status int
	Header http.Header
	Body   string
}

// request asks the web page; edit may change the request.
func request(t *testing.T, in *Inbox, method, path string, edit func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, in.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func get(t *testing.T, in *Inbox, path string) answer {
	t.Helper()
	got := request(t, in, http.MethodGet, path, nil)
	if got.Status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, got.Status, got.Body)
	}
	return got
}

// multipartMail has text, HTML, an image of its own and an attachment.
func multipartMail(html string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: news@example.com\r\nTo: ana@example.com\r\nMessage-ID: <multi@example.com>\r\nReceived: one\r\nReceived: two\r\n\tfolded\r\n"+
		"Subject: =?UTF-8?B?w6FyYm9s?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"+
		"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n"+
		"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"+
		"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nEl =E1rbol <3\r\n"+
		"--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%s\r\n--a--\r\n"+
		"--r\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\nContent-Disposition: inline; filename=logo.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--r--\r\n"+
		"--m\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"evil.html\"\r\n\r\n<script>alert(1)</script>\r\n--m--\r\n", html)
	return b.String()
}
