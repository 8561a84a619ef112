package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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

	mu sync.Mutex
	// queue are the claims of which results wait, in the order in which the first of them came.
	queue   []*claim
	closing []*claim
	// kicked: all of them are to be written now; due: those of some claims.
	kicked  bool
	due     bool
	failing error
	working chan struct{} // closed while the database takes writes

	wake chan struct{}
}

// queuedResults are results of one claim, in the order in which they came.
type queuedResults struct {
	claim   *claim
	results []campaign.Result
	// since is when the first of them was queued.
	since time.Time
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
	last, left := c.reported()
	r.mu.Lock()
	if len(c.queued) == 0 {
		r.queue, c.since = append(r.queue, c), time.Now()
		c.queued = make([]campaign.Result, 0, min(left+1, r.size))
	}
	c.queued = append(c.queued, result)
	if last || len(c.queued) >= r.size || c.batch != nil { // for mails that were submitted somebody waits
		c.due, r.due = true, true
	}
	wake := r.due || len(r.queue) == 1 && len(c.queued) == 1
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
			if err == nil && r.err() != nil {
				err = r.compare(ctx)
			}
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

// compare asks a database that is back what it knows of the open claims: another one may have taken its place, which lacks the
// last of them. Who is announced under a claim that is not there may be claimed by others, and is not sent.
func (r *reporter) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, c := range r.claims.all() {
		if c.allRecorded() {
			continue
		}
		held, err := r.store.Held(ctx, c.token)
		if err != nil {
			return fmt.Errorf("looking for open claims: %w", err)
		}
		if len(held) == 0 && !c.allRecorded() {
			r.logger.WarnContext(ctx, "The database has lost a claim: whoever was not sent under it is given back", "jobID", c.jobID)
			c.lose()
		}
	}
	return nil
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
	case len(r.queue) > 0:
		return r.interval - time.Since(r.queue[0].since), true
	default:
		return 0, false
	}
}

// take empties the queue, or takes out of it the claims whose time has come.
func (r *reporter) take() (taken []queuedResults, closing []*claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.kicked || len(r.queue) > 0 && time.Since(r.queue[0].since) >= r.interval
	var left []*claim
	for _, c := range r.queue {
		if !all && !c.due {
			left = append(left, c)
			continue
		}
		taken = append(taken, queuedResults{claim: c, results: c.queued, since: c.since})
		c.queued, c.due = nil, false
	}
	closing = r.closing
	r.queue, r.closing, r.kicked, r.due = left, nil, false, false
	return taken, closing
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
	taken, closing := r.take()
	submitted, others := divideSubmitted(taken)
	for len(submitted) > 0 {
		group, rest := cutResults(submitted, r.size)
		if err := r.recordSubmitted(ctx, group); err != nil {
			r.requeue(slices.Concat(submitted, others), closing)
			return err
		}
		for _, of := range group {
			if of.claim.recorded(len(of.results)) {
				closing = append(closing, of.claim)
			}
		}
		submitted = rest
	}
	for len(others) > 0 {
		c, group := others[0].claim, others[0].results[:min(r.size, len(others[0].results))]
		if err := r.record(ctx, c, group); err != nil {
			r.requeue(others, closing)
			return err
		}
		if c.recorded(len(group)) {
			closing = append(closing, c)
		}
		if others[0].results = others[0].results[len(group):]; len(others[0].results) == 0 {
			others = others[1:]
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

// divideSubmitted takes out the results of submitted mails, which are written together, whatever claims they are of.
func divideSubmitted(all []queuedResults) (submitted, others []queuedResults) {
	for _, of := range all {
		if of.claim.batch != nil {
			submitted = append(submitted, of)
		} else {
			others = append(others, of)
		}
	}
	return submitted, others
}

// cutResults takes the first results, at most size.
func cutResults(all []queuedResults, size int) (first, rest []queuedResults) {
	rest = slices.Clone(all)
	for size > 0 && len(rest) > 0 {
		head := rest[0]
		head.results = head.results[:min(size, len(head.results))]
		first, size = append(first, head), size-len(head.results)
		if rest[0].results = rest[0].results[len(head.results):]; len(rest[0].results) == 0 {
			rest = rest[1:]
		}
	}
	return first, rest
}

// requeue puts back what could not be written, before what came meanwhile.
func (r *reporter) requeue(unwritten []queuedResults, closing []*claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	queue := make([]*claim, 0, len(unwritten)+len(r.queue))
	for _, of := range unwritten {
		of.claim.queued = append(slices.Clip(of.results), of.claim.queued...)
		of.claim.since = of.since
		queue = append(queue, of.claim)
	}
	for _, c := range r.queue {
		if !slices.Contains(queue, c) {
			queue = append(queue, c)
		}
	}
	r.queue = queue
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
	if n < len(group) && (c.isLost() || c.valid(r.now())) { // nobody may have ended the lease: the database has lost it
		lost, err := r.store.RecordLost(ctx, group)
		if err != nil {
			return err
		}
		if n += lost; lost > 0 {
			if err := r.compare(ctx); err != nil {
				return err
			}
		}
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

func (r *reporter) recordSubmitted(ctx context.Context, group []queuedResults) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var results []campaign.SubmittedResult
	for _, of := range group {
		for _, result := range of.results {
			results = append(results, campaign.SubmittedResult{Token: of.claim.token, Result: result})
		}
	}
	if err := r.store.RecordSubmitted(ctx, results, r.now()); err != nil {
		return err
	}
	for _, of := range group {
		for _, result := range of.results {
			r.onResult(result.State, result.Category)
			of.claim.batch.recorded(result)
		}
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
