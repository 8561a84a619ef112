package bull

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

//go:embed scripts/later.lua
var laterSource string

var laterScript = newScript("later", laterSource)

// What becomes of a write to a job that is not, or no longer, the caller's. Nothing was written.
var (
	// ErrJobMissing: the job was removed meanwhile.
	ErrJobMissing = errors.New("the job is not in Redis any more")
	// ErrLockLost: the lock ran out, and somebody else may have the job.
	ErrLockLost = errors.New("the job's lock was lost")
	// ErrNotActive: the job was locked, but not active.
	ErrNotActive = errors.New("the job is not active")
)

// codeError gives a script's return code a meaning.
func codeError(code int64) error {
	switch code {
	case 0:
		return nil
	case -1:
		return ErrJobMissing
	case -2, -6:
		return ErrLockLost
	case -3:
		return ErrNotActive
	}
	return fmt.Errorf("unknown return code %d", code)
}

// Taken is what taking a job brought.
type Taken struct {
	// Delivery is nil if nothing was waiting, or the limiter did not let it start.
	Delivery *Delivery
	// Dropped are ids that were waiting without a job behind them, after an eviction or a flush. They are gone now.
	Dropped []string
	// Refused says that the next job is a repeatable one. It is left as the next to run, for a worker of Bull's own, and
	// until one takes it, nobody gets at what waits behind it.
	Refused *DialectError
}

// Take makes the next waiting job active, or the one with this id, which a blocking pop has put into active already.
// It takes none if the stalled check has meanwhile returned that one. A job that the limiter does not let start goes to
// the delayed set.
func (q *Queue) Take(ctx context.Context, id string) (Taken, error) {
	k, token, start := q.keys, q.newToken(), time.Now()
	limit, duration, grouped := q.config.Limiter.args()
	reply, err := takeScript.Run(ctx, q.client,
		[]string{
			k.wait(), k.active(), k.priority(), k.stalled(), k.delayed(), k.limiter(), k.paused(), k.metaPaused(),
			q.activeChannel(),
		},
		k.base, id, token, q.config.LockDuration.Milliseconds(), q.now(), limit, duration, grouped).Slice()
	if err != nil {
		return Taken{}, fmt.Errorf("taking a job of queue %s: %w", q.config.Queue, err)
	}
	var taken Taken
	taken.Dropped, taken.Refused = q.leftovers(reply[1], reply[2])
	if fields := asSlice(reply[0]); fields != nil {
		taken.Delivery = newDelivery(q, fields, token, start)
	}
	return taken, nil
}

// newToken is a lock token of its own for each run: if a job that stalled is run again by the same process, the first
// run must not pass for the second. It has no '@', which ends the name in an event channel.
func (q *Queue) newToken() string {
	return q.token + ":" + strconv.FormatUint(q.runs.Add(1), 10)
}

// activeChannel is where this queue tells that a job runs. Bull's listeners subscribe to whatever comes after the '@'.
func (q *Queue) activeChannel() string { return q.keys.active() + "@" + q.token }

// leftovers reads what taking jobs brought beside them: ids that were dropped, and a repeatable job that was met.
func (q *Queue) leftovers(ids, repeatable any) (dropped []string, refused *DialectError) {
	for _, id := range asSlice(ids) {
		dropped = append(dropped, fmt.Sprint(id))
	}
	if id, ok := repeatable.(string); ok {
		refused = q.repeatable(id)
	}
	return dropped, refused
}

func asSlice(v any) []any {
	s, _ := v.([]any)
	return s
}

// Extend renews the lock. It reports false if the lock is gone or somebody else's.
func (q *Queue) Extend(ctx context.Context, d *Delivery) (bool, error) {
	mine, err := q.extendAll(ctx, []*Delivery{d})
	if err != nil {
		return false, err
	}
	return mine[0], nil
}

// extendAll renews locks, all in one step, and tells for each whether it is still held.
func (q *Queue) extendAll(ctx context.Context, jobs []*Delivery) (mine []bool, err error) {
	args := make([]any, 0, 2+2*len(jobs))
	args = append(args, q.keys.base, q.config.LockDuration.Milliseconds())
	for _, d := range jobs {
		args = append(args, d.ID, d.token)
	}
	reply, err := extendScript.Run(ctx, q.client, []string{q.keys.stalled()}, args...).Int64Slice()
	if err == nil && len(reply) != len(jobs) {
		err = errors.New("the script's answer is not one to these jobs")
	}
	if err != nil {
		return nil, fmt.Errorf("renewing %d locks, the first of job %s: %w", len(jobs), jobs[0].ID, err)
	}
	mine = make([]bool, len(jobs))
	for i, n := range reply {
		mine[i] = n == 1
	}
	return mine, nil
}

