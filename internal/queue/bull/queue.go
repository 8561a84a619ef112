package bull

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// lookBatch is how many jobs one call of a script looks at or moves.
const lookBatch = 1000

// Queue adds jobs to one queue and reads what is in it. It is safe for concurrent use.
type Queue struct {
	config Config
	keys   keys
	client redis.UniversalClient
	token  string        // stands in the channel names of what this queue publishes
	runs   atomic.Uint64 // lock tokens so far
}

var _ outbox.Queue = (*Queue)(nil)

// New returns the queue that config names, on client, which stays the caller's to close. It does not touch Redis.
func New(client redis.UniversalClient, config Config) (*Queue, error) {
	if client == nil {
		return nil, errors.New("bull: a Redis client is required")
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	k := newKeys(config.Prefix, config.Queue)
	if err := conn.CheckSlot(client, k.base); err != nil {
		return nil, err
	}
	return &Queue{
		config: config,
		keys:   k,
		client: client,
		token:  uuid.NewString(),
	}, nil
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.config.Queue }

func (q *Queue) now() int64 { return q.config.Now().UnixMilli() }

// ringKeep is what stays of a ring that was answered: long enough that a producer's retry within a day is a no-op, few
// enough to stay small. What counts is in the database.
var ringKeep = KeepFor(24*time.Hour, 1000)

// Ring adds one job per entry, pipelined. An id that the queue knows is left alone.
func (q *Queue) Ring(ctx context.Context, rings []outbox.Ring) error {
	if len(rings) == 0 {
		return nil
	}
	jobs := make([]Job, len(rings))
	for i, ring := range rings {
		data, err := encodeRing(ring.JobID)
		if err != nil {
			return err
		}
		jobs[i] = Job{
			ID:   ring.BullID,
			Data: data,
			Opts: Opts{Attempts: 1, Priority: ring.Priority, RemoveOnComplete: ringKeep, RemoveOnFail: ringKeep},
		}
	}
	_, err := q.AddBulk(ctx, jobs)
	return err
}

// Waiting reports which of these ids are in the queue and not finished: waiting, paused, delayed or active. A hash that
// is in no list is not: no worker will ever take it.
func (q *Queue) Waiting(ctx context.Context, bullIDs []string) (map[string]bool, error) {
	states, err := q.State(ctx, bullIDs)
	if err != nil {
		return nil, err
	}
	waiting := make(map[string]bool, len(states))
	for id, state := range states {
		if state == StateWaiting || state == StateDelayed || state == StateActive {
			waiting[id] = true
		}
	}
	return waiting, nil
}
