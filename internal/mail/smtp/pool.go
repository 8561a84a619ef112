package smtp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// sendsPerConnection is how many mails at a time keep a connection busy: one between its dot and the reply, one opened
// behind that dot, and one that is ready to go out together with the dot of the second.
const sendsPerConnection = 3

// Pool keeps connections to one relay and sends mails over them. It implements mail.TailSender.
type Pool struct {
	cfg Config

	mu    sync.Mutex
	conns map[*conn]struct{}
	// idle are the connections not in use, the one used last at the end.
	idle []*conn
	// following are the connections behind whose final dot another mail could be opened, the oldest dot first.
	following []*conn
	// dialing counts the connections being made. Together with those that exist they are at most limit.now.
	dialing int
	// waiters are the mails without a connection, the one that waits longest first.
	waiters []*transaction
	circuit circuit
	limit   limiter
	trust   trust
	reaper  *time.Timer
	rescuer *time.Timer
	counts  counts
	closed  bool

	// sends are calls of Send, goodbyes are connections being ended.
	sends, goodbyes sync.WaitGroup
}

var _ mail.TailSender = (*Pool)(nil)

// NewPool checks the configuration and returns a pool without connections: they are made when they are needed. The
// error names everything that is wrong.
func NewPool(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring SMTP: %w", err)
	}
	return &Pool{cfg: cfg, conns: map[*conn]struct{}{}, circuit: newCircuit(), limit: newLimiter(cfg.MaxConnections)}, nil
}

// Concurrency is how many calls of Send at a time keep all connections busy where the relay offers PIPELINING: while one
// mail waits for the reply to its final dot, the next one is opened behind it on the same connection. With fewer calls
// the pool is slower, with more they wait.
func (p *Pool) Concurrency() int { return sendsPerConnection * p.cfg.MaxConnections }

// Send implements mail.Sender. It waits for a connection if all are in use. If ctx ends before the final dot, the
// transaction is given up; afterwards the reply is awaited, up to Timeouts.Dot, whatever becomes of ctx. While the
// relay is known to be away it returns at once, with the time to wait in RetryAfter.
func (p *Pool) Send(ctx context.Context, env mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	return p.SendTail(ctx, env, raw, mail.Tail{}, beforeDot)
}

// SendTail implements mail.TailSender. The tail is written as it is, without a copy.
func (p *Pool) SendTail(ctx context.Context, env mail.Envelope, raw []byte, tail mail.Tail, beforeDot func() error) mail.Verdict {
	if refused := checkEnvelope(env); refused != nil {
		return *refused
	}
	if !p.enter() {
		return closedVerdict()
	}
	defer p.sends.Done()
	t := newTransaction(env, raw, tail, beforeDot)
	for {
		a := p.attempt(ctx, t)
		if !a.stale || ctx.Err() != nil {
			return a.verdict
		}
		// The relay hung up on a connection that was kept, before it heard of this mail, or mixed up its replies: that
		// is nobody's attempt. What it says to the next one counts.
		if !a.moved {
			t.fresh, t.again = true, true
		}
	}
}

// Close waits for transactions in flight, ends all connections with QUIT, and refuses further mails. It always
// returns nil and may be called twice.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, c := range p.idle {
		p.endLocked(c)
	}
	p.idle = nil
	p.wakeLocked(len(p.waiters))
	if p.reaper != nil {
		p.reaper.Stop()
	}
	if p.rescuer != nil {
		p.rescuer.Stop()
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

// attempt is one transaction on one connection.
func (p *Pool) attempt(ctx context.Context, t *transaction) (a attempt) {
	c, refused := p.acquire(ctx, t)
	if refused != nil {
		return attempt{verdict: *refused}
	}
	if a, left := p.follow(ctx, c, t); left {
		return a
	}
	defer func() { p.release(c, t, a, ctx.Err() != nil) }()
	return c.transact(ctx, p, t)
}

func closedVerdict() mail.Verdict {
	return mail.Verdict{
		Outcome: mail.Temporary, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay,
		Category: mail.CategoryNetwork, Detail: "connecting: the connection pool is closed",
	}
}
