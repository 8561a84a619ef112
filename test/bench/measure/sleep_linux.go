package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepUntil blocks the thread, precise to some 50 µs.
func sleepUntil(due time.Time) {
	for wait := time.Until(due); wait > 0; wait = time.Until(due) {
		spec := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&spec, nil) // cut short, it is made again
	}
}
