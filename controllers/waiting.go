package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// waiting reports whether the campaign may not send now because of its schedule, and since when it may again; the zero
// time where nobody has said yet.
func (s *scope) waiting() (until time.Time, waits bool) {
	if !s.sealed() || s.done() {
		return time.Time{}, false
	}
	control := s.record.Control
	switch {
	case s.now.Before(control.OpensAt):
		return control.OpensAt, true
	case !control.ClosesAt.IsZero() && !s.now.Before(control.ClosesAt):
		return time.Time{}, true
	default:
		return time.Time{}, false
	}
}

// scheduled reports whether it is the start that the campaign waits for, not a window.
func (s *scope) scheduled() bool {
	schedule := s.object.Spec.Schedule
	return schedule != nil && schedule.StartTime != nil && s.now.Before(schedule.StartTime.Time)
}

// nextTransition is until when the campaign waits: for its start or a window, for the end of a hold, for the first retry.
func nextTransition(s *scope) *metav1.Time {
	if s.done() || s.paused() {
		return nil
	}
	if s.held() {
		if s.record.Hold.Until.Equal(campaign.Forever) { // a person ends it
			return nil
		}
		return timeOf(&s.record.Hold.Until)
	}
	if until, waits := s.waiting(); waits {
		if until.IsZero() {
			return nil
		}
		return timeOf(&until)
	}
	if s.tally.Pending == 0 && s.tally.Active == 0 && s.tally.NextAttemptAt != nil {
		next := s.inWindow(*s.tally.NextAttemptAt)
		return timeOf(&next)
	}
	return nil
}

// inWindow is the first moment from t on at which the campaign may send.
func (s *scope) inWindow(t time.Time) time.Time {
	if s.schedule == nil {
		return t
	}
	opens, _ := s.schedule.Next(t)
	return later(t, opens)
}

// openSince is the open time from then until now.
func (s *scope) openSince(then time.Time) time.Duration {
	if s.schedule == nil {
		return s.now.Sub(then)
	}
	return s.schedule.OpenBetween(then, s.now)
}

// afterOpen is the moment at which that much open time has passed.
func (s *scope) afterOpen(open time.Duration) time.Time {
	if s.schedule == nil {
		return s.now.Add(open)
	}
	return s.schedule.After(s.now, open)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
