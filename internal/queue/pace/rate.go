package pace

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/sleep"
)

//go:embed take.lua
var takeSource string

var takeScript = newScript(takeSource)

const (
	// horizon is how far away a turn may be that is handed out, and how long the last of several comes after the first.
	horizon = time.Second
	// A turn may be late by some others without being lost, so that a rate is reached although work takes time: at least by
	// minGrace, and at most by maxGrace.
	lateTurns          = 5
	minGrace, maxGrace = 50 * time.Millisecond, time.Second
	// rateKept is how long a rate that nobody asks for is remembered.
	rateKept = 10 * time.Minute
)

// Rates are the rates of many campaigns, each shared by all workers that give it the same name. A Rates is safe for
// concurrent use.
type Rates struct {
	client redis.UniversalClient
	worker string

	mu    sync.Mutex
	known map[string]*Rate
}

// NewRates returns the rates that are kept in this Redis.
func NewRates(client redis.UniversalClient) *Rates {
	return &Rates{client: client, worker: uuid.NewString(), known: map[string]*Rate{}}
}

// Of returns the rate of so many mails in a period (both positive), of which burst (at least 1) may be sent at once after
// a quiet time. The name is any text; the key in Redis has its hash. A rate with other numbers is another rate: it begins
// with a burst of its own.
func (r *Rates) Of(name string, messages int, period time.Duration, burst int) *Rate {
	sum := sha256.Sum256([]byte(name))
	key := rateKey("campaign", hex.EncodeToString(sum[:8]), messages, period, burst)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.known, func(_ string, rate *Rate) bool { return now.Sub(rate.lastAsked()) > rateKept })
	rate := r.known[key]
	if rate == nil {
		rate = r.newRate(key, messages, period, burst)
		r.known[key] = rate
	}
	rate.asked()
	return rate
}

// rateKey begins the keys of a rate. The braces put them into one slot of a cluster.
func rateKey(kind, hash string, messages int, period time.Duration, burst int) string {
	return fmt.Sprintf("cartero:pace:{%s:%s}:%d/%d/%d", kind, hash, messages, period.Milliseconds(), burst)
}

func (r *Rates) newRate(key string, messages int, period time.Duration, burst int) *Rate {
	messages = max(messages, 1)
	return &Rate{
		client: r.client, worker: r.worker, key: key + ":next", workers: key + ":workers",
		every: max(period/time.Duration(messages), 1), micros: float64(period.Microseconds()) / float64(messages),
		early: time.Duration(float64(period) / float64(messages) * float64(max(burst, 1)-1)),
		late:  min(max(lateTurns*period/time.Duration(messages), minGrace), maxGrace),
		turn:  make(chan struct{}, 1),
	}
}

// Rate is the most mails in a time, over all workers together (a GCRA on Redis's clock). Nothing is reserved for longer
// than a second ahead: whoever waits longer asks again, so that nothing is lost with a worker that ends.
//
// While Redis is away, each worker sends its share, as many of them as there were. One that has not reached Redis yet waits
// until it does.
type Rate struct {
	client       redis.UniversalClient
	worker       string
	key, workers string // in Redis: when the next turn is, and who shares the rate
	every        time.Duration
	micros       float64       // every, in µs and with its fraction
	early        time.Duration // what the burst is worth
	late         time.Duration // by how much a turn may be late

	turn chan struct{} // holds one element while a caller waits: turns are not hoarded

	shared atomic.Int64 // others, for whoever does not hold the turn

	// Guarded by turn.
	left    turns     // of the last reservation
	others  int       // how many workers there are, this one included; 0 before Redis was reached
	booked  time.Time // until when turns are handed out, as far as this worker knows
	aloneTo time.Time // until when this worker has used its share of a time without Redis; zero if there was none
	back    bool      // Redis answered again, and aloneTo has yet to come
	retryAt time.Time // when Redis, which did not answer, is asked again

	mu sync.Mutex
	at time.Time // when somebody asked last
}

// turns are moments at which mails may be sent.
type turns struct {
	n     int
	first time.Time
	every time.Duration
	// obtained is when they were handed out: those of a burst are late from the start.
	obtained time.Time
	// after and before are what the key said after and before the reservation; equal if part of it is used.
	after, before int64
}

// Take returns when the next mail's turn has come: how many turns the caller got, at least one and at most n, when the
// first of them is, and the time from each to the next. The last is at most a second away; turns that are not used are
// lost. Take fails only when ctx ends, with its cause.
func (r *Rate) Take(ctx context.Context, n int) (granted int, first time.Time, every time.Duration, err error) {
	r.asked()
	select {
	case <-ctx.Done():
		return 0, time.Time{}, 0, context.Cause(ctx)
	case r.turn <- struct{}{}:
	}
	defer func() { <-r.turn }()
	for {
		got, wait := r.next(ctx, max(n, 1))
		r.asked()
		if !sleep.For(ctx, wait) {
			r.giveBack(ctx, got)
			return 0, time.Time{}, 0, context.Cause(ctx)
		}
		if got.n > 0 {
			return got.n, got.first, got.every, nil
		}
	}
}

