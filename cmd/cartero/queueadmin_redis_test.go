package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestEvictionIsReported at the start of operator, worker and facade, which all call checkQueue, and by `cartero queue
// status`, on a real Redis whose policy is changed while it runs.
func TestEvictionIsReported(t *testing.T) {
	if testing.Short() {
		t.Skip("needs redis-server")
	}
	t.Parallel()
	ctx := t.Context()
	redis := redistest.Start(t)
	client := redis.Client()
	t.Cleanup(func() { _ = client.Close() })
	queue, closeQueue, err := openQueue(options.Redis{URL: redis.URL()}, options.Queue{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeQueue() })
	for policy, reported := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		if err := client.ConfigSet(ctx, "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		p := &process{logger: slog.New(slog.NewTextHandler(&log, nil))}
		if err := p.checkQueue(ctx, queue); err != nil {
			t.Errorf("%s: checkQueue = %v", policy, err)
		}
		if got := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "maxmemoryPolicy="+policy); got != reported {
			t.Errorf("%s: it logs %q, want a warning: %v", policy, log.String(), reported)
		}
		code, out, errs := queueCommand(t, map[string]string{"REDIS_URL": redis.URL()}, "status")
		line := "maxmemory-policy  " + policy
		if reported {
			line += ": Redis may drop jobs and locks; set it to noeviction"
		}
		if code != exitOK || !strings.HasSuffix(out, line+"\n") || !strings.Contains(out, "workers           0\n") {
			t.Errorf("%s: code %d, stderr %q, want the last line %q in\n%s", policy, code, errs, line, out)
		}
	}
	redis.Stop()
	if code, out, errs := queueCommand(t, map[string]string{"REDIS_URL": redis.URL()}, "status"); code != exitFailed || out != "" || !strings.Contains(errs, "connect") {
		t.Errorf("without Redis: code %d, stdout %q, stderr %q", code, out, errs)
	}
}
