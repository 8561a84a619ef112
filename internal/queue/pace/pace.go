// Package pace holds the least time between two mails of one SMTP account over all workers together.
package pace

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/sleep"
)

var (
	//go:embed lib.lua
	lib string
	//go:embed reserve.lua
	reserveSource string
	//go:embed release.lua
	releaseSource string

	reserveScript = newScript(reserveSource)
	releaseScript = newScript(releaseSource)
)

// newScript returns the script with the shared functions before it.
func newScript(source string) *redis.Script { return redis.NewScript(lib + source) }

const (
	// batchTime is how much time one reservation covers where the interval is short: at 1 ms it brings 25 slots.
	batchTime = 25 * time.Millisecond
	// callTimeout bounds one call, so that a Redis that hangs is as good as one that is away.
	callTimeout = 2 * time.Second
	// retryPause is the time between two tries to reach Redis.
	retryPause = time.Second
	// memberTime is how long a worker that no longer answers counts, and heartbeat how often each says that it is there.
	memberTime = 60 * time.Second
	heartbeat  = 10 * time.Second
)

// Pacer makes the workers of one account wait for their slots. Slots are an interval apart on Redis's clock, and each is
// handed out once.
//
// While Redis is away, each worker uses every n-th slot of that same clock, n being the number of workers it last knew,
// and no two workers the same ones. A worker that has not reached Redis yet waits until it does. Where Redis is away for
// only some of the workers, these keep to their share on top of what the others send.
//
// It is safe for concurrent use.
type Pacer struct {
	client   redis.UniversalClient
	interval time.Duration
	next     string // key: when the next free slot begins
	workers  string // key: who shares the account
	worker   string

	turn chan struct{} // holds one element while a caller waits for its slot: reservations are not hoarded

	// Guarded by turn.
	leased  lease
	notYet  time.Time // no slot before this moment, after a time without Redis
	retryAt time.Time // when Redis, which did not answer, is asked again

	mu   sync.Mutex
	view view
}

// lease is what is left of the slots of one reservation.
type lease struct {
	from time.Time // when the next slot begins
	left int
}

// view is what a worker last knew of the others.
type view struct {
	known   bool
	offset  time.Duration // Redis's clock minus the local one
	rank, n int
	// booked is until when slots are handed out, as far as this worker knows.
	booked time.Time
}

// New returns a Pacer for an account: any short text that names what is shared, such as server and user; the key in
// Redis is made of it. Interval 0 means no limit: then client may be nil.
func New(client redis.UniversalClient, account string, interval time.Duration) (*Pacer, error) {
	if interval < 0 || interval > 0 && interval < time.Microsecond {
		return nil, fmt.Errorf("pace: the interval must be 0 or at least 1µs, not %s", interval)
	}
	if interval > 0 && (client == nil || account == "") {
		return nil, errors.New("pace: a Redis client and an account are required")
	}
	// The braces put both keys into one slot of a cluster.
	base := "cartero:pace:{" + account + "}"
	return &Pacer{
		client:   client,
		interval: interval,
		next:     base + ":next",
		workers:  base + ":workers",
		worker:   uuid.NewString(),
		turn:     make(chan struct{}, 1),
	}, nil
}

// Run keeps this worker on the list of those who share the account, until ctx ends. Without it, a worker counts for a
// minute after each mail only, and the others take more than their share while Redis is away.
func (p *Pacer) Run(ctx context.Context) error {
	if p.interval == 0 {
		<-ctx.Done()
		return nil
	}
	for {
		_, _ = p.call(ctx, 0, 0) // Redis being away is what the list is for
		if !sleep.For(ctx, heartbeat) {
			return nil
		}
	}
}

