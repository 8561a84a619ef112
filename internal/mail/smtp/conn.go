package smtp

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/cartero-mail/cartero/internal/mail"
)

const (
	// blockSize is how much of a body is written under one deadline.
	blockSize = 64 << 10
	// keptWire is the largest buffer that a connection keeps for the next body.
	keptWire = 1 << 20
	// lastWordsTimeout is how long to listen for what the relay said before it closed the connection.
	lastWordsTimeout = 2 * time.Second
)

// conn is one connection to the relay, greeted and authenticated. It belongs to one goroutine at a time.
type conn struct {
	cfg     Config
	session *gosmtp.Client
	tcp     net.Conn
	meter   *meteredConn
	mask    masker

	eightBit, utf8, size bool
	// maxSize is the largest message that the relay takes; 0 if it does not say.
	maxSize int64

	born     time.Time
	lastUsed time.Time
	// used: a transaction was finished on this connection. The relay may since have closed it.
	used bool
	// needsReset: the last transaction was refused half-way, so RSET comes before the next.
	needsReset bool
	// inData: DATA was sent, and no reply to the final dot was read.
	inData bool
	// broken: the connection was closed.
	broken bool

	wire []byte
}

// attempt is what came of one transaction on one connection.
type attempt struct {
	verdict mail.Verdict
	// stale: the connection was kept too long and ended before the relay answered anything of this transaction.
	stale bool
	// unused: the message was refused before anything was sent.
	unused bool
}

// transact performs one transaction. Afterwards the connection is either ready for another one or broken.
func (c *conn) transact(ctx context.Context, env mail.Envelope, raw []byte, beforeDot func() error) attempt {
	params, refused := c.mailParams(env, raw)
	if refused != nil {
		return attempt{verdict: *refused, unused: true}
	}
	reused := c.used
	c.used = true
	guard := newGuard(ctx, c.tcp)
	phase, r, err := c.dialogue(env, params, raw, guard, beforeDot)
	if !guard.release() {
		c.abandon()
		if err != nil && phase != mail.PhaseDot {
			err = context.Canceled
		}
	}
	r.text = c.mask.mask(r.text, env)
	a := attempt{verdict: classify(phase, r, err)}
	if err != nil || r.code == 421 || c.inData {
		c.abandon()
	}
	c.needsReset = a.verdict.Outcome != mail.Sent && phase != mail.PhaseDot
	a.stale = reused && phase == mail.PhaseMail && (r.code == 421 || isGone(err))
	return a
}

// isGone reports whether the other side has ended the connection, as opposed to keeping us waiting.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errDisorder) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

// dialogue is the transaction. It returns the phase it reached, and the reply that ended it or why there is none.
func (c *conn) dialogue(env mail.Envelope, params string, raw []byte, guard *guard, beforeDot func() error) (mail.Phase, reply, error) {
	if err := c.quiet(); err != nil {
		return mail.PhaseMail, reply{}, err
	}
	if c.needsReset {
		r, err := c.command(c.cfg.Timeouts.Command, "RSET")
		if err == nil && !r.ok() && r.code != 421 || errors.Is(err, errUnreadable) {
			err = errDisorder // RSET cannot be refused: whatever this is, it says nothing about this mail
		}
		if err != nil || !r.ok() {
			return mail.PhaseMail, r, err
		}
	}
	if r, err := c.command(c.cfg.Timeouts.Command, "MAIL FROM:<", env.From, ">", params); err != nil || !r.ok() {
		return mail.PhaseMail, r, err
	}
	if r, err := c.command(c.cfg.Timeouts.Command, "RCPT TO:<", env.To, ">"); err != nil || !r.ok() {
		return mail.PhaseRcpt, r, err
	}
	c.inData = true
	r, err := c.command(c.cfg.Timeouts.Data, "DATA")
	if err == nil && r.code/100 >= 4 {
		c.inData = false
	}
	if err != nil || r.code != 354 {
		return mail.PhaseData, r, err
	}
	if r, err := c.body(raw); err != nil || r.code != 0 {
		return mail.PhaseData, r, err
	}
	return c.dot(guard, beforeDot)
}

// body writes everything but the final dot. A reply is one that came before its time: the relay has made up its mind.
func (c *conn) body(raw []byte) (reply, error) {
	c.wire = appendWire(c.wire[:0], raw)
	out := c.session.Text.W
	for rest := c.wire; len(rest) > 0; {
		block := rest[:min(blockSize, len(rest))]
		rest = rest[len(block):]
		c.deadline(c.cfg.Timeouts.Block)
		_, err := out.Write(block)
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return c.lastWords(err)
		}
	}
	if cap(c.wire) > keptWire {
		c.wire = nil
	}
	if err := c.quiet(); err != nil {
		return c.lastWords(err)
	}
	return reply{}, nil
}

