package smtp

import (
	"strconv"

	"github.com/cartero-mail/cartero/internal/mail"
)

// transaction is one mail on its way through the pool. It belongs to the goroutine that called Send.
type transaction struct {
	env mail.Envelope
	// raw is the message, but for the tail, which many mails may share.
	raw       []byte
	tail      mail.Tail
	beforeDot func() error
	// eightBit: the message has octets above 127. international: it, or the envelope, needs SMTPUTF8.
	eightBit, international bool
	// fresh: it takes a new connection, since one that was kept has failed it.
	fresh bool
	// again: it is the last try, so that what is said of it stands.
	again bool

	// turn tells that something about the fields below has changed. It holds one signal.
	turn chan struct{}

	// The pool's lock guards these. conn is the connection that was given to it. follows: the mail before it on that
	// connection still waits for its reply. opened: MAIL, RCPT and DATA are on the wire already. lost: the connection
	// ended while it followed, and nothing was said of it; moved: because there was a better one. seen is the number of
	// cuts of the limit when it was given the connection.
	conn                         *conn
	follows, opened, lost, moved bool
	seen                         int
	// overtaken counts the urgent mails that went before it.
	overtaken int
}

func newTransaction(env mail.Envelope, raw []byte, tail mail.Tail, beforeDot func() error) *transaction {
	eightBit, inHeader := has8Bit(raw) // a tail has 7 bits
	return &transaction{
		env: env, raw: raw, tail: tail, beforeDot: beforeDot, eightBit: eightBit,
		international: inHeader || !mail.IsASCII(env.From) || !mail.IsASCII(env.To),
		turn:          make(chan struct{}, 1),
	}
}

// size is that of the whole message, in octets.
func (t *transaction) size() int { return len(t.raw) + t.tail.Len() }

// signal wakes the goroutine of the transaction. The pool is locked.
func (t *transaction) signal() {
	select {
	case t.turn <- struct{}{}:
	default:
	}
}

// refusal is the verdict on a message that this relay would not take, before anything is sent; nil if it would.
func (c *conn) refusal(t *transaction) *mail.Verdict {
	switch {
	case c.maxSize > 0 && int64(t.size()) > c.maxSize:
		v := invalid(mail.PhaseMail, "5.3.4", "the message is larger than the relay takes: "+
			strconv.Itoa(t.size())+" of "+strconv.FormatInt(c.maxSize, 10)+" octets")
		v.Category = mail.CategoryContent
		return &v
	case t.international && !c.utf8:
		v := invalid(mail.PhaseMail, "5.6.7", "an address is internationalised, and the relay does not support SMTPUTF8")
		if !mail.IsASCII(t.env.From) {
			v.Scope = mail.ScopeSender
		}
		return &v
	case t.eightBit && !c.eightBit:
		v := invalid(mail.PhaseMail, "5.6.3", "the message is not in 7 bits, and the relay takes no other")
		v.Category = mail.CategoryContent
		return &v
	}
	return nil
}

// appendMAIL appends the MAIL command, with the parameters that this message needs and this relay offers.
func (c *conn) appendMAIL(dst []byte, t *transaction) []byte {
	dst = append(dst, "MAIL FROM:<"...)
	dst = append(dst, t.env.From...)
	dst = append(dst, '>')
	if c.size {
		dst = append(dst, " SIZE="...)
		dst = strconv.AppendInt(dst, int64(t.size()), 10)
	}
	if t.eightBit {
		dst = append(dst, " BODY=8BITMIME"...)
	}
	if t.international {
		dst = append(dst, " SMTPUTF8"...)
	}
	return append(dst, '\r', '\n')
}

func appendRCPT(dst []byte, t *transaction) []byte {
	dst = append(dst, "RCPT TO:<"...)
	dst = append(dst, t.env.To...)
	return append(dst, '>', '\r', '\n')
}

// appendGroup appends what opens a transaction in one go (RFC 2920 section 3.1): DATA comes last in its group.
func (c *conn) appendGroup(dst []byte, t *transaction) []byte {
	return append(appendRCPT(c.appendMAIL(dst, t), t), "DATA\r\n"...)
}
