package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// Why a run ends before its job does, with nothing wrong: the outbox rings the job again.
var (
	errHeld      = errors.New("the campaign is held")
	errSteered   = errors.New("the campaign may not send now")
	errRelayAway = errors.New("the relay is away")
	errMakesRoom = errors.New("other jobs wait for the slot")
)

// minResume is the least time between two runs of a legacy job that nobody in particular holds up.
const minResume = time.Second

// run is one run of one job.
type run struct {
	w    *Worker
	job  campaign.Job
	from mail.Address
	// composer makes the mails.
	composer func() (Composer, error)
	// ctx ends when nothing more may be announced; its cause says why.
	ctx    context.Context //nolint:containedctx // a run is a call: its deliverers end with it
	cancel context.CancelCauseFunc
	began  time.Time
	claims []*claim
	// policy follows the campaign.
	policy atomic.Pointer[policy]
	// again: somebody was given back, and may be claimed again by this run.
	again   atomic.Bool
	holding sync.Once
	// ends is under way while the run cancels its campaign, ending makes that one time, and endErr is how it went.
	ends   sync.WaitGroup
	ending sync.Once
	endErr error
	// lanes are the parts of claims that wait for the limits of their domains. laneCtx ends with the run, or when they are
	// to be set aside for others that wait for the slot; onlyLanes is since when nothing else is left (UnixNano), else 0.
	lanes     sync.WaitGroup
	laneCtx   context.Context //nolint:containedctx // as ctx
	stopLanes context.CancelFunc
	hadLanes  bool
	onlyLanes atomic.Int64
	// leaving: the run asks for no more turns of its campaign's rate, and gives its job back. leavingAt is when it was told
	// to, and cut that it was kept from waiting on; both are the watch's.
	leaving   atomic.Bool
	leavingAt time.Time
	cut       bool
	// lastDot is until when final dots may go out (UnixNano); 0 while the run was not ended from outside.
	lastDot atomic.Int64
	// noted: the log says that the relay is away.
	noted atomic.Bool
	// window is how many recipients are announced at once.
	window int
}

// HandleJob runs the job until none of its recipients is due, and tells how it stands. A job that may not run now, or
// that another event cuts short (a suspension, a hold, a relay that stays away, Stop), is given back without an error:
// the outbox rings it again. An error means that the database, the journal or the job itself is at fault.
//
// When ctx is done, as it is when the queue's lock on the job is lost, nothing more is announced; what is in flight is
// finished and recorded before HandleJob returns ctx's cause.
func (w *Worker) HandleJob(ctx context.Context, jobID string) (campaign.JobProgress, error) {
	if !w.enter() {
		return campaign.JobProgress{}, ErrStopped
	}
	defer w.runs.Done()

	job, err := w.cfg.Store.Job(ctx, jobID)
	if err != nil {
		return campaign.JobProgress{}, fmt.Errorf("reading the job: %w", err)
	}
	if job, err = w.endHalfCancelled(ctx, job); err != nil {
		return campaign.JobProgress{Status: job.Status}, err
	}
	if !job.Runnable(w.cfg.Now()) || w.legacyHeld(job) {
		progress := campaign.JobProgress{Status: job.Status}
		if job.Hold != nil {
			progress.HeldUntil = job.Hold.Until
		}
		return w.resume(ctx, job, progress)
	}
	if job.Content.Unsubscribe.Managed && w.cfg.UnsubscribeURL == nil {
		return campaign.JobProgress{Status: job.Status}, errNoUnsubscribe
	}
	if err := w.cfg.Store.StartJob(ctx, jobID, w.cfg.Now()); err != nil {
		return campaign.JobProgress{}, fmt.Errorf("starting the job: %w", err)
	}

	if w.cfg.Taken != nil && job.Key != "" && job.Priority == 0 {
		w.cfg.Taken(job.Key)
	}
	r := w.newRun(ctx, job)
	w.watched.add(r)
	defer w.watched.remove(r)
	runErr := r.all() //nolint:contextcheck // it has ctx in r; a hold is written even when ctx is done
	finishCtx, cancel := context.WithTimeout(w.hard, storeTimeout)
	defer cancel()
	//nolint:contextcheck // what was sent is counted even when ctx is done
	progress, err := w.cfg.Store.FinishJob(finishCtx, jobID, w.cfg.Now())
	if err != nil {
		err = fmt.Errorf("finishing the job: %w", err)
	}
	if err := errors.Join(runErr, err); err != nil {
		return progress, err
	}
	return w.resume(finishCtx, job, progress) //nolint:contextcheck // as above
}

