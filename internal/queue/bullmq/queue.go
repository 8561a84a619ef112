package bullmq

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/lua"
)

var (
	//go:embed scripts/add.lua
	addSource string
	//go:embed scripts/state.lua
	stateSource string

	addScript   = lua.New("add", addSource)
	stateScript = lua.New("state", stateSource)
)

const (
	// addBatch is how many jobs one pipelined round trip adds; more are sent in several, so that others get their turn.
	addBatch = 250
	// lookBatch is how many jobs one call of a script looks at.
	lookBatch = 1000
)

// Queue adds jobs to one queue and reads what is in it. It is safe for concurrent use.
type Queue struct {
	config Config
	keys   keys
	client redis.UniversalClient
	// server asks Redis what has nothing to do with the dialect.
	server *bull.Queue
}

var _ outbox.Queue = (*Queue)(nil)

// New returns the queue that config names, on client, which stays the caller's to close. It does not touch Redis.
func New(client redis.UniversalClient, config Config) (*Queue, error) {
	if client == nil {
		return nil, errors.New("bullmq: a Redis client is required")
	}
	config = config.withDefaults()
	server, err := bull.New(client, bull.Config{Prefix: config.Prefix, Queue: config.Queue})
	if err := errors.Join(err, config.validate()); err != nil {
		return nil, err
	}
	return &Queue{config: config, keys: newKeys(config.Prefix, config.Queue), client: client, server: server}, nil
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.config.Queue }

// Added is what became of one job.
type Added = bull.Added

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
		cmds, err := addScript.Pipeline(ctx, q.client, q.addKeys(), batch)
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
	return []string{
		k.wait(), k.paused(), k.meta(), k.counter(), k.delayed(), k.active(), k.events(), k.marker(), k.prioritized(),
		k.priorityCounter(),
	}
}

// addArgs checks a job and renders the arguments of the add script.
func (q *Queue) addArgs(job Job) ([]any, error) {
	if err := job.Validate(); err != nil {
		return nil, err
	}
	opts, err := job.encodeOpts()
	if err != nil {
		return nil, &InvalidJobError{ID: job.ID, Err: err}
	}
	return []any{
		q.keys.base, job.ID, orDefault(job.Name), job.Data, opts,
		q.config.Now().UnixMilli(), job.Opts.Delay.Milliseconds(), job.Opts.Priority, pushCommand(job.Opts.LIFO),
		q.config.Major, q.config.MaxEvents,
	}, nil
}

// ringKeep is what stays of a ring that was answered: long enough that a producer's retry within a day is a no-op, few
// enough to stay small. What counts is in the database.
var ringKeep = bull.KeepFor(24*time.Hour, 1000)

// Ring adds one job per entry, pipelined, with the data {"jobUuid": "<EmailJob.id>"}. An id that the queue knows is left
// alone.
//
// BullMQ runs jobs without a priority before all others, which is not what outbox.Ring's Priority means: jobs that have
// one go to the head of the queue instead, the most urgent first; behind them, all is first come, first served.
func (q *Queue) Ring(ctx context.Context, rings []outbox.Ring) error {
	if len(rings) == 0 {
		return nil
	}
	jobs := make([]Job, len(rings))
	for i, ring := range urgentLast(rings) {
		data, err := json.Marshal(struct {
			JobUUID string `json:"jobUuid"`
		}{ring.JobID})
		if err != nil {
			return fmt.Errorf("encoding the data of job %s: %w", ring.JobID, err)
		}
		jobs[i] = Job{
			ID:   ring.BullID,
			Data: data,
			Opts: Opts{Attempts: 1, LIFO: ring.Priority > 0, RemoveOnComplete: ringKeep, RemoveOnFail: ringKeep},
		}
	}
	_, err := q.AddBulk(ctx, jobs)
	return err
}

// urgentLast orders rings so that of those that go to the head of the queue, the one to run first is added last.
func urgentLast(rings []outbox.Ring) []outbox.Ring {
	isUrgent := func(ring outbox.Ring) bool { return ring.Priority > 0 }
	if !slices.ContainsFunc(rings, isUrgent) {
		return rings
	}
	var plain, urgent []outbox.Ring
	for _, ring := range rings {
		if isUrgent(ring) {
			urgent = append(urgent, ring)
		} else {
			plain = append(plain, ring)
		}
	}
	slices.SortStableFunc(urgent, func(a, b outbox.Ring) int { return cmp.Compare(a.Priority, b.Priority) })
	slices.Reverse(urgent)
	return append(plain, urgent...)
}

// Waiting reports which of these ids are in the queue and not finished: waiting, prioritized, paused, delayed or active.
// A hash that is in no list is not: no worker will ever take it.
func (q *Queue) Waiting(ctx context.Context, ids []string) (map[string]bool, error) {
	states, err := q.State(ctx, ids)
	if err != nil {
		return nil, err
	}
	waiting := make(map[string]bool, len(states))
	for id, state := range states {
		if state == bull.StateWaiting || state == bull.StateDelayed || state == bull.StateActive {
			waiting[id] = true
		}
	}
	return waiting, nil
}
