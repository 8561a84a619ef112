package bullmq

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// DialectError says that a queue can't be used as it is: it bears the traces of another library.
type DialectError = bull.DialectError

// CheckDialect refuses, with a *DialectError, a queue that Bull has used. A trace is certain in two cases:
//
//   - a key that BullMQ 5 and 6 never make: meta-paused, priority, limiter:index, limiter:limited;
//   - any key of a queue (id, wait, completed, stalled-check, …) while BullMQ's own are missing: its scripts, the first
//     thing that they do, write opts.maxLenEvents into the meta hash, workers' too. Bull knows that hash, but puts nothing
//     except "paused" into it.
//
// A key counts if its type is that of the trace: either library takes jobs whose ids are the other's names of keys.
// A queue without any key, and one that only a producer or worker of BullMQ has seen, pass. So does one where Bull left
// nothing behind.
func (q *Queue) CheckDialect(ctx context.Context) error {
	k := q.keys
	pipe := q.client.TxPipeline()
	meta := pipe.HMGet(ctx, k.meta(), "opts.maxLenEvents", "version")
	own, foreign, shared := look(ctx, pipe, k.own()), look(ctx, pipe, k.foreign()), look(ctx, pipe, k.shared())
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("checking the dialect of queue %s: %w", q.config.Queue, err)
	}
	if key := foreign(); key != "" {
		return q.foreign("the key " + key + " shows")
	}
	if meta.Val()[0] != nil || meta.Val()[1] != nil || own() != "" {
		return nil
	}
	if key := shared(); key != "" {
		return q.foreign("the key " + key + " without BullMQ's entries in " + k.meta() + " shows")
	}
	return nil
}

// look asks for keys and returns what tells, when Redis has answered, the first that is there with its type; empty for
// none.
func look(ctx context.Context, pipe redis.Pipeliner, traces []trace) (found func() string) {
	kinds := make([]*redis.StatusCmd, len(traces))
	for i, t := range traces {
		kinds[i] = pipe.Type(ctx, t.key)
	}
	return func() string {
		for i, kind := range kinds {
			if kind.Val() == traces[i].kind {
				return traces[i].key
			}
		}
		return ""
	}
}

func (q *Queue) foreign(evidence string) error {
	return &DialectError{Queue: q.config.Queue, Reason: "it belongs to Bull, as " + evidence +
		"; Bull and BullMQ can't share a queue: use another QUEUE_NAME_EMAIL, or QUEUE_DIALECT=bull"}
}
