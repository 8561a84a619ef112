package pace

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"
)

//go:embed plan.lua
var planSource string

var planScript = newScript(planSource)

// shareKept is how long a campaign has a share of a group's rate that asks for nothing.
const shareKept = 2 * time.Minute

// Group is the rate of a group of recipient domains, and the plan of those who have to wait for it for long: a turn is
// only for the next second, and asking for one again and again is not worth the trouble.
type Group struct {
	*Rate

	base string

	mu sync.Mutex
	// retryAt is when Redis, which did not answer, is asked again.
	retryAt time.Time
}

// Group returns the rate of a group of domains for one account: so many mails in a period (both positive), of which
// burst (at least 1) may be sent at once after a quiet time. Both names are any text; the keys in Redis have their hash.
func (r *Rates) Group(account, name string, messages int, period time.Duration, burst int) *Group {
	sum := sha256.Sum256([]byte(account + "\x00" + name))
	base := rateKey("domains", hex.EncodeToString(sum[:8]), messages, period, burst)
	return &Group{Rate: r.newRate(base, messages, period, burst), base: base}
}

// Plan gives n mails of a campaign a moment each at which to try again: how many got one, none of them further away than
// farthest, when the first one's is, and the time from each to the next. The campaigns that ask have equal shares of the
// rate. A moment is no turn: who comes then takes turns as everybody does.
//
// While Redis is away, the moments of this call alone are spread over the worker's share of the rate.
func (g *Group) Plan(ctx context.Context, campaign string, n int, farthest time.Duration) (planned int, first time.Time, every time.Duration) {
	if g.tries() {
		planned, first, every, err := g.plan(ctx, campaign, n, farthest)
		if err == nil {
			return planned, first, every
		}
		g.mu.Lock()
		g.retryAt = time.Now().Add(retryPause)
		g.mu.Unlock()
	}
	every = g.every * time.Duration(max(g.shared.Load(), 1))
	return min(n, 1+int(farthest/every)), time.Now(), every
}

// tries reports whether it is time to ask Redis.
func (g *Group) tries() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !time.Now().Before(g.retryAt)
}

func (g *Group) plan(
	ctx context.Context, campaign string, n int, farthest time.Duration,
) (planned int, first time.Time, every time.Duration, err error) {
	sum := sha256.Sum256([]byte(campaign))
	member := hex.EncodeToString(sum[:8])
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	values, err := planScript.Run(ctx, g.client, []string{g.base + ":plan:" + member, g.base + ":campaigns"},
		member, strconv.FormatFloat(g.micros, 'f', -1, 64), n, farthest.Microseconds(), shareKept.Milliseconds()).Slice()
	if err != nil {
		return 0, time.Time{}, 0, fmt.Errorf("planning mails to a group of domains: %w", err)
	}
	first = time.Now().Add(time.Duration(integer(values[1])) * time.Microsecond)
	return int(integer(values[0])), first, time.Duration(integer(values[2])) * time.Microsecond, nil
}

// Every is the time between two turns.
func (r *Rate) Every() time.Duration { return r.every }
