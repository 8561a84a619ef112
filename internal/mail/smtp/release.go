package smtp

import (
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// release gives a connection back after a transaction: to the mail that follows, to one that waits, or to the idle ones;
// or it ends it.
func (p *Pool) release(c *conn, t *transaction, a attempt, cancelled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	c.lastUsed = now
	if i := slices.Index(p.following, c); i >= 0 {
		p.following = slices.Delete(p.following, i, i+1)
	}
	if c.inData || c.doomed {
		c.abandon() // also after a panic of beforeDot
	}
	p.learnLocked(c, t, a, cancelled, now)
	next := c.next
	c.next = nil
	switch {
	case next != nil && c.broken:
		p.endLocked(c)
		next.lost = true
		next.signal()
		p.wakeLocked(1)
	case next != nil:
		next.follows, next.seen = false, p.limit.cuts
		next.signal()
	case c.broken || p.closed || p.expired(c, now) || len(p.conns) > p.limit.now:
		p.endLocked(c)
		p.wakeLocked(1)
	default:
		p.handLocked(c, now)
	}
}

// learnLocked draws the conclusions that concern the relay.
func (p *Pool) learnLocked(c *conn, t *transaction, a attempt, cancelled bool, now time.Time) {
	v := a.verdict
	switch {
	case v.Code != 0:
		p.circuit.talked()
	case v.Phase == mail.PhaseMail && v.Outcome == mail.Temporary && !a.stale && !cancelled:
		p.circuit.fail(now, p.circuit.failures, v)
	}
	if a.throttled {
		p.limit.cut(now, t.seen, min(p.limit.now, len(p.conns))/2)
	}
	if a.distrust {
		p.counts.disorders++
		p.trust.disorder(now)
	}
	switch v.Outcome {
	case mail.Sent:
		p.counts.sent++
		p.limit.content(now)
	case mail.Uncertain:
		if c.next != nil {
			p.trust.doubt(now)
		}
	}
}

// handLocked gives a connection that is free to who waits longest.
func (p *Pool) handLocked(c *conn, now time.Time) {
	if len(p.waiters) == 0 {
		p.idle = append(p.idle, c)
		p.armReaperLocked()
		return
	}
	t := p.waiters[0]
	if t.fresh {
		p.endLocked(c) // which makes room for a new one
		p.wakeLocked(1)
		return
	}
	p.waiters = slices.Delete(p.waiters, 0, 1)
	p.giveLocked(c, t, now)
	t.signal()
}

// endLocked forgets a connection, and says goodbye in the background: the relay may be slow to answer.
func (p *Pool) endLocked(c *conn) {
	delete(p.conns, c)
	if !c.broken {
		p.goodbyes.Go(c.quit)
	}
}

// armReaperLocked makes sure that an idle connection is ended when nobody asks for it any more.
func (p *Pool) armReaperLocked() {
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.cfg.IdleTimeout, p.reap)
	}
}

// reap ends the connections that have been idle, or open, for too long.
func (p *Pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	if p.closed {
		return
	}
	now := p.cfg.Now()
	kept := p.idle[:0]
	for _, c := range p.idle {
		if p.expired(c, now) {
			p.endLocked(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if len(kept) > 0 {
		p.armReaperLocked()
	}
}
