//go:build !linux

package measure

import "time"

// sleepUntil is as precise as a timer.
func sleepUntil(due time.Time) { time.Sleep(time.Until(due)) }
