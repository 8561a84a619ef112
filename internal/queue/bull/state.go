package bull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// State is where a job is.
type State string

const (
	// StateAbsent means that the queue does not know the id.
	StateAbsent State = "absent"
	// StateWaiting means ready to run, also while the queue is paused.
	StateWaiting State = "waiting"
	// StateDelayed means not due yet, or between two attempts.
	StateDelayed State = "delayed"
	// StateActive means that a worker has it, or had it and died.
	StateActive State = "active"
	// StateCompleted means finished well, and kept.
	StateCompleted State = "completed"
	// StateFailed means failed for good, and kept.
	StateFailed State = "failed"
	// StateStuck means that the hash is there, but no list refers to it, or it has no data. It never runs, and blocks its id.
	StateStuck State = "stuck"
)

// State tells where each job is, in one pipelined round trip; up to 1,000 ids are seen at one moment.
func (q *Queue) State(ctx context.Context, ids []string) (map[string]State, error) {
	states := make(map[string]State, len(ids))
	if len(ids) == 0 {
		return states, nil
	}
	var calls [][]any
	chunks := slices.Collect(slices.Chunk(ids, lookBatch))
	for _, chunk := range chunks {
		args := make([]any, 0, len(chunk)+1)
		args = append(args, q.keys.base)
		for _, id := range chunk {
			args = append(args, id)
		}
		calls = append(calls, args)
	}
	cmds, err := stateScript.Pipeline(ctx, q.client, q.stateKeys(), calls)
	if err != nil {
		return nil, fmt.Errorf("reading the state of jobs in queue %s: %w", q.config.Queue, err)
	}
	for i, cmd := range cmds {
		words, err := cmd.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("reading the state of jobs in queue %s: %w", q.config.Queue, err)
		}
		for j, id := range chunks[i] {
			states[id] = State(words[j])
		}
	}
	return states, nil
}

func (q *Queue) stateKeys() []string {
	k := q.keys
	return []string{k.wait(), k.paused(), k.active(), k.delayed(), k.completed(), k.failed()}
}

// Counts is how many jobs are in which state.
type Counts struct {
	// Waiting counts the jobs that are ready to run, also while the queue is paused.
	Waiting   int64
	Active    int64
	Delayed   int64
	Completed int64
	Failed    int64
}

// Counts reads how many jobs there are, in one round trip.
func (q *Queue) Counts(ctx context.Context) (Counts, error) {
	pipe := q.client.TxPipeline()
	wait, paused := pipe.LLen(ctx, q.keys.wait()), pipe.LLen(ctx, q.keys.paused())
	active, delayed := pipe.LLen(ctx, q.keys.active()), pipe.ZCard(ctx, q.keys.delayed())
	completed, failed := pipe.ZCard(ctx, q.keys.completed()), pipe.ZCard(ctx, q.keys.failed())
	if _, err := pipe.Exec(ctx); err != nil {
		return Counts{}, fmt.Errorf("counting the jobs of queue %s: %w", q.config.Queue, err)
	}
	return Counts{
		Waiting:   wait.Val() + paused.Val(),
		Active:    active.Val(),
		Delayed:   delayed.Val(),
		Completed: completed.Val(),
		Failed:    failed.Val(),
	}, nil
}

// IsPaused reports whether the queue is paused for all workers: then jobs may be added, and none is taken.
func (q *Queue) IsPaused(ctx context.Context) (bool, error) {
	n, err := q.client.Exists(ctx, q.keys.metaPaused()).Result()
	if err != nil {
		return false, fmt.Errorf("reading whether queue %s is paused: %w", q.config.Queue, err)
	}
	return n > 0, nil
}

// Ping reports whether Redis answers.
func (q *Queue) Ping(ctx context.Context) error {
	if err := q.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reaching Redis: %w", err)
	}
	return nil
}

// EvictionPolicy reads maxmemory-policy; of a cluster, that of a master where it is not "noeviction", if there is one.
// Anything but that may drop locks and jobs; empty means that this server does not tell.
func (q *Queue) EvictionPolicy(ctx context.Context) (string, error) {
	const harmless = "noeviction"
	var policy string
	var err error
	if cluster, ok := q.client.(*redis.ClusterClient); ok {
		var mu sync.Mutex
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			found, err := evictionPolicy(ctx, node)
			mu.Lock()
			defer mu.Unlock()
			if policy == "" || found != "" && found != harmless {
				policy = found
			}
			return err
		})
	} else {
		policy, err = evictionPolicy(ctx, q.client)
	}
	var refused redis.Error
	if errors.As(err, &refused) && !IsUnavailable(err) {
		return "", nil // managed servers hide CONFIG, and not every server has it
	}
	if err != nil {
		return "", fmt.Errorf("reading Redis's maxmemory-policy: %w", err)
	}
	return policy, nil
}

func evictionPolicy(ctx context.Context, node redis.Cmdable) (string, error) {
	values, err := node.ConfigGet(ctx, "maxmemory-policy").Result()
	return values["maxmemory-policy"], err
}
