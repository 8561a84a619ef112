package smtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/cartero-mail/cartero/internal/failpoint"
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

// conn is one connection to the relay, greeted and authenticated. It belongs to one transaction at a time, its owner;
// another one may have been opened behind the owner's final dot, and writes then while the owner only reads.
type conn struct {
	cfg     Config
	session *gosmtp.Client
	tcp     net.Conn
	meter   *meteredConn
	mask    masker
	peeker  peeker
	guard   *guard

	pipelining, eightBit, utf8, size bool
	// maxSize is the largest message that the relay takes; 0 if it does not say.
	maxSize int64

	born, lastUsed time.Time
	// mails counts the transactions that were begun. After the first the relay may have closed the connection.
	mails int
	// grouped: commands go out together. It is decided when the connection is given to somebody.
	grouped bool
	// needsReset: the last transaction was refused half-way, so RSET comes before the next.
	needsReset bool
	// inData: DATA was sent, and no reply to the final dot was read.
	inData bool
	// broken: the connection was closed.
	broken bool

	wire []byte
	// writeBy and readBy are the deadlines that the connection has.
	writeBy, readBy deadline

	// The pool's lock guards these. next is the transaction behind the final dot of the owner, since then. doomed: one
	// was, and has left, so that its DATA has no body to come.
	next   *transaction
	since  time.Time
	doomed bool
}

// attempt is what came of one transaction on one connection.
type attempt struct {
	verdict mail.Verdict
	// stale: nothing that the relay said on this connection can be held against this mail, so another one is due.
	stale bool
	// moved: it was stale because of a better connection, and not a word was said.
	moved bool
	// unused: the message was refused before anything was sent.
	unused bool
	// distrust: the relay offers PIPELINING and does not do it right.
	distrust bool
	// throttled: the relay wants fewer connections.
	throttled bool
}

// transact performs one transaction. Afterwards the connection is either ready for another one or broken.
func (c *conn) transact(ctx context.Context, p *Pool, t *transaction) attempt {
	if !t.opened {
		if refused := c.refusal(t); refused != nil {
			return attempt{verdict: *refused, unused: true}
		}
	}
	reused := c.mails > 0
	c.mails++
	guard := c.guarded(ctx)
	e := c.dialogue(p, t, guard)
	if !guard.release() {
		c.abandon()
		if e.err != nil && e.phase != mail.PhaseDot {
			e = ending{phase: e.phase, err: context.Canceled}
		}
	}
	if e.reply.text != "" {
		e.reply.text = c.mask.mask(e.reply.text, t.env)
	}
	a := attempt{verdict: classify(e.phase, e.reply, e.err), distrust: e.distrust, throttled: e.err == nil && isThrottled(e.phase, e.reply)}
	if e.err != nil || e.reply.code == 421 || c.inData || e.reply.code/100 == 3 {
		c.abandon()
	}
	c.needsReset = a.verdict.Outcome != mail.Sent && e.phase != mail.PhaseDot
	a.stale = !t.again && (e.void || reused && e.phase == mail.PhaseMail && (e.reply.code == 421 || isGone(e.err)))
	return a
}

// isGone reports whether the other side has ended the connection, as opposed to keeping us waiting.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errDisorder) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

// dialogue is the transaction, or what is left of it if it was opened before.
func (c *conn) dialogue(p *Pool, t *transaction, guard *guard) ending {
	var e ending
	switch {
	case t.opened: // behind the dot of another mail
		e = c.answers()
	default:
		e = c.open(t)
	}
	if e.phase != "" {
		return e
	}
	if err := failpoint.Hit(failpoint.SMTPOpened); err != nil {
		return ending{phase: mail.PhaseData, err: err}
	}
	together := t.raw
	if t.size() > c.cfg.BodyWithDot || t.tail.Len() > 0 {
		if r, err := c.body(t.raw, t.tail.Bytes()); err != nil || r.code != 0 {
			return ending{phase: mail.PhaseData, reply: r, err: err}
		}
		together = nil
	}
	if err := c.quiet(); err != nil {
		r, err := c.lastWords(err)
		return ending{phase: mail.PhaseData, reply: r, err: err}
	}
	if err := failpoint.Hit(failpoint.SMTPBodySent); err != nil {
		return ending{phase: mail.PhaseData, err: err}
	}
	return c.dot(p, t, together, guard)
}

// body writes everything but the final dot; tail is as it goes over the wire. A reply is one that came before its time:
// the relay has made up its mind.
func (c *conn) body(raw, tail []byte) (reply, error) {
	if c.session.Text.R.Buffered() > 0 {
		return reply{}, errDisorder
	}
	rest := raw
	if !mail.IsWire(raw) {
		c.wire = appendWire(c.wire[:0], raw)
		rest = c.wire
	}
	for _, rest := range [][]byte{rest, tail} {
		for len(rest) > 0 {
			block := rest[:min(blockSize, len(rest))]
			rest = rest[len(block):]
			if err := c.write(block, c.cfg.Timeouts.Block); err != nil {
				return c.lastWords(err)
			}
		}
	}
	if cap(c.wire) > keptWire {
		c.wire = nil
	}
	return reply{}, nil
}

