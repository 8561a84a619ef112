// Package interop holds Cartero's queue against the real Bull.
package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// timeout bounds every wait for Redis or Node.
const timeout = nodejs.Patience

// fixture is a queue of its own on the real Redis, as both sides see it.
type fixture struct {
	*testing.T
	url, prefix string
	name        string // of the queue; queueName if empty
	redis       redis.UniversalClient
	queue       *bull.Queue
	node        *nodejs.Process
}

const queueName = "email-queue"

// newFixture is for the first queue of a test, newFixtureBeside for a second.
func newFixture(t *testing.T, change func(*bull.Config)) *fixture {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server and Node.js")
	}
	return openFixture(t, change)
}

func newFixtureBeside(t *testing.T) *fixture {
	t.Helper()
	return openFixture(t, nil)
}

func openFixture(t *testing.T, change func(*bull.Config)) *fixture {
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
	config := bull.Config{Prefix: f.prefix, Queue: queueName, DrainDelay: 50 * time.Millisecond}
	if change != nil {
		change(&config)
	}
	if f.queue, err = bull.New(client, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for name := range f.dump() {
			client.Del(context.Background(), f.prefix+":"+queueName+":"+name)
		}
		_ = client.Close()
	})
	f.node = startNode(t, f, "bull")
	return f
}

// startNode starts a process with the real Bull on the fixture's queue; pkg is bull or bull-4.10.
func startNode(t *testing.T, f *fixture, pkg string) *nodejs.Process {
	t.Helper()
	return nodejs.Start(t, "driver.js", map[string]any{
		"url": f.url, "prefix": f.prefix, "name": f.queueName(),
		"settings": map[string]any{"drainDelay": 1, "guardInterval": 1000},
	}, "BULL="+pkg)
}

func (f *fixture) key(name string) string { return f.prefix + ":" + f.queueName() + ":" + name }

func (f *fixture) queueName() string {
	if f.name == "" {
		return queueName
	}
	return f.name
}

func (f *fixture) add(job bull.Job) {
	f.Helper()
	if job.Data == nil {
		job.Data = []byte(`{"jobUuid":"x"}`)
	}
	if _, err := f.queue.Add(f.Context(), job); err != nil {
		f.Fatal(err)
	}
}

// eventually polls Redis or Node for a condition.
func (f *fixture) eventually(what string, holds func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			f.Fatalf("gave up waiting: %s; all keys: %v", what, f.dump())
		case <-tick.C:
		}
	}
}

// raw is all keys of the queue as they are, without its prefix: string, []string, map[string]struct{} (sets),
// map[string]float64 (sorted sets) or map[string]string (hashes).
func (f *fixture) raw() map[string]any {
	f.Helper()
	ctx := context.Background()
	var keys []string
	iter := f.redis.Scan(ctx, 0, f.key("*"), 1000).Iterator()
	for iter.Next(ctx) {
		keys = append(keys, iter.Val())
	}
	if err := iter.Err(); err != nil {
		f.Fatal(err)
	}
	pipe := f.redis.Pipeline()
	kinds := make(map[string]*redis.StatusCmd, len(keys))
	for _, key := range keys {
		kinds[key] = pipe.Type(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // a key may have expired meanwhile, as below
	reads := map[string]func() any{}
	pipe = f.redis.Pipeline()
	for key, kind := range kinds {
		name := strings.TrimPrefix(key, f.key(""))
		switch kind.Val() {
		case "string":
			reads[name] = value(pipe.Get(ctx, key).Result)
		case "list":
			reads[name] = value(pipe.LRange(ctx, key, 0, -1).Result)
		case "set":
			reads[name] = value(pipe.SMembersMap(ctx, key).Result)
		case "hash":
			reads[name] = value(pipe.HGetAll(ctx, key).Result)
		case "zset":
			scores := pipe.ZRangeWithScores(ctx, key, 0, -1)
			reads[name] = func() any {
				all := map[string]float64{}
				for _, z := range scores.Val() {
					all[fmt.Sprint(z.Member)] = z.Score
				}
				return all
			}
		}
	}
	_, _ = pipe.Exec(ctx)
	all := map[string]any{}
	for name, read := range reads {
		if value := read(); value != nil {
			all[name] = value
		}
	}
	return all
}

// value is what a pipelined command brought; nil if it failed.
func value[T any](result func() (T, error)) func() any {
	return func() any {
		value, err := result()
		if err != nil {
			return nil
		}
		return value
	}
}

// dump is raw, but for texts that are JSON, which are decoded, and for times and tokens, which are replaced.
func (f *fixture) dump() map[string]any {
	f.Helper()
	all := f.raw()
	for name, value := range all {
		switch value := value.(type) {
		case string:
			if strings.HasSuffix(name, ":lock") || name == "stalled-check" {
				all[name] = "changing"
			}
		case map[string]float64:
			all[name] = members(name, value)
		case map[string]string:
			all[name] = fields(value)
		}
	}
	return all
}

// members replaces scores that are times; of due times the low bits are kept.
func members(name string, scores map[string]float64) map[string]any {
	all := map[string]any{}
	for id, score := range scores {
		switch name {
		case "delayed":
			all[id] = fmt.Sprintf("due, %d", int64(score)%4096)
		case "completed", "failed":
			all[id] = "time"
		default:
			all[id] = score
		}
	}
	return all
}

// fields decodes the fields of a job's hash.
func fields(raw map[string]string) map[string]any {
	all := map[string]any{}
	for name, text := range raw {
		all[name] = text
		switch name {
		case "timestamp", "processedOn", "finishedOn":
			all[name] = fmt.Sprintf("time, %d digits", len(text))
		case "data", "opts", "returnvalue":
			var value any
			if json.Unmarshal([]byte(text), &value) == nil {
				all[name] = value
			}
			if opts, ok := value.(map[string]any); ok && name == "opts" {
				opts["timestamp"] = "time"
			}
		case "stacktrace":
			var traces []string
			if json.Unmarshal([]byte(text), &traces) == nil {
				all[name] = fmt.Sprintf("%d traces", len(traces))
			}
		}
	}
	return all
}

// same compares what Node and we left behind.
func same(t *testing.T, what string, byNode, byUs *fixture) {
	t.Helper()
	if diff := cmp.Diff(byNode.dump(), byUs.dump()); diff != "" {
		t.Errorf("%s: all keys (-Node +ours):\n%s", what, diff)
	}
}
