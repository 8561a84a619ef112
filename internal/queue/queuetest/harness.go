// Package queuetest is the conformance suite of the queue: the same cases on every server that Cartero may run on, each
// of which seeds a whole state, acts, and compares all keys.
package queuetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

type testCase struct {
	name string
	test func(*testing.T, *fixture)
}

// Run runs the suite. newRedis returns the URL of a server, which may be shared: each case has keys of its own.
func Run(t *testing.T, newRedis func(t *testing.T) string) {
	cases := []testCase{
		{"AddWritesWhatBullWrites", testAdd},
		{"AddKnownID", testAddKnownID},
		{"AddByPriority", testAddByPriority},
		{"AddWhilePaused", testAddWhilePaused},
		{"AddBulk", testAddBulk},
		{"AddBulkIsAddInTurn", testAddBulkIsAddInTurn},
		{"AddBulkBreaksOff", testAddBulkBreaksOff},
		{"AddBulkLarge", testAddBulkLarge},
		{"AddInvalid", testAddInvalid},
		{"Ring", testRing},
		{"State", testState},
		{"Counts", testCounts},
		{"Dialect", testDialect},
		{"Take", testTake},
		{"TakePoppedTooLate", testTakePoppedTooLate},
		{"TakeDropsGhosts", testTakeDropsGhosts},
		{"Extend", testExtend},
		{"Complete", testComplete},
		{"CompleteKeeps", testCompleteKeeps},
		{"CompleteTakesNext", testCompleteTakesNext},
		{"Fail", testFail},
		{"NotOurs", testNotOurs},
		{"GiveBack", testGiveBack},
		{"PromoteDue", testPromoteDue},
		{"CheckStalled", testCheckStalled},
		{"CheckStalledKeeps", testCheckStalledKeeps},
		{"LocksExpire", testLocksExpire},
		{"Events", testEvents},
		{"ConsumerRunsEachOnce", testConsumerRunsEachOnce},
		{"ConsumerRetries", testConsumerRetries},
		{"ConsumerOutcomes", testConsumerOutcomes},
		{"ConsumerStops", testConsumerStops},
		{"ConsumerGrace", testConsumerGrace},
		{"ConsumerLosesLock", testConsumerLosesLock},
		{"ConsumerTakesOver", testConsumerTakesOver},
		{"ConsumerRespectsPause", testConsumerRespectsPause},
	}
	for _, c := range slices.Concat(cases, adminCases, unringCases, consumerCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, newFixture(t, newRedis(t)))
		})
	}
}

// start is the time at which every case begins: 2026-01-02 03:04:05 UTC.
const start = int64(1767323045000)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	ms int64
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMilli(c.ms)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ms += d.Milliseconds()
}

// fixture is a queue of its own.
type fixture struct {
	redis  redis.UniversalClient
	queue  *bull.Queue
	config bull.Config
	clock  *clock
	base   string
}

func newFixture(t *testing.T, url string) *fixture {
	t.Helper()
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{redis: client, clock: &clock{ms: start}}
	f.config = bull.Config{Prefix: "test:{" + uuid.NewString() + "}", Queue: "mail", Now: f.clock.now}
	f.base = f.config.Prefix + ":mail:"
	f.queue = f.open(t, func(*bull.Config) {})
	t.Cleanup(func() {
		ctx := context.Background()
		for _, key := range f.scan(ctx, t) {
			client.Del(ctx, key)
		}
		_ = client.Close()
	})
	return f
}

// open returns the same queue with other settings.
func (f *fixture) open(t *testing.T, change func(*bull.Config)) *bull.Queue {
	t.Helper()
	config := f.config
	change(&config)
	queue, err := bull.New(f.redis, config)
	if err != nil {
		t.Fatal(err)
	}
	return queue
}

// scan lists the queue's keys. A scan is of one server: on a cluster, of each that may have keys.
func (f *fixture) scan(ctx context.Context, t *testing.T) []string {
	t.Helper()
	cluster, ok := f.redis.(*redis.ClusterClient)
	if !ok {
		return f.scanServer(ctx, t, f.redis)
	}
	var mu sync.Mutex
	var all []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		keys := f.scanServer(ctx, t, master)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, keys...)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

