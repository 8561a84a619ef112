package bull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

const (
	// One call of the script adds that many jobs, or that many bytes of data, at most: some 2 ms in which Redis does
	// nothing else.
	addBatch      = 250
	addBatchBytes = 1 << 20
	// addTrip is how many calls one pipelined round trip makes.
	addTrip = 20
)

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

// AddBulk adds jobs in order, in one pipelined round trip per 5,000. All are checked before the first is written. It is
// fastest where jobs that follow one another have the same options. After an error of Redis, some may have been added:
// add them again with the same ids.
func (q *Queue) AddBulk(ctx context.Context, jobs []Job) ([]Added, error) {
	jobs, err := q.checked(jobs)
	if err != nil {
		return nil, err
	}
	batches := addBatches(jobs)
	calls, err := q.addCalls(batches)
	if err != nil {
		return nil, err
	}
	added := make([]Added, 0, len(jobs))
	for trip := range slices.Chunk(calls, addTrip) {
		cmds, err := addScript.Pipeline(ctx, q.client, q.addKeys(), trip)
		if err != nil {
			return nil, fmt.Errorf("adding %d jobs to queue %s: %w", len(jobs), q.config.Queue, err)
		}
		for i, cmd := range cmds {
			if added, err = appendAdded(added, batches[i], cmd); err != nil {
				return nil, fmt.Errorf("adding to queue %s: %w", q.config.Queue, err)
			}
		}
		batches = batches[len(trip):]
	}
	return added, nil
}

// checked returns the jobs with the ids that they are added under, or everything that is wrong with any of them.
func (q *Queue) checked(jobs []Job) ([]Job, error) {
	var errs []error
	if q.grouped() {
		jobs = slices.Clone(jobs)
	}
	var wrongOpts error
	for i := range jobs {
		job := &jobs[i]
		if i == 0 || job.Opts != jobs[i-1].Opts {
			wrongOpts = job.Opts.validate()
		}
		err := errors.Join(job.validateID(), job.validateData(), wrongOpts)
		if err == nil && q.grouped() {
			job.ID, err = q.groupedID(*job)
		}
		if err != nil {
			errs = append(errs, &InvalidJobError{ID: job.ID, Err: err})
		}
	}
	return jobs, errors.Join(errs...)
}

// grouped reports whether ids carry the group by which jobs are limited.
func (q *Queue) grouped() bool { return q.config.Limiter.GroupKey != "" }

// addBatches divides jobs into those that one call adds.
func addBatches(jobs []Job) (batches [][]Job) {
	first, bytes := 0, 0
	for i := range jobs {
		if i-first == addBatch || i > first && bytes+len(jobs[i].Data) > addBatchBytes {
			batches = append(batches, jobs[first:i])
			first, bytes = i, 0
		}
		bytes += len(jobs[i].Data)
	}
	if first < len(jobs) {
		batches = append(batches, jobs[first:])
	}
	return batches
}

func (q *Queue) addKeys() []string {
	k := q.keys
	return []string{k.wait(), k.paused(), k.metaPaused(), k.counter(), k.delayed(), k.priority()}
}

// addCalls renders the arguments of the add script for each batch.
func (q *Queue) addCalls(batches [][]Job) ([][]any, error) {
	now := q.now()
	calls := make([][]any, len(batches))
	for i, batch := range batches {
		args := make([]any, 0, 4+9+2*len(batch))
		args = append(args, q.keys.base, q.token, now, len(batch))
		for len(batch) > 0 {
			run := 1
			for run < len(batch) && q.sameRun(&batch[0], &batch[run]) {
				run++
			}
			var err error
			if args, err = q.appendRun(args, batch[:run], now); err != nil {
				return nil, err
			}
			batch = batch[run:]
		}
		calls[i] = args
	}
	return calls, nil
}

// sameRun reports whether the script can be told of two jobs together.
func (q *Queue) sameRun(a, b *Job) bool {
	return a.Name == b.Name && a.Opts == b.Opts && !q.grouped()
}

// appendRun renders jobs that have all but id and data in common.
func (q *Queue) appendRun(args []any, run []Job, now int64) ([]any, error) {
	// The script puts ids into the options of several jobs: they need no escaping, unless a group is part of them.
	shared, unnamed := run[0], 1
	if q.grouped() {
		unnamed = 0
	} else {
		shared.ID = ""
	}
	opts, err := shared.encodeOpts(now)
	if err != nil {
		return nil, &InvalidJobError{ID: run[0].ID, Err: err}
	}
	debounce, ttl := shared.Opts.Debounce.args()
	args = append(args, len(run), orDefault(shared.Name), opts, unnamed,
		shared.Opts.Delay.Milliseconds(), shared.Opts.Priority, pushCommand(shared.Opts.LIFO), debounce, ttl)
	for i := range run {
		args = append(args, run[i].ID, run[i].Data)
	}
	return args, nil
}

// appendAdded reads what the script answered for a batch.
func appendAdded(added []Added, batch []Job, cmd *redis.Cmd) ([]Added, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	counter, ok := reply[0].(int64)
	if !ok || len(reply)%2 == 0 {
		return nil, fmt.Errorf("unexpected reply of the add script: %v", reply)
	}
	first := len(added)
	for i := range batch {
		id := batch[i].ID
		if id == "" {
			id = strconv.FormatInt(counter+int64(i)+1, 10)
		}
		added = append(added, Added{ID: id, Created: true})
	}
	for absent := range slices.Chunk(reply[1:], 2) {
		position, _ := absent[0].(int64)
		id, _ := absent[1].(string)
		added[first+int(position)-1] = Added{ID: id}
	}
	return added, nil
}
