package worker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/worker"
)

// metronome lets a mail go every so often, to whoever has waited longest.
type metronome struct {
	turn  chan struct{}
	every time.Duration
}

// Wait implements worker.Pacer.
func (m metronome) Wait(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-m.turn }()
	select {
	case <-time.After(m.every):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// urgent writes a mail that overtakes campaigns, to the recipients from first up to but without end.
func (w *world) urgent(first, end int) (jobID string) {
	w.t.Helper()
	m := submission(first, end)
	m.Priority = 1
	if _, err := w.db.Submit(w.t.Context(), []campaign.Submission{m}, nil, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	return m.JobID()
}

// runAll runs jobs at once; wait returns when all have been run.
func (w *world) runAll(k *worker.Worker, jobs []string) (wait func()) {
	var running sync.WaitGroup
	for _, job := range jobs {
		running.Go(func() { w.run(k, job) })
	}
	return running.Wait
}

// TestPriorityIsNextOnTheWire: a mail with a priority waits for one mail at most, however many jobs send: for a turn, where
// there is a pace, and for the one connection, where the relay is slow.
func TestPriorityIsNextOnTheWire(t *testing.T) {
	t.Parallel()
	const people, jobSize = 40, 10
	for name, test := range map[string]struct {
		change func(w *world, cfg *worker.Config)
		ahead  int
	}{
		// One has its turn already, and the one behind it may be in line.
		"paced": {func(_ *world, cfg *worker.Config) {
			cfg.Pacer = metronome{make(chan struct{}, 1), 10 * time.Second}
		}, 1},
		// One is on the wire.
		"a slow relay": {func(w *world, cfg *worker.Config) {
			cfg.MaxConnections = 1
			w.relay.fallback = first(func() { <-time.After(10 * time.Second) }, accept)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				jobs := w.seed(people, jobSize)
				k := w.start(func(cfg *worker.Config) { test.change(w, cfg) })
				wait := w.runAll(k, jobs)
				for n := range 5 {
					w.pass(25 * time.Second)
					before := len(w.relay.accepted())
					w.run(k, w.urgent(people+n, people+n+1))
					at := slices.Index(w.relay.accepted(), address(people+n))
					if at < before || at > before+test.ahead {
						w.t.Errorf("the mail came as number %d after the %d that were sent before", at-before+1, before)
					}
				}
				wait()
				w.stop(k)
				w.expect(each(0, people+5, accepted))
			})
		})
	}
}

// TestPriorityLeavesOthersAShare: however many mails with a priority there are, others are sent between them.
func TestPriorityLeavesOthersAShare(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		const people, hurry = 60, 60
		w.relay.fallback = first(func() { <-time.After(time.Second) }, accept)
		jobs := w.seed(people, people)
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		wait := w.runAll(k, append(jobs, w.urgent(people, people+hurry/2), w.urgent(people+hurry/2, people+hurry)))
		wait()
		w.stop(k)
		w.expect(each(0, people+hurry, accepted))
		others, left := 0, hurry
		for _, to := range w.relay.accepted() {
			if slices.Contains(addresses(people, people+hurry), to) {
				left--
			} else if left > 0 {
				others++
			}
		}
		if others < hurry/10 { // half as many on average
			w.t.Errorf("%d mails without a priority were sent before the last of %d with one", others, hurry)
		}
	})
}

// TestPriorityOfWhatIsSubmitted: a mail that is sent at once goes first too, if it has a priority.
func TestPriorityOfWhatIsSubmitted(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		w.relay.fallback = first(func() { <-time.After(10 * time.Second) }, accept)
		jobs := w.seed(40, 10)
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		wait := w.runAll(k, jobs)
		w.pass(25 * time.Second)
		before := len(w.relay.accepted())
		m := submission(40, 41)
		m.Priority = 1
		w.expectEnded(w.submit(k, m), ended{true, []campaign.State{campaign.StateAccepted}})
		if at := slices.Index(w.relay.accepted(), address(40)); at > before+1 {
			w.t.Errorf("the mail came as number %d", at-before+1)
		}
		wait()
		w.stop(k)
	})
}

var _ worker.Pacer = metronome{}
