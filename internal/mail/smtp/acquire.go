package smtp

import (
	"context"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// acquire returns a connection for this mail, or the verdict if there is none to be had. The connection is the mail's
// alone, or the mail follows another one on it.
func (p *Pool) acquire(ctx context.Context, t *transaction) (*conn, *mail.Verdict) {
	p.mu.Lock()
	t.conn, t.follows, t.opened, t.lost, t.moved = nil, false, false, false, false
	for {
		if ctx.Err() != nil {
			p.wakeLocked(1) // we may have been woken for something that we no longer want
			p.mu.Unlock()
			v := classify(mail.PhaseConnect, reply{}, context.Canceled)
			return nil, &v
		}
		if p.closed {
			p.mu.Unlock()
			v := closedVerdict()
			return nil, &v
		}
		now := p.cfg.Now()
		p.takeLocked(t, now)
		if c := t.conn; c != nil {
			p.mu.Unlock()
			return c, nil
		}
		away, open := p.circuit.open(now)
		switch {
		case open && len(p.conns) == 0:
			p.wakeLocked(len(p.waiters)) // no connection is left that could serve them
			p.mu.Unlock()
			return nil, &away
		case open || p.fullLocked() || p.circuit.halfOpen() && p.circuit.probing:
			// Connections that exist are used even if no further one can be made: a relay may limit their number.
			if p.joinLocked(t, now) || p.waitLocked(ctx, t, away.RetryAfter) {
				c := t.conn
				p.mu.Unlock()
				return c, nil
			}
			continue
		}
		p.dialing++
		p.circuit.probing = p.circuit.halfOpen()
		seen := p.circuit.failures
		p.mu.Unlock()
		c, r, err := dial(ctx, p.cfg)
		p.mu.Lock()
		if refused, done := p.dialedLocked(ctx, t, c, r, err, seen); done {
			c := t.conn
			p.mu.Unlock()
			return c, refused
		}
	}
}

// fullLocked reports whether there are as many connections as may be.
func (p *Pool) fullLocked() bool { return len(p.conns)+p.dialing >= p.limit.now }

// dialedLocked takes a connection that was made, or learns from one that was not. It is done unless other connections
// are left to wait for.
func (p *Pool) dialedLocked(ctx context.Context, t *transaction, c *conn, r reply, err error, seen int) (*mail.Verdict, bool) {
	p.dialing--
	defer func() { p.wakeLocked(len(p.waiters)) }()
	if err == nil {
		p.counts.dials++
		p.conns[c] = struct{}{}
		p.circuit.connected()
		p.giveLocked(c, t, p.cfg.Now())
		return nil, true
	}
	if ctx.Err() != nil {
		p.circuit.probing = false
		v := classify(mail.PhaseConnect, reply{}, context.Canceled)
		return &v, true
	}
	now := p.cfg.Now()
	r.text = newMasker(p.cfg.Username, p.cfg.Password).mask(r.text, mail.Envelope{})
	p.circuit.fail(now, seen, connectVerdict(r, err))
	if len(p.conns) > 0 {
		if r.code != 0 {
			p.limit.cut(now, p.limit.cuts, len(p.conns))
		}
		return nil, false
	}
	v := p.circuit.verdict
	if away, open := p.circuit.open(now); open {
		v = away
	}
	return &v, true
}

// takeLocked gives the transaction the connection used last, which the relay is least likely to have closed, and ends
// those that are too old. If it is to be a new one, one is ended to make room.
func (p *Pool) takeLocked(t *transaction, now time.Time) {
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !t.fresh && !p.expired(c, now) {
			p.giveLocked(c, t, now)
			return
		}
		p.endLocked(c)
		if t.fresh {
			return
		}
	}
}

// giveLocked makes the transaction the owner of an unused connection.
func (p *Pool) giveLocked(c *conn, t *transaction, now time.Time) {
	c.grouped = c.pipelining && p.trust.grouping(now)
	t.conn, t.follows, t.seen = c, false, p.limit.cuts
}

func (p *Pool) expired(c *conn, now time.Time) bool {
	return now.Sub(c.born) >= p.cfg.MaxAge || now.Sub(c.lastUsed) >= p.cfg.IdleTimeout || c.mails >= p.cfg.MaxMails
}

// waitLocked unlocks the pool and waits until something changed, ctx ended, or, if it is not 0, patience is over; then it
// locks the pool again. It reports whether the transaction was given a connection.
func (p *Pool) waitLocked(ctx context.Context, t *transaction, patience time.Duration) bool {
	p.queueLocked(t)
	p.mu.Unlock()
	var over <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-t.turn:
	case <-ctx.Done():
	case <-over:
	}
	p.mu.Lock()
	if i := slices.Index(p.waiters, t); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
	}
	return t.conn != nil
}

// maxOvertaken is how many urgent mails go before one that waits for a connection.
const maxOvertaken = 10

// queueLocked has the transaction wait behind the others; an urgent one before those that are not, unless enough have gone
// before them already.
func (p *Pool) queueLocked(t *transaction) {
	at := len(p.waiters)
	for ; t.env.Urgent && at > 0; at-- {
		before := p.waiters[at-1]
		if before.env.Urgent || before.overtaken >= maxOvertaken {
			break
		}
		before.overtaken++
	}
	p.waiters = slices.Insert(p.waiters, at, t)
}

// wakeLocked has the first n waiters look for themselves.
func (p *Pool) wakeLocked(n int) {
	n = min(n, len(p.waiters))
	for _, t := range p.waiters[:n] {
		t.signal()
	}
	p.waiters = slices.Delete(p.waiters, 0, n)
}
