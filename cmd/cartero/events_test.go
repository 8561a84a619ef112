package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/tools/events"
)

// slowSink takes its time for each event, and counts how many it is given at once.
type slowSink struct {
	events.EventSink
	now, most, written atomic.Int64
}

func (s *slowSink) Create(_ context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	if now := s.now.Add(1); now > s.most.Load() {
		s.most.Store(now)
	}
	<-time.After(time.Second)
	s.now.Add(-1)
	s.written.Add(1)
	return event, nil
}

func TestEventsAreWrittenInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 10 * eventsAtOnce
		slow := &slowSink{}
		sink := newPaced(slow)
		for range many {
			go func() { _, _ = sink.Create(t.Context(), &eventsv1.Event{}) }()
		}
		<-time.After(many * time.Second)
		if slow.most.Load() != eventsAtOnce || slow.written.Load() != many {
			t.Errorf("%d at once, %d of %d in all", slow.most.Load(), slow.written.Load(), many)
		}
	})
}

// What waits for its turn when the process ends is dropped without a word.
func TestEventsThatWaitEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowSink{}
		sink := newPaced(slow)
		for range eventsAtOnce {
			go func() { _, _ = sink.Create(t.Context(), &eventsv1.Event{}) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := sink.Create(ctx, &eventsv1.Event{}); err != nil {
			t.Error(err)
		}
		<-time.After(time.Minute)
		if n := slow.written.Load(); n != eventsAtOnce {
			t.Errorf("%d were written, want %d", n, eventsAtOnce)
		}
	})
}