// dot asks whether the mail may go, sends the final dot, and waits for the reply whatever happens to the caller: from
// here on, giving up would leave the mail in doubt. In the same write goes the body, if it is still to be sent, and behind
// the dot the next mail of the pool, if there is one already.
func (c *conn) dot(p *Pool, t *transaction, body []byte, guard *guard) ending {
	if !guard.release() {
		return ending{phase: mail.PhaseData, err: context.Canceled}
	}
	if t.beforeDot != nil {
		if err := t.beforeDot(); err != nil {
			return ending{phase: mail.PhaseData, err: errBeforeDot}
		}
	}
	c.wire = c.wire[:0]
	if mail.IsWire(body) {
		c.wire = append(c.wire, body...)
	} else {
		c.wire = appendWire(c.wire, body)
	}
	dotless := int64(len(c.wire))
	if c.cfg.UseTLS {
		dotless = 0 // what is counted is not what is written
	}
	c.wire = append(c.wire, ".\r\n"...)
	next := p.engage(c)
	if next != nil {
		c.wire = c.appendGroup(c.wire, next)
	}
	before := c.meter.written
	if err := failpoint.After(failpoint.SMTPDotSent, c.write(c.wire, c.cfg.Timeouts.Dot)); err != nil {
		if c.meter.written-before <= dotless {
			// The kernel took not one octet of it, so the relay cannot have it either.
			return ending{phase: mail.PhaseData, err: err}
		}
		return ending{phase: mail.PhaseDot, err: err}
	}
	if next == nil {
		p.offer(c)
	}
	r, err := c.await(c.cfg.Timeouts.Dot)
	if err == nil && r.code != 250 && r.code/100 < 4 {
		err = errUnreadable
	}
	if err != nil {
		return ending{phase: mail.PhaseDot, err: err}
	}
	failpoint.Reach(failpoint.SMTPReplyRead)
	c.inData = false
	return ending{phase: mail.PhaseDot, reply: r}
}

// command sends one line and reads the reply. Input that is there before the line is sent ends the dialogue: it could
// only be taken for the reply to another command.
func (c *conn) command(timeout time.Duration, line []byte) (reply, error) {
	if c.session.Text.R.Buffered() > 0 {
		return reply{}, errDisorder
	}
	if err := c.write(line, timeout); err != nil {
		return c.lastWords(err)
	}
	return c.await(timeout)
}

// deadline is one of a connection, which moves with each use of it. It is set anew only where it would come too early, or much
// later than it should: setting it costs as much as many a thing that it is for.
type deadline struct{ at time.Time }

// slack is the part of a timeout by which its deadline may be late.
const slack = 16

// move returns when the deadline is to come, and whether that has to be set: in timeout from now at the earliest.
func (d *deadline) move(now time.Time, timeout time.Duration) (at time.Time, set bool) {
	if left := d.at.Sub(now); left >= timeout && left <= timeout+timeout/slack {
		return d.at, false
	}
	d.at = now.Add(timeout + timeout/slack)
	return d.at, true
}

// write hands text to the network, and gives up when this time is over, or a sixteenth later.
func (c *conn) write(text []byte, timeout time.Duration) error {
	if at, set := c.writeBy.move(time.Now(), timeout); set {
		_ = c.tcp.SetWriteDeadline(at) // an error shows at the write
	}
	out := c.session.Text.W
	if _, err := out.Write(text); err != nil {
		return err
	}
	return out.Flush()
}

// await reads one reply, waiting for it as long as this, or a sixteenth longer. One that is there already costs no timer.
func (c *conn) await(timeout time.Duration) (reply, error) {
	in := c.session.Text.R
	if buffered, _ := in.Peek(in.Buffered()); bytes.IndexByte(buffered, '\n') < 0 {
		if at, set := c.readBy.move(time.Now(), timeout); set {
			_ = c.tcp.SetReadDeadline(at) // an error shows at the read
		}
	}
	r, err := readReply(in, true)
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
	c.readBy = deadline{}
	_ = c.tcp.SetReadDeadline(time.Now().Add(lastWordsTimeout))
	r, readErr := readReply(c.session.Text.R, true)
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
	readable, err := c.peeker.peek()
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
	c.readBy = deadline{}
	_ = c.tcp.SetReadDeadline(time.Now().Add(patience))
	if _, err := in.Peek(1); err != nil {
		if isTimeout(err) {
			return nil
		}
		return err
	}
	return errDisorder
}

// abandon closes the connection hard.
func (c *conn) abandon() {
	c.broken = true
	c.guard.forget()
	hardClose(c.tcp)
}

// quit ends the session as RFC 5321 section 4.1.1.10 wants it; never while in DATA.
func (c *conn) quit() {
	if c.broken || c.inData {
		c.abandon()
		return
	}
	_, _ = c.command(c.cfg.Timeouts.Quit, []byte("QUIT\r\n"))
	c.broken = true
	c.guard.forget()
	_ = c.session.Close()
}
