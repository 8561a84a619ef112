package main

import (
	"fmt"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// request is one line that a child reads. Which fields count depends on Do; test/interop/bench/queue.js answers the same.
type request struct {
	Do    string `json:"do"`
	Queue string `json:"queue,omitempty"`
	// Way is how jobs are added (one, promises, bulk), Size how many at a time, Millis for how long.
	Way    string `json:"way,omitempty"`
	Size   int    `json:"size,omitempty"`
	Millis int64  `json:"millis,omitempty"`
	// Count is the number of jobs, Concurrency how many run at a time, Gap the milliseconds between two adds.
	Count       int   `json:"count,omitempty"`
	Concurrency int   `json:"concurrency,omitempty"`
	Gap         int64 `json:"gap,omitempty"`
}

// reply is one line that a child writes.
type reply struct {
	Jobs    int     `json:"jobs"`
	Seconds float64 `json:"seconds"`
	// CPU is the processor time of the child, in seconds.
	CPU float64 `json:"cpu"`
	// Times are moments by job id, in ns of the machine's monotonic clock, which is the same in all processes.
	Times   map[string]int64 `json:"times,omitempty"`
	Version string           `json:"version,omitempty"`
}

// oursChild is the process of Cartero's side.
const oursChild = "queue"

// What a child is told through its environment.
const (
	envRedis   = "BENCH_REDIS_URL"
	envPrefix  = "BENCH_PREFIX"
	envProfile = "BENCH_CPUPROFILE"
)

// do sends a request and waits for its reply.
func do(c *measure.Child, r request) (answer reply, err error) {
	if err := c.Ask(r, &answer); err != nil {
		return reply{}, fmt.Errorf("to %s: %w", r.Do, err)
	}
	return answer, nil
}
