package worker

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	// siblingSlice is how long a run of a campaign with a rate keeps a slot that somebody waits for, while another run of the
	// campaign has one in this process.
	siblingSlice = 5 * time.Second
	// loneSlice is the same for the campaign's only run, where such campaigns have all slots.
	loneSlice = 30 * time.Second
	// lastTurns is how long a run that leaves may still wait for turns: those that it has taken are not to be lost.
	lastTurns = 2 * time.Second
)

// waitsForDomains reports whether all that is left of the run has waited for that long for the limits of its recipients'
// domains.
func (r *run) waitsForDomains(atLeast time.Duration) bool {
	since := r.onlyLanes.Load()
	return since != 0 && r.laneCtx.Err() == nil && r.w.cfg.Now().Sub(time.Unix(0, since)) >= atLeast
}

// makeRoom has runs that wait for their campaign's rate give their jobs back where others wait for a slot: a campaign that is
// sent over days must not keep those behind it in the queue waiting for as long. One run of each campaign goes on, and sends
// as fast as the rate allows, unless that leaves nothing for campaigns without a rate. Runs that wait for nothing but the
// limits of domains set their recipients aside.
func (w *Worker) makeRoom(ctx context.Context, runs []*run) {
	if w.cfg.Crowded == nil {
		return
	}
	var throttled, waiting []*run
	siblings := map[string]int{}
	unthrottled := false
	w.hurry(runs)
	for _, r := range runs {
		switch {
		case r.ctx.Err() != nil || r.leaving.Load() || r.job.Priority > 0: // those with a priority have slots of their own
		case r.waitsForDomains(siblingSlice):
			waiting = append(waiting, r)
		case r.policy.Load().throttle == nil:
			unthrottled = true
		default:
			throttled = append(throttled, r)
			siblings[r.job.Key]++
		}
	}
	slices.SortFunc(throttled, func(a, b *run) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.job.ID, b.job.ID)) })
	var leaving []*run
	now := w.cfg.Now()
	for _, r := range throttled {
		if siblings[r.job.Key] > 1 && now.Sub(r.began) >= siblingSlice {
			siblings[r.job.Key]--
			leaving = append(leaving, r)
		}
	}
	if len(leaving) == 0 && !unthrottled && len(throttled) > 0 && now.Sub(throttled[0].began) >= loneSlice {
		leaving = throttled[:1]
	}
	if len(leaving)+len(waiting) == 0 || !w.cfg.Crowded(ctx) {
		return
	}
	for _, r := range waiting {
		r.stopLanes()
	}
	for _, r := range leaving {
		r.leavingAt = now
		r.leaving.Store(true)
	}
}

// hurry has runs leave that were told to, and wait for turns that are far away.
func (w *Worker) hurry(runs []*run) {
	for _, r := range runs {
		if r.leaving.Load() && !r.cut && w.cfg.Now().Sub(r.leavingAt) >= lastTurns {
			r.cut = true
			r.policy.Load().replaced()
		}
	}
}
