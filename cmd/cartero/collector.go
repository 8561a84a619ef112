package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// garbageRoom is how much garbage may gather before it is collected, in bytes. A process that holds a few MB would
	// else collect every few ms under load, and look at the stacks of all connections each time.
	garbageRoom = 64 << 20
	// usualPercent is Go's default of GOGC.
	usualPercent = 100
)

// leaveRoom has the collector wait for garbageRoom where little is held; where much is, it works as it does by default.
// Whoever sets GOGC decides instead.
var leaveRoom = sync.OnceFunc(func() {
	if _, ok := os.LookupEnv("GOGC"); ok {
		return
	}
	adapt(usualPercent)
})

// adapt sets GOGC to what fits the memory that is held now, and again after each collection.
func adapt(last int) {
	held := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(held)
	percent := usualPercent
	if held[0].Value.Kind() == metrics.KindUint64 {
		percent = percentFor(held[0].Value.Uint64())
	}
	if math.Abs(float64(percent-last)) > float64(last)/8 { // setting it stops the world for a moment
		debug.SetGCPercent(percent)
		last = percent
	}
	runtime.SetFinalizer(new(collected), func(*collected) { adapt(last) })
}

// collected is garbage: its finalizer runs after each collection.
type collected struct{ _ [16]byte }

// percentFor is GOGC where this much is held.
func percentFor(held uint64) int {
	return max(usualPercent, int(garbageRoom*100/max(held, 1<<20)))
}