// Wait returns when the caller may send n mails (at least 1): at the beginning of the first of n slots that are the
// caller's. It returns early, and gives the slots back, only when ctx ends, with the cause.
func (p *Pacer) Wait(ctx context.Context, n int) error {
	if p.interval == 0 {
		return context.Cause(ctx)
	}
	n = max(n, 1)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case p.turn <- struct{}{}:
	}
	defer func() { <-p.turn }()

	if slot, ok := p.fromLease(n, time.Now()); ok {
		return p.until(ctx, slot)
	}
	for {
		if !time.Now().Before(p.retryAt) {
			booked, err := p.reserve(ctx, n)
			if err == nil {
				return p.use(ctx, booked)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p.retryAt = time.Now().Add(retryPause)
		}
		if ours, err := p.alone(ctx, n); ours || err != nil {
			return err
		}
	}
}

// fromLease takes n slots from what is left of the last reservation. Slots whose time is over are gone: using them late
// would put two mails closer together than the interval.
func (p *Pacer) fromLease(n int, now time.Time) (time.Time, bool) {
	if late := now.Sub(p.leased.from); late >= p.interval {
		gone := min(int(late/p.interval), p.leased.left)
		p.leased.from = p.leased.from.Add(time.Duration(gone) * p.interval)
		p.leased.left -= gone
	}
	if p.leased.left < n {
		p.leased.left = 0
		return time.Time{}, false
	}
	slot := p.leased.from
	p.leased.from = slot.Add(time.Duration(n) * p.interval)
	p.leased.left -= n
	return slot, true
}

// booking is one reservation.
type booking struct {
	slot        time.Time // when the first slot begins, on the local clock
	slots, n    int       // reserved, and of these asked for
	first, next int64     // µs on Redis's clock: the first slot, and the first one after the reservation
}

// reserve books n slots, or a batch where the interval is short.
func (p *Pacer) reserve(ctx context.Context, n int) (booking, error) {
	slots := max(n, int(batchTime/p.interval))
	notBefore := max(time.Until(p.notYet), 0)
	reply, err := p.call(ctx, slots, notBefore)
	if err != nil {
		return booking{}, err
	}
	first := reply.now + reply.wait
	return booking{
		slot:  reply.asked.Add(time.Duration(reply.wait) * time.Microsecond),
		slots: slots, n: n,
		first: first,
		next:  first + int64(slots)*p.interval.Microseconds(),
	}, nil
}

// use waits for a booked slot and keeps the rest of the batch. If ctx ends first, all of it is given back.
func (p *Pacer) use(ctx context.Context, b booking) error {
	if err := p.until(ctx, b.slot); err != nil {
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_ = releaseScript.Run(free, p.client, []string{p.next}, b.next, b.first).Err() // else the slots pass unused
		return err
	}
	p.leased = lease{from: b.slot.Add(time.Duration(b.n) * p.interval), left: b.slots - b.n}
	return nil
}

func (p *Pacer) until(ctx context.Context, slot time.Time) error {
	if !sleep.For(ctx, time.Until(slot)) {
		return context.Cause(ctx)
	}
	return nil
}

// reply is what the reserve script returns.
type reply struct {
	asked     time.Time // when the call ended; the slot can't begin earlier
	wait, now int64     // µs
}

// call runs the reserve script and remembers what it tells of the other workers.
func (p *Pacer) call(ctx context.Context, slots int, notBefore time.Duration) (reply, error) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	values, err := reserveScript.Run(callCtx, p.client, []string{p.next, p.workers},
		p.worker, p.interval.Microseconds(), slots, notBefore.Microseconds(), memberTime.Milliseconds()).Slice()
	if err != nil {
		return reply{}, fmt.Errorf("reserving a slot: %w", err)
	}
	ended := time.Now()
	r := reply{asked: ended, wait: integer(values[0]), now: integer(values[1])}

	p.mu.Lock()
	defer p.mu.Unlock()
	booked := ended.Add(time.Duration(r.wait)*time.Microsecond + time.Duration(slots)*p.interval)
	p.view = view{
		known:  true,
		offset: time.UnixMicro(r.now).Sub(ended),
		rank:   int(integer(values[2])),
		n:      max(int(integer(values[3])), 1),
		booked: later(booked, p.view.booked),
	}
	return r, nil
}

// integer reads a number that Lua returned as such, or as text where it may not fit.
func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
