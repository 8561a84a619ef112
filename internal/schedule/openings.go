package schedule

import "time"

const (
	day  = 24 * 60 * 60
	week = 7 * day

	// monday is a Monday 00:00 of the local clock, in its seconds since 1970-01-01 00:00.
	monday = 4 * day

	// margin is more than any two offsets of a zone differ by, a skipped or repeated day included.
	margin = 3 * day
)

// span is [from, to) in seconds: of an instant since 1970, or of the local clock.
type span struct{ from, to int64 }

// after returns the part of instants that is not before a moment, in UTC.
func (s span) after(moment time.Time) (from, to time.Time) {
	from, to = time.Unix(s.from, 0).UTC(), time.Unix(s.to, 0).UTC()
	if from.Before(moment) {
		from = moment
	}
	return from, to
}

// openings walks through the open intervals of a schedule.
type openings struct {
	schedule *Schedule
	clock    clock
	// week begins at this time of the local clock; windows before index are done with.
	week  int64
	index int
	ahead span
}

// openings begins at the interval that contains from, or else at the next one.
func (s *Schedule) openings(from time.Time) *openings {
	shown := from.Unix() + int64(offset(from, s.zone))
	o := &openings{schedule: s, clock: clock{zone: s.zone}}
	// A window of the week before may reach here, and one before that may be joined to it where the clock skips the time
	// between them.
	o.week = floor(shown-margin-monday)*week + monday - 2*week
	o.ahead = o.window()
	for {
		reached := *o
		if open := reached.next(); time.Unix(open.to, 0).After(from) {
			return o
		}
		*o = reached
	}
}

// floor is the number of whole weeks in these seconds.
func floor(seconds int64) int64 {
	weeks := seconds / week
	if seconds%week < 0 {
		weeks--
	}
	return weeks
}

// next returns the next open interval. There always is one: no change of the clock hides a window every week.
func (o *openings) next() span {
	current := o.ahead
	for {
		o.ahead = o.window()
		if o.ahead.from > current.to {
			return current
		}
		current.to = max(current.to, o.ahead.to)
	}
}

// window returns the instants of the next window that opens at all.
func (o *openings) window() span {
	for {
		if o.index == len(o.schedule.windows) {
			o.week, o.index = o.week+week, 0
		}
		window := o.schedule.windows[o.index]
		o.index++
		open := span{from: o.clock.first(o.week + window.from), to: o.clock.last(o.week + window.to)}
		if open.from < open.to {
			return open
		}
	}
}

// clock is the local clock of a zone. It remembers the time between two changes that it looked at last.
type clock struct {
	zone *time.Location
	era  era
}

// era is the time between two changes of the clock. An open end is far away.
type era struct {
	span

	offset int64
}

// first returns the first instant at which the clock shows a time or a later one.
func (c *clock) first(shown int64) int64 {
	if c.within(shown) {
		return shown - c.era.offset
	}
	for at := shown - margin; ; at = c.era.to {
		c.look(at)
		if instant := max(c.era.from, shown-c.era.offset); instant < c.era.to {
			return instant
		}
	}
}

// last returns the last instant at which the clock shows a time or an earlier one; where it is put on over that time, the
// moment of it.
func (c *clock) last(shown int64) int64 {
	if c.within(shown) {
		return shown - c.era.offset
	}
	for at := shown + margin; ; at = c.era.from - 1 {
		c.look(at)
		if instant := min(c.era.to, shown-c.era.offset); instant >= c.era.from {
			return instant
		}
	}
}

// within reports whether the clock shows this time once, in the time that is remembered.
func (c *clock) within(shown int64) bool {
	return shown-c.era.offset >= c.era.from+margin && shown-c.era.offset < c.era.to-margin
}

// look remembers the time between two changes that an instant is in.
func (c *clock) look(instant int64) {
	const far = 1 << 60
	if c.era.from <= instant && instant < c.era.to {
		return
	}
	at := time.Unix(instant, 0)
	from, to := at.In(c.zone).ZoneBounds()
	c.era = era{span: span{from: -far, to: far}, offset: int64(offset(at, c.zone))}
	if !from.IsZero() {
		c.era.from = from.Unix()
	}
	if !to.IsZero() {
		c.era.to = to.Unix()
	}
}

func offset(at time.Time, zone *time.Location) int {
	_, seconds := at.In(zone).Zone()
	return seconds
}
