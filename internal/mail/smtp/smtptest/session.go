package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"time"
)

// maxDataLine is the longest line of a message, CRLF included (RFC 5321 section 4.5.3.1.6).
const maxDataLine = 1000

// errEnd ends a session that has come to its end, errClosed one that the server's end cuts short.
var (
	errEnd    = errors.New("end of session")
	errClosed = errors.New("the server was closed")
)

// The grammar of MAIL and RCPT. A path never has spaces, controls or further brackets: whatever has, is an injection.
var (
	mailCommand = regexp.MustCompile(`(?i)^MAIL FROM:<([^\s<>\x00-\x1f\x7f]*)>((?: [A-Z0-9][A-Z0-9-]*(?:=[\x21\x23-\x3b\x3f-\x7e]+)?)*)$`)
	rcptCommand = regexp.MustCompile(`(?i)^RCPT TO:<([^\s<>\x00-\x1f\x7f]+)>((?: [A-Z0-9][A-Z0-9-]*(?:=[\x21\x23-\x3b\x3f-\x7e]+)?)*)$`)
)

type session struct {
	server *Server
	number int
	conn   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer

	secure, greeted, authenticated bool
	// from is nil outside a transaction.
	from   *string
	params string
	to     []string
	// unread is the last mail whose reply the client has not shown to have read.
	unread *Entry
}

func newSession(s *Server, c net.Conn, number int) *session {
	x := &session{server: s, number: number, conn: c}
	x.use(c)
	return x
}

func (x *session) use(c net.Conn) {
	x.conn, x.in, x.out = c, bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
}

func (x *session) run() {
	if x.server.script.Security == ImplicitTLS && x.handshake() != nil {
		return
	}
	if x.react(Connect, "220 smtptest ESMTP") != nil {
		return
	}
	for {
		line, err := x.line(1024, "command")
		if err != nil {
			return
		}
		if x.command(string(line)) != nil {
			return
		}
	}
}

// line reads one line, without its CRLF; bare CR and LF are violations.
func (x *session) line(limit int, what string) ([]byte, error) {
	if x.in.Buffered() == 0 {
		_ = x.out.Flush() // what a silent reaction held up; an error shows at the read
	}
	line, err := x.in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	text, found := bytes.CutSuffix(line, []byte("\r\n"))
	if !found {
		x.server.violation(x.number, "a %s line ends with a bare LF", what)
		text = line[:len(line)-1]
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		x.server.violation(x.number, "a %s line holds a bare CR", what)
	}
	if len(line) > limit {
		x.server.violation(x.number, "a %s line of %d octets", what, len(line))
	}
	return text, nil
}

func (x *session) command(line string) error {
	verb, argument, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if verb == "AUTH" {
		mechanism, _, _ := strings.Cut(argument, " ")
		x.server.record(x.number, "AUTH "+mechanism)
		return x.auth(argument)
	}
	x.server.record(x.number, line)
	if verb == "RSET" || verb == "NOOP" || verb == "QUIT" {
		x.showRead()
	}
	switch verb {
	case "EHLO", "HELO":
		x.greeted, x.from, x.to = true, nil, nil
		return x.react(EHLO, x.greeting(verb))
	case "STARTTLS":
		return x.startTLS()
	case "MAIL":
		return x.mail(line)
	case "RCPT":
		return x.rcpt(line)
	case "DATA":
		return x.data()
	case "RSET":
		x.from, x.to = nil, nil
		return x.react(RSET, "250 2.0.0 ok")
	case "NOOP":
		return x.react(NOOP, "250 2.0.0 ok")
	case "*":
		// go-mail cancels an exchange that the relay has already refused.
		return x.reply("501 5.7.0 nothing to cancel")
	case "QUIT":
		if err := x.react(QUIT, "221 2.0.0 bye"); err != nil {
			return err
		}
		return errEnd
	}
	x.server.violation(x.number, "an unknown command")
	return x.reply("500 5.5.1 unknown command")
}

func (x *session) greeting(verb string) string {
	if verb == "HELO" {
		return "250 smtptest"
	}
	script := x.server.script
	features := script.Features
	if script.Security == StartTLS && !x.secure && script.InClear != nil {
		features = script.InClear
	}
	lines := append([]string{"smtptest"}, features...)
	if script.Security == StartTLS && !x.secure {
		lines = append(lines, "STARTTLS")
	}
	if len(script.Mechanisms) > 0 {
		lines = append(lines, "AUTH "+strings.Join(script.Mechanisms, " "))
	}
	for i := range lines[:len(lines)-1] {
		lines[i] = "250-" + lines[i] + "\r\n"
	}
	lines[len(lines)-1] = "250 " + lines[len(lines)-1]
	return strings.Join(lines, "")
}

