package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
)

// cancelTimeout bounds one try to cancel a campaign, whose recipients are ended one by one.
const cancelTimeout = 10 * time.Minute

// endCampaign cancels the run's campaign, and ends the run. It returns at once; the run waits for it before it ends.
func (r *run) endCampaign(reason string) {
	r.ending.Do(func() {
		r.cancel(errSteered)
		r.ends.Go(func() { r.endErr = r.w.cancelCampaign(r.job, reason) })
	})
}

// cancelCampaign tries until it has done so, or the worker is killed: what a policy ended must not go on because the
// database was away for a moment.
func (w *Worker) cancelCampaign(job campaign.Job, reason string) error {
	w.cfg.Logger.Error("Cancelling the campaign", "jobID", job.ID, "reason", reason)
	for pause := reportFirstPause; ; pause = min(2*pause, reportMaxPause) {
		ctx, cancel := context.WithTimeout(w.hard, cancelTimeout)
		err := w.cfg.Store.Cancel(ctx, job.Key, reason, w.cfg.Now())
		cancel()
		if err == nil {
			return nil
		}
		w.cfg.Logger.Error("Cancelling the campaign failed, trying again", "jobID", job.ID, "after", pause, "err", err)
		if !sleep.For(w.hard, pause) {
			return fmt.Errorf("cancelling the campaign: %w", err)
		}
	}
}

// endHalfCancelled finishes the cancellation of a campaign whose job was left unfinished by it: whoever cancelled it may
// have died over it. It returns the job as it is then.
func (w *Worker) endHalfCancelled(ctx context.Context, job campaign.Job) (campaign.Job, error) {
	unfinished := func() bool {
		return job.Key != "" && job.Cancelled && job.Status != campaign.JobCompleted && job.Status != campaign.JobFailed
	}
	if !unfinished() {
		return job, nil
	}
	select { // one at a time: each does it for all jobs of its campaign
	case w.ending <- struct{}{}:
		defer func() { <-w.ending }()
	case <-ctx.Done():
		return job, context.Cause(ctx)
	}
	again, err := w.cfg.Store.Job(ctx, job.ID)
	if err != nil {
		return job, fmt.Errorf("reading the job: %w", err)
	}
	if job = again; !unfinished() {
		return job, nil
	}
	// The reason of whoever cancelled it first stays.
	if err := w.cfg.Store.Cancel(ctx, job.Key, campaign.EndCancelled, w.cfg.Now()); err != nil {
		return job, fmt.Errorf("finishing the cancellation of the campaign: %w", err)
	}
	return w.cfg.Store.Job(ctx, job.ID)
}
