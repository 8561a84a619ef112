package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// adminArgs are the arguments of a command of the driver.
type adminArgs = map[string]any

// adminSeed is a state as whole as queues get: every list, a limiter's sets, debounce ids, logs.
func adminSeed(f *fixture) {
	f.Helper()
	ctx := f.Context()
	pipe := f.redis.TxPipeline()
	hash := func(id string, more ...any) {
		pipe.HSet(ctx, f.key(id), append([]any{
			"name", "__default__", "data", `{"jobUuid":"x"}`, "opts", `{"attempts":1,"delay":0,"timestamp":1767323045000}`,
			"timestamp", "1767323045000", "delay", "0", "priority", "0",
		}, more...)...)
	}
	ended := []any{"processedOn", "1767323045000", "finishedOn", "1767323046000", "failedReason", "no", "attemptsMade", "1", "stacktrace", `["no"]`}
	for i, id := range []string{"w1", "w2", "w3"} {
		hash(id, "deid", "list-"+id)
		pipe.LPush(ctx, f.key("wait"), id)
		pipe.Set(ctx, f.key("de:list-"+id), id, 0)
		pipe.RPush(ctx, f.key(id+":logs"), "one", "two", fmt.Sprint("three of ", i))
	}
	hash("urgent", "priority", "3")
	pipe.RPush(ctx, f.key("wait"), "urgent")
	pipe.ZAdd(ctx, f.key("priority"), redis.Z{Member: "urgent", Score: 3})
	for i, id := range []string{"d1", "d2", "d3"} {
		hash(id, "delay", "60000", "priority", fmt.Sprint(i))
		pipe.ZAdd(ctx, f.key("delayed"), redis.Z{Member: id, Score: float64((1767323105000 + i) * 4096)})
	}
	pipe.HSet(ctx, f.key("limiter:index"), "d2", f.key("limiter:limited"), "d3", f.key("limiter:limited"))
	pipe.SAdd(ctx, f.key("limiter:limited"), "d2", "d3")
	for i, id := range []string{"f1", "f2", "f3"} {
		hash(id, ended...)
		pipe.ZAdd(ctx, f.key("failed"), redis.Z{Member: id, Score: float64(1767323046000 + i)})
	}
	pipe.HSet(ctx, f.key("f2"), "opts", `{"attempts":1,"lifo":true}`, "priority", "5")
	hash("c1", "returnvalue", `"ok"`, "finishedOn", "1767323046000")
	pipe.ZAdd(ctx, f.key("completed"), redis.Z{Member: "c1", Score: 1767323046000})
	hash("a1", "processedOn", "1767323045000")
	hash("dead", "processedOn", "1767323045000")
	pipe.LPush(ctx, f.key("active"), "a1", "dead")
	pipe.Set(ctx, f.key("a1:lock"), "somebody", 0)
	pipe.Set(ctx, f.key("id"), "12", 0)
	pipe.HSet(ctx, f.key("metrics:completed"), "count", "7", "prevTS", "1767323040000", "prevCount", "5")
	pipe.RPush(ctx, f.key("metrics:completed:data"), "0", "3", "2")
	if _, err := pipe.Exec(ctx); err != nil {
		f.Fatal(err)
	}
}

// adminWipe deletes all keys.
func adminWipe(f *fixture) {
	f.Helper()
	for name := range f.dump() {
		if err := f.redis.Del(f.Context(), f.key(name)).Err(); err != nil {
			f.Fatal(err)
		}
	}
}

// adminWatch returns what reads all that was published since: channel, without its token, and payload.
func adminWatch(f *fixture) func() []string {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), timeout)
	f.Cleanup(cancel)
	heard := f.redis.PSubscribe(ctx, f.key("*"))
	f.Cleanup(func() { _ = heard.Close() })
	if _, err := heard.Receive(ctx); err != nil {
		f.Fatal(err)
	}
	return func() []string {
		f.Helper()
		if err := f.redis.Publish(ctx, f.key("end of test"), "").Err(); err != nil {
			f.Fatal(err)
		}
		var events []string
		for {
			message, err := heard.ReceiveMessage(ctx)
			if err != nil {
				f.Fatal(err)
			}
			channel, token, hasToken := strings.Cut(strings.TrimPrefix(message.Channel, f.key("")), "@")
			if channel == "end of test" {
				return events
			}
			if hasToken {
				channel += fmt.Sprintf("@, empty %v", token == "")
			}
			events = append(events, channel+" "+message.Payload)
		}
	}
}

// adminState is all keys, without what differs from queue to queue.
func adminState(f *fixture) map[string]any {
	f.Helper()
	all := f.dump()
	for name, value := range all {
		fields, ok := value.(map[string]any)
		if !ok {
			continue
		}
		for field, text := range fields {
			if field == "retriedOn" {
				fields[field] = fmt.Sprintf("time, %d digits", len(fmt.Sprint(text)))
			}
			if name == "limiter:index" {
				fields[field] = strings.ReplaceAll(fmt.Sprint(text), f.key(""), "")
			}
		}
	}
	return all
}

