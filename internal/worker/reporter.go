package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/sleep"
)

// Bounds of the wait between two tries to write while the database is away.
const (
	reportFirstPause = 100 * time.Millisecond
	reportMaxPause   = 5 * time.Second
	storeTimeout     = 30 * time.Second
)

// reporter writes results in groups, and closes claims. While the database is away it keeps everything and tries on;
// whoever is about to claim waits.
type reporter struct {
	store    Store
	claims   *claims
	logger   *slog.Logger
	size     int
	interval time.Duration
	onResult func(state campaign.State, category string)
	now      func() time.Time

	mu      sync.Mutex
	results []report
	closing []*claim
	// kicked: all of them are to be written now; due: those of some claims.
	kicked  bool
	due     bool
	failing error
	working chan struct{} // closed while the database takes writes

	wake chan struct{}
}

type report struct {
	claim  *claim
	result campaign.Result
	// queued is when the result came.
	queued time.Time
}

func newReporter(cfg Config, claims *claims) *reporter {
	working := make(chan struct{})
	close(working)
	return &reporter{
		store: cfg.Store, claims: claims, logger: cfg.Logger, size: cfg.FlushSize, interval: cfg.FlushInterval,
		onResult: cfg.Hooks.OnResult, now: cfg.Now, working: working, wake: make(chan struct{}, 1),
	}
}

// add queues a result. The last one of a claim is not left waiting for company: a claim is written as a whole where it can
// be, for that is the least work.
func (r *reporter) add(c *claim, result campaign.Result) {
	last := c.reported()
	r.mu.Lock()
	r.results = append(r.results, report{c, result, time.Now()})
	c.queued++
	if last || c.queued >= r.size || c.batch != nil { // for mails that were submitted somebody waits
		c.due, r.due = true, true
	}
	wake := r.due || len(r.results) == 1
	r.mu.Unlock()
	if wake {
		r.signal()
	}
}

// close queues a claim that has all its results recorded.
func (r *reporter) close(c *claim) {
	r.mu.Lock()
	r.closing = append(r.closing, c)
	r.mu.Unlock()
	r.kick()
}

// kick has everything written now.
func (r *reporter) kick() {
	r.mu.Lock()
	r.kicked = true
	r.mu.Unlock()
	r.signal()
}

func (r *reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// err is why results can't be written; nil while they can.
func (r *reporter) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}

// wait returns once the database takes results, or with ctx's cause.
func (r *reporter) wait(ctx context.Context) error {
	r.mu.Lock()
	working := r.working
	r.mu.Unlock()
	select {
	case <-working:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run writes until ctx is done. What is unwritten then stays in the journal.
func (r *reporter) run(ctx context.Context) {
	pause := reportFirstPause
	for r.gather(ctx) {
		for {
			err := r.flush(ctx)
			r.setFailing(err)
			if err == nil {
				pause = reportFirstPause
				break
			}
			r.logger.ErrorContext(ctx, "Writing results failed, trying again", "after", pause, "err", err)
			if !sleep.For(ctx, pause) {
				return
			}
			pause = min(2*pause, reportMaxPause)
		}
	}
}

// gather waits until a group is full, its time is up, or somebody waits for it.
func (r *reporter) gather(ctx context.Context) bool {
	for {
		wait, some := r.untilFlush()
		if some && wait <= 0 {
			return true
		}
		var up <-chan time.Time
		if some {
			up = time.After(wait) // a timer that nobody waits for any more is collected
		}
		select {
		case <-r.wake:
		case <-up:
		case <-ctx.Done():
			return false
		}
	}
}

// untilFlush is how long what is queued, if there is some, may still wait.
func (r *reporter) untilFlush() (wait time.Duration, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.kicked || r.due:
		return 0, true
	case len(r.results) > 0:
		return r.interval - time.Since(r.results[0].queued), true
	default:
		return 0, false
	}
}

// take empties the queue, or takes those out of it whose time has come.
func (r *reporter) take() (results []report, closing []*claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.kicked || len(r.results) > 0 && time.Since(r.results[0].queued) >= r.interval
	var left []report
	for _, report := range r.results {
		if !all && !report.claim.due {
			left = append(left, report)
			continue
		}
		report.claim.queued--
		results = append(results, report)
	}
	for _, report := range results {
		report.claim.due = false
	}
	closing = r.closing
	r.results, r.closing, r.kicked, r.due = left, nil, false, false
	return results, closing
}

func (r *reporter) setFailing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.failing == nil:
		r.working = make(chan struct{})
	case err == nil && r.failing != nil:
		close(r.working)
	}
	r.failing = err
}

