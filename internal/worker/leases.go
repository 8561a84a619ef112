package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
)

// renewLoop keeps the leases of all open claims alive until ctx is done.
func (w *Worker) renewLoop(ctx context.Context) {
	for sleep.For(ctx, w.cfg.Lease/3) {
		if err := w.renew(ctx); err != nil {
			w.cfg.Logger.ErrorContext(ctx, "Renewing leases failed", "err", err)
		}
	}
}

// renew extends the leases once. A claim that is not extended stops announcing before its lease runs out, and one whose lease others
// have ended, who took this process for dead, has nobody sent any more.
func (w *Worker) renew(ctx context.Context) error {
	open := w.claims.all()
	if len(open) == 0 {
		return nil
	}
	tokens := make([]string, len(open))
	taken := make([]bool, len(open)) // else the claim may still be under way
	for i, c := range open {
		tokens[i], taken[i] = c.token, !c.allRecorded()
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Lease/3)
	defer cancel()
	before := w.cfg.Now()
	now, err := w.cfg.Store.Time(ctx)
	if err != nil {
		return err
	}
	ended, err := w.cfg.Store.RenewLeases(ctx, tokens, now.Add(w.cfg.Lease))
	if err != nil {
		return err
	}
	for i, c := range open {
		if !slices.Contains(ended, c.token) {
			c.extend(w.leaseHolds(before))
		} else if taken[i] && !c.allRecorded() {
			w.cfg.Logger.WarnContext(ctx, "Others have ended a lease: whoever was not sent under it is given back", "jobID", c.jobID)
			c.lose()
		}
	}
	return nil
}

// leaseHolds is until when a lease taken at this time certainly holds: some time before its end, for the writes that
// are under way then.
func (w *Worker) leaseHolds(taken time.Time) time.Time { return taken.Add(w.cfg.Lease - w.cfg.Lease/6) }

// rescueLoop ends what dead workers left, again and again until ctx is done.
func (w *Worker) rescueLoop(ctx context.Context) {
	for {
		if err := w.rescue(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.ErrorContext(ctx, "Rescuing recipients of dead workers failed", "err", err)
		}
		if !sleep.For(ctx, w.cfg.RescueInterval) {
			return
		}
	}
}

// rescue replays the journals of dead processes on this directory, ends the leases that ran out, and finishes the jobs
// that have nobody left to try.
func (w *Worker) rescue(ctx context.Context) error {
	if err := w.replay(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now, err := w.cfg.Store.Time(ctx)
	if err != nil {
		return err
	}
	rescued, err := w.cfg.Store.Rescue(ctx, now)
	if err != nil {
		return err
	}
	if rescued.Released+rescued.InDoubt > 0 {
		w.cfg.Logger.InfoContext(ctx, "Rescued recipients whose lease ran out",
			"released", rescued.Released, "inDoubt", rescued.InDoubt)
		w.cfg.Hooks.OnRescue(rescued.Released, rescued.InDoubt)
	}
	for _, id := range rescued.JobIDs {
		if _, err := w.cfg.Store.FinishJob(ctx, id, w.cfg.Now()); err != nil && !errors.Is(err, campaign.ErrNotFound) {
			return err
		}
	}
	return nil
}
