package bull

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/cartero-mail/cartero/internal/queue/lua"
)

var (
	//go:embed scripts/pause.lua
	pauseSource string
	//go:embed scripts/promoteone.lua
	promoteOneSource string
	//go:embed scripts/remove.lua
	removeSource string
	//go:embed scripts/retry.lua
	retrySource string
	//go:embed scripts/retryfailed.lua
	retryFailedSource string
)

var (
	pauseScript       = newScript("pause", pauseSource)
	promoteOneScript  = newScript("promoteOne", promoteOneSource)
	removeScript      = newScript("remove", removeSource)
	retryScript       = newScript("retry", retrySource)
	retryFailedScript = newScript("retryFailed", retryFailedSource)
)

// Why a job was left as it is. Nothing was written.
var (
	// ErrJobLocked: a worker is running the job.
	ErrJobLocked = errors.New("a worker holds the job")
	// ErrNotDelayed: only a delayed job can be promoted.
	ErrNotDelayed = errors.New("the job is not delayed")
	// ErrNotFailed: only a failed job can be retried.
	ErrNotFailed = errors.New("the job has not failed")
)

// adminError gives the return code of an administrative script a meaning.
func adminError(code int64) error {
	switch code {
	case -4:
		return ErrNotDelayed
	case -5:
		return ErrJobLocked
	case -7:
		return ErrNotFailed
	}
	return codeError(code)
}

// Pause keeps all workers, Node's too, from taking further jobs until Resume. What runs is finished, and jobs may be
// added and become due. Pausing twice is no error.
func (q *Queue) Pause(ctx context.Context) error { return q.pause(ctx, "paused") }

// Resume ends a Pause. Also what a foreign program pushed to the list wait meanwhile is kept.
func (q *Queue) Resume(ctx context.Context) error { return q.pause(ctx, "resumed") }

func (q *Queue) pause(ctx context.Context, state string) error {
	k := q.keys
	err := pauseScript.Run(ctx, q.client, []string{k.wait(), k.paused(), k.metaPaused(), k.meta(), k.priority()},
		k.base, state).Err()
	if err != nil {
		return fmt.Errorf("having queue %s %s: %w", q.config.Queue, state, err)
	}
	return nil
}

// Promote makes a delayed job ready to run now. Errors are ErrJobMissing, ErrNotDelayed, or Redis's.
func (q *Queue) Promote(ctx context.Context, id string) error {
	k := q.keys
	return q.steer(ctx, "promoting", id, promoteOneScript,
		[]string{k.delayed(), k.wait(), k.paused(), k.metaPaused(), k.priority()}, q.token)
}

// Remove deletes a job in any state but running, with its log and all that refers to it, also an id without a job
// behind it. Its id may be added again from then on. Errors are ErrJobMissing, ErrJobLocked, or Redis's.
func (q *Queue) Remove(ctx context.Context, id string) error {
	k := q.keys
	return q.steer(ctx, "removing", id, removeScript, []string{
		k.wait(), k.paused(), k.active(), k.delayed(), k.completed(), k.failed(), k.priority(), k.stalled(), k.limiterIndex(),
	})
}

// Retry makes a failed job ready to run. Its attempts stay counted: one that had used them up is tried once. Errors are
// ErrJobMissing, ErrJobLocked, ErrNotFailed, or Redis's.
func (q *Queue) Retry(ctx context.Context, id string) error {
	k := q.keys
	return q.steer(ctx, "retrying", id, retryScript,
		[]string{k.failed(), k.wait(), k.paused(), k.metaPaused()}, q.token, q.now())
}

// steer runs a script that acts on one job: its arguments are base, id and those given.
func (q *Queue) steer(ctx context.Context, doing, id string, s lua.Script, keys []string, args ...any) error {
	if !isJobKey(id) {
		return fmt.Errorf("%s job %s: %w", doing, id, ErrJobMissing)
	}
	code, err := s.Run(ctx, q.client, keys, append([]any{q.keys.base, id}, args...)...).Int64()
	if err == nil {
		err = adminError(code)
	}
	if err != nil {
		return fmt.Errorf("%s job %s: %w", doing, id, err)
	}
	return nil
}

// RetryFailed makes every job that has failed by now ready to run, the oldest first, and returns how many. What fails
// meanwhile is left alone. After an error, some may be ready.
func (q *Queue) RetryFailed(ctx context.Context) (int, error) {
	k := q.keys
	left, err := q.client.ZCard(ctx, k.failed()).Result()
	if err != nil {
		return 0, fmt.Errorf("counting the failed jobs of queue %s: %w", q.config.Queue, err)
	}
	var retried, skip int64
	for left > 0 {
		reply, err := retryFailedScript.Run(ctx, q.client, []string{k.failed(), k.wait(), k.paused(), k.metaPaused()},
			k.base, skip, min(left, lookBatch)).Int64Slice()
		if err != nil {
			return int(retried), fmt.Errorf("retrying the failed jobs of queue %s: %w", q.config.Queue, err)
		}
		if reply[0] == 0 {
			break
		}
		left -= reply[0]
		retried += reply[1]
		skip += reply[2]
	}
	return int(retried), nil
}