// flush writes what is to be written now; what it could not write stays queued.
func (r *reporter) flush(ctx context.Context) error {
	results, closing := r.take()
	for len(results) > 0 {
		if submitted, rest := nextSubmitted(results, r.size); len(submitted) > 0 {
			if err := r.recordSubmitted(ctx, submitted); err != nil {
				r.requeue(results, closing)
				return err
			}
			results = rest
			for _, report := range submitted {
				if report.claim.recorded(1) {
					closing = append(closing, report.claim)
				}
			}
			continue
		}
		c, group, rest := nextGroup(results, r.size)
		if err := r.record(ctx, c, group); err != nil {
			r.requeue(results, closing)
			return err
		}
		results = rest
		if c.recorded(len(group)) {
			closing = append(closing, c)
		}
	}
	for i, c := range closing {
		if err := r.release(ctx, c); err != nil {
			r.requeue(nil, closing[i:])
			return err
		}
	}
	return nil
}

// nextSubmitted takes results of submitted mails, at most size, out of the queue, whatever claims they are of.
func nextSubmitted(results []report, size int) (submitted, rest []report) {
	for _, r := range results {
		if r.claim.batch != nil && len(submitted) < size {
			submitted = append(submitted, r)
			continue
		}
		rest = append(rest, r)
	}
	return submitted, rest
}

// nextGroup takes the first claim's results, at most size, out of the queue.
func nextGroup(results []report, size int) (c *claim, group []campaign.Result, rest []report) {
	c = results[0].claim
	rest = make([]report, 0, len(results))
	for _, r := range results {
		if r.claim == c && len(group) < size {
			group = append(group, r.result)
			continue
		}
		rest = append(rest, r)
	}
	return c, group, rest
}

func (r *reporter) requeue(results []report, closing []*claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range results {
		report.claim.queued++
	}
	r.results = append(results, r.results...)
	r.closing = append(closing, r.closing...)
	r.kicked = true
}

func (r *reporter) record(ctx context.Context, c *claim, group []campaign.Result) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	n, err := r.store.Record(ctx, c.token, group)
	if err != nil {
		return err
	}
	if n < len(group) {
		r.logger.WarnContext(ctx, "Recorded fewer results than there were: some recipients were no longer ours",
			"jobID", c.jobID, "results", len(group), "recorded", n)
	}
	for _, result := range group {
		if !isAside(result) {
			r.onResult(result.State, result.Category)
		}
	}
	return nil
}

func (r *reporter) recordSubmitted(ctx context.Context, reports []report) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	results := make([]campaign.SubmittedResult, len(reports))
	for i, report := range reports {
		results[i] = campaign.SubmittedResult{Token: report.claim.token, Result: report.result}
	}
	if err := r.store.RecordSubmitted(ctx, results, r.now()); err != nil {
		return err
	}
	for _, report := range reports {
		r.onResult(report.result.State, report.result.Category)
		report.claim.batch.recorded(report.result)
	}
	return nil
}

// release closes the claim: what was not announced is given back, the journal is forgotten.
func (r *reporter) release(ctx context.Context, c *claim) error {
	switch {
	case c.unknown:
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if _, err := r.store.Unclaim(ctx, c.token, c.jobID); err != nil {
			return err
		}
	case c.leftover:
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if _, err := r.store.Release(ctx, c.token); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(failpoint.WorkerBeforeForgetting); err != nil {
		return err
	}
	r.claims.remove(c)
	if err := failpoint.After(failpoint.WorkerForgotten, c.journal.remove()); err != nil {
		// It is replayed later, to no effect: every row has lost its token.
		r.logger.WarnContext(ctx, "Forgetting a claim's journal failed", "jobID", c.jobID, "err", err)
	}
	close(c.done)
	return nil
}