func (f *fixture) scanServer(ctx context.Context, t *testing.T, server redis.Cmdable) []string {
	t.Helper()
	var keys []string
	iter := server.Scan(ctx, 0, f.base+"*", 1000).Iterator()
	for iter.Next(ctx) {
		keys = append(keys, iter.Val())
	}
	if err := iter.Err(); err != nil {
		t.Error(err)
	}
	return keys
}

// dump is all that there is, without the queue's base: lists as []string, sets as map[string]bool, sorted sets as
// map[string]float64, hashes as map[string]string, strings as string. Lock tokens are random, and become "token".
type dump map[string]any

type (
	list = []string
	hash = map[string]string
	zset = map[string]float64
	set  = map[string]bool
)

func (f *fixture) dump(t *testing.T) dump {
	t.Helper()
	ctx := t.Context()
	all := dump{}
	for _, key := range f.scan(ctx, t) {
		name := strings.TrimPrefix(key, f.base)
		switch kind := f.redis.Type(ctx, key).Val(); kind {
		case "list":
			all[name] = f.redis.LRange(ctx, key, 0, -1).Val()
		case "hash":
			all[name] = f.redis.HGetAll(ctx, key).Val()
		case "zset":
			members := zset{}
			for _, z := range f.redis.ZRangeWithScores(ctx, key, 0, -1).Val() {
				members[fmt.Sprint(z.Member)] = z.Score
			}
			all[name] = members
		case "set":
			members := set{}
			for _, member := range f.redis.SMembers(ctx, key).Val() {
				members[member] = true
			}
			all[name] = members
		case "string":
			all[name] = f.redis.Get(ctx, key).Val()
			if strings.HasSuffix(name, ":lock") {
				all[name] = "token"
			}
		case "none": // expired meanwhile
		default:
			t.Fatalf("key %s is a %s", key, kind)
		}
	}
	return all
}

// seed writes a state, in the form of a dump.
func (f *fixture) seed(t *testing.T, state dump) {
	t.Helper()
	ctx := t.Context()
	pipe := f.redis.TxPipeline()
	for name, value := range state {
		key := f.base + name
		switch value := value.(type) {
		case list:
			for _, id := range value {
				pipe.RPush(ctx, key, id)
			}
		case hash:
			for field, text := range value {
				pipe.HSet(ctx, key, field, text)
			}
		case zset:
			for member, score := range value {
				pipe.ZAdd(ctx, key, redis.Z{Member: member, Score: score})
			}
		case set:
			for member := range value {
				pipe.SAdd(ctx, key, member)
			}
		case string:
			pipe.Set(ctx, key, value, 0)
		default:
			t.Fatalf("can't seed a %T", value)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

// want compares all keys.
func (f *fixture) want(t *testing.T, want dump) {
	t.Helper()
	if diff := cmp.Diff(want, f.dump(t)); diff != "" {
		t.Errorf("all keys (-want +got):\n%s", diff)
	}
}

// job is a plain job's hash; changes are added to it, and an empty text removes the field.
func job(changes hash) hash {
	h := hash{
		"name": "__default__", "data": `{"jobUuid":"x"}`, "opts": `{"attempts":1,"delay":0,"timestamp":1767323045000}`,
		"timestamp": "1767323045000", "delay": "0", "priority": "0",
	}
	maps.Copy(h, changes)
	maps.DeleteFunc(h, func(_, text string) bool { return text == "" })
	return h
}

// add adds jobs with these ids, plain.
func (f *fixture) add(t *testing.T, jobs ...bull.Job) {
	t.Helper()
	for i := range jobs {
		if jobs[i].Data == nil {
			jobs[i].Data = []byte(`{"jobUuid":"x"}`)
		}
	}
	if _, err := f.queue.AddBulk(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
}

// take takes the next job, which must be there.
func (f *fixture) take(t *testing.T, wantID string) *bull.Delivery {
	t.Helper()
	taken, err := f.queue.Take(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if taken.Delivery == nil || taken.Delivery.ID != wantID {
		t.Fatalf("took %+v, want job %s", taken.Delivery, wantID)
	}
	return taken.Delivery
}

// eventually polls the server for a condition; the test's deadline is the limit.
func (f *fixture) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("gave up waiting: %s; all keys: %v", what, f.dump(t))
		case <-tick.C:
		}
	}
}
