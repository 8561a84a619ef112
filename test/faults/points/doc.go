// Package points holds the tests that cut the real processes off at every failpoint, one at a time, and compare how it ends
// with a run that nobody disturbed. It has no code of its own.
package points
