package bull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

const (
	// addBatch is how many jobs one pipelined round trip adds; more are sent in several, so that others get their turn.
	addBatch = 250
	// lookBatch is how many jobs one call of a script looks at or moves.
	lookBatch = 1000
)

// Queue adds jobs to one queue and reads what is in it. It is safe for concurrent use.
type Queue struct {
	config Config
	keys   keys
	client redis.UniversalClient
	token  string // stands in the channel names of what this queue publishes
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

// Added is what became of one job.
type Added struct {
	// ID is the job's, or, where Opts.Debounce dropped it, that of the job that holds the debounce id.
	ID string
	// Created is false if the queue knew the id, or another job holds the debounce id: then nothing was written.
	Created bool
}

// Add adds one job. An error is an *InvalidJobError, in which case Redis is untouched, or Redis's.
func (q *Queue) Add(ctx context.Context, job Job) (Added, error) {
	added, err := q.AddBulk(ctx, []Job{job})
	if err != nil {
		return Added{}, err
	}
	return added[0], nil
}

// AddBulk adds jobs in order, in one pipelined round trip per 250. All are checked before the first is written.
// After an error of Redis, some may have been added: add them again with the same ids.
func (q *Queue) AddBulk(ctx context.Context, jobs []Job) ([]Added, error) {
	calls := make([][]any, len(jobs))
	var errs []error
	for i, job := range jobs {
		args, err := q.addArgs(job)
		if err != nil {
			errs = append(errs, err)
		}
		calls[i] = args
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}

	added := make([]Added, 0, len(jobs))
	for batch := range slices.Chunk(calls, addBatch) {
		cmds, err := addScript.pipeline(ctx, q.client, q.addKeys(), batch)
		if err != nil {
			return nil, fmt.Errorf("adding %d jobs to queue %s: %w", len(jobs), q.config.Queue, err)
		}
		for _, cmd := range cmds {
			reply, err := cmd.Slice()
			if err != nil {
				return nil, fmt.Errorf("adding to queue %s: %w", q.config.Queue, err)
			}
			id, _ := reply[0].(string)
			added = append(added, Added{ID: id, Created: reply[1] == int64(1)})
		}
	}
	return added, nil
}

func (q *Queue) addKeys() []string {
	k := q.keys
	return []string{k.wait(), k.paused(), k.metaPaused(), k.counter(), k.delayed(), k.priority()}
}

// addArgs checks a job and renders the arguments of the add script.
func (q *Queue) addArgs(job Job) ([]any, error) {
	if err := job.Validate(); err != nil {
		return nil, err
	}
	var err error
	if job.ID, err = q.groupedID(job); err != nil {
		return nil, &InvalidJobError{ID: job.ID, Err: err}
	}
	now := q.now()
	opts, err := job.encodeOpts(now)
	if err != nil {
		return nil, &InvalidJobError{ID: job.ID, Err: err}
	}
	debounce, ttl := job.Opts.Debounce.args()
	return []any{
		q.keys.base, job.ID, orDefault(job.Name), job.Data, opts,
		now, job.Opts.Delay.Milliseconds(), job.Opts.Priority, pushCommand(job.Opts.LIFO), q.token, debounce, ttl,
	}, nil
}

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
			Opts: Opts{Attempts: 1, RemoveOnComplete: ringKeep, RemoveOnFail: ringKeep},
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
