package smtp

import (
	"context"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// stuckAfter is how long a mail waits behind another's final dot before it takes another connection, if there is one.
const stuckAfter = time.Second

// engage picks the mail that goes out right behind the final dot that is about to be sent on c: the one that has waited
// longest for a connection. It is nil if nobody waits, or must not. The mail's goroutine sleeps on: there is nothing for it
// to do before the mail in front of it has its reply, and being woken twice is what costs.
func (p *Pool) engage(c *conn) *transaction {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) == 0 {
		return nil
	}
	now := p.cfg.Now()
	if !p.followableLocked(c, now) {
		return nil
	}
	t := p.waiters[0]
	if t.fresh || c.refusal(t) != nil {
		return nil
	}
	p.waiters = slices.Delete(p.waiters, 0, 1)
	p.bindLocked(c, t, now)
	t.opened = true
	return t
}

// offer lets the next mail be opened on c, whose final dot was sent.
func (p *Pool) offer(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if !p.followableLocked(c, now) {
		return
	}
	if len(p.waiters) > 0 && !p.waiters[0].fresh {
		t := p.waiters[0]
		p.waiters = slices.Delete(p.waiters, 0, 1)
		p.bindLocked(c, t, now)
		t.signal()
		return
	}
	p.following = append(p.following, c)
}

// followableLocked reports whether c may carry another mail behind the one whose dot is sent now.
func (p *Pool) followableLocked(c *conn, now time.Time) bool {
	return c.grouped && p.trust.following(now) && !p.closed && len(p.conns) <= p.limit.now &&
		c.mails < p.cfg.MaxMails && now.Sub(c.born) < p.cfg.MaxAge
}

// joinLocked has the transaction follow the mail that waits longest for the reply to its dot, if there is one.
func (p *Pool) joinLocked(t *transaction, now time.Time) bool {
	if t.fresh || len(p.following) == 0 {
		return false
	}
	c := p.following[0]
	p.following = slices.Delete(p.following, 0, 1)
	p.bindLocked(c, t, now)
	return true
}

func (p *Pool) bindLocked(c *conn, t *transaction, now time.Time) {
	c.next, c.since = t, now
	t.conn, t.follows = c, true
	p.counts.followed++
	if p.rescuer == nil {
		p.rescuer = time.AfterFunc(stuckAfter, p.rescue)
	}
}

// follow opens the transaction behind another one, and waits until that has its reply. It has left if it does not own
// the connection then.
func (p *Pool) follow(ctx context.Context, c *conn, t *transaction) (a attempt, left bool) {
	p.mu.Lock()
	follows, opened := t.follows, t.opened
	p.mu.Unlock()
	if !follows {
		return p.lostAttempt(t)
	}
	if !opened {
		if refused := c.refusal(t); refused != nil {
			if p.leave(c, t, false) {
				return attempt{verdict: *refused}, true
			}
			return p.lostAttempt(t)
		}
		if err := p.openBehind(ctx, c, t); err != nil {
			return p.failBehind(ctx, c, t, err), true
		}
	}
	for {
		p.mu.Lock()
		follows := t.follows && !t.lost
		p.mu.Unlock()
		if !follows {
			return p.lostAttempt(t)
		}
		select {
		case <-t.turn:
		case <-ctx.Done():
			if p.leave(c, t, true) {
				return attempt{verdict: classify(mail.PhaseMail, reply{}, context.Canceled)}, true
			}
		}
	}
}

// openBehind sends MAIL, RCPT and DATA. The connection must outlive this mail's caller: another waits for its reply.
func (p *Pool) openBehind(ctx context.Context, c *conn, t *transaction) error {
	stop := context.AfterFunc(ctx, func() { _ = c.tcp.SetWriteDeadline(time.Unix(1, 0)) })
	c.wire = c.appendGroup(c.wire[:0], t)
	err := c.write(c.wire, c.cfg.Timeouts.Command)
	if !stop() {
		return context.Canceled
	}
	if err == nil {
		p.mu.Lock()
		t.opened = true
		p.mu.Unlock()
	}
	return err
}

// failBehind is the attempt of a mail that could not be opened behind another. Whoever owns the connection by now, nothing
// more is sent on it.
func (p *Pool) failBehind(ctx context.Context, c *conn, t *transaction, err error) attempt {
	a := attempt{verdict: classify(mail.PhaseMail, reply{}, err), stale: true}
	if p.leave(c, t, true) {
		return a
	}
	if lost, left := p.lostAttempt(t); left {
		return lost
	}
	c.abandon()
	p.release(c, t, a, ctx.Err() != nil)
	return a
}

// lostAttempt is the attempt of a mail whose connection ended while it followed. It has not left if the connection is its
// own by now.
func (p *Pool) lostAttempt(t *transaction) (attempt, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !t.lost {
		return attempt{}, false
	}
	return attempt{verdict: classify(mail.PhaseMail, reply{}, errLostBehind), stale: true, moved: t.moved}, true
}

// leave gives up following. It fails if the connection is the transaction's own by now, or was lost. With doom, something
// may have been sent, and the connection ends with the mail that was followed.
func (p *Pool) leave(c *conn, t *transaction, doom bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.next != t {
		return false
	}
	c.next = nil
	if doom {
		c.doomed = true
	} else {
		p.following = append(p.following, c)
	}
	return true
}

// rescue frees the mails that wait behind a final dot for long, where there is another way for them.
func (p *Pool) rescue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rescuer = nil
	if p.closed {
		return
	}
	room := len(p.idle) + max(0, p.limit.now-len(p.conns)-p.dialing)
	now, left := p.cfg.Now(), false
	for c := range p.conns {
		t := c.next
		if t == nil {
			continue
		}
		if room <= 0 || now.Sub(c.since) < stuckAfter {
			left = true
			continue
		}
		room--
		c.next, c.doomed = nil, true
		t.lost, t.moved = true, true
		t.signal()
	}
	if left {
		p.rescuer = time.AfterFunc(stuckAfter, p.rescue)
	}
}
