package bull

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// locks renews the locks of all jobs of a consumer that run: one goroutine, which wakes up once a renewal time where
// all jobs are shorter.
type locks struct {
	queue  *Queue
	outage *outage
	wake   chan struct{}
	calls  sync.WaitGroup

	mu   sync.Mutex
	held map[*lock]struct{}
	next time.Time // when the loop will look again
}

// lock is the lock of a job that runs.
type lock struct {
	job   *Delivery
	lost  context.CancelCauseFunc // says that somebody else may have the job
	until time.Time               // when it runs out, unless a renewal that is on its way succeeds
	due   time.Time               // when it is to be renewed
	busy  bool                    // a renewal is on its way
}

func newLocks(queue *Queue, o *outage) *locks {
	return &locks{queue: queue, outage: o, wake: make(chan struct{}, 1), held: map[*lock]struct{}{}}
}

// hold keeps a job's lock until release. If it is lost, lost is called with ErrLockLost: at once if somebody else has it,
// and when it runs out if Redis can't be reached until then.
func (l *locks) hold(d *Delivery, lost context.CancelCauseFunc) *lock {
	config := l.queue.config
	h := &lock{
		job: d, lost: lost,
		until: d.lockedAt.Add(config.LockDuration), due: d.lockedAt.Add(config.LockRenewTime),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[h] = struct{}{}
	if h.due.Before(l.next) {
		l.lookAgain()
	}
	return h
}

func (l *locks) release(h *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, h)
}

func (l *locks) lookAgain() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run renews what is due until ctx ends.
func (l *locks) run(ctx context.Context) {
	defer l.calls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.wake:
		}
		due, next := l.look(time.Now())
		if len(due) > 0 {
			l.calls.Go(func() { l.renew(ctx, due) })
		}
		timer.Reset(time.Until(next))
	}
}

// look gives up the locks that ran out, and returns those that are due and when to look again. No lock that is taken
// after this is due earlier than a renewal time from now.
func (l *locks) look(now time.Time) (due []*lock, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = now.Add(l.queue.config.LockRenewTime)
	for h := range l.held {
		switch {
		case !now.Before(h.until):
			h.lost(fmt.Errorf("%w: Redis could not be reached before it ran out", ErrLockLost))
			delete(l.held, h)
			continue
		case !h.busy && !now.Before(h.due):
			h.busy = true
			due = append(due, h)
		}
		next = earlier(next, h.until)
		if !h.busy {
			next = earlier(next, h.due)
		}
	}
	l.next = next
	return due, next
}

// renew extends locks, all in one call, and has those looked at again that it could not extend.
func (l *locks) renew(ctx context.Context, due []*lock) {
	config := l.queue.config
	start, last := time.Now(), time.Time{}
	jobs := make([]*Delivery, len(due))
	for i, h := range due {
		jobs[i] = h.job
		if h.until.After(last) {
			last = h.until
		}
	}
	callCtx, cancel := context.WithDeadline(ctx, last)
	defer cancel()
	mine, err := l.queue.extendAll(callCtx, jobs)
	if ctx.Err() != nil {
		return
	}
	l.outage.report(err)

	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range due {
		h.busy = false
		if _, running := l.held[h]; !running {
			continue
		}
		switch {
		case err != nil:
			h.due = time.Now().Add(config.LockRenewTime / 3)
		case mine[i]:
			h.until, h.due = start.Add(config.LockDuration), start.Add(config.LockRenewTime)
		default:
			h.lost(ErrLockLost)
			delete(l.held, h)
		}
	}
	l.lookAgain()
}