// resume sets when the queue's own entry of an unfinished legacy job runs it again. Until then, and while somebody may
// have taken it, the outbox leaves the job alone: it would add a second entry.
func (w *Worker) resume(ctx context.Context, job campaign.Job, progress campaign.JobProgress) (campaign.JobProgress, error) {
	ended := progress.Status == campaign.JobCompleted || progress.Status == campaign.JobFailed
	if job.Key != "" || progress.Finished || ended {
		return progress, nil
	}
	now := w.cfg.Now()
	progress.ResumeAt = now.Add(minResume)
	if next := progress.Tally.NextAttemptAt; next != nil && next.After(progress.ResumeAt) {
		progress.ResumeAt = *next
	} else if progress.Tally.Active > 0 { // somebody else's
		progress.ResumeAt = now.Add(w.cfg.RescueInterval)
	}
	w.mu.Lock()
	if w.legacyHeldUntil.After(progress.ResumeAt) {
		progress.ResumeAt = w.legacyHeldUntil
	}
	w.mu.Unlock()
	if err := w.cfg.Store.PostponeRing(ctx, []campaign.DueJob{{ID: job.ID}}, progress.ResumeAt); err != nil {
		return progress, fmt.Errorf("leaving the job to the queue: %w", err)
	}
	return progress, nil
}

// enter counts a run in, unless the worker is not running.
func (w *Worker) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		w.runs.Add(1)
	}
	return w.running
}

func (w *Worker) newRun(ctx context.Context, job campaign.Job) *run {
	now := w.cfg.Now()
	r := &run{w: w, job: job, from: job.Content.From, began: now, window: w.lastWindow.first(w.cfg.Window, now)}
	if r.from.Address == "" {
		r.from = w.cfg.From
	}
	r.composer = sync.OnceValues(r.compileContent)
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.laneCtx, r.stopLanes = context.WithCancel(r.ctx)
	r.follow(job)
	return r
}

// all claims and feeds until nobody is due, and returns when every claim is closed.
func (r *run) all() error {
	unhook := context.AfterFunc(r.w.stopping, func() { r.cancel(ErrStopped) })
	defer unhook()
	defer r.cancel(nil)

	if r.from.Address == "" {
		r.hold(campaign.Hold{
			Reason:  HoldSenderRefused,
			Message: "there is no sender address: set the message's from, or SMTP_FROM of the worker",
			Until:   r.w.cfg.Now().Add(r.w.cfg.Retry.HoldFor),
		})
	}
	for r.ctx.Err() == nil {
		more, err := r.next()
		if err != nil {
			r.cancel(err)
			break
		}
		if more {
			continue
		}
		r.settle()
		if !r.again.Swap(false) {
			break
		}
	}
	r.settle()
	r.lanes.Wait()
	r.ends.Wait()
	r.noteWorks()
	switch cause := context.Cause(r.ctx); {
	case r.endErr != nil:
		return r.endErr
	case cause == nil, errors.Is(cause, errHeld), errors.Is(cause, errSteered), errors.Is(cause, errRelayAway),
		errors.Is(cause, errMakesRoom), errors.Is(cause, ErrStopped):
		return nil
	default:
		return cause
	}
}

// next claims once and feeds what it got. It reports whether more recipients may be due.
func (r *run) next() (bool, error) {
	if r.w.reporter.wait(r.ctx) != nil {
		return false, nil //nolint:nilerr // the run's ctx is done and knows why
	}
	if r.unpaced() {
		return r.nextWindow()
	}
	c, rows, err := r.claim(r.w.cfg.ClaimSize, false)
	if err != nil || c == nil {
		return false, err
	}
	r.claims = append(r.claims, c)
	free, lanes := r.divide(c, rows)
	fed := r.feedLanes(c, lanes)
	leftover := r.feed(c, free)
	if len(lanes) == 0 {
		r.fed(c, leftover)
	} else {
		r.lanes.Go(func() { r.fed(c, fed() || leftover) })
	}
	return !leftover && len(rows) == r.w.cfg.ClaimSize, nil
}

// fed says that no more of the claim will be announced, and whether some were left.
func (r *run) fed(c *claim, leftover bool) {
	if leftover {
		r.again.Store(true)
	}
	if c.finish(leftover) {
		r.w.reporter.close(c)
	}
	r.w.reporter.kick()
}

// settle waits until every claim of the run is closed, or the worker is killed.
func (r *run) settle() {
	if r.hadLanes {
		r.onlyLanes.Store(r.w.cfg.Now().UnixNano())
		defer r.onlyLanes.Store(0)
	}
	for _, c := range r.claims {
		select {
		case <-c.done:
		case <-r.w.hard.Done():
			return
		}
	}
	r.claims = nil
	if r.hadLanes && r.laneCtx.Err() == nil {
		r.again.Store(true) // the time of some that were set aside may have come
	}
	r.hadLanes = false
}

