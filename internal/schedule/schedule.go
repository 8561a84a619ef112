// Package schedule answers when a weekly schedule of windows is open. It is pure: it knows zones, and no clock.
//
// The rules:
//
//   - A window belongs to the day on which it begins. One whose end is not after its start ends on the next day; 24:00 is
//     the end of the day.
//   - Windows that overlap or touch are one.
//   - Times are those of the local clock. A window opens at the first moment at which the clock shows its start or later,
//     and closes at the last moment at which it shows its end or earlier. So where the clock is put forward, a time that it
//     skips is the moment after the gap; where it is put back, a time that it shows twice is the first for a start and the
//     second for an end. A window that lies in a gap altogether does not open.
//   - Both ends are instants, and the closing one is outside.
//
// The zone data are those of the system, or else those of the Go release that built the program.
package schedule

import (
	"math"
	"sort"
	"strings"
	"time"
	_ "time/tzdata" // images without /usr/share/zoneinfo
)

// Horizon is the last moment that After returns.
var Horizon = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Window is a time of the day on some days of the week.
type Window struct {
	// Days are the days on which it begins; without any, every day.
	Days []time.Weekday
	// Start is from 00:00 to 23:59, End from 00:00 to 24:00; both HH:MM. They differ.
	Start, End string
}

// Schedule is when something is open. It is immutable, and safe for concurrent use. The nil Schedule is always open.
type Schedule struct {
	zone *time.Location
	// windows are the windows of a week in seconds of the local clock since Monday 00:00: sorted, disjoint, not touching. The
	// last may reach into the next week. Without any it is always open.
	windows []span
}

// New makes a schedule in a zone of the IANA time zone database, such as Europe/Madrid; the empty name is UTC. No windows
// means always open. It fails with *UnknownTimeZoneError or *InvalidWindowError.
func New(timeZone string, windows []Window) (*Schedule, error) {
	zone, err := load(timeZone)
	if err != nil {
		return nil, err
	}
	var spans []span
	for i, window := range windows {
		of, err := window.spans()
		if err != nil {
			return nil, &InvalidWindowError{Index: i, Err: err}
		}
		spans = append(spans, of...)
	}
	return &Schedule{zone: zone, windows: merge(spans)}, nil
}

// load knows the names of zones only, not the other files that systems have beside them.
func load(name string) (*time.Location, error) {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "Local", "localtime", "posixrules", "Factory", "posix", "right":
		return nil, &UnknownTimeZoneError{Name: name}
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, &UnknownTimeZoneError{Name: name}
	}
	return zone, nil
}

// Always reports whether the schedule never closes.
func (s *Schedule) Always() bool { return s == nil || len(s.windows) == 0 }

// Next returns the open interval [opensAt, closesAt) that contains from, or else the next one after it, in UTC. A schedule
// that never closes returns two zero times.
func (s *Schedule) Next(from time.Time) (opensAt, closesAt time.Time) {
	if s.Always() {
		return time.Time{}, time.Time{}
	}
	open := s.openings(from).next()
	return time.Unix(open.from, 0).UTC(), time.Unix(open.to, 0).UTC()
}

// OpenBetween returns how much of [from, to) is open; 0 unless from is before to. It is at most 292 years.
func (s *Schedule) OpenBetween(from, to time.Time) time.Duration {
	if !from.Before(to) {
		return 0
	}
	if s.Always() {
		return to.Sub(from)
	}
	var sum time.Duration
	for each := s.openings(from); ; {
		opensAt, closesAt := each.next().after(from)
		if !opensAt.Before(to) {
			return sum
		}
		if !closesAt.Before(to) {
			return add(sum, to.Sub(opensAt))
		}
		sum = add(sum, closesAt.Sub(opensAt))
	}
}

// After returns the first moment at which that much open time has passed since from, in UTC; from itself if open is not
// positive. It never lies after Horizon, unless from does.
func (s *Schedule) After(from time.Time, open time.Duration) time.Time {
	from = from.Round(0).UTC()
	if open <= 0 || !from.Before(Horizon) {
		return from
	}
	if s.Always() {
		return earlier(from.Add(open), Horizon)
	}
	for each := s.openings(from); ; {
		opensAt, closesAt := each.next().after(from)
		if !opensAt.Before(Horizon) {
			return Horizon
		}
		length := closesAt.Sub(opensAt)
		if open <= length {
			return earlier(opensAt.Add(open), Horizon)
		}
		open -= length
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// add stops at the longest duration.
func add(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// merge joins windows of a week that overlap or touch, also across its end. No span is left if they cover all of it, or
// if there is none.
func merge(spans []span) []span {
	sort.Slice(spans, func(i, j int) bool { return spans[i].from < spans[j].from })
	var merged []span
	for _, next := range spans {
		if last := len(merged) - 1; last >= 0 && next.from <= merged[last].to {
			merged[last].to = max(merged[last].to, next.to)
			continue
		}
		merged = append(merged, next)
	}
	// What the last one has of the next week swallows the first ones of this.
	for len(merged) > 0 {
		first, last := merged[0], &merged[len(merged)-1]
		if last.to-last.from >= week {
			return nil
		}
		if last.to < first.from+week || len(merged) == 1 {
			break
		}
		last.to = max(last.to, first.to+week)
		merged = merged[1:]
	}
	return merged
}
