package bull

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/sleep"
)

// outage tells once that Redis went away, and once that it is back, however many goroutines notice.
type outage struct {
	log *slog.Logger

	mu   sync.Mutex
	down bool
}

func (o *outage) report(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil && !o.down:
		o.log.Error("Queue is unreachable, trying again until it answers", "error", err)
	case err == nil && o.down:
		o.log.Info("Queue answers again")
	}
	o.down = err != nil
}

const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second
)

// backoff is the pause between two tries of one goroutine: doubling, with jitter, so that workers that lost Redis
// together don't come back together.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

// wait pauses, and reports false if ctx ended meanwhile.
func (b *backoff) wait(ctx context.Context) bool {
	b.pause = min(max(2*b.pause, firstPause), longPause)
	return sleep.For(ctx, b.pause/2+rand.N(b.pause/2)) //nolint:gosec // jitter is no secret
}
