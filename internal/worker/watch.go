package worker

import (
	"context"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
)

const (
	// watchInterval is the time between two looks at the campaigns of the runs.
	watchInterval = time.Second
	// watchTimeout bounds one look: what a database that hangs does not tell is found out without it.
	watchTimeout = 5 * time.Second
	// wireGrace is how long a mail that is on its way when its run is ended from outside has until its final dot.
	wireGrace = 2 * time.Second
)

// watched are the runs of this process that may be ended, or told another policy, from outside.
type watched struct {
	mu   sync.Mutex
	runs map[*run]struct{}
	// some holds an element if there may be runs.
	some chan struct{}
}

func newWatched() *watched {
	return &watched{runs: map[*run]struct{}{}, some: make(chan struct{}, 1)}
}

func (w *watched) add(r *run) {
	w.mu.Lock()
	w.runs[r] = struct{}{}
	w.mu.Unlock()
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func (w *watched) remove(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, r)
}

func (w *watched) all() []*run {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*run, 0, len(w.runs))
	for r := range w.runs {
		all = append(all, r)
	}
	return all
}

// watchLoop looks every second, as long as something runs, until ctx is done.
func (w *Worker) watchLoop(ctx context.Context) {
	for {
		select {
		case <-w.watched.some:
		case <-ctx.Done():
			return
		}
		for len(w.watched.all()) > 0 {
			if !sleep.For(ctx, watchInterval) {
				return
			}
			w.look(ctx)
		}
	}
}

// look asks once, for all runs together, whether they may go on. It ends those that may not, and has the others follow
// their campaign's policy.
func (w *Worker) look(ctx context.Context) {
	runs := w.watched.all()
	if len(runs) == 0 {
		return
	}
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = r.job.ID
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	runnable, err := w.cfg.Store.Runnable(ctx, ids, w.cfg.Now())
	read := map[string]campaign.Job{} // by key, so that each campaign is read once
	for _, r := range runs {
		current := r.policy.Load()
		revision, ok := runnable[r.job.ID]
		switch {
		case err != nil: // the database is away: what was known of windows holds, and nobody new is announced
			if !current.job.Runnable(w.cfg.Now()) {
				r.endFromOutside()
			}
		case !ok:
			r.endFromOutside()
		case revision != current.job.Revision:
			w.reread(ctx, r, read)
		}
	}
	w.makeRoom(ctx, runs)
}

// reread has the run follow its campaign as it is now. What can't be read is read with the next look.
func (w *Worker) reread(ctx context.Context, r *run, read map[string]campaign.Job) {
	job, known := read[r.job.Key]
	if !known {
		var err error
		if job, err = w.cfg.Store.Job(ctx, r.job.ID); err != nil {
			w.cfg.Logger.WarnContext(ctx, "Reading the changed campaign failed", "jobID", r.job.ID, "err", err)
			return
		}
		read[r.job.Key] = job
	}
	r.follow(job)
}

// endFromOutside ends the run because its campaign may not send now: what is announced and has not been handed to the
// relay is given back.
func (r *run) endFromOutside() {
	if r.ctx.Err() == nil {
		r.lastDot.CompareAndSwap(0, r.w.cfg.Now().Add(wireGrace).UnixNano())
		r.cancel(errSteered)
		r.w.cfg.Logger.Info("The campaign may not send now, ending the run", "jobID", r.job.ID)
	}
}

// mayDot reports whether a final dot may still go out.
func (r *run) mayDot(now time.Time) bool {
	last := r.lastDot.Load()
	return last == 0 || now.UnixNano() <= last
}
