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
// A queue without any key, and one that only a producer or worker of BullMQ has seen, pass. So does one where Bull left
// nothing behind.
func (q *Queue) CheckDialect(ctx context.Context) error {
	k := q.keys
	pipe := q.client.TxPipeline()
	meta := pipe.HMGet(ctx, k.meta(), "opts.maxLenEvents", "version")
	own := pipe.Exists(ctx, k.events(), k.marker(), k.prioritized())
	foreign, shared := exist(ctx, pipe, k.foreign()), exist(ctx, pipe, k.shared())
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("checking the dialect of queue %s: %w", q.config.Queue, err)
	}
	if key := first(k.foreign(), foreign); key != "" {
		return q.foreign("the key " + key + " shows")
	}
	if meta.Val()[0] != nil || meta.Val()[1] != nil || own.Val() > 0 {
		return nil
	}
	if key := first(k.shared(), shared); key != "" {
		return q.foreign("the key " + key + " without BullMQ's entries in " + k.meta() + " shows")
	}
	return nil
}

func exist(ctx context.Context, pipe redis.Pipeliner, keys []string) []*redis.IntCmd {
	cmds := make([]*redis.IntCmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.Exists(ctx, key)
	}
	return cmds
}

// first returns the first key that exists, or nothing.
func first(keys []string, exist []*redis.IntCmd) string {
	for i, cmd := range exist {
		if cmd.Val() > 0 {
			return keys[i]
		}
	}
	return ""
}

func (q *Queue) foreign(trace string) error {
	return &DialectError{Queue: q.config.Queue, Reason: "it belongs to Bull, as " + trace +
		"; Bull and BullMQ can't share a queue: use another QUEUE_NAME_EMAIL, or QUEUE_DIALECT=bull"}
}