// adminStep is one call, by Node and by us.
type adminStep struct {
	command string
	args    adminArgs
	ours    func(context.Context, *bull.Queue) error
}

func onePromoted(id string) adminStep {
	return adminStep{"adminPromote", adminArgs{"id": id}, func(ctx context.Context, q *bull.Queue) error { return q.Promote(ctx, id) }}
}

func oneRetried(id string) adminStep {
	return adminStep{"adminRetry", adminArgs{"id": id}, func(ctx context.Context, q *bull.Queue) error { return q.Retry(ctx, id) }}
}

func oneRemoved(id string) adminStep {
	return adminStep{"adminRemove", adminArgs{"id": id}, func(ctx context.Context, q *bull.Queue) error { return q.Remove(ctx, id) }}
}

// unringStep takes several jobs out; Node has nothing but removing one after the other.
func unringStep(ids ...string) adminStep {
	return adminStep{"adminRemoveAll", adminArgs{"ids": ids}, func(ctx context.Context, q *bull.Queue) error { return q.Unring(ctx, ids) }}
}

var (
	paused  = adminStep{"pause", nil, func(ctx context.Context, q *bull.Queue) error { return q.Pause(ctx) }}
	resumed = adminStep{"resume", nil, func(ctx context.Context, q *bull.Queue) error { return q.Resume(ctx) }}

	allRetried = adminStep{"adminRetryFailed", nil, func(ctx context.Context, q *bull.Queue) error {
		_, err := q.RetryFailed(ctx)
		return err
	}}
)

// TestAdministration: each step leaves the same keys and is heard as the same events, whoever does it.
func TestAdministration(t *testing.T) {
	t.Parallel()
	byNode, byUs := newFixture(t, nil), newFixtureBeside(t)
	tests := map[string][]adminStep{
		"pause":             {paused},
		"pause twice":       {paused, paused},
		"pause, resume":     {paused, resumed},
		"resume":            {resumed},
		"promote":           {onePromoted("d1"), onePromoted("d3"), onePromoted("d2")},
		"promote, paused":   {paused, onePromoted("d2"), onePromoted("d1"), resumed},
		"retry":             {oneRetried("f2"), oneRetried("f3")},
		"retry, paused":     {paused, oneRetried("f1"), oneRetried("f2")},
		"retry all":         {allRetried},
		"retry all, paused": {paused, allRetried, resumed},
		"remove":            {oneRemoved("w2"), oneRemoved("urgent"), oneRemoved("d2"), oneRemoved("f1"), oneRemoved("c1"), oneRemoved("dead")},
		"unring":            {unringStep("w2", "urgent", "d2", "w1")},
		"unring, paused":    {paused, unringStep("d3", "w1", "urgent"), resumed, unringStep("w3", "w2", "d1", "d2")},
		"remove, paused":    {paused, oneRemoved("w1"), oneRemoved("urgent"), resumed},
	}
	for name, steps := range tests {
		events := map[*fixture][]string{}
		for _, f := range []*fixture{byNode, byUs} {
			adminWipe(f)
			adminSeed(f)
			heard := adminWatch(f)
			for _, step := range steps {
				if f == byNode {
					f.node.Do(step.command, step.args, nil)
				} else if err := step.ours(t.Context(), f.queue); err != nil {
					t.Errorf("%s: %s: %v", name, step.command, err)
				}
			}
			events[f] = heard()
		}
		if diff := cmp.Diff(adminState(byNode), adminState(byUs)); diff != "" {
			t.Errorf("%s: all keys (-Node +ours):\n%s", name, diff)
		}
		if diff := cmp.Diff(events[byNode], events[byUs]); diff != "" {
			t.Errorf("%s: events (-Node +ours):\n%s", name, diff)
		}
	}
}

// TestAdministrationRefuses what Node refuses, and, other than Node, without having written anything.
func TestAdministrationRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	adminSeed(f)
	before := f.raw()
	for _, test := range []struct {
		step adminStep
		want error
	}{
		{oneRemoved("a1"), bull.ErrJobLocked},
		{oneRemoved("nobody"), bull.ErrJobMissing},
		{onePromoted("w1"), bull.ErrNotDelayed},
		{oneRetried("a1"), bull.ErrJobLocked},
		{oneRetried("nobody"), bull.ErrJobMissing},
		{oneRetried("c1"), bull.ErrNotFailed}, // here Node has deleted finishedOn when it notices
	} {
		if err := test.step.ours(t.Context(), f.queue); !errors.Is(err, test.want) {
			t.Errorf("%s %v: %v, want %v", test.step.command, test.step.args, err, test.want)
		}
		if diff := cmp.Diff(before, f.raw()); diff != "" {
			t.Errorf("%s %v: all keys (-before +after):\n%s", test.step.command, test.step.args, diff)
		}
		var refusal string
		f.node.Do("adminRefusal", adminArgs{"command": test.step.command, "id": test.step.args["id"]}, &refusal)
		if refusal == "" {
			t.Errorf("%s %v: Node does it", test.step.command, test.step.args)
		}
		adminWipe(f)
		adminSeed(f)
	}
}

