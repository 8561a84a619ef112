//go:build failpoints

package failpoint

import "os"

// process goes by the environment.
var process = fromEnvironment()

func fromEnvironment() *Injector {
	steps, err := Parse(os.Getenv("FAILPOINTS"))
	if err != nil {
		panic(err)
	}
	injector, err := NewInjector(steps, os.Getenv("FAILPOINTS_DIR"))
	if err != nil {
		panic(err)
	}
	return injector
}

// Hit is called where a process may be cut off. It returns the error that the plan has for the place.
func Hit(p Point) error { return process.Hit(p, "") }

// HitFor is Hit at a place that serves several purposes.
func HitFor(p Point, detail string) error { return process.Hit(p, detail) }

// Reach is Hit where no error is possible: what comes before can't fail any more, or nobody could be told.
func Reach(p Point) { _ = process.Hit(p, "") }

// After returns the error of the effect before the point; where it has none, that of the point.
func After(p Point, err error) error {
	if err != nil {
		return err
	}
	return process.Hit(p, "")
}
