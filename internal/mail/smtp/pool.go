package smtp

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// Pool keeps connections to one relay and sends mails over them. It implements mail.Sender.
type Pool struct {
	cfg Config

	mu sync.Mutex
	// idle are the connections not in use, the one used last at the end.
	idle []*conn
	// live counts connections, idle or in use; dialing counts those being made. Together they are at most MaxConnections.
	live, dialing int
	waiters       []chan struct{}
	circuit       circuit
	reaper        *time.Timer
	closed        bool

	// sends are calls of Send, goodbyes are connections being ended.
	sends, goodbyes sync.WaitGroup
}

var _ mail.Sender = (*Pool)(nil)

// NewPool checks the configuration and returns a pool without connections: they are made when they are needed. The
// error names everything that is wrong.
func NewPool(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring SMTP: %w", err)
	}
	return &Pool{cfg: cfg, circuit: newCircuit()}, nil
}

// Send implements mail.Sender. It waits for a connection if all are in use. If ctx ends before the final dot, the
// transaction is given up; afterwards the reply is awaited, up to Timeouts.Dot, whatever becomes of ctx. While the
// relay is known to be away it returns at once, with the time to wait in RetryAfter.
func (p *Pool) Send(ctx context.Context, env mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	if refused := checkEnvelope(env); refused != nil {
		return *refused
	}
	if !p.enter() {
		return closedVerdict()
	}
	defer p.sends.Done()
	a := p.attempt(ctx, env, raw, beforeDot, false)
	if a.stale && ctx.Err() == nil {
		// The relay hung up on a connection that was kept, before it heard of this mail: that is nobody's attempt.
		a = p.attempt(ctx, env, raw, beforeDot, true)
	}
	return a.verdict
}

// Close waits for transactions in flight, ends all connections with QUIT, and refuses further mails. It always
// returns nil and may be called twice.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.live -= len(idle)
	for _, c := range idle {
		p.endLocked(c)
	}
	p.wakeLocked(len(p.waiters))
	if p.reaper != nil {
		p.reaper.Stop()
	}
	p.mu.Unlock()
	p.sends.Wait()
	p.goodbyes.Wait()
	return nil
}

func (p *Pool) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.sends.Add(1)
	return true
}

// attempt is one transaction on one connection; on a new one if fresh.
func (p *Pool) attempt(ctx context.Context, env mail.Envelope, raw []byte, beforeDot func() error, fresh bool) (a attempt) {
	c, refused := p.acquire(ctx, fresh)
	if refused != nil {
		return attempt{verdict: *refused}
	}
	defer func() { p.release(c, a, ctx.Err() != nil) }()
	return c.transact(ctx, env, raw, beforeDot)
}

// acquire returns a connection that is the caller's alone, or the verdict if there is none to be had.
func (p *Pool) acquire(ctx context.Context, fresh bool) (*conn, *mail.Verdict) {
	for {
		p.mu.Lock()
		if ctx.Err() != nil {
			p.wakeLocked(1) // we may have been woken for a connection that we no longer want
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
		if c := p.takeIdleLocked(now, fresh); c != nil {
			p.mu.Unlock()
			return c, nil
		}
		away, open := p.circuit.open(now)
		switch {
		case open && p.live == 0:
			p.mu.Unlock()
			return nil, &away
		case open || p.live+p.dialing >= p.cfg.MaxConnections || p.circuit.halfOpen() && p.circuit.probing:
			// Connections that exist are used even if no further one can be made: a relay may limit their number.
			p.waitLocked(ctx, away.RetryAfter)
			continue
		}
		p.dialing++
		p.circuit.probing = p.circuit.halfOpen()
		seen := p.circuit.failures
		p.mu.Unlock()
		if c, refused, done := p.dial(ctx, seen); done {
			return c, refused
		}
	}
}

// dial makes a connection. It is done unless others are left to wait for.
func (p *Pool) dial(ctx context.Context, seen int) (c *conn, refused *mail.Verdict, done bool) {
	c, r, err := dial(ctx, p.cfg)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if err == nil {
		p.live++
		p.circuit.connected()
		p.wakeLocked(len(p.waiters))
		return c, nil, true
	}
	defer p.wakeLocked(len(p.waiters))
	if ctx.Err() != nil {
		p.circuit.probing = false
		v := classify(mail.PhaseConnect, reply{}, context.Canceled)
		return nil, &v, true
	}
	r.text = newMasker(p.cfg.Username, p.cfg.Password).mask(r.text, mail.Envelope{})
	p.circuit.fail(p.cfg.Now(), seen, connectVerdict(r, err))
	if p.live > 0 {
		return nil, nil, false
	}
	v := p.circuit.verdict
	if away, open := p.circuit.open(p.cfg.Now()); open {
		v = away
	}
	return nil, &v, true
}

// takeIdleLocked returns the connection used last, which the relay is least likely to have closed, and ends those that
// are too old. If fresh, it ends one to make room for a new one.
func (p *Pool) takeIdleLocked(now time.Time, fresh bool) *conn {
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !fresh && !p.expired(c, now) {
			return c
		}
		p.live--
		p.endLocked(c)
		if fresh {
			break
		}
	}
	return nil
}

func (p *Pool) expired(c *conn, now time.Time) bool {
	return now.Sub(c.born) >= p.cfg.MaxAge || now.Sub(c.lastUsed) >= p.cfg.IdleTimeout
}

// release gives a connection back after a transaction, or ends it.
func (p *Pool) release(c *conn, a attempt, cancelled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	c.lastUsed = now
	if c.inData {
		c.abandon() // also after a panic of beforeDot
	}
	switch {
	case a.verdict.Code != 0:
		p.circuit.talked()
	case a.verdict.Phase == mail.PhaseMail && a.verdict.Outcome == mail.Temporary && !a.stale && !cancelled:
		p.circuit.fail(now, p.circuit.failures, a.verdict)
	}
	if c.broken || p.closed || p.expired(c, now) {
		p.live--
		p.endLocked(c)
	} else {
		p.idle = append(p.idle, c)
		p.armReaperLocked()
	}
	p.wakeLocked(1)
}

// endLocked says goodbye in the background: the relay may be slow to answer.
func (p *Pool) endLocked(c *conn) {
	if c.broken {
		return
	}
	p.goodbyes.Go(c.quit)
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
			p.live--
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

// waitLocked unlocks the pool and waits until something changed, ctx ended, or, if it is not 0, patience is over. Who
// waits longest is woken first.
func (p *Pool) waitLocked(ctx context.Context, patience time.Duration) {
	woken := make(chan struct{})
	p.waiters = append(p.waiters, woken)
	p.mu.Unlock()
	var over <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-woken:
		return
	case <-ctx.Done():
	case <-over:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiters, woken); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
		return
	}
	p.wakeLocked(1) // it was woken as well: that was meant for somebody who still waits
}

func (p *Pool) wakeLocked(n int) {
	n = min(n, len(p.waiters))
	for _, woken := range p.waiters[:n] {
		close(woken)
	}
	p.waiters = append(p.waiters[:0], p.waiters[n:]...)
}

func closedVerdict() mail.Verdict {
	return mail.Verdict{
		Outcome: mail.Temporary, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay,
		Category: mail.CategoryNetwork, Detail: "connecting: the connection pool is closed",
	}
}
