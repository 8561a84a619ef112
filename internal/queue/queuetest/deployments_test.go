package queuetest_test

import (
	"testing"

	"github.com/cartero-mail/cartero/internal/queue/queuetest"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Redis servers")
	}
	t.Parallel()
	url := redistest.StartCluster(t, false).URL()
	queuetest.Run(t, func(*testing.T) string { return url })
}

func TestRealSentinel(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Redis servers")
	}
	t.Parallel()
	url := redistest.StartWatched(t).URL()
	queuetest.Run(t, func(*testing.T) string { return url })
}
