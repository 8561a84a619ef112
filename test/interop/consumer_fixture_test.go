package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// release is one of the versions of Bull that our worker is held against.
type release struct {
	version, pkg string
	// old is 4.10.4. What it does otherwise than 4.16.5 and Cartero is said where it matters.
	old bool
}

// eachRelease runs a test against both.
func eachRelease(t *testing.T, test func(t *testing.T, r release)) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server and Node.js")
	}
	for _, r := range []release{{"4.16.5", "bull", false}, {"4.10.4", "bull-4.10", true}} {
		t.Run(r.version, func(t *testing.T) {
			t.Parallel()
			test(t, r)
		})
	}
}

// setup says how both sides work on a queue. The zero value is what most tests need.
type setup struct {
	config   func(*bull.Config)
	settings map[string]any // Bull's settings
	options  map[string]any // Bull's other options
}

// newDesk opens a queue of its own, with a process of the release's Bull on it.
func newDesk(t *testing.T, r release, s setup) *fixture {
	t.Helper()
	f := openDesk(t, s)
	f.node = f.startBull(r, s)
	return f
}

// openDesk opens a queue of its own.
func openDesk(t *testing.T, s setup) *fixture {
	t.Helper()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
	}
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, url: url, prefix: "interop:" + uuid.NewString(), redis: client}
	config := bull.Config{Prefix: f.prefix, Queue: queueName, DrainDelay: 50 * time.Millisecond, GuardInterval: time.Second}
	if s.config != nil {
		s.config(&config)
	}
	if f.queue, err = bull.New(client, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name := range f.dump() {
			client.Del(context.Background(), f.key(name))
		}
		_ = client.Close()
	})
	return f
}

// startBull starts another process on the queue.
func (f *fixture) startBull(r release, s setup) *nodejs.Process {
	f.Helper()
	settings := map[string]any{"drainDelay": 1, "guardInterval": 1000}
	maps.Copy(settings, s.settings)
	return nodejs.Start(f.T, "driver.js", map[string]any{
		"url": f.url, "prefix": f.prefix, "name": queueName, "settings": settings, "options": s.options,
	}, "BULL="+r.pkg)
}

// records are the texts of what a worker logged.
type records struct {
	slog.Handler
	mu    sync.Mutex
	texts []string
}

func newRecords() *records { return &records{Handler: slog.DiscardHandler} }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }
func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, record.Message)
	return nil
}

func (r *records) has(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.texts, func(text string) bool { return strings.Contains(text, part) })
}

// begin runs our worker; stop ends it and returns what Run returned. It is stopped at the end of the test, too.
func (f *fixture) begin(c *bull.Consumer) (stop func() error) {
	f.Helper()
	c.Queue = f.queue
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(f.Context()) // so that all workers of a test stop at the same time
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	f.Cleanup(func() {
		if err := stop(); err != nil {
			f.Errorf("Consumer.Run = %v", err)
		}
	})
	return stop
}

// hands is a handler that does what a job's data tells it, as the one in driver/consumer.js does.
type hands struct {
	ran chan string // ids, as they begin
	now func() time.Time

	mu   sync.Mutex
	held map[string]chan error
}

func newHands() *hands {
	return &hands{ran: make(chan string, 1000), now: time.Now, held: map[string]chan error{}}
}

func (h *hands) handle(ctx context.Context, job *bull.Delivery) (any, error) {
	var data map[string]any
	if err := json.Unmarshal(job.Data, &data); err != nil {
		return nil, err
	}
	let := h.let(job.ID)
	h.ran <- job.ID
	switch data["do"] {
	case nil, "complete":
		return map[string]any{"saw": data, "attempts": job.AttemptsMade}, nil
	case "nothing":
		return nil, nil
	case "text":
		return `a "text" of <some> kind & ü`, nil
	case "fail":
		return nil, errors.New("boom")
	case "failTwice":
		if job.AttemptsMade < 2 {
			return nil, errors.New("not yet")
		}
		return "third time", nil
	case "discard":
		return nil, bull.Unrecoverable(errors.New("never again"))
	case "tell":
		return "told", errors.Join(
			job.Progress(ctx, 42), job.Log(ctx, "first", 0),
			job.Progress(ctx, map[string]any{"a": 1}), job.Log(ctx, "second <row>", 0))
	case "update":
		return "updated", job.Update(ctx, []byte(`{"do":"update","seen":true}`))
	case "later":
		return nil, bull.Later(h.now().Add(time.Minute))
	case "hold":
		select {
		case err := <-let:
			return "released", err
		case <-ctx.Done():
			return "too late", nil
		}
	}
	return nil, fmt.Errorf("the handler does not know how to %v", data["do"])
}

// let is where a job that holds waits for its release.
func (h *hands) let(id string) chan error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[id] == nil {
		h.held[id] = make(chan error, 1)
	}
	return h.held[id]
}

