package queuetest_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/queuetest"
)

func TestEmbeddedRedis(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) string {
		t.Helper()
		url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return url
	})
}

func TestRealRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	t.Parallel()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
	}
	queuetest.Run(t, func(*testing.T) string { return url })
}

// TestEmbeddedRedisRestarts: it comes back empty, and consumer and outbox go on.
func TestEmbeddedRedisRestarts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url, stop, err := devstack.StartRedis(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	queue, err := bull.New(client, bull.Config{DrainDelay: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}

	ran, done := make(chan string, 5), make(chan error, 1)
	running, cancel := context.WithCancel(ctx)
	consumer := &bull.Consumer{
		Queue: queue, Logger: slog.New(slog.DiscardHandler),
		Handler: func(_ context.Context, d *bull.Delivery) (any, error) { ran <- d.ID; return nil, nil },
	}
	go func() { done <- consumer.Run(running) }()
	ring := func(id string) error { return queue.Ring(ctx, []outbox.Ring{{BullID: id, JobID: id}}) }
	if err := ring("before"); err != nil {
		t.Fatal(err)
	}
	if got := <-ran; got != "before" {
		t.Errorf("ran %s", got)
	}

	stop()
	if err := ring("meanwhile"); !bull.IsUnavailable(err) {
		t.Errorf("Ring without Redis = %v, want an error that says it is unavailable", err)
	}
	if _, stop, err = devstack.StartRedis(ctx, strings.TrimPrefix(url, "redis://")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := ring("after"); err != nil {
		t.Errorf("Ring after the restart: %v", err)
	}
	if got := <-ran; got != "after" {
		t.Errorf("ran %s, want what was rung after the restart", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