// next returns up to n turns and how long it is until the first; or none, and when to ask again.
func (r *Rate) next(ctx context.Context, n int) (turns, time.Duration) {
	if got := r.fromLeft(n, time.Now()); got.n > 0 {
		return got, time.Until(got.first)
	}
	if !time.Now().Before(r.retryAt) {
		wait, err := r.reserve(ctx, n)
		if err == nil {
			got := r.fromLeft(n, time.Now())
			if got.n > 0 {
				return got, time.Until(got.first)
			}
			// No longer than that: it keeps this worker on the list.
			return turns{}, min(wait-horizon, heartbeat)
		}
		if ctx.Err() != nil {
			return turns{}, 0
		}
		now := time.Now()
		if r.aloneTo.IsZero() && r.others > 1 { // the others may have turns that this worker does not know of
			r.aloneTo = now.Add(2 * horizon)
		}
		r.retryAt, r.back = now.Add(retryPause), false
	}
	return r.alone(n, time.Now())
}

// fromLeft takes up to n turns of what is left of the last reservation. Those whose time is long over are gone.
func (r *Rate) fromLeft(n int, now time.Time) turns {
	if old := now.Add(-r.late); r.left.n > 0 && r.left.obtained.Before(old) && r.left.first.Before(old) {
		gone := min(int(old.Sub(r.left.first)/r.left.every)+1, r.left.n)
		r.left.n -= gone
		r.left.first = r.left.first.Add(time.Duration(gone) * r.left.every)
	}
	got := r.left
	got.n = min(n, r.left.n)
	r.left.n -= got.n
	r.left.first = r.left.first.Add(time.Duration(got.n) * r.left.every)
	r.left.after = r.left.before
	if r.left.n > 0 {
		got.after = got.before
	}
	return got
}

// reserve books up to n turns, or what comes within a batch if that is more. If the first is too far away, it books none
// and returns how long it is until then.
func (r *Rate) reserve(ctx context.Context, n int) (time.Duration, error) {
	var left, notBefore time.Duration
	if !r.aloneTo.IsZero() { // what was sent without Redis counts as sent, bursts too
		left = time.Until(r.aloneTo)
		if !r.back && r.others > 1 && left > -retryPause-horizon { // until then the others have noticed, and sent what they had
			left = max(left, retryPause+horizon)
		}
		notBefore = max(left+r.early, 0)
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	values, err := takeScript.Run(callCtx, r.client, []string{r.key, r.workers},
		r.worker, strconv.FormatFloat(r.micros, 'f', -1, 64), max(n, int(batchTime/r.every)), r.early.Microseconds(),
		horizon.Microseconds(), r.late.Microseconds(), notBefore.Microseconds(), memberTime.Milliseconds()).Slice()
	if err != nil {
		return 0, fmt.Errorf("taking turns: %w", err)
	}
	now := time.Now()
	wait := time.Duration(integer(values[1])) * time.Microsecond
	got := turns{
		n: int(integer(values[0])), first: now.Add(wait), every: r.every, obtained: now,
		after: integer(values[2]), before: integer(values[3]),
	}
	r.left, r.others = got, max(int(integer(values[4])), 1)
	r.shared.Store(int64(r.others))
	if r.back = got.n == 0 && !r.aloneTo.IsZero(); r.back {
		r.aloneTo = now.Add(left)
	} else {
		r.aloneTo = time.Time{}
	}
	r.booked = later(got.first.Add(time.Duration(got.n)*r.every), r.booked)
	return wait, nil
}

// giveBack returns turns that were not used: a whole reservation to Redis, if nobody reserved anything after it, else to
// whoever asks next in this process.
func (r *Rate) giveBack(ctx context.Context, got turns) {
	if got.n == 0 {
		return
	}
	if got.after != got.before {
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if freed, err := releaseScript.Run(free, r.client, []string{r.key}, got.after, got.before).Int(); err == nil && freed == 1 {
			return
		}
	}
	got.n += r.left.n // they follow each other
	got.after = got.before
	r.left = got
}

// alone returns turns of this worker's share, while Redis is away, or when Redis is to be tried again.
func (r *Rate) alone(n int, now time.Time) (turns, time.Duration) {
	share := r.every * time.Duration(max(r.others, 1))
	first := later(now, later(r.booked, r.aloneTo))
	if r.others == 0 || first.After(r.retryAt) {
		return turns{}, r.retryAt.Sub(now)
	}
	n = min(n, 1+int(horizon/share))
	r.aloneTo = first.Add(time.Duration(n) * share)
	return turns{n: n, first: first, every: share}, first.Sub(now)
}

func (r *Rate) asked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = time.Now()
}

func (r *Rate) lastAsked() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}
