package bullmq

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/cartero-mail/cartero/internal/queue/lua"
)

//go:embed scripts/unring.lua
var unringSource string

var unringScript = lua.New("unring", unringSource)

const (
	// unringBatch is how many jobs one call of the script deletes; each walks the lists once.
	unringBatch = 250
	// unringTrip is how many calls one pipelined round trip makes.
	unringTrip = 20
)

// Unring implements outbox.Queue: it deletes those of the jobs that wait, are paused, prioritized or delayed, as BullMQ's
// job.remove() does, in one pipelined round trip per 5,000. A deleted id may be added again. An error is Redis's: then
// some may be gone, and the call may be made again.
func (q *Queue) Unring(ctx context.Context, ids []string) error {
	k := q.keys
	lists := []string{k.wait(), k.paused(), k.delayed(), k.prioritized(), k.meta(), k.events()}
	var calls [][]any
	for ids := range slices.Chunk(slices.DeleteFunc(slices.Clone(ids), notJobKey), unringBatch) {
		args := append(make([]any, 0, len(ids)+2), k.base, q.config.MaxEvents)
		for _, id := range ids {
			args = append(args, id)
		}
		calls = append(calls, args)
	}
	for trip := range slices.Chunk(calls, unringTrip) {
		if _, err := unringScript.Pipeline(ctx, q.client, lists, trip); err != nil {
			return fmt.Errorf("taking %d jobs out of queue %s: %w", len(ids), q.config.Queue, err)
		}
	}
	return nil
}

// notJobKey tells ids that are none, whose keys are of another type than a job's.
func notJobKey(id string) bool { return id == "" || reserved[id] }
