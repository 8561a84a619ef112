package bull

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// scorePerMilli is what one ms is in the scores of delayed jobs; the rest keeps the order within it.
const scorePerMilli = 4096

// Info is all that Redis has of one job, as it was at one moment.
type Info struct {
	ID    string
	Name  string
	State State
	// Data and Opts are JSON, as they were stored.
	Data, Opts []byte
	// Timestamp is when the job was added. The other times are zero unless that happened: the begin of the last run, the
	// end of the job, and the last manual retry.
	Timestamp, ProcessedOn, FinishedOn, RetriedOn time.Time
	// Due is when a delayed job becomes ready to run.
	Due time.Time
	// Delay is what the job was added with; 0 once it was due.
	Delay    time.Duration
	Priority int
	// AttemptsMade counts the attempts that failed, of Attempts in all.
	AttemptsMade, Attempts int
	// StalledCounter is how often its worker died.
	StalledCounter int
	// FailedReason is why the last failed attempt did; it stays after a later success.
	FailedReason string
	// ReturnValue and Progress are JSON; empty unless there is one.
	ReturnValue, Progress []byte
	// Stacktrace has a text per failed attempt, the last one at the end.
	Stacktrace []string
	// DebounceID is the debounce id that the job was added with.
	DebounceID string
	// Lock is how long the lock of the worker that runs the job holds yet; 0 means that there is none.
	Lock time.Duration
	// Logs is how many rows its log has.
	Logs int64
}

// Job reads one job. ErrJobMissing means that the queue does not know the id.
func (q *Queue) Job(ctx context.Context, id string) (*Info, error) {
	if !isJobKey(id) {
		return nil, fmt.Errorf("reading job %s: %w", id, ErrJobMissing)
	}
	k := q.keys
	pipe := q.client.TxPipeline()
	states := pipe.Eval(ctx, stateScript.Source, q.stateKeys(), k.base, id)
	fields := pipe.HGetAll(ctx, k.job(id))
	lock := pipe.PTTL(ctx, k.lock(id))
	logs := pipe.LLen(ctx, k.logs(id))
	due := pipe.ZScore(ctx, k.delayed(), id)
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil { //nolint:errorlint // the bare value: no score
		return nil, fmt.Errorf("reading job %s: %w", id, err)
	}
	words, err := states.StringSlice()
	if err != nil {
		return nil, fmt.Errorf("reading job %s: %w", id, err)
	}
	if State(words[0]) == StateAbsent {
		return nil, fmt.Errorf("reading job %s: %w", id, ErrJobMissing)
	}
	info := newInfo(id, fields.Val())
	info.State = State(words[0])
	info.Lock = max(lock.Val(), 0)
	info.Logs = logs.Val()
	if info.State == StateDelayed {
		info.Due = time.UnixMilli(int64(due.Val() / scorePerMilli))
	}
	return info, nil
}

// newInfo reads a hash leniently: what another program garbled is left out.
func newInfo(id string, fields map[string]string) *Info {
	info := &Info{
		ID:             id,
		Name:           orDefault(fields["name"]),
		Data:           []byte(fields["data"]),
		Opts:           []byte(fields["opts"]),
		Timestamp:      milliTime(fields["timestamp"]),
		ProcessedOn:    milliTime(fields["processedOn"]),
		FinishedOn:     milliTime(fields["finishedOn"]),
		RetriedOn:      milliTime(fields["retriedOn"]),
		Delay:          time.Duration(wholeNumber(fields["delay"])) * time.Millisecond,
		Priority:       int(wholeNumber(fields["priority"])),
		AttemptsMade:   int(wholeNumber(fields["attemptsMade"])),
		Attempts:       1,
		StalledCounter: int(wholeNumber(fields["stalledCounter"])),
		FailedReason:   fields["failedReason"],
		ReturnValue:    []byte(fields["returnvalue"]),
		Progress:       []byte(fields["progress"]),
		DebounceID:     fields["deid"],
	}
	var opts struct{ Attempts json.Number } // Bull takes a number in quotes too
	if json.Unmarshal(info.Opts, &opts) == nil {
		info.Attempts = max(int(wholeNumber(opts.Attempts.String())), 1)
	}
	if json.Unmarshal([]byte(fields["stacktrace"]), &info.Stacktrace) != nil {
		info.Stacktrace = nil
	}
	return info
}

// milliTime reads a time in ms; the zero time if there is none.
func milliTime(text string) time.Time {
	if ms := wholeNumber(text); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// wholeNumber reads a number as JavaScript may have written it; 0 if it is none.
func wholeNumber(text string) int64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n != n || n > 1<<53 || n < -1<<53 {
		return 0
	}
	return int64(n)
}

// Logs reads rows of a job's log, as Redis numbers them: 0 is the first, -1 the last. It also returns how many there
// are. ErrJobMissing means that the queue does not know the id.
func (q *Queue) Logs(ctx context.Context, id string, from, to int64) (rows []string, count int64, err error) {
	if !isJobKey(id) {
		return nil, 0, fmt.Errorf("reading the log of job %s: %w", id, ErrJobMissing)
	}
	pipe := q.client.TxPipeline()
	known := pipe.Exists(ctx, q.keys.job(id))
	list := pipe.LRange(ctx, q.keys.logs(id), from, to)
	length := pipe.LLen(ctx, q.keys.logs(id))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, 0, fmt.Errorf("reading the log of job %s: %w", id, err)
	}
	if known.Val() == 0 && length.Val() == 0 {
		return nil, 0, fmt.Errorf("reading the log of job %s: %w", id, ErrJobMissing)
	}
	return list.Val(), length.Val(), nil
}