// Fail ends an attempt badly: the job is tried again, at once or after its backoff, or fails for good if its attempts
// are used up, the error is Unrecoverable, or its backoff is of a type that is not Bull's own. It reports whether that was final. ErrJobMissing, ErrLockLost and
// ErrNotActive mean that nothing was written.
func (q *Queue) Fail(ctx context.Context, d *Delivery, cause error) (final bool, err error) {
	now, made, reason := q.now(), d.AttemptsMade+1, cause.Error()
	trace := slices.Concat(d.stacktrace, []string{reason})
	if limit := d.opts.stackTraceLimit; limit > 0 && len(trace) > limit {
		trace = trace[len(trace)-limit:]
	}
	stack, err := json.Marshal(trace)
	if err != nil {
		return false, fmt.Errorf("failing job %s: %w", d.ID, err)
	}

	var step, detail string
	delay, again := d.opts.backoff.after(made)
	switch {
	case made >= d.opts.attempts || !again || isUnrecoverable(cause):
		step = "fail"
		if detail, err = failedEvent(d.ID, reason); err != nil {
			return false, fmt.Errorf("failing job %s: %w", d.ID, err)
		}
	case delay > 0:
		step, detail = "delay", d.dueScore(now+delay.Milliseconds())
	default:
		step, detail = "retry", pushCommand(d.opts.lifo)
	}

	k := q.keys
	age, count := d.opts.removeOnFail.args()
	code, err := failScript.Run(ctx, q.client,
		[]string{
			k.wait(), k.paused(), k.metaPaused(), k.active(), k.priority(), k.stalled(), k.delayed(), k.failed(),
			k.metrics(StateFailed),
		},
		k.base, d.ID, d.token, now, made, stack, reason, step, detail, age, count, q.config.MetricsMaxDataPoints).Int64()
	if err == nil {
		err = codeError(code)
	}
	if err != nil {
		return false, fmt.Errorf("failing job %s: %w", d.ID, err)
	}
	return step == "fail", nil
}

// GiveBack ends a run as if it had never begun: the job is the next to run, and no attempt is counted.
func (q *Queue) GiveBack(ctx context.Context, d *Delivery) error {
	return q.giveBack(ctx, d.ID, d.token)
}

// Delay ends a run as if it had never begun, and has the job wait until at. No attempt is counted.
func (q *Queue) Delay(ctx context.Context, d *Delivery, at time.Time) error {
	k := q.keys
	code, err := laterScript.Run(ctx, q.client, []string{k.active(), k.stalled(), k.delayed()},
		k.base, d.ID, d.token, d.dueScore(max(at.UnixMilli(), 0))).Int64()
	if err == nil {
		err = codeError(code)
	}
	if err != nil {
		return fmt.Errorf("delaying job %s: %w", d.ID, err)
	}
	return nil
}

// giveBack with an empty token is for an id that a blocking pop has put into active.
func (q *Queue) giveBack(ctx context.Context, id, token string) error {
	k := q.keys
	code, err := giveBackScript.Run(ctx, q.client,
		[]string{k.wait(), k.paused(), k.metaPaused(), k.active(), k.priority(), k.stalled()},
		k.base, id, token).Int64()
	if err == nil {
		err = codeError(code)
	}
	if err != nil {
		return fmt.Errorf("giving back job %s: %w", id, err)
	}
	return nil
}

// PromoteDue makes delayed jobs that are due ready to run, up to 1,000 of them. It returns how many, and when the next
// one is due; the zero time if none is left.
func (q *Queue) PromoteDue(ctx context.Context) (moved int, next time.Time, err error) {
	k := q.keys
	reply, err := promoteScript.Run(ctx, q.client,
		[]string{k.delayed(), k.active(), k.wait(), k.paused(), k.metaPaused(), k.priority()},
		k.base, q.now(), q.token).Int64Slice()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("looking for due jobs of queue %s: %w", q.config.Queue, err)
	}
	if reply[1] >= 0 {
		next = time.UnixMilli(reply[1])
	}
	return int(reply[0]), next, nil
}

// Stalled is what a search for jobs of dead workers brought.
type Stalled struct {
	// Failed are the jobs that stalled too often, Again those that will run again.
	Failed, Again []string
	// Dropped are ids without a job behind them.
	Dropped []string
}

// CheckStalled looks for jobs whose worker died: in two steps, an interval apart. It does nothing if another worker has
// done it within this interval.
func (q *Queue) CheckStalled(ctx context.Context) (Stalled, error) {
	k := q.keys
	reply, err := stalledScript.Run(ctx, q.client,
		[]string{k.stalled(), k.stalledCheck(), k.active(), k.wait(), k.paused(), k.metaPaused(), k.failed()},
		k.base, q.now(), q.config.MaxStalledCount, q.config.StalledInterval.Milliseconds()).Slice()
	if err != nil {
		return Stalled{}, fmt.Errorf("looking for stalled jobs of queue %s: %w", q.config.Queue, err)
	}
	var found Stalled
	for i, list := range []*[]string{&found.Failed, &found.Again, &found.Dropped} {
		for _, id := range asSlice(reply[i]) {
			*list = append(*list, fmt.Sprint(id))
		}
	}
	return found, nil
}