// TestResumeLosesNothing: what a foreign program has pushed to wait while the queue was paused is kept; Node runs all.
func TestResumeLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.node.Do("pause", nil, nil)
	f.node.Do("add", adminArgs{"data": adminArgs{"jobUuid": "x"}, "opts": adminArgs{"jobId": "theirs"}}, nil)
	f.redis.HSet(t.Context(), f.key("pushed"), "name", "__default__", "data", "{}", "opts", "{}", "timestamp", "1", "delay", "0", "priority", "0")
	f.redis.LPush(t.Context(), f.key("wait"), "pushed")
	if err := f.queue.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	var isPaused bool
	f.node.Do("isPaused", nil, &isPaused)
	if isPaused {
		t.Error("Node takes the queue for paused")
	}
	f.node.Do("process", adminArgs{"concurrency": 1}, nil)
	got := []string{f.node.Next("run").ID, f.node.Next("run").ID}
	if diff := cmp.Diff([]string{"theirs", "pushed"}, got); diff != "" {
		t.Errorf("order of running (-want +got):\n%s", diff)
	}
}

// TestReadingsAgree: both read the same of what is there.
func TestReadingsAgree(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	adminSeed(f)
	ctx := t.Context()
	for _, id := range []string{"w1", "urgent", "d1", "f1", "c1", "a1"} {
		var theirs struct {
			Name, State, FailedReason                               string
			Timestamp, ProcessedOn, FinishedOn, Delay, AttemptsMade int64
			Stacktrace                                              []string
			Data, Opts, ReturnValue                                 any
		}
		f.node.Do("adminJob", adminArgs{"id": id}, &theirs)
		info, err := f.queue.Job(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		ours := theirs
		ours.Name, ours.State, ours.FailedReason = info.Name, string(info.State), info.FailedReason
		ours.Timestamp, ours.ProcessedOn, ours.FinishedOn = milli(info.Timestamp), milli(info.ProcessedOn), milli(info.FinishedOn)
		ours.Delay, ours.AttemptsMade, ours.Stacktrace = info.Delay.Milliseconds(), int64(info.AttemptsMade), append([]string{}, info.Stacktrace...)
		ours.Data, ours.Opts, ours.ReturnValue = jsonValue(t, info.Data), jsonValue(t, info.Opts), jsonValue(t, info.ReturnValue)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("job %s (-Node +ours):\n%s", id, diff)
		}
	}

	var logs struct {
		Logs  []string
		Count int64
	}
	f.node.Do("adminLogs", adminArgs{"id": "w2", "from": 1, "to": 2}, &logs)
	rows, count, err := f.queue.Logs(ctx, "w2", 1, 2)
	if diff := cmp.Diff(logs.Logs, rows); diff != "" || count != logs.Count || err != nil {
		t.Errorf("Logs: %d, %v, want %d; (-Node +ours):\n%s", count, err, logs.Count, diff)
	}

	var metrics struct {
		Meta struct{ Count, PrevTS, PrevCount int64 }
		Data []string
	}
	f.node.Do("adminMetrics", adminArgs{"state": "completed"}, &metrics)
	ours, err := f.queue.Metrics(ctx, bull.StateCompleted)
	if err != nil {
		t.Fatal(err)
	}
	want := bull.Metrics{Count: metrics.Meta.Count, Since: time.UnixMilli(metrics.Meta.PrevTS), CountThen: metrics.Meta.PrevCount, PerMinute: []int64{0, 3, 2}}
	if diff := cmp.Diff(want, ours); diff != "" || strings.Join(metrics.Data, " ") != "0 3 2" {
		t.Errorf("Metrics; Node has %v; (-Node +ours):\n%s", metrics.Data, diff)
	}
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func jsonValue(t *testing.T, text []byte) any {
	t.Helper()
	if len(text) == 0 {
		return nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// TestGroupIsPartOfTheID: a producer with a limiter's group key writes the ids that Node's does.
func TestGroupIsPartOfTheID(t *testing.T) {
	t.Parallel()
	byNode := newFixture(t, nil)
	byUs := openFixture(t, func(c *bull.Config) {
		c.Limiter = bull.Limiter{Max: 1, Duration: time.Second, GroupKey: "tenant.id"}
	})
	for i, data := range []string{
		`{"tenant":{"id":"a"}}`, `{"tenant":{"id":7}}`, `{"tenant":{"id":0}}`, `{"tenant":{"id":true}}`, `{"tenant":{"id":null}}`,
		`{}`, `{"tenant":"text"}`, `{"tenant.id":"dots","tenant":{"id":"nested"}}`,
	} {
		id := fmt.Sprintf("mail-%d", i)
		var theirs string
		byNode.node.Do("adminAddGrouped", adminArgs{"groupKey": "tenant.id", "data": json.RawMessage(data), "opts": adminArgs{"jobId": id}}, &theirs)
		added, err := byUs.queue.Add(t.Context(), bull.Job{ID: id, Data: []byte(data)})
		if err != nil || added.ID != theirs {
			t.Errorf("%s: %s, %v, want Node's %s", data, added.ID, err, theirs)
		}
	}
	same(t, "jobs by group", byNode, byUs)
}
