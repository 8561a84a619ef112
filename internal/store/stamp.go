package store

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// stampLayout is how a point in time is written: DATETIME(3) takes it, and as text it sorts by time.
const stampLayout = "2006-01-02 15:04:05.000"

// stamp is a column of points in time: UTC, milliseconds, the zero value is NULL.
type stamp struct{ time.Time }

// at returns the stamp of t; a zero t is NULL.
func at(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	return stamp{t.UTC().Truncate(time.Millisecond)}
}

// atPointer returns the stamp of *t; nil is NULL.
func atPointer(t *time.Time) stamp {
	if t == nil {
		return stamp{}
	}
	return at(*t)
}

// pointer returns the time, or nil for NULL.
func (s stamp) pointer() *time.Time {
	if s.IsZero() {
		return nil
	}
	return &s.Time
}

// Value implements driver.Valuer.
func (s stamp) Value() (driver.Value, error) {
	if s.IsZero() {
		return nil, nil // NULL
	}
	return s.Format(stampLayout), nil
}

// Scan implements sql.Scanner. Columns come as times, aggregates of SQLite as text.
func (s *stamp) Scan(source any) error {
	switch value := source.(type) {
	case nil:
		*s = stamp{}
		return nil
	case time.Time:
		*s = at(value)
		return nil
	case []byte:
		return s.parse(string(value))
	case string:
		return s.parse(value)
	default:
		return fmt.Errorf("reading a time: it is a %T", source)
	}
}

// parse also takes the form that JavaScript writes to SQLite.
func (s *stamp) parse(text string) error {
	for _, layout := range []string{time.DateTime, time.RFC3339} { // both read fractions of a second
		if t, err := time.Parse(layout, text); err == nil {
			*s = at(t)
			return nil
		}
	}
	return fmt.Errorf("reading a time: it is not one: %d characters", len(text))
}
