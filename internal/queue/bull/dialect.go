package bull

import (
	"context"
	"fmt"
)

// DialectError says that a queue can't be used as it is: it bears the traces of another library, or needs what this
// package does not do.
type DialectError struct {
	Queue  string
	Reason string
}

func (e *DialectError) Error() string { return "queue " + e.Queue + ": " + e.Reason }

// CheckDialect refuses, with a *DialectError, a queue that BullMQ has used: BullMQ shares key names with Bull and gives
// them other meanings, so jobs would be lost.
func (q *Queue) CheckDialect(ctx context.Context) error {
	k := q.keys
	pipe := q.client.TxPipeline()
	meta := pipe.HMGet(ctx, k.meta(), "version", "opts.maxLenEvents")
	traces := map[string]interface{ Val() int64 }{
		k.marker():      pipe.Exists(ctx, k.marker()),
		k.events():      pipe.Exists(ctx, k.events()),
		k.prioritized(): pipe.Exists(ctx, k.prioritized()),
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("checking the dialect of queue %s: %w", q.config.Queue, err)
	}
	for i, field := range []string{"version", "opts.maxLenEvents"} {
		if meta.Val()[i] != nil {
			return q.foreign("the field " + field + " of " + k.meta())
		}
	}
	for _, key := range []string{k.marker(), k.events(), k.prioritized()} {
		if traces[key].Val() > 0 {
			return q.foreign("the key " + key)
		}
	}
	return nil
}

func (q *Queue) foreign(trace string) error {
	return &DialectError{q.config.Queue, "it belongs to BullMQ, as " + trace +
		" shows; Bull and BullMQ can't share a queue: use another QUEUE_NAME_EMAIL, or QUEUE_DIALECT=bullmq"}
}

// CheckConsumable is CheckDialect, and also refuses a queue with repeatable jobs: whoever takes one has to schedule the
// next, which this package does not do.
func (q *Queue) CheckConsumable(ctx context.Context) error {
	if err := q.CheckDialect(ctx); err != nil {
		return err
	}
	n, err := q.client.ZCard(ctx, q.keys.repeat()).Result()
	if err != nil {
		return fmt.Errorf("looking for repeatable jobs in queue %s: %w", q.config.Queue, err)
	}
	if n > 0 {
		return &DialectError{q.config.Queue, fmt.Sprintf("it has %d repeatable jobs (%s), which only Bull's own workers "+
			"keep going: remove them, or work on this queue with Node workers only", n, q.keys.repeat())}
	}
	return nil
}

// repeatable is the refusal of a job that somebody made repeatable after the start.
func (q *Queue) repeatable(id string) *DialectError {
	return &DialectError{q.config.Queue, fmt.Sprintf("its next job, %s, is a repeatable one, and only Bull's own workers "+
		"add the one after it: it is left for them; remove the repeatable jobs (%s), or work on this queue with Node workers "+
		"only", id, q.keys.repeat())}
}