// dot asks whether the mail may go, sends the final dot, and waits for the reply whatever happens to the caller: from
// here on, giving up would leave the mail in doubt.
func (c *conn) dot(guard *guard, beforeDot func() error) (mail.Phase, reply, error) {
	if !guard.release() {
		return mail.PhaseData, reply{}, context.Canceled
	}
	if beforeDot != nil {
		if err := beforeDot(); err != nil {
			return mail.PhaseData, reply{}, errBeforeDot
		}
	}
	before := c.meter.written
	c.deadline(c.cfg.Timeouts.Dot)
	_, err := c.session.Text.W.WriteString(".\r\n")
	if err == nil {
		err = c.session.Text.W.Flush()
	}
	if err != nil {
		if c.meter.written == before {
			// The kernel took not one octet of it, so the relay cannot have it either.
			return mail.PhaseData, reply{}, err
		}
		return mail.PhaseDot, reply{}, err
	}
	r, err := readReply(c.session.Text.R)
	if err == nil && r.code != 250 && r.code/100 < 4 {
		err = errUnreadable
	}
	if err != nil {
		return mail.PhaseDot, reply{}, err
	}
	c.inData = false
	return mail.PhaseDot, r, nil
}

// command sends one line and reads the reply. Input that is there before the line is sent ends the dialogue: it could
// only be taken for the reply to another command.
func (c *conn) command(timeout time.Duration, parts ...string) (reply, error) {
	in, out := c.session.Text.R, c.session.Text.W
	if in.Buffered() > 0 {
		return reply{}, errDisorder
	}
	c.deadline(timeout)
	for _, part := range parts {
		_, _ = out.WriteString(part) // a bufio.Writer keeps its first error for Flush
	}
	_, _ = out.WriteString("\r\n")
	if err := out.Flush(); err != nil {
		return c.lastWords(err)
	}
	r, err := readReply(in)
	if err == nil && r.code/100 == 3 && r.code != 354 {
		err = errUnreadable
	}
	return r, err
}

// lastWords reads what the relay said before the connection failed with err, or before its time. Only a refusal counts.
func (c *conn) lastWords(err error) (reply, error) {
	if !errors.Is(err, errDisorder) && !isGone(err) {
		return reply{}, err
	}
	c.deadline(lastWordsTimeout)
	r, readErr := readReply(c.session.Text.R)
	c.abandon()
	if readErr != nil || r.code/100 < 4 {
		return reply{}, err
	}
	return r, nil
}

// quiet makes sure that the connection is open and that there is nothing to read on it, without asking the relay.
func (c *conn) quiet() error {
	in := c.session.Text.R
	if in.Buffered() > 0 {
		return errDisorder
	}
	readable, err := peek(c.tcp)
	if err != nil {
		return err
	}
	if !c.cfg.UseTLS {
		if readable {
			return errDisorder
		}
		return nil
	}
	// Under TLS a reply may hide in a record that was read already, and what is readable may be no reply at all.
	patience := -time.Second
	if readable {
		patience = 5 * time.Millisecond
	}
	c.deadline(patience)
	if _, err := in.Peek(1); err != nil {
		if isTimeout(err) {
			return nil
		}
		return err
	}
	return errDisorder
}

// deadline bounds everything up to the next call; an error shows at the next read or write.
func (c *conn) deadline(timeout time.Duration) { _ = c.session.UpdateDeadline(timeout) }

// abandon closes the connection hard.
func (c *conn) abandon() {
	c.broken = true
	hardClose(c.tcp)
}

// quit ends the session as RFC 5321 section 4.1.1.10 wants it; never while in DATA.
func (c *conn) quit() {
	if c.broken || c.inData {
		c.abandon()
		return
	}
	_, _ = c.command(c.cfg.Timeouts.Quit, "QUIT")
	c.broken = true
	_ = c.session.Close()
}

// guard closes the connection when the context ends, up to the moment when the transaction may no longer be given up.
type guard struct {
	stop     func() bool
	released bool
	intact   bool
}

func newGuard(ctx context.Context, tcp net.Conn) *guard {
	return &guard{stop: context.AfterFunc(ctx, func() { hardClose(tcp) })}
}

// release stops guarding; it reports whether the connection was left alone until now. Only the first call decides.
func (g *guard) release() bool {
	if !g.released {
		g.released, g.intact = true, g.stop()
	}
	return g.intact
}