// next waits for our worker to begin a job.
func (h *hands) next(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	select {
	case <-ctx.Done():
		t.Fatal("our worker began no job")
		return ""
	case id := <-h.ran:
		return id
	}
}

// tells waits until Node told of all these events of a job, in whatever order.
func (f *fixture) tells(id string, kinds ...string) map[string]nodejs.Event {
	f.Helper()
	told := map[string]nodejs.Event{}
	ctx, cancel := context.WithTimeout(f.Context(), timeout)
	defer cancel()
	for len(told) < len(kinds) {
		select {
		case <-ctx.Done():
			f.Fatalf("Node told only of %v, want %v; all keys: %v", slices.Collect(maps.Keys(told)), kinds, f.dump())
		case e := <-f.node.Events:
			if slices.Contains(kinds, e.Event) && e.ID == id {
				told[e.Event] = e
			}
		}
	}
	return told
}

// job is one that Node adds, with options as Node's callers write them.
type job struct {
	name string // of the kind of job; none if empty
	id   string
	data string         // what the handler does
	more map[string]any // of the job's data
	opts map[string]any
}

// asker is a Node process, or one queue of it.
type asker interface {
	Do(do string, args map[string]any, value any)
}

// addBy adds a job with Node's Bull.
func addBy(node asker, j job) (id string) {
	opts := map[string]any{}
	if j.id != "" {
		opts["jobId"] = j.id
	}
	maps.Copy(opts, j.opts)
	data := map[string]any{"do": j.data}
	if j.data == "" {
		data = map[string]any{"jobUuid": "x"}
	}
	maps.Copy(data, j.more)
	var added struct{ ID string }
	node.Do("add", map[string]any{"jobName": j.name, "data": data, "opts": opts}, &added)
	return added.ID
}

// idle waits until nothing is ready and nothing runs.
func (f *fixture) idle() {
	f.Helper()
	f.eventually("the queue is idle", func() bool {
		pipe := f.redis.TxPipeline()
		wait, active := pipe.LLen(f.Context(), f.key("wait")), pipe.LLen(f.Context(), f.key("active"))
		_, err := pipe.Exec(f.Context())
		return err == nil && wait.Val() == 0 && active.Val() == 0
	})
}

// exact is all keys of the queue with their times, for two sides whose clocks stand still at the same time. Locks are
// shown without their token, stack traces by their number. The two keys of the stalled check are left out.
func (f *fixture) exact() map[string]any {
	f.Helper()
	all := f.dump()
	for name, value := range f.raw() {
		switch value := value.(type) {
		case map[string]float64:
			all[name] = value
		case map[string]string:
			shown, _ := all[name].(map[string]any)
			for _, field := range []string{"timestamp", "processedOn", "finishedOn"} {
				if text, ok := value[field]; ok {
					shown[field] = text
				}
			}
		}
	}
	delete(all, "stalled")
	delete(all, "stalled-check")
	return all
}

// listen records what is published on all channels of the queue; the returned function ends that and returns it. Tokens
// are cut off. Left out are due times that are announced again, and "drained": that one depends on who is faster, the
// worker or the next job. For the same reason, what adding
// published comes first.
func (f *fixture) listen() (heard func() []string) {
	f.Helper()
	ctx := context.Background()
	pubsub := f.redis.PSubscribe(ctx, f.key("*"))
	if _, err := pubsub.Receive(ctx); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = pubsub.Close() })
	end := f.key("end of " + uuid.NewString())
	return func() []string {
		f.Helper()
		if err := f.redis.Publish(ctx, end, "").Err(); err != nil {
			f.Fatal(err)
		}
		var waiting, all []string
		for message := range pubsub.Channel() {
			if message.Channel == end {
				break
			}
			channel, _, _ := strings.Cut(strings.TrimPrefix(message.Channel, f.key("")), "@")
			text := strings.TrimSpace(channel + " " + sorted(message.Payload))
			switch {
			case channel == "waiting" || channel == "debounced":
				waiting = append(waiting, text)
			case channel == "drained" || channel == "delayed" && slices.Contains(all, text):
			case promotes(text): // of these the last, for Node's timers tell them in real time too
				all = append(slices.DeleteFunc(all, promotes), text)
			default:
				all = append(all, text)
			}
		}
		return append(waiting, all...)
	}
}

// promotes tells the message of who has moved due jobs: the score of the next one, which has a fraction. Who adds a job
// tells a time in milliseconds.
func promotes(text string) bool {
	return strings.HasPrefix(text, "delayed ") && strings.Contains(text, ".")
}

// sorted writes an event's JSON in one way, and the JSON text that is in it, too.
func sorted(payload string) string {
	var value map[string]any
	if json.Unmarshal([]byte(payload), &value) != nil {
		return payload
	}
	var inner any
	if val, ok := value["val"].(string); ok && json.Unmarshal([]byte(val), &inner) == nil {
		value["val"] = map[string]any{"as text": inner}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return payload
	}
	return string(text)
}
