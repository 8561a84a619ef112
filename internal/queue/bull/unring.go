package bull

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
)

//go:embed scripts/unring.lua
var unringSource string

var unringScript = newScript("unring", unringSource)

// Unring implements outbox.Queue: it deletes those of the jobs that wait, are paused or delayed, as Bull's job.remove()
// does, in one pipelined round trip per 5,000. A deleted id may be added again; job.finished() of it waits on, as after
// job.remove(). An error is Redis's: then some may be gone, and the call may be made again.
func (q *Queue) Unring(ctx context.Context, bullIDs []string) error {
	k := q.keys
	lists := []string{
		k.wait(), k.paused(), k.delayed(), k.completed(), k.failed(), k.priority(), k.limiterIndex(),
	}
	var calls [][]any
	for ids := range slices.Chunk(slices.DeleteFunc(slices.Clone(bullIDs), notJobKey), unringBatch) {
		args := append(make([]any, 0, len(ids)+1), k.base)
		for _, id := range ids {
			args = append(args, id)
		}
		calls = append(calls, args)
	}
	for trip := range slices.Chunk(calls, unringTrip) {
		if _, err := unringScript.Pipeline(ctx, q.client, lists, trip); err != nil {
			return fmt.Errorf("taking %d jobs out of queue %s: %w", len(bullIDs), q.config.Queue, err)
		}
	}
	return nil
}

const (
	// One call of the script deletes that many jobs at most: some 1 ms in which Redis does nothing else. Each walks the
	// lists once.
	unringBatch = 250
	// unringTrip is how many calls one pipelined round trip makes.
	unringTrip = 20
)

func notJobKey(id string) bool { return !isJobKey(id) }
