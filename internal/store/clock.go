package store

import (
	"context"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
)

// clock tells the database's time between two looks at it. Whoever shares the database shares its time: a machine whose own
// clock is wrong, or is set while it runs, neither ends the leases of others nor keeps its own for too long.
type clock struct {
	machine func() time.Time
	read    func() reading
	set     atomic.Pointer[setting] // nil before the first look: then the time is the machine's
}

// reading is what the machine's clocks show at one moment: the one on the wall, which may be set, and the one that only goes on, but
// may stand still while the machine is suspended.
type reading struct {
	wall    time.Time
	elapsed time.Duration
}

// since is how much time has passed, at least: of the two clocks the one that has gone on further. A lease that is thought to be over
// too early is renewed; one that is thought to hold for too long has a mail sent that others send as well.
func (r reading) since(earlier reading) time.Duration {
	return max(r.elapsed-earlier.elapsed, r.wall.Sub(earlier.wall))
}

// setting is the database's time at the moment of a reading.
type setting struct {
	at       reading
	database time.Time
}

func (s setting) now(r reading) time.Time { return s.database.Add(r.since(s.at)) }

// newClock returns a clock that goes by the machine's.
func newClock(machine func() time.Time) *clock {
	started := machine()
	return &clock{machine: machine, read: func() reading {
		t := machine()
		return reading{wall: t.Round(0), elapsed: t.Sub(started)} // Sub has no regard to the wall
	}}
}

func (c *clock) now() time.Time {
	if set := c.set.Load(); set != nil {
		return set.now(c.read())
	}
	return c.machine()
}

// ahead is how far the database's time is ahead of the one on the wall; 0 if it is not known.
func (c *clock) ahead() time.Duration {
	set := c.set.Load()
	if set == nil {
		return 0
	}
	r := c.read()
	return set.now(r).Sub(r.wall)
}

// look sets the clock by the database's time, which was read between two moments. Nobody knows when between them: what the clock showed
// stays as long as it may be true, so that a slow answer does it no harm.
func (c *clock) look(before reading, database time.Time, after reading) {
	took := after.since(before) + time.Millisecond // the time is in whole milliseconds
	now := database.Add(took / 2)
	if set := c.set.Load(); set != nil {
		now = set.now(after)
		if latest := database.Add(took); now.After(latest) {
			now = latest
		}
		if now.Before(database) {
			now = database
		}
	}
	c.set.Store(&setting{at: after, database: now})
}

// Now is the database's time as far as this process knows it: of the last call of Time, and what has passed since by the machine's
// clocks. Before the first one, and on SQLite, it is the machine's time.
func (s *Store) Now() time.Time { return s.clock.now() }

// ClockOffset is how far the database's time is ahead of the machine's; negative where it is behind, 0 while it is not known.
func (s *Store) ClockOffset() time.Duration { return s.clock.ahead() }

// Time asks the database for its time, and has Now go by it. It is exact to the time that the answer took.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	if s.engine == engineSQLite {
		return s.Now(), nil
	}
	err := s.query(ctx, "reading the database's time", func(db *gorm.DB) error {
		var row struct{ Now stamp }
		before := s.clock.read()
		if err := db.Raw("SELECT UTC_TIMESTAMP(3) AS `now`").Scan(&row).Error; err != nil {
			return err
		}
		s.clock.look(before, row.Now.Time, s.clock.read())
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return s.Now(), nil
}
