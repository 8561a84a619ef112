package interop

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// startRedis starts a server of the test's own, with these settings.
func startRedis(t *testing.T, settings ...string) (url string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, settings...)
	cmd := exec.Command("redis-server", args...) // ended below
	if err := cmd.Start(); err != nil {
		t.Fatalf("redis-server, which `make test` needs too, does not start: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "redis://127.0.0.1:" + port
}

// TestTrapEviction: with any policy but noeviction, Redis drops jobs as it gets full, and nobody is told. EvictionPolicy
// is what lets a program warn of it at start.
func TestTrapEviction(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs redis-server and Node.js")
	}
	f := openFixtureAt(t, startRedis(t, "--maxmemory-policy", "allkeys-lru"), func(*bull.Config) {})
	f.eventually("Redis runs", func() bool { return f.queue.Ping(t.Context()) == nil })
	policy, err := f.queue.EvictionPolicy(t.Context())
	if err != nil || policy != "allkeys-lru" {
		t.Errorf("EvictionPolicy = %q, %v", policy, err)
	}

	f.node = startNode(t, f, "bull")
	const n = 300
	var bulk []object
	for i := range n {
		bulk = append(bulk, object{"data": object{"text": strings.Repeat("x", 2000)}, "opts": object{"jobId": fmt.Sprintf("j-%d", i)}})
	}
	f.ask("addBulk", object{"jobs": bulk}, nil)
	var used int64
	for line := range strings.FieldsSeq(f.redis.Info(t.Context(), "memory").Val()) {
		_, _ = fmt.Sscanf(line, "used_memory:%d", &used)
	}
	f.redis.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used-200_000))
	f.eventually("Redis evicts", func() bool { return f.redis.DBSize(t.Context()).Val() < n-50 })
	f.redis.ConfigSet(t.Context(), "maxmemory", "0")

	waiting, taken, dropped := f.redis.LLen(t.Context(), f.key("wait")).Val(), int64(0), int64(0)
	for {
		got, err := f.queue.Take(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		dropped += int64(len(got.Dropped))
		if got.Delivery == nil && len(got.Dropped) == 0 {
			break
		}
		if got.Delivery != nil {
			taken++
		}
	}
	if taken > n-50 || taken+dropped != waiting {
		t.Errorf("of %d jobs, %d waited, %d could be run, %d were dropped", n, waiting, taken, dropped)
	}
}

// TestForeignQueueIsRefused: a queue that the real BullMQ has used is refused before anything is written; one that Bull
// has used in all its ways is not.
func TestForeignQueueIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, setup{}, func(desk *fixture, r release) {
		for _, pkg := range []string{"bullmq-5", "bullmq-6"} {
			f := desk.openBeside(asItIs)
			f.ask("bullmq", object{"pkg": pkg}, nil)
			want := f.raw()
			consumer := &bull.Consumer{Queue: f.queue, Handler: newHands().handle}
			ctx, cancel := context.WithTimeout(f.Context(), timeout) // should it not be refused
			defer cancel()
			for what, err := range map[string]error{
				"CheckDialect": f.queue.CheckDialect(desk.Context()), "Consumer.Run": consumer.Run(ctx),
			} {
				if !isForeign(err) {
					desk.Errorf("%s of a queue of %s = %v, want a *DialectError", what, pkg, err)
				}
			}
			if diff := cmp.Diff(want, f.raw()); diff != "" {
				desk.Errorf("all keys (-before +after):\n%s", diff)
			}
		}

		f := desk.openBeside(asItIs)
		node, _ := mixed()
		(addCase{node: node}).byNode(f)
		f.ask("process", nil, nil)
		f.ask("pause", nil, nil)
		if err := f.queue.CheckDialect(desk.Context()); err != nil {
			desk.Errorf("CheckDialect of a queue of Bull %s = %v", r.version, err)
		}
	})
}
