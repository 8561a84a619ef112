package queuetest_test

import (
	"context"
	"os"
	"testing"

	"github.com/cartero-mail/cartero/internal/devstack"
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
