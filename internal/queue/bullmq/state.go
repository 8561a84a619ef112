package bullmq

import (
	"context"
	"fmt"
	"slices"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// State is where a job is, in Bull's words: a prioritized job is waiting, one that waits for its children is delayed.
type State = bull.State

// Counts is how many jobs are in which state, with the same meaning of each.
type Counts = bull.Counts

// State tells where each job is, in one pipelined round trip; up to 1,000 ids are seen at one moment.
func (q *Queue) State(ctx context.Context, ids []string) (map[string]State, error) {
	states := make(map[string]State, len(ids))
	if len(ids) == 0 {
		return states, nil
	}
	chunks := slices.Collect(slices.Chunk(ids, lookBatch))
	calls := make([][]any, len(chunks))
	for i, chunk := range chunks {
		calls[i] = append(calls[i], q.keys.base)
		for _, id := range chunk {
			calls[i] = append(calls[i], id)
		}
	}
	k := q.keys
	lists := []string{
		k.wait(), k.paused(), k.active(), k.delayed(), k.completed(), k.failed(), k.prioritized(), k.waitingChildren(),
	}
	cmds, err := stateScript.Pipeline(ctx, q.client, lists, calls)
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

// Counts reads how many jobs there are, in one round trip.
func (q *Queue) Counts(ctx context.Context) (Counts, error) {
	k := q.keys
	pipe := q.client.TxPipeline()
	wait, paused, prioritized := pipe.LLen(ctx, k.wait()), pipe.LLen(ctx, k.paused()), pipe.ZCard(ctx, k.prioritized())
	active, delayed, children := pipe.LLen(ctx, k.active()), pipe.ZCard(ctx, k.delayed()), pipe.ZCard(ctx, k.waitingChildren())
	completed, failed := pipe.ZCard(ctx, k.completed()), pipe.ZCard(ctx, k.failed())
	if _, err := pipe.Exec(ctx); err != nil {
		return Counts{}, fmt.Errorf("counting the jobs of queue %s: %w", q.config.Queue, err)
	}
	return Counts{
		Waiting:   wait.Val() + paused.Val() + prioritized.Val(),
		Active:    active.Val(),
		Delayed:   delayed.Val() + children.Val(),
		Completed: completed.Val(),
		Failed:    failed.Val(),
	}, nil
}

// IsPaused reports whether the queue is paused for all workers: then jobs may be added, and none is taken.
func (q *Queue) IsPaused(ctx context.Context) (bool, error) {
	paused, err := q.client.HExists(ctx, q.keys.meta(), "paused").Result()
	if err != nil {
		return false, fmt.Errorf("reading whether queue %s is paused: %w", q.config.Queue, err)
	}
	return paused, nil
}

// Ping reports whether Redis answers.
func (q *Queue) Ping(ctx context.Context) error { return q.server.Ping(ctx) }

// EvictionPolicy reads maxmemory-policy. Anything but "noeviction" may drop locks and jobs; empty means that this server
// does not tell.
func (q *Queue) EvictionPolicy(ctx context.Context) (string, error) {
	return q.server.EvictionPolicy(ctx)
}
