package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// load is what a service is put under.
type load struct {
	address string // host:port
	request []byte
	want    int // the status of success
	conns   int
}

// outcome is what came of one load.
type outcome struct {
	// offered are the requests that were due, answered those with the status of success.
	offered, answered int
	// elapsed is from the first arrival to the last answer.
	elapsed time.Duration
	// latencies are those of the answered, in ms, from the moment at which the request was due; sorted.
	latencies []float64
	// failure is one of those that failed.
	failure error
}

// rate is answers a second.
func (o outcome) rate() float64 { return float64(o.answered) / o.elapsed.Seconds() }

// tick is how often arrivals are handed out. What is due in between waits for less than that, on all sides.
const tick = 500 * time.Microsecond

// at has requests arrive at a fixed rate, whether those before are answered or not: one that finds all connections busy
// waits, and its wait counts. It gives up half a window after the last arrival.
func (l load) at(ctx context.Context, rate float64, window time.Duration) (outcome, error) {
	count := int(rate * window.Seconds())
	arrivals := make(chan time.Time, count)
	return l.run(ctx, count, window+window/2, arrivals, func(ctx context.Context, begin time.Time) {
		defer close(arrivals)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for i := range count {
			due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			for time.Now().Before(due) {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
			arrivals <- due
		}
	})
}

// closed has every connection ask again as soon as it is answered, for a window: about what the service can do.
func (l load) closed(ctx context.Context, window time.Duration) (outcome, error) {
	arrivals := make(chan time.Time)
	return l.run(ctx, 0, 2*window, arrivals, func(ctx context.Context, begin time.Time) {
		defer close(arrivals)
		for now := begin; now.Sub(begin) < window; now = time.Now() {
			select {
			case arrivals <- now:
			case <-ctx.Done():
				return
			}
		}
	})
}

// run asks for each arrival, until there are no more or the limit has passed.
func (l load) run(
	ctx context.Context, count int, limit time.Duration, arrivals <-chan time.Time, arrive func(context.Context, time.Time),
) (outcome, error) {
	conns := make([]*conn, l.conns)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close() // nothing is under way
			}
		}
	}()
	for i := range conns {
		var err error
		if conns[i], err = dial(ctx, l.address); err != nil {
			return outcome{}, fmt.Errorf("connecting: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begin := time.Now()
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		o       = outcome{offered: count}
		partial = make([]outcome, l.conns)
	)
	all.Go(func() { arrive(ctx, begin) })
	for i := range conns {
		all.Go(func() {
			conns[i] = l.work(ctx, conns[i], arrivals, &partial[i])
			mu.Lock()
			defer mu.Unlock()
			o.add(partial[i])
		})
	}
	all.Wait()
	o.elapsed = time.Since(begin)
	slices.Sort(o.latencies)
	return o, nil
}

func (o *outcome) add(more outcome) {
	o.answered += more.answered
	o.latencies = append(o.latencies, more.latencies...)
	if o.failure == nil {
		o.failure = more.failure
	}
}

// work asks over one connection, and makes another one if that breaks.
func (l load) work(ctx context.Context, c *conn, arrivals <-chan time.Time, o *outcome) *conn {
	for due := range arrivals {
		if ctx.Err() != nil {
			return c
		}
		status, err := c.ask(l.request)
		switch {
		case err != nil:
			o.failure = err
			_ = c.Close()
			if c, err = dial(ctx, l.address); err != nil {
				return nil
			}
		case status != l.want:
			o.failure = fmt.Errorf("answered %d, want %d", status, l.want)
		default:
			o.answered++
			o.latencies = append(o.latencies, time.Since(due).Seconds()*1000)
		}
	}
	return c
}

// sustained reports whether the service kept up: all was answered, and what waited at the end was little.
func (o outcome) sustained(window time.Duration) bool {
	return o.failure == nil && o.answered == o.offered && o.elapsed <= window+window/10
}

// Steps of a search: each halves what the maximum may be, down to 5 % of what the service does with no pause at all.
const (
	searchSteps = 4
	searchFrom  = 0.5
	searchTo    = 1.3
)

// highest finds the highest rate that is sustained, between half of what closed found and a third more. answered counts
// all requests on the way.
func (l load) highest(ctx context.Context, window time.Duration) (rate float64, answered int, err error) {
	rough, err := l.closed(ctx, window)
	if err != nil {
		return 0, 0, err
	}
	if rough.answered == 0 || rough.failure != nil {
		return 0, 0, fmt.Errorf("%d requests were answered: %w", rough.answered, rough.failure)
	}
	answered = rough.answered
	low, high, sure := searchFrom*rough.rate(), searchTo*rough.rate(), false
	for step := 0; step < searchSteps || !sure; step++ {
		if step > 3*searchSteps {
			return 0, answered, fmt.Errorf("no rate is sustained, not even %.0f requests a second", low)
		}
		try := (low + high) / 2
		o, err := l.at(ctx, try, window)
		if err != nil {
			return 0, answered, err
		}
		answered += o.answered
		if o.sustained(window) {
			low, sure = try, true
		} else {
			high = try
			if !sure { // the lower bound was only a guess
				low /= 2
			}
		}
	}
	return low, answered, nil
}
