package bull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// resultError says that a handler's result can't be stored.
type resultError struct{ err error }

func (e *resultError) Error() string { return "the result of the job is not JSON: " + e.err.Error() }
func (e *resultError) Unwrap() error { return e.err }

// completion is one job to complete, and what came of it.
type completion struct {
	job   *Delivery
	value []byte // the result, as JSON
	event []byte
	next  string // the token of the run that is to follow; empty for none

	taken Taken
	err   error

	turn chan bool // of a completer: true if it is this one's turn to send, false once there is an outcome
}

// newCompletion prepares the end of a run. It fails with a *resultError if the result is not JSON.
func (q *Queue) newCompletion(d *Delivery, result any, next bool) (*completion, error) {
	c := &completion{job: d, value: []byte("null")}
	var err error
	if result != nil {
		if c.value, err = json.Marshal(result); err != nil {
			return nil, &resultError{err}
		}
	}
	if c.event, err = completedEvent(d.ID, string(c.value), result != nil); err != nil {
		return nil, fmt.Errorf("completing job %s: %w", d.ID, err)
	}
	if next && !q.config.Limiter.enabled() { // a start must be counted, which only taking does
		c.next = q.newToken()
	}
	return c, nil
}

// Complete ends a run well; result is stored as JSON, and nil as "no result". With next, it takes the next waiting job
// in the same step; with a limiter it does not, as Bull. ErrJobMissing, ErrLockLost and ErrNotActive mean that nothing
// was written.
func (q *Queue) Complete(ctx context.Context, d *Delivery, result any, next bool) (Taken, error) {
	c, err := q.newCompletion(d, result, next)
	if err != nil {
		return Taken{}, err
	}
	q.completeAll(ctx, []*completion{c})
	return c.taken, c.err
}

const (
	// completeBatch bounds how long one call holds up Redis: some 10 µs a job.
	completeBatch = 100
	// completeCalls is how many calls of a consumer may be on their way: while Redis works on one, the worker acts on the
	// answer to another.
	completeCalls = 2
)

// completer lets jobs that end while a call is on its way share the next one. Nobody waits for company: a job that ends
// alone is sent at once.
type completer struct {
	queue   *Queue
	running func() int // how many jobs run

	mu      sync.Mutex
	waiting []*completion
	calls   int
}

// do completes one job and returns when its outcome is there. A job that finds no call to go with sends one, for all that
// wait by then.
func (co *completer) do(ctx context.Context, c *completion) {
	co.mu.Lock()
	if co.calls < completeCalls {
		co.calls++
		co.mu.Unlock()
	} else {
		c.turn = make(chan bool, 1)
		co.waiting = append(co.waiting, c)
		co.mu.Unlock()
		if sends := <-c.turn; !sends {
			return
		}
	}
	if co.running() > 1 {
		// Others that an answer woke together with this one are about to end their jobs, too. This lets them come along.
		runtime.Gosched()
	}
	batch := co.with(c)
	co.queue.completeAll(ctx, batch)
	co.next()
	for _, other := range batch[1:] {
		other.turn <- false
	}
}

// with is a batch: a job, and those that wait.
func (co *completer) with(c *completion) []*completion {
	co.mu.Lock()
	defer co.mu.Unlock()
	n := min(len(co.waiting), completeBatch-1)
	batch := append(make([]*completion, 0, n+1), c)
	batch = append(batch, co.waiting[:n]...)
	co.waiting = slices.Delete(co.waiting, 0, n)
	return batch
}

// next hands a call that has come back to the one that waits longest.
func (co *completer) next() {
	co.mu.Lock()
	defer co.mu.Unlock()
	if len(co.waiting) == 0 {
		co.calls--
		return
	}
	co.waiting[0].turn <- true
	co.waiting = slices.Delete(co.waiting, 0, 1)
}

// completionArgs is the number of arguments of the script for each job.
const completionArgs = 8

// completeAll ends runs well, all in one step, and tells each what came of it. If Redis can't be reached, or its answer
// is lost, that is the error of all.
func (q *Queue) completeAll(ctx context.Context, all []*completion) {
	k, start := q.keys, time.Now()
	args := make([]any, 0, 4+completionArgs*len(all))
	args = append(args, k.base, q.now(), q.config.MetricsMaxDataPoints, q.config.LockDuration.Milliseconds())
	for _, c := range all {
		age, count := c.job.opts.removeOnComplete.args()
		args = append(args, c.job.ID, c.job.token, c.value, c.event, age, count, c.job.debounceID, c.next)
	}
	reply, err := completeScript.Run(ctx, q.client,
		[]string{
			k.wait(), k.active(), k.priority(), k.stalled(), k.completed(), k.metrics(StateCompleted),
			q.activeChannel(),
		}, args...).Slice()
	if err == nil && (len(reply) != 4 || len(asSlice(reply[0])) != len(all)) {
		err = errors.New("the script's answer is not one to these jobs")
	}
	if err != nil {
		for _, c := range all {
			c.err = fmt.Errorf("completing job %s: %w", c.job.ID, err)
		}
		return
	}

	codes, taken := asSlice(reply[0]), asSlice(reply[1])
	for i, c := range all {
		if code, _ := codes[i].(int64); code != 0 {
			c.err = fmt.Errorf("completing job %s: %w", c.job.ID, codeError(code))
			continue
		}
		if c.next != "" && len(taken) > 0 {
			c.taken.Delivery = newDelivery(q, asSlice(taken[0]), c.next, start)
			taken = taken[1:]
		}
	}
	// What belongs to no single job is told by the first that went well.
	for _, c := range all {
		if c.err == nil {
			c.taken.Dropped, c.taken.Refused = q.leftovers(reply[2], reply[3])
			return
		}
	}
}
