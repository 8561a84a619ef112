package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/cartero-mail/cartero/internal/mail"
)

// FuzzReadReply: a reply is read or it is not, and what it says does not depend on how much of it is kept.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"250 2.1.0 ok\r\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n", "250-a\r\n550 b\r\n", "25", "250\r\n\r\n", "421 \x00\r\n", "250 a\rb\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, brief := bufio.NewReader(bytes.NewReader(text)), bufio.NewReader(bytes.NewReader(text))
		r, err := readReply(whole, false)
		short, shortErr := readReply(brief, true)
		if r.code != short.code || r.enhanced != short.enhanced || !errors.Is(err, shortErr) || whole.Buffered() != brief.Buffered() {
			t.Errorf("%+v, %v, but in brief %+v, %v", r, err, short, shortErr)
		}
		if err != nil {
			if r != (reply{}) {
				t.Errorf("an error and a reply: %+v, %v", r, err)
			}
			return
		}
		if r.code < 200 || r.code > 599 || strings.ContainsAny(r.text, "\r\n\x00") || len(r.text) > 2*maxReplyText {
			t.Errorf("%+v", r)
		}
		if short.code/100 >= 4 && short.text != r.text {
			t.Errorf("the text of a refusal is %q, in brief %q", r.text, short.text)
		}
	})
}

// FuzzAnswers: whatever a relay sends in place of the three replies, a body goes out only after two of the second class
// and a 354 with nothing behind it, and nobody is refused but by a reply that says so.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n250 ok\r\n354 go\r\n", "250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n", "250 ok\r\n354 go\r\n250 ok\r\n",
		"550 no\r\n503 no\r\n503 no\r\n", "250 ok\r\n550 no\r\n354 go\r\n", "550 no\r\n250 ok\r\n354 go\r\n", "421 bye\r\n",
		"250 ok\r\n550-a\r\n550 b\r\n421 bye\r\n", "250-\r\n", "", "550 no\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		stream := textproto.NewConn(&deaf{Reader: bytes.NewReader(text)})
		c := &conn{session: &gosmtp.Client{Text: stream}, tcp: &deaf{}}
		e := c.answers()
		var codes []int
		in := bufio.NewReader(bytes.NewReader(text))
		for range 3 {
			r, err := readReply(in, true)
			if err != nil {
				break
			}
			codes = append(codes, r.code)
		}
		if e.phase == "" {
			if len(codes) != 3 || codes[0]/100 != 2 || codes[1]/100 != 2 || codes[2] != 354 || !c.inData {
				t.Errorf("the body would go out after %v", codes)
			}
			return
		}
		v := classify(e.phase, e.reply, e.err)
		if v.Outcome != mail.Temporary && v.Outcome != mail.Permanent {
			t.Errorf("%v: %+v", codes, v)
		}
		if v.Outcome == mail.Permanent && !e.void && e.phase == mail.PhaseMail && (len(codes) != 3 || codes[1]/100 < 4) {
			t.Errorf("the sender is refused by %v", codes)
		}
		if !c.inData && !e.void && e.err == nil && e.reply.code != 421 && (len(codes) != 3 || codes[2]/100 < 4) {
			t.Errorf("the connection would be used again after %v", codes)
		}
	})
}

// deaf is a connection whose other end says what is in its Reader, and takes so many octets.
type deaf struct {
	io.Reader
	net.Conn
	taken int
}

func (d *deaf) Read(p []byte) (int, error)       { return d.Reader.Read(p) }
func (d *deaf) Write(p []byte) (int, error)      { return min(d.taken, len(p)), io.ErrShortWrite }
func (d *deaf) Close() error                     { return nil }
func (d *deaf) SetReadDeadline(time.Time) error  { return nil }
func (d *deaf) SetWriteDeadline(time.Time) error { return nil }

// FuzzIsWire: what is sent as it is needs no stuffing and no line ends.
func FuzzIsWire(f *testing.F) {
	for _, seed := range []string{"", "a\r\n", ".\r\n", "a\r\n.b\r\n", "a\n", "a\r\r\n", "a", "\r\n", "\n", "a\rb\r\n", "a\r\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if same := bytes.Equal(appendWire(nil, raw), raw); same != mail.IsWire(raw) {
			t.Errorf("%q goes out unchanged: %v, is taken to: %v", raw, same, mail.IsWire(raw))
		}
	})
}
