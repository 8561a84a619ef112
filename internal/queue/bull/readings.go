package bull

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Metrics is what workers with metrics have counted of one end state.
type Metrics struct {
	// Count is how many jobs ended so, since counting began.
	Count int64
	// Since is when the last full minute was counted, and CountThen what Count was; zero before the first.
	Since     time.Time
	CountThen int64
	// PerMinute are the jobs of each minute, the newest first, as many as the workers keep.
	PerMinute []int64
}

// Metrics reads the counts of StateCompleted or StateFailed. They are zero if no worker counts.
func (q *Queue) Metrics(ctx context.Context, state State) (Metrics, error) {
	if state != StateCompleted && state != StateFailed {
		return Metrics{}, fmt.Errorf("there are metrics of completed and failed jobs, not of %s ones", state)
	}
	pipe := q.client.TxPipeline()
	meta := pipe.HMGet(ctx, q.keys.metrics(state), "count", "prevTS", "prevCount")
	points := pipe.LRange(ctx, q.keys.metricsData(state), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return Metrics{}, fmt.Errorf("reading the metrics of queue %s: %w", q.config.Queue, err)
	}
	var numbers [3]int64
	for i, value := range meta.Val() {
		text, _ := value.(string)
		numbers[i] = wholeNumber(text)
	}
	m := Metrics{Count: numbers[0], CountThen: numbers[2]}
	if numbers[1] > 0 {
		m.Since = time.UnixMilli(numbers[1])
	}
	for _, point := range points.Val() {
		m.PerMinute = append(m.PerMinute, wholeNumber(point))
	}
	return m, nil
}

// Worker is one connection of a worker of the queue.
type Worker struct {
	// Address is the host and port that Redis sees.
	Address string
	// Age is how long it has been connected, Idle how long ago its last command was; both in whole seconds.
	Age, Idle time.Duration
}

// Workers lists the connections that wait for jobs of this queue, Node's and Cartero's: those that bear Bull's name for
// them, one per worker process. errors.ErrUnsupported means that this server does not tell. On a cluster, Bull names any
// connection of a Node worker, which may be one to another node than the queue's: not all of them are listed at once.
func (q *Queue) Workers(ctx context.Context) ([]Worker, error) {
	node, err := q.node(ctx)
	if err != nil {
		return nil, err
	}
	text, err := node.ClientList(ctx).Result()
	var refused redis.Error
	if errors.As(err, &refused) && !IsUnavailable(err) {
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listing the workers of queue %s: %w", q.config.Queue, err)
	}
	return parseWorkers(text, q.keys.clientName()), nil
}

// parseWorkers reads CLIENT LIST: one line per connection, of name=value pairs. On a cluster the client of a worker has
// more connections of its name, by which it asks who is in the cluster.
func parseWorkers(text, name string) []Worker {
	var workers []Worker
	for line := range strings.Lines(text) {
		fields := map[string]string{}
		for pair := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(pair, "=")
			fields[key] = value
		}
		if fields["name"] == name && !strings.HasPrefix(fields["cmd"], "cluster") && !strings.HasPrefix(fields["cmd"], "command") {
			workers = append(workers, Worker{fields["addr"], seconds(fields["age"]), seconds(fields["idle"])})
		}
	}
	return workers
}

func seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
