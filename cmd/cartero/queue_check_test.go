package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// TestStartChecksQueue: a queue of BullMQ's is refused, a Redis that may drop jobs is warned of, and one that is away or
// does not tell is neither.
func TestStartChecksQueue(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy  string // what the server says of itself; it refuses to if empty
		state   func(*miniredis.Miniredis)
		away    bool
		refused bool
		warning string
	}{
		"as it should be":   {policy: "noeviction"},
		"hides its policy":  {},
		"evicts all":        {policy: "allkeys-lru", warning: "maxmemoryPolicy=allkeys-lru"},
		"evicts locks":      {policy: "volatile-ttl", warning: "maxmemoryPolicy=volatile-ttl"},
		"is away":           {policy: "noeviction", away: true, warning: "jobs wait in the database"},
		"BullMQ's version":  {policy: "noeviction", refused: true, state: func(m *miniredis.Miniredis) { m.HSet("bull:email-queue:meta", "version", "bullmq:5.81.5") }},
		"BullMQ's events":   {policy: "noeviction", refused: true, state: func(m *miniredis.Miniredis) { _, _ = m.ZAdd("bull:email-queue:marker", 0, "0") }},
		"Bull's pause flag": {policy: "noeviction", state: func(m *miniredis.Miniredis) { m.HSet("bull:email-queue:meta", "paused", "1") }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := miniredis.RunT(t)
			if err := redis.Server().Register("CONFIG", func(peer *server.Peer, _ string, _ []string) {
				if test.policy == "" {
					peer.WriteError("ERR unknown command 'CONFIG'")
					return
				}
				peer.WriteStrings([]string{"maxmemory-policy", test.policy})
			}); err != nil {
				t.Fatal(err)
			}
			if test.state != nil {
				test.state(redis)
			}
			queue, closeQueue, err := openQueue(options.Redis{URL: "redis://" + redis.Addr()}, options.Queue{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = closeQueue() })
			if test.away {
				redis.Close()
			}

			var log bytes.Buffer
			p := &process{logger: slog.New(slog.NewTextHandler(&log, nil))}
			err = p.checkQueue(t.Context(), queue)
			if _, refused := errors.AsType[*bull.DialectError](err); refused != test.refused || (err != nil) != test.refused {
				t.Errorf("checkQueue = %v, want refused %v", err, test.refused)
			}
			if got := log.String(); (got != "") != (test.warning != "") || !strings.Contains(got, test.warning) {
				t.Errorf("it logs %q, want %q in it", got, test.warning)
			}
			if test.refused { // nor does anything get in that was waiting to
				gate := &dialectGate{producer: queue}
				before := redis.Dump()
				if err := gate.Ring(t.Context(), []outbox.Ring{{BullID: "a", JobID: "a"}}); err == nil || redis.Dump() != before {
					t.Errorf("Ring = %v; Redis was\n%s\nand is\n%s", err, before, redis.Dump())
				}
			}
		})
	}
}
