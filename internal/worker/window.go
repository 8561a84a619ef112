package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// windowTime is about how long a window takes to be handed out where it may grow: what a lost node can put in doubt is what
// the relay takes in this time, or Config.Window if that is more.
const windowTime = 250 * time.Millisecond

// windowMemory is for how long a run begins with the windows that another one had last.
const windowMemory = 10 * time.Second

// lastWindow is how many recipients a window of a run had last, of all runs of the process: they share the relay. Runs of small
// jobs are over before their windows have grown.
type lastWindow struct {
	mu   sync.Mutex
	size int
	at   time.Time
}

func (l *lastWindow) note(size int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size, l.at = size, now
}

// first is the size with which a run begins: least where there is none that is fresh.
func (l *lastWindow) first(least int, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.at) > windowMemory {
		return least
	}
	return max(least, l.size)
}

// unpaced reports whether nothing but the relay holds the run's mails up. Then recipients are claimed and announced in one
// step, a window at a time: whoever is claimed is sent at once.
func (r *run) unpaced() bool {
	return r.w.cfg.Pacer == nil && len(r.w.groups) == 0 && r.policy.Load().throttle == nil
}

// atOnce is how many recipients may be announced now of a window of this size.
func (r *run) atOnce(window int) int {
	if _, _, downAt := r.w.relay.state(r.w.cfg.Now()); !downAt.IsZero() {
		return 1 // try the water
	}
	return window
}

// nextWindow claims a window of recipients, announced, and hands them out. It reports whether more recipients may be due.
func (r *run) nextWindow() (bool, error) {
	if !r.awaitRelay() {
		return false, nil
	}
	r.noteWorks()
	limit := r.atOnce(r.window)
	if r.ctx.Err() != nil {
		return false, nil //nolint:nilerr // the run's ctx is done and knows why
	}
	c, rows, err := r.claim(limit, true)
	if err != nil || c == nil {
		return false, err
	}
	r.claims = append(openClaims(r.claims), c)
	c.opened(len(rows))
	c.finish(false)
	began := r.w.cfg.Now()
	for _, row := range rows {
		r.hand(task{run: r, claim: c, recipient: row})
	}
	if len(rows) < limit {
		return false, nil
	}
	now := r.w.cfg.Now()
	r.adapt(limit, now.Sub(began), now)
	return true, nil
}

// adapt makes windows larger where the relay takes them fast: each costs a transaction. It makes them smaller again where
// it doesn't.
func (r *run) adapt(handed int, took time.Duration, now time.Time) {
	if handed < r.window {
		return
	}
	switch {
	case took < windowTime/2:
		r.window = min(2*r.window, r.w.cfg.MaxWindow)
	case took > windowTime:
		r.window = max(r.window/2, r.w.cfg.Window)
	}
	r.w.lastWindow.note(r.window, now)
}

// openClaims drops the claims that are closed, so that a run of any length keeps few.
func openClaims(claims []*claim) []*claim {
	open := claims[:0]
	for _, c := range claims {
		select {
		case <-c.done:
		default:
			open = append(open, c)
		}
	}
	return open
}

// claim leases up to limit recipients under a token of their own; nil if nobody is due. The journal comes first: whoever
// is claimed is found again after a crash.
func (r *run) claim(limit int, announce bool) (*claim, []campaign.Claimed, error) {
	w := r.w
	w.claims.awaitLost(r.ctx, r.job.ID)
	token := uuid.NewString()
	file, err := w.journal.create(token, r.job.ID, limit)
	if err != nil {
		return nil, nil, err
	}
	c := &claim{token: token, jobID: r.job.ID, journal: file, done: make(chan struct{})}
	now := w.cfg.Now()
	c.extend(w.leaseHolds(now))
	w.claims.add(c)

	ctx, cancel := context.WithTimeout(w.hard, storeTimeout)
	defer cancel()
	rows, err := w.cfg.Store.Claim(ctx, campaign.Claim{
		JobID: r.job.ID, Token: token, Limit: limit, Now: now, LeaseUntil: now.Add(w.cfg.Lease), Announce: announce,
	})
	if err == nil && len(rows) > 0 {
		return c, rows, nil
	}
	if err == nil {
		w.claims.remove(c)
		return nil, nil, file.remove()
	}
	// The rows may be claimed all the same: they are given back as soon as the database answers.
	r.claims = append(r.claims, c)
	c.unknown = true
	c.finish(true)
	w.reporter.close(c)
	return nil, nil, fmt.Errorf("claiming recipients: %w", err)
}
