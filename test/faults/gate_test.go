package faults

import (
	"sync"

	"github.com/cartero-mail/cartero/test/harness"
)

// gate lets the relay take a number of mails and keeps the others waiting for the reply to their final dot.
type gate struct {
	mu      sync.Mutex
	changed sync.Cond
	dots    int // final dots that have arrived
	allowed int // of these, how many may be accepted
	mark    int
	marked  chan struct{}
}

func newGate(relay *harness.Relay) *gate {
	g := &gate{}
	g.changed.L = &g.mu
	relay.OnMail(g.pass)
	return g
}

// pass blocks until mail n may be accepted.
func (g *gate) pass(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dots = max(g.dots, n)
	if g.marked != nil && g.dots >= g.mark {
		close(g.marked)
		g.marked = nil
	}
	for n > g.allowed {
		g.changed.Wait()
	}
}

// allow lets through so many mails more, and returns a channel that is closed when mark more of them have arrived.
func (g *gate) allow(mails, mark int) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = max(g.allowed, g.dots) + mails
	g.mark, g.marked = g.dots+mark, make(chan struct{})
	g.changed.Broadcast()
	return g.marked
}

// open lets everything through.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = 1 << 30
	g.changed.Broadcast()
}
