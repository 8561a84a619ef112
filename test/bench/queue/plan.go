package main

import (
	"fmt"
	"regexp"
	"time"
)

// side is whose program runs.
type side int

const (
	peer side = iota // npm bull
	ours             // Cartero
)

func (s side) String() string {
	if s == peer {
		return "bull"
	}
	return "Cartero"
}

// kind is what a step measures.
type kind string

const (
	kindAdd     kind = "add"
	kindProcess kind = "process"
	kindLatency kind = "latency"
)

// The ways of adding jobs that children know.
const (
	wayOne      = "one"
	wayPromises = "promises"
	wayBulk     = "bulk"
)

// bestAdd is the row that compares the best way of adding many jobs on either side.
const bestAdd = "add many, best way"

// step is one thing that is measured on one side or both.
type step struct {
	name string
	kind kind
	work [2]*work // by side; nil where the step is not measured
	// row is the row of the table that the step counts for, if not its own: the best of them stands there.
	row string
	// across: the other side handles what a side adds. Nobody is faster then, so there is no ratio.
	across bool
}

// work is what one side does in a step.
type work struct {
	request  request
	keep     bool // finished jobs stay
	consumer side // whose consumer takes the jobs: latency only
}

// target is the ratio of a row, ours to the peer's, that is meant.
type target struct {
	ratio  float64
	atMost bool
}

func (t target) met(ratio float64) bool {
	if t.atMost {
		return ratio <= t.ratio
	}
	return ratio >= t.ratio
}

func (t target) String() string {
	if t.ratio == 0 {
		return ""
	}
	if t.atMost {
		return fmt.Sprintf("≤ %.1f", t.ratio)
	}
	return fmt.Sprintf("≥ %.1f", t.ratio)
}

// size is how much each measurement does.
type size struct {
	add     time.Duration // how long jobs are added
	one     int           // jobs that are processed one at a time
	many    [2]int        // jobs that are processed fifty at a time, by side: both take about a second
	samples int           // latencies
	gap     time.Duration // between two of those
}

// standard makes a run of five rounds last some two minutes.
func standard() size {
	return size{add: 400 * time.Millisecond, one: 4000, many: [2]int{8000, 24000}, samples: 250, gap: 5 * time.Millisecond}
}

// unmeasured are the first samples of each latency measurement: connections and scripts are new then.
const unmeasured = 10

// plan lists the steps in the order of a round. Only those whose name matches are there.
func plan(s size, only *regexp.Regexp) []step {
	all := append(addSteps(s), processSteps(s)...)
	all = append(all, latencySteps(s)...)
	var chosen []step
	for _, step := range all {
		if only.MatchString(step.name) {
			chosen = append(chosen, step)
		}
	}
	return chosen
}

func addSteps(s size) []step {
	add := func(way string, size int) *work {
		return &work{request: request{Do: "add", Way: way, Size: size, Millis: s.add.Milliseconds()}}
	}
	return []step{
		{name: "add one after another", kind: kindAdd, work: [2]*work{add(wayOne, 1), add(wayOne, 1)}},
		{name: "add Promise.all ×100", kind: kindAdd, work: [2]*work{add(wayPromises, 100), nil}, row: bestAdd},
		{name: "add Promise.all ×1000", kind: kindAdd, work: [2]*work{add(wayPromises, 1000), nil}, row: bestAdd},
		{name: "add bulk ×100", kind: kindAdd, work: [2]*work{add(wayBulk, 100), add(wayBulk, 100)}, row: bestAdd},
		{name: "add bulk ×1000", kind: kindAdd, work: [2]*work{add(wayBulk, 1000), add(wayBulk, 1000)}, row: bestAdd},
	}
}

func processSteps(s size) []step {
	var steps []step
	for _, keep := range []bool{false, true} {
		for _, concurrency := range []int{1, 50} {
			name := fmt.Sprintf("process ×%d", concurrency)
			if keep {
				name += ", kept"
			}
			step := step{name: name, kind: kindProcess}
			for _, side := range []side{peer, ours} {
				count := s.one
				if concurrency > 1 {
					count = s.many[side]
				}
				step.work[side] = &work{keep: keep, request: request{Do: "run", Concurrency: concurrency, Count: count}}
			}
			steps = append(steps, step)
		}
	}
	return steps
}

func latencySteps(s size) []step {
	add := func(consumer side) *work {
		return &work{consumer: consumer, request: request{Do: "trickle", Count: s.samples + unmeasured, Gap: s.gap.Milliseconds()}}
	}
	return []step{
		{name: "latency", kind: kindLatency, work: [2]*work{add(peer), add(ours)}},
		{name: "latency across", kind: kindLatency, work: [2]*work{add(ours), add(peer)}, across: true},
	}
}

// targets are the ratios that Cartero means to reach, by row.
func targets() map[string]target {
	return map[string]target{
		bestAdd:             {ratio: 4},
		"process ×1":        {ratio: 1.3},
		"process ×50":       {ratio: 3},
		"process ×1, kept":  {ratio: 1.3},
		"process ×50, kept": {ratio: 3},
		"latency p99":       {ratio: 1, atMost: true},
	}
}
