package bull

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
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
	meta := pipe.HMGet(ctx, k.meta(), bullMQFields...)
	kinds := make([]*redis.StatusCmd, 0, 4)
	keys := []string{k.marker(), k.events(), k.prioritized(), k.pc()}
	for _, key := range keys {
		kinds = append(kinds, pipe.Type(ctx, key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("checking the dialect of queue %s: %w", q.config.Queue, err)
	}
	for i, value := range meta.Val() {
		if value != nil {
			return q.foreign("the field " + bullMQFields[i] + " of " + k.meta())
		}
	}
	for i, kind := range kinds {
		// A hash is a job of Bull's with that id, which BullMQ has no place for.
		if kind.Val() != "none" && kind.Val() != "hash" {
			return q.foreign("the key " + keys[i])
		}
	}
	return nil
}

// bullMQFields are what BullMQ writes to the hash meta, in which Bull has "paused" only.
var bullMQFields = []string{"version", "opts.maxLenEvents", "concurrency", "max", "duration"}

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
