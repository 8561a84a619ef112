package smtp

import (
	"errors"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// ending is how the dialogue of one transaction ended. Its zero value is none: the relay has said 354.
type ending struct {
	phase mail.Phase
	// reply ended it; or err says why there is none.
	reply reply
	err   error
	// void: the reply may have been meant for something else, and another try has to show it.
	void bool
	// distrust: replies to commands sent together did not come as they should.
	distrust bool
}

// open begins a transaction on a connection that has nothing else to do.
func (c *conn) open(t *transaction) ending {
	if err := c.quiet(); err != nil {
		return ending{phase: mail.PhaseMail, err: err}
	}
	if c.grouped {
		return c.openAtOnce(t)
	}
	if c.needsReset {
		r, err := c.command(c.cfg.Timeouts.Command, []byte("RSET\r\n"))
		if e := resetEnding(r, err); e.phase != "" {
			return e
		}
	}
	c.wire = c.appendMAIL(c.wire[:0], t)
	if r, err := c.command(c.cfg.Timeouts.Command, c.wire); err != nil || !r.ok() {
		return ending{phase: mail.PhaseMail, reply: r, err: err}
	}
	c.wire = appendRCPT(c.wire[:0], t)
	if r, err := c.command(c.cfg.Timeouts.Command, c.wire); err != nil || !r.ok() {
		return ending{phase: mail.PhaseRcpt, reply: r, err: err}
	}
	c.inData = true
	r, err := c.command(c.cfg.Timeouts.Data, []byte("DATA\r\n"))
	if err == nil && r.code/100 >= 4 {
		c.inData = false
	}
	if err != nil || r.code != 354 {
		return ending{phase: mail.PhaseData, reply: r, err: err}
	}
	return ending{}
}

// resetEnding judges the reply to RSET, which cannot be refused: whatever else it is, it says nothing about the mail.
func resetEnding(r reply, err error) ending {
	if err == nil && !r.ok() && r.code != 421 || errors.Is(err, errUnreadable) {
		err = errDisorder
	}
	if err != nil || !r.ok() {
		return ending{phase: mail.PhaseMail, reply: r, err: err}
	}
	return ending{}
}

// openAtOnce sends everything up to DATA in one go.
func (c *conn) openAtOnce(t *transaction) ending {
	c.wire = c.wire[:0]
	if c.needsReset {
		c.wire = append(c.wire, "RSET\r\n"...)
	}
	c.wire = c.appendGroup(c.wire, t)
	c.inData = true
	if err := c.write(c.wire, c.cfg.Timeouts.Command); err != nil {
		r, err := c.lastWords(err)
		// It may be the relay's answer, or what it said when it hung up on us before.
		return ending{phase: mail.PhaseMail, reply: r, err: err, void: err == nil && r.code != 421}
	}
	if c.needsReset {
		r, err := c.await(c.cfg.Timeouts.Command)
		if e := resetEnding(r, err); e.phase != "" {
			return e
		}
	}
	return c.answers()
}

// answers reads the replies to MAIL, RCPT and DATA that were sent together. All three count: none is believed before
// the others fit, for one reply too many would be taken for this mail's.
func (c *conn) answers() ending {
	c.inData = true
	var refused ending
	for _, step := range []struct {
		phase   mail.Phase
		timeout time.Duration
	}{
		{mail.PhaseMail, c.cfg.Timeouts.Command},
		{mail.PhaseRcpt, c.cfg.Timeouts.Command},
		{mail.PhaseData, c.cfg.Timeouts.Data},
	} {
		r, err := c.await(step.timeout)
		switch {
		case (err != nil || r.code == 421) && refused.phase != "":
			return brokenOff(refused, err)
		case err != nil:
			return ending{phase: step.phase, err: err, distrust: isConfused(err)}
		case r.code == 421:
			return ending{phase: step.phase, reply: r}
		case !fits(step.phase, r, refused.phase):
			return ending{phase: step.phase, err: errDisorder, void: true, distrust: true}
		case r.code/100 >= 4 && refused.phase == "":
			refused = ending{phase: step.phase, reply: r}
		}
		if step.phase == mail.PhaseData {
			c.inData = r.code == 354
		}
	}
	if c.session.Text.R.Buffered() > 0 {
		c.inData = true // nothing more is sent here
		return ending{phase: mail.PhaseData, err: errDisorder, void: true, distrust: true}
	}
	// A relay that takes DATA for nobody waits for a body now (RFC 2920 section 3.1). A lone dot would do, unless it
	// has a recipient after all; without one nothing can be delivered. In lock-step it is not asked for DATA at all.
	refused.distrust = c.inData && refused.phase != ""
	return refused
}

// fits reports whether r can be the reply to the command of this phase, when one before it was refused, or not.
func fits(phase mail.Phase, r reply, refused mail.Phase) bool {
	switch {
	case r.code/100 >= 4:
		return true
	case phase == mail.PhaseData:
		return r.code == 354
	case r.code == 354:
		return false
	}
	return refused == ""
}

// brokenOff is a refusal after which the relay ended the session, or fell silent, instead of answering the rest. That
// the sender is refused would stop a campaign: it is not believed of somebody who may just have wanted to hang up.
func brokenOff(refused ending, err error) ending {
	refused.void = refused.phase == mail.PhaseMail
	refused.distrust = refused.void || isConfused(err)
	return refused
}

// isConfused reports whether a relay that was sent several commands at once got lost among them: it answers what is no
// answer, or no more.
func isConfused(err error) bool { return errors.Is(err, errUnreadable) || isTimeout(err) }
