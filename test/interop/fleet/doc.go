// Package fleet is a test: Cartero's workers and Bull's, each a process of its own, on one queue, while processes are
// killed, Redis is restarted or fails over, clocks are wrong and a limiter holds. The Redis servers are its own.
package fleet