func (x *session) startTLS() error {
	if err := x.react(STARTTLS, "220 2.0.0 go ahead"); err != nil {
		return err
	}
	x.greeted = false
	return x.handshake()
}

func (x *session) handshake() error {
	c := tls.Server(x.conn, x.server.tls)
	if err := c.Handshake(); err != nil {
		return err
	}
	x.secure = true
	x.use(c)
	return nil
}

func (x *session) mail(line string) error {
	parts := mailCommand.FindStringSubmatch(line)
	switch {
	case parts == nil:
		x.server.violation(x.number, "MAIL with a broken grammar")
		return x.reply("501 5.5.4 syntax")
	case !x.greeted || x.from != nil:
		x.outOfOrder("MAIL out of order")
		return x.reply("503 5.5.1 sender already specified")
	case len(x.server.script.Mechanisms) > 0 && !x.authenticated:
		return x.reply("530 5.7.0 authentication required")
	}
	return x.reactThen(MAIL, "250 2.1.0 ok", func() { x.from, x.params, x.to = &parts[1], strings.TrimSpace(parts[2]), nil })
}

func (x *session) rcpt(line string) error {
	parts := rcptCommand.FindStringSubmatch(line)
	switch {
	case parts == nil:
		x.server.violation(x.number, "RCPT with a broken grammar")
		return x.reply("501 5.5.4 syntax")
	case x.from == nil:
		x.outOfOrder("RCPT out of order")
		return x.reply("503 5.5.1 need MAIL first")
	}
	x.to = append(x.to, parts[1])
	accepted := false
	err := x.reactThen(RCPT, "250 2.1.5 ok", func() { accepted = true })
	if !accepted {
		x.to = x.to[:len(x.to)-1]
	}
	return err
}

// outOfOrder records a command that cannot be served. A client that pipelines sends it before it can know.
func (x *session) outOfOrder(what string) {
	if !x.server.pipelining {
		x.server.violation(x.number, "%s", what)
	}
}

// recipient is the one that reactions are looked up by.
func (x *session) recipient() string {
	if len(x.to) == 0 {
		return ""
	}
	return x.to[len(x.to)-1]
}

// react sends the usual reply, or does what the script says instead.
func (x *session) react(step Step, usual string) error { return x.reactThen(step, usual, func() {}) }

// reactThen also calls positive before a reply that is a 2yz or 3yz.
func (x *session) reactThen(step Step, usual string, positive func()) error {
	r := x.server.reaction(step, x.recipient())
	if r == nil {
		positive()
		return x.reply(usual)
	}
	return x.perform(r, usual, positive)
}

func (x *session) perform(r *Reaction, usual string, positive func()) error {
	if r.Reached != nil {
		close(r.Reached)
	}
	if r.Hang != nil {
		_ = x.out.Flush()
		select {
		case <-r.Hang:
		case <-x.server.done:
			return errClosed
		}
	}
	text := r.Reply
	if text == "" {
		text = usual
	}
	if r.Silent || r.Raw != "" {
		text = ""
	}
	if text != "" && text[0] < '4' || r.Accept {
		positive()
	}
	var err error
	switch {
	case r.Raw != "":
		err = x.write(r.Raw)
	case r.OneByte > 0:
		err = x.dribble(text+"\r\n", r.OneByte)
	case text != "":
		err = x.reply(text)
	}
	if r.Then != Continue {
		_ = x.out.Flush()
		end(x.conn, r.Then == Reset)
		return errEnd
	}
	return err
}

func (x *session) dribble(text string, pause time.Duration) error {
	for i := range len(text) {
		select {
		case <-time.After(pause):
		case <-x.server.done:
			return errClosed
		}
		if err := x.write(text[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (x *session) reply(text string) error { return x.write(text + "\r\n") }

func (x *session) write(text string) error {
	if _, err := io.WriteString(x.out, text); err != nil {
		return err
	}
	// With PIPELINING, replies are sent together when the client has nothing more to say (RFC 2920 section 3.2).
	if x.in.Buffered() > 0 {
		return nil
	}
	return x.out.Flush()
}
