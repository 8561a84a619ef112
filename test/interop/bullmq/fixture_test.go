// Package bullmq holds Cartero's producer for BullMQ against the real BullMQ 5 and 6, with whole states of Redis, with
// real workers, and from end to end.
package bullmq

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/bullmq"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

type object = map[string]any

// version is a BullMQ that these tests run.
type version struct {
	pkg   string
	major int
}

var versions = []version{{"bullmq-5", 5}, {"bullmq-6", 6}}

// onEachVersion runs a test with each BullMQ.
func onEachVersion(t *testing.T, test func(t *testing.T, v version)) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server and Node.js")
	}
	for _, v := range versions {
		t.Run(v.pkg, func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

const queueName = "email-queue"

// fixture is a queue of its own on the real Redis, as both sides see it.
type fixture struct {
	*testing.T

	version     version
	url, prefix string
	redis       redis.UniversalClient
	queue       *bullmq.Queue
	node        *nodejs.Process
}

// newFixture has a Node process that has not touched the queue yet.
func newFixture(t *testing.T, v version, now func() time.Time) *fixture {
	t.Helper()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
	}
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, version: v, url: url, prefix: "interop:" + uuid.NewString(), redis: client}
	t.Cleanup(func() {
		for _, key := range f.keys() {
			client.Del(context.Background(), key)
		}
		_ = client.Close()
	})
	f.queue = f.open(bullmq.Config{Now: now})
	f.node = f.startNode()
	return f
}

// open returns our side of the queue with other settings.
func (f *fixture) open(config bullmq.Config) *bullmq.Queue {
	f.Helper()
	config.Prefix, config.Queue = f.prefix, queueName
	queue, err := bullmq.New(f.redis, config)
	if err != nil {
		f.Fatal(err)
	}
	return queue
}

// openBull returns the same queue as Cartero sees it in the other dialect.
func (f *fixture) openBull() *bull.Queue {
	f.Helper()
	queue, err := bull.New(f.redis, bull.Config{Prefix: f.prefix, Queue: queueName})
	if err != nil {
		f.Fatal(err)
	}
	return queue
}

func (f *fixture) startNode() *nodejs.Process {
	f.Helper()
	return nodejs.Start(f, "bullmq/driver.js", object{"url": f.url, "prefix": f.prefix, "name": queueName},
		"BULLMQ="+f.version.pkg)
}

func (f *fixture) key(name string) string { return f.prefix + ":" + queueName + ":" + name }

func (f *fixture) keys() []string {
	var keys []string
	ctx := context.Background()
	for iter := f.redis.Scan(ctx, 0, f.key("*"), 1000).Iterator(); iter.Next(ctx); {
		keys = append(keys, iter.Val())
	}
	return keys
}

func (f *fixture) add(job bullmq.Job) bullmq.Added {
	f.Helper()
	if job.Data == nil {
		job.Data = []byte(`{"jobUuid":"x"}`)
	}
	added, err := f.queue.Add(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	return added
}

// runs waits for the next n runs of the worker and returns their ids.
func (f *fixture) runs(n int) []string {
	f.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = f.node.Next("run").ID
	}
	return ids
}

// awaitIdle waits until the worker blocks on the queue: from then on only a marker wakes it before its drain delay.
func (f *fixture) awaitIdle() {
	f.Helper()
	name := "name=" + f.prefix + ":" + base64.StdEncoding.EncodeToString([]byte(queueName))
	harness.Eventually(f, "the worker waits", func() bool {
		clients, err := f.redis.ClientList(f.Context()).Result()
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(clients) {
			if strings.Contains(line, name) && strings.Contains(line, "flags=b") && strings.Contains(line, "cmd=bzpopmin") {
				return true
			}
		}
		return false
	})
}

// dump is all keys of the queue, without its prefix. Texts that are JSON are decoded; what is left out of Node's options
// is the timestamp that the tests have it use.
func (f *fixture) dump() object {
	f.Helper()
	ctx := context.Background()
	all := object{}
	for _, key := range f.keys() {
		name := strings.TrimPrefix(key, f.key(""))
		switch kind := f.redis.Type(ctx, key).Val(); kind {
		case "string":
			all[name] = f.redis.Get(ctx, key).Val()
		case "list":
			all[name] = f.redis.LRange(ctx, key, 0, -1).Val()
		case "zset":
			all[name] = f.redis.ZRangeWithScores(ctx, key, 0, -1).Val()
		case "hash":
			all[name] = decoded(f.redis.HGetAll(ctx, key).Val())
		case "stream":
			var entries []object
			for _, message := range f.redis.XRange(ctx, key, "-", "+").Val() {
				entries = append(entries, message.Values)
			}
			all[name] = entries
		default:
			all[name] = kind
		}
	}
	return all
}

func decoded(fields map[string]string) object {
	all := object{}
	for name, text := range fields {
		all[name] = text
		var value any
		if (name == "data" || name == "opts") && json.Unmarshal([]byte(text), &value) == nil {
			all[name] = value
		}
		if opts, ok := value.(object); ok && name == "opts" {
			delete(opts, "timestamp")
		}
	}
	return all
}
