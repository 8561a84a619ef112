package proxy

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// Action is what becomes of a request that a rule hits.
type Action int

// The actions.
const (
	// Lose has the server carry the request out, and cuts the connection before the reply.
	Lose Action = iota + 1
	// Cut cuts the connection before the server has seen the request.
	Cut
	// Answer replies with what the rule says, and the server sees nothing.
	Answer
	// Hold keeps the request until the rule is released, or for its Delay, and forwards it then.
	Hold
	// Swallow keeps the connection, and neither forwards nor answers: as a peer that vanished without a word.
	Swallow
)

// Always is the Times of a rule that never tires.
const Always = -1

// Rule says which requests (Q) something happens to. R is what an Answer consists of.
type Rule[Q, R any] struct {
	// Match chooses requests; nil chooses all.
	Match func(Q) bool
	// Skip is how many of them pass before the rule hits: 0 hits the first.
	Skip int
	// Times is how many it hits; 0 means 1, Always all.
	Times int
	Do    Action
	// Reply is what an Answer says.
	Reply R
	// HangUp has the connection closed after an Answer.
	HangUp bool
	// Delay is how long a Hold lasts at most; 0 means until Release.
	Delay time.Duration
}

// Armed is a rule at work.
type Armed[Q, R any] struct {
	Rule[Q, R]

	released chan struct{}
	once     sync.Once

	mu      sync.Mutex
	skip    int
	left    int
	hits    int
	changed chan struct{} // closed with each hit
}

// Rules are those of one proxy. The zero value is ready.
type Rules[Q, R any] struct {
	mu    sync.Mutex
	armed []*Armed[Q, R]
}

// Arm puts a rule behind those that are armed: the first that matches and is not used up decides.
func (r *Rules[Q, R]) Arm(rule Rule[Q, R]) *Armed[Q, R] {
	a := &Armed[Q, R]{Rule: rule, skip: rule.Skip, left: max(rule.Times, 1), released: make(chan struct{}), changed: make(chan struct{})}
	if rule.Times == Always {
		a.left = Always
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = append(r.armed, a)
	return a
}

// Find returns the rule that the request is hit by, or nil.
func (r *Rules[Q, R]) Find(request Q) *Armed[Q, R] {
	r.mu.Lock()
	armed := slices.Clone(r.armed)
	r.mu.Unlock()
	for _, a := range armed {
		if a.takes(request) {
			return a
		}
	}
	return nil
}

// DisarmAll ends every rule, and lets go whatever they hold.
func (r *Rules[Q, R]) DisarmAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.armed {
		a.Disarm()
	}
	r.armed = nil
}

func (a *Armed[Q, R]) takes(request Q) bool {
	if a.Match != nil && !a.Match(request) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.left == 0:
		return false
	case a.skip > 0:
		a.skip--
		return false
	case a.left > 0:
		a.left--
	}
	return true
}

// Note counts a hit; proxies call it when the rule's action has happened.
func (a *Armed[Q, R]) Note() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hits++
	close(a.changed)
	a.changed = make(chan struct{})
}

// Hits is how many times the rule's action has happened.
func (a *Armed[Q, R]) Hits() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hits
}

// Await waits until the rule's action has happened n times.
func (a *Armed[Q, R]) Await(tb testing.TB, n int) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		a.mu.Lock()
		hits, changed := a.hits, a.changed
		a.mu.Unlock()
		if hits >= n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			tb.Fatalf("a rule was hit %d times, want %d", hits, n)
		}
	}
}

// Release lets go what the rule holds, and whatever it would hold later.
func (a *Armed[Q, R]) Release() { a.once.Do(func() { close(a.released) }) }

// Disarm ends the rule, and releases what it holds.
func (a *Armed[Q, R]) Disarm() {
	a.mu.Lock()
	a.left = 0
	a.mu.Unlock()
	a.Release()
}

// Wait holds the caller as long as the rule says, or until ended is closed; it reports false for the latter.
func (a *Armed[Q, R]) Wait(ended <-chan struct{}) bool {
	var over <-chan time.Time
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-a.released:
	case <-over:
	case <-ended:
		return false
	}
	return true
}
