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
		next, empty := r.process(ctx, jobs, d)
		if next == nil && !empty && ctx.Err() == nil {
			var err error
			if next, err = r.take(context.WithoutCancel(ctx), ""); err != nil {
				return // the fetch loop waits for Redis
			}
		}
		d = next
	}
}

// process runs one job under its lock and writes the outcome. It returns the next job, if one came with it, or that none
// was waiting.
func (r *run) process(ctx, jobs context.Context, d *Delivery) (next *Delivery, empty bool) {
	jobCtx, cancel := context.WithCancelCause(jobs)
	defer cancel(nil)
	held := r.locks.hold(d, cancel)
	defer r.locks.release(held)

	result, err := r.execute(jobCtx, d)
	switch cause := context.Cause(jobCtx); {
	case errors.Is(cause, ErrLockLost):
		r.log.Warn("Lost the lock of a job while it ran, leaving it to whoever has it", "job", d.ID)
		return nil, false
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
	var late error
	if d.opts.timeout > 0 {
		late = fmt.Errorf("Promise timed out after %d milliseconds", d.opts.timeout.Milliseconds()) //nolint:staticcheck // likewise
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
	if late != nil && errors.Is(context.Cause(ctx), late) {
		return nil, late
	}
	return result, err
}

// settle writes the outcome, trying for as long as the lock may live. It returns the next job, if one came with it, or
// that none was waiting.
func (r *run) settle(ctx context.Context, d *Delivery, result any, outcome error) (next *Delivery, empty bool) {
	live := context.WithoutCancel(ctx)
	deadline := time.Now().Add(r.queue.config.LockDuration)
	var pause backoff
	for tries := 1; ; tries++ {
		next, empty, err := r.write(live, d, result, outcome, ctx.Err() == nil)
		switch {
		case err == nil:
			r.outage.report(nil)
			return next, empty
		case isGone(err) && tries > 1:
			// An earlier try may have been carried out and its reply lost.
			r.log.Info("Outcome of a job was written before, or the job is somebody else's", "job", d.ID)
			return nil, false
		case isGone(err):
			r.log.Warn("Outcome of a job was not written, as it is not ours any more", "job", d.ID, "error", err)
			return nil, false
		case !IsUnavailable(err):
			r.log.Error("Outcome of a job can't be written, the stalled check will return it", "job", d.ID, "error", err)
			return nil, false
		}
		r.outage.report(err)
		if !pause.wait(live) || time.Now().After(deadline) {
			r.log.Warn("Outcome of a job was not written before its lock ran out", "job", d.ID)
			return nil, false
		}
	}
}

func isGone(err error) bool {
	return errors.Is(err, ErrLockLost) || errors.Is(err, ErrJobMissing) || errors.Is(err, ErrNotActive)
}

// write writes the outcome, and takes the next job in the same step where Bull does.
func (r *run) write(ctx context.Context, d *Delivery, result any, outcome error, more bool) (next *Delivery, empty bool, err error) {
	if errors.Is(outcome, errNotRun) {
		return nil, false, r.queue.GiveBack(ctx, d)
	}
	if until, ok := asLater(outcome); ok {
		return nil, false, r.queue.Delay(ctx, d, until.at)
	}
	if outcome != nil {
		_, err := r.queue.Fail(ctx, d, outcome)
		return nil, false, err
	}
	c, err := r.queue.newCompletion(d, result, more)
	if notJSON, ok := errors.AsType[*resultError](err); ok {
		_, err := r.queue.Fail(ctx, d, notJSON)
		return nil, false, err
	}
	if err != nil {
		return nil, false, err
	}
	r.completer.do(ctx, c)
	next = r.took(c.taken)
	return next, c.next != "" && next == nil, c.err
}
