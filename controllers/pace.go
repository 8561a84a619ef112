package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultNoProgressAfter is longer than the longest wait for a server's word on one mail (RFC 5321 section 4.5.3.2.6).
const DefaultNoProgressAfter = 15 * time.Minute

const (
	// minElapsed is how long a campaign must have been sent before anything is said about its end.
	minElapsed = 5 * time.Second
	// throttledShare is the part of what spec.throttle.rate allows that must have been sent for the rate to be what holds
	// the campaign back.
	throttledShare = 0.8
)

// perSecond is how many recipients end in a second of open time; 0 where nothing is known.
func (s *scope) perSecond() float64 {
	measured := 0.0
	if s.record.StartedAt != nil {
		elapsed := s.openSince(*s.record.StartedAt) - s.record.Idle
		if ended := s.tally.Finished(); elapsed >= minElapsed && ended > 0 {
			measured = float64(ended) / elapsed.Seconds()
		}
	}
	allowed := s.allowedPerSecond()
	if allowed > 0 && (measured == 0 || allowed < measured) {
		return allowed
	}
	return measured
}

// allowedPerSecond is what spec.throttle.rate allows; 0 without one.
func (s *scope) allowedPerSecond() float64 {
	rate := s.record.Control.Policy.Rate
	if rate.Messages == 0 || rate.Period <= 0 {
		return 0
	}
	return float64(rate.Messages) / rate.Period.Seconds()
}

// throttled reports whether spec.throttle.rate is what holds the campaign back: nearly all that it allows was sent.
func (s *scope) throttled() bool {
	allowed := s.allowedPerSecond()
	if allowed == 0 || s.tally == nil || s.tally.Pending == 0 || s.record.StartedAt == nil {
		return false
	}
	elapsed := (s.openSince(*s.record.StartedAt) - s.record.Idle).Seconds()
	return float64(s.tally.Finished()+s.tally.Deferred) >= throttledShare*allowed*elapsed
}

// estimatedCompletion is when the campaign ends if it goes on as it does; nil where nothing can be said.
func estimatedCompletion(s *scope) *metav1.Time {
	if !s.sealed() || s.tally == nil || s.done() || s.paused() || s.held() || s.relayAway() {
		return nil
	}
	end, speed := s.now, s.perSecond()
	if speed == 0 && s.tally.Pending+s.tally.Active > 0 {
		return nil
	}
	if left := s.tally.Pending + s.tally.Active + s.tally.Deferred; speed > 0 {
		end = s.afterOpen(time.Duration(float64(left) / speed * float64(time.Second)))
	}
	if s.tally.AttemptsUntil != nil {
		end = later(end, s.inWindow(*s.tally.AttemptsUntil))
	}
	end = roundUp(end, s.now)
	return timeOf(&end)
}

// roundUp rounds an estimate to what it is worth, so that it doesn't change with every look.
func roundUp(end, now time.Time) time.Time {
	step := time.Second
	switch left := end.Sub(now); {
	case left > 2*time.Hour:
		step = 10 * time.Minute
	case left > 10*time.Minute:
		step = time.Minute
	case left > time.Minute:
		step = 10 * time.Second
	}
	if rounded := end.Truncate(step); rounded.Before(end) {
		return rounded.Add(step)
	}
	return end
}

// stuckSince is since when nobody has ended though workers should be sending; the zero time while all is well. patience is
// how long that may be.
func (s *scope) stuckSince(patience time.Duration) time.Time {
	if !s.sealed() || s.tally == nil || s.done() || s.paused() || s.held() || s.relayAway() {
		return time.Time{}
	}
	if _, waits := s.waiting(); waits || s.tally.Pending+s.tally.Active == 0 {
		return time.Time{}
	}
	since := *s.record.SealedAt
	for _, t := range []*time.Time{s.record.SteeredAt, s.record.StartedAt, s.tally.LastCompletedAt, s.tally.NextAttemptAt} {
		if t != nil && !t.After(s.now) {
			since = later(since, *t)
		}
	}
	since = later(later(since, s.record.Control.OpensAt), s.record.Verbs.RetryTime)
	if s.record.Hold != nil {
		since = later(since, s.record.Hold.Until)
	}
	if allowed := s.allowedPerSecond(); allowed > 0 {
		patience = max(patience, time.Duration(3/allowed*float64(time.Second)))
	}
	if s.now.Sub(since) < patience {
		return time.Time{}
	}
	return since
}