// feed announces the recipients in windows and hands them to the deliverers. It reports whether some were left
// unannounced.
func (r *run) feed(c *claim, rows []campaign.Claimed) (leftover bool) {
	for len(rows) > 0 {
		allotted, ok := r.mayAnnounce(c, len(rows))
		if !ok {
			return true
		}
		n := allotted.n
		announced, err := r.announce(c, rows[:n], allotted)
		if err != nil {
			r.cancel(err)
			return true
		}
		leftover = leftover || announced < n
		if announced == 0 { // the campaign may not send now, or the claim is no longer ours
			return true
		}
		rows = rows[n:]
	}
	return leftover
}

// mayAnnounce waits until a mail may be sent, and returns how many of the recipients left may be announced at once.
func (r *run) mayAnnounce(c *claim, left int) (allotted allotment, ok bool) {
	if !r.awaitRelay() || r.w.reporter.wait(r.ctx) != nil {
		return allotment{}, false
	}
	// The campaign's rate first: whoever waits for it must not have a turn that others wait for.
	if allotted, ok = r.awaitRate(min(r.atOnce(r.w.cfg.Window), left)); !ok {
		return allotment{}, false
	}
	if r.w.cfg.Pacer != nil {
		if err := r.awaitTurn(); err != nil {
			if r.ctx.Err() == nil {
				r.cancel(fmt.Errorf("waiting for the mail's turn: %w", err))
			}
			return allotment{}, false
		}
	}
	r.noteWorks()
	return allotted, r.ctx.Err() == nil && c.valid(r.w.cfg.Now())
}

// awaitTurn waits for the pace. Of the runs without a priority one waits at a time: whoever has one waits behind one mail,
// not behind a mail of each job.
func (r *run) awaitTurn() error {
	if r.job.Priority == 0 {
		select {
		case r.w.turn <- struct{}{}:
			defer func() { <-r.w.turn }()
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	return r.w.cfg.Pacer.Wait(r.ctx)
}

// announce marks one window and hands out whom the database let through, each when its turn has come. It returns how many
// those were.
func (r *run) announce(c *claim, rows []campaign.Claimed, allotted allotment) (int, error) {
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	ctx, cancel := context.WithTimeout(r.w.hard, storeTimeout)
	defer cancel()
	allowed, err := r.w.cfg.Store.Announce(ctx, c.token, ids, r.w.cfg.Now())
	if err != nil {
		// They may be announced all the same. They certainly were not sent, and the database is told so.
		allotted.group.leave(len(ids))
		c.opened(len(ids))
		for _, id := range ids {
			r.w.report(c, givenBack(id, r.w.cfg.Now()))
		}
		return 0, fmt.Errorf("announcing recipients: %w", err)
	}
	c.opened(len(allowed))
	set := make(map[string]bool, len(allowed))
	for _, id := range allowed {
		set[id] = true
	}
	for i, row := range rows {
		if set[row.ID] {
			allotted.await(r.ctx, i)
			r.hand(task{run: r, claim: c, recipient: row, group: allotted.group})
		} else {
			allotted.group.leave(1)
		}
	}
	return len(allowed), nil
}

// hand gives a task to a free deliverer. Once the run has ended, the recipient is given back instead.
func (r *run) hand(t task) {
	tasks := r.w.tasks
	if r.job.Priority > 0 {
		tasks = r.w.urgent
	}
	select {
	case tasks <- t:
	case <-r.ctx.Done():
		t.group.leave(1)
		r.w.report(t.claim, givenBack(t.recipient.ID, r.w.cfg.Now()))
	case <-r.w.hard.Done():
		t.group.leave(1)
	}
}

// hold stops the campaign, and this run with it.
func (r *run) hold(hold campaign.Hold) {
	r.holding.Do(func() { r.holdOnce(hold) })
}

func (r *run) holdOnce(hold campaign.Hold) {
	w := r.w
	w.cfg.Hooks.OnHold(hold.Reason)
	if r.job.Key == "" {
		w.mu.Lock()
		w.legacyHeldUntil = hold.Until
		w.mu.Unlock()
		r.cancel(errHeld)
		w.cfg.Logger.Error("Holding the jobs of legacy programs", "reason", hold.Reason, "message", hold.Message, "until", hold.Until)
		return
	}
	ctx, cancel := context.WithTimeout(w.hard, storeTimeout)
	defer cancel()
	if err := w.cfg.Store.HoldCampaign(ctx, r.job.Key, hold); err != nil {
		r.cancel(fmt.Errorf("holding the campaign: %w", err))
		return
	}
	r.cancel(errHeld)
	w.cfg.Logger.Error("Holding the campaign", "jobID", r.job.ID, "reason", hold.Reason, "until", hold.Until)
}

func (w *Worker) legacyHeld(job campaign.Job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return job.Key == "" && w.cfg.Now().Before(w.legacyHeldUntil)
}
