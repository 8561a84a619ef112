package controllers

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/schedule"
)

// defaultStartingDeadline is the schema's default of spec.schedule.startingDeadlineSeconds.
const defaultStartingDeadline = 24 * time.Hour

var weekdays = map[v1alpha1.Day]time.Weekday{
	"Monday": time.Monday, "Tuesday": time.Tuesday, "Wednesday": time.Wednesday, "Thursday": time.Thursday,
	"Friday": time.Friday, "Saturday": time.Saturday, "Sunday": time.Sunday,
}

// scheduleOf reads spec.schedule; nil is always open.
func scheduleOf(spec *v1alpha1.Schedule) (*schedule.Schedule, error) {
	if spec == nil {
		return schedule.New("", nil)
	}
	windows := make([]schedule.Window, len(spec.Windows))
	for i, w := range spec.Windows {
		windows[i] = schedule.Window{Start: w.Start, End: w.End}
		for _, day := range w.Days {
			windows[i].Days = append(windows[i].Days, weekdays[day])
		}
	}
	opens, err := schedule.New(spec.TimeZone, windows)
	if unknown, ok := errors.AsType[*schedule.UnknownTimeZoneError](err); ok {
		return nil, &stalledError{reason: v1alpha1.ReasonUnknownTimeZone, err: errors.New(
			"spec.schedule.timeZone: the IANA time zone database has no zone " + unknown.Name + "; write one that it has, such as Europe/Madrid")}
	}
	if err != nil {
		return nil, invalidSpec("spec.schedule.%w", err)
	}
	return opens, nil
}

// plan sets s.schedule, s.control, s.idle and s.deadline: how the campaign is to be steered from now on.
func (s *scope) plan(policy campaign.Policy) error {
	opens, err := scheduleOf(s.object.Spec.Schedule)
	if err != nil {
		return err
	}
	s.schedule = opens
	s.control = campaign.Control{Suspended: s.suspended() || s.stopped(), Policy: policy}
	s.planOpenings()
	s.planDeadline()
	s.wake(s.control.OpensAt)
	s.wake(s.control.ClosesAt)
	return nil
}

// planOpenings sets the window that is open, or else the next one, and by when the campaign must have started.
func (s *scope) planOpenings() {
	spec := s.object.Spec.Schedule
	var start time.Time
	if spec != nil && spec.StartTime != nil {
		start = spec.StartTime.UTC()
	}
	opensAt, closesAt := s.schedule.Next(later(s.now, start))
	s.control.OpensAt, s.control.ClosesAt = later(opensAt, start), closesAt
	if start.IsZero() {
		return
	}
	deadline := defaultStartingDeadline
	if spec.StartingDeadlineSeconds > 0 {
		deadline = time.Duration(spec.StartingDeadlineSeconds) * time.Second
	}
	first, _ := s.schedule.Next(start)
	s.control.StartBefore = later(first, start).Add(deadline)
}

// planDeadline sets s.idle and s.deadline; no window closes behind the deadline. Time counts from the first mail on while a
// window is open and the campaign is not suspended.
func (s *scope) planDeadline() {
	if s.record == nil {
		return
	}
	s.idle = s.record.Idle
	started, suspended := s.record.StartedAt, s.record.SuspendedAt
	if started != nil && suspended != nil && !s.control.Suspended { // it is being resumed
		s.idle += s.schedule.OpenBetween(later(*suspended, *started), s.now).Truncate(time.Millisecond)
	}
	seconds := s.object.Spec.ActiveDeadlineSeconds
	if seconds == nil || started == nil || s.control.Suspended {
		return
	}
	deadline := s.schedule.After(*started, time.Duration(*seconds)*time.Second+s.idle).Truncate(time.Millisecond)
	s.deadline = &deadline
	if s.control.ClosesAt.IsZero() || deadline.Before(s.control.ClosesAt) {
		s.control.ClosesAt = deadline
	}
}

// pause suspends a campaign before anything else is looked at: it works whatever is wrong with the rest of the spec.
func (r *EmailCampaignReconciler) pause(ctx context.Context, s *scope) error {
	if !s.steers() || s.record.Control.Suspended || !s.suspended() {
		return nil
	}
	control := s.record.Control
	control.Suspended = true
	return r.steerTo(ctx, s, campaign.Steered{Control: control, Idle: s.record.Idle, Now: s.now})
}

// steer brings the campaign's control to what is wanted.
func (r *EmailCampaignReconciler) steer(ctx context.Context, s *scope) error {
	if !s.steers() || s.record.Idle == s.idle && sameControl(s.record.Control, s.control) {
		return nil
	}
	return r.steerTo(ctx, s, campaign.Steered{Control: s.control, Idle: s.idle, Now: s.now})
}

func (r *EmailCampaignReconciler) steerTo(ctx context.Context, s *scope, to campaign.Steered) error {
	record, err := r.Ledger.Steer(ctx, s.key, to)
	if err != nil {
		return r.databaseError(err)
	}
	s.record = &record
	return nil
}

// steers reports whether this object decides on the course of the campaign, and there is one left to decide on.
func (s *scope) steers() bool { return s.owner && s.sealed() && s.record.CancelledAt == nil }

func sameControl(a, b campaign.Control) bool {
	return a.Suspended == b.Suspended && a.OpensAt.Equal(b.OpensAt) && a.ClosesAt.Equal(b.ClosesAt) &&
		a.StartBefore.Equal(b.StartBefore) && reflect.DeepEqual(a.Policy, b.Policy)
}
