package smtp

import (
	"context"
	"net"
	"sync/atomic"
)

// guard closes a connection when the context ends while a transaction may still be given up. It serves all transactions
// of a connection that have the same context, one after another.
type guard struct {
	ctx   context.Context //nolint:containedctx // it is what is guarded against
	stop  func() bool
	state atomic.Int32
}

// The states of a guard: whoever moves it out of guarding has decided what becomes of the connection.
const (
	idle int32 = iota
	guarding
	cut
)

func newGuard(ctx context.Context, tcp net.Conn) *guard {
	g := &guard{ctx: ctx}
	g.stop = context.AfterFunc(ctx, func() { g.end(tcp) })
	g.begin(tcp)
	return g
}

// guarded begins to guard a transaction.
func (c *conn) guarded(ctx context.Context) *guard {
	if c.guard == nil || c.guard.ctx != ctx {
		c.guard.forget()
		c.guard = newGuard(ctx, c.tcp)
		return c.guard
	}
	c.guard.begin(c.tcp)
	return c.guard
}

func (g *guard) begin(tcp net.Conn) {
	g.state.Store(guarding)
	if g.ctx.Err() != nil { // perhaps since before, when there was nothing to close
		g.end(tcp)
	}
}

func (g *guard) end(tcp net.Conn) {
	if g.state.CompareAndSwap(guarding, cut) {
		hardClose(tcp)
	}
}

// release stops guarding; it reports whether the connection was left alone until now.
func (g *guard) release() bool {
	return g.state.CompareAndSwap(guarding, idle) || g.state.Load() == idle
}

// forget has the context forget the connection, which is over. A nil guard has nothing to forget.
func (g *guard) forget() {
	if g != nil {
		g.stop()
	}
}
