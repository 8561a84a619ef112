package bull

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// errNotRun is the outcome of a run whose handler stopped for no fault of the job's.
var errNotRun = errors.New("the run was broken off")

// work runs a job, and then the next, until none is waiting or ctx ends.
func (r *run) work(ctx, jobs context.Context, d *Delivery) {
	for d != nil {
		d = r.process(ctx, jobs, d)
		if d != nil || ctx.Err() != nil {
			continue
		}
		next, err := r.take(context.WithoutCancel(ctx), "")
		if err != nil {
			return // the fetch loop waits for Redis
		}
		d = next
	}
}

// process runs one job under its lock and writes the outcome. It returns the next job, if one came with it.
func (r *run) process(ctx, jobs context.Context, d *Delivery) *Delivery {
	jobCtx, cancel := context.WithCancelCause(jobs)
	defer cancel(nil)
	renewed, stopRenewing := context.WithCancel(context.WithoutCancel(jobs))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.renew(renewed, d, cancel)
	}()
	defer func() { stopRenewing(); <-done }()

	result, err := r.execute(jobCtx, d)
	switch cause := context.Cause(jobCtx); {
	case errors.Is(cause, ErrLockLost):
		r.log.Warn("Lost the lock of a job while it ran, leaving it to whoever has it", "job", d.ID)
		return nil
	case errors.Is(cause, ErrStopping) && err != nil && !decided(err):
		err = errNotRun
	}
	return r.settle(ctx, d, result, err)
}

// decided reports whether a handler's error says what is to become of the job, whatever made it end.
func decided(err error) bool {
	_, later := asLater(err)
	return later || isUnrecoverable(err)
}

// execute calls the handler. A panic is an error: it must not end the worker.
func (r *run) execute(ctx context.Context, d *Delivery) (result any, err error) {
	handler := r.handlers.of(d.Name)
	if handler == nil {
		return nil, fmt.Errorf("Missing process handler for job type %s", d.Name) //nolint:staticcheck // Bull's own text
	}
	late := fmt.Errorf("Promise timed out after %d milliseconds", d.opts.timeout.Milliseconds()) //nolint:staticcheck // likewise
	if d.opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.opts.timeout, late)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("Handler panicked", "job", d.ID, "stack", string(debug.Stack()))
			result, err = nil, errors.New("the handler panicked")
		}
	}()
	result, err = handler(ctx, d)
	if errors.Is(context.Cause(ctx), late) {
		return nil, late
	}
	return result, err
}

// settle writes the outcome, trying for as long as the lock may live. It returns the next job, if one came with it.
func (r *run) settle(ctx context.Context, d *Delivery, result any, outcome error) *Delivery {
	live := context.WithoutCancel(ctx)
	deadline := time.Now().Add(r.queue.config.LockDuration)
	var pause backoff
	for tries := 1; ; tries++ {
		next, err := r.write(live, d, result, outcome, ctx.Err() == nil)
		switch {
		case err == nil:
			r.outage.report(nil)
			return next
		case isGone(err) && tries > 1:
			// An earlier try may have been carried out and its reply lost.
			r.log.Info("Outcome of a job was written before, or the job is somebody else's", "job", d.ID)
			return nil
		case isGone(err):
			r.log.Warn("Outcome of a job was not written, as it is not ours any more", "job", d.ID, "error", err)
			return nil
		case !IsUnavailable(err):
			r.log.Error("Outcome of a job can't be written, the stalled check will return it", "job", d.ID, "error", err)
			return nil
		}
		r.outage.report(err)
		if !pause.wait(live) || time.Now().After(deadline) {
			r.log.Warn("Outcome of a job was not written before its lock ran out", "job", d.ID)
			return nil
		}
	}
}

func isGone(err error) bool {
	return errors.Is(err, ErrLockLost) || errors.Is(err, ErrJobMissing) || errors.Is(err, ErrNotActive)
}

func (r *run) write(ctx context.Context, d *Delivery, result any, outcome error, next bool) (*Delivery, error) {
	if errors.Is(outcome, errNotRun) {
		return nil, r.queue.GiveBack(ctx, d)
	}
	if until, ok := asLater(outcome); ok {
		return nil, r.queue.Delay(ctx, d, until.at)
	}
	if outcome != nil {
		_, err := r.queue.Fail(ctx, d, outcome)
		return nil, err
	}
	taken, err := r.queue.Complete(ctx, d, result, next)
	if notJSON, ok := errors.AsType[*resultError](err); ok {
		_, err := r.queue.Fail(ctx, d, notJSON)
		return nil, err
	}
	return r.took(taken), err
}

// renew keeps the lock until ctx ends. Once the lock is lost it says so through lost, and stops.
func (r *run) renew(ctx context.Context, d *Delivery, lost context.CancelCauseFunc) {
	config := r.queue.config
	held := d.lockedAt // when the last call that is known to have set the lock began
	wait := config.LockRenewTime
	for sleep(ctx, wait) {
		start := time.Now()
		callCtx, cancel := context.WithDeadline(ctx, held.Add(config.LockDuration))
		mine, err := r.queue.Extend(callCtx, d)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !mine:
			lost(ErrLockLost)
			return
		case err == nil:
			r.outage.report(nil)
			held, wait = start, config.LockRenewTime
			continue
		}
		r.outage.report(err)
		left := time.Until(held.Add(config.LockDuration))
		if left <= 0 {
			lost(fmt.Errorf("%w: Redis could not be reached before it ran out", ErrLockLost))
			return
		}
		wait = min(config.LockRenewTime/3, left)
	}
}
