//go:build !failpoints

package failpoint

// Hit is called where a process may be cut off. It returns the error that the plan has for the place.
func Hit(Point) error { return nil }

// HitFor is Hit at a place that serves several purposes.
func HitFor(Point, string) error { return nil }

// Reach is Hit where no error is possible: what comes before can't fail any more, or nobody could be told.
func Reach(Point) {}

// After returns the error of the effect before the point; where it has none, that of the point.
func After(_ Point, err error) error { return err }
