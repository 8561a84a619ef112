package controllers

import (
	"context"
	"sync"
	"time"
)

const (
	// pauseAge is how long it is believed whether the queue is paused.
	pauseAge = 5 * time.Second
	// pauseTimeout bounds the question: the answer changes nothing but what the status says.
	pauseTimeout = time.Second
)

// queuePause remembers for all campaigns whether their queue is paused. Its zero value is ready.
type queuePause struct {
	mu     sync.Mutex
	asked  time.Time
	paused bool
}

// of reports whether the queue is paused, as ask says; false where there is no answer.
func (q *queuePause) of(ctx context.Context, now time.Time, ask func(context.Context) (bool, error)) bool {
	if ask == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if age := now.Sub(q.asked); age >= 0 && age < pauseAge {
		return q.paused
	}
	ctx, cancel := context.WithTimeout(ctx, pauseTimeout)
	defer cancel()
	paused, err := ask(ctx)
	q.asked, q.paused = now, err == nil && paused
	return q.paused
}

// lookAtQueue sets s.queuePaused.
func (r *EmailCampaignReconciler) lookAtQueue(ctx context.Context, s *scope) error {
	s.queuePaused = s.enqueued && r.queue.of(ctx, s.now, r.QueuePaused)
	return nil
}
