// Package worker sends campaigns: it claims recipients of a job, announces them in the database right before they are
// sent, hands them to the relay, and writes down what became of each. docs/worker.md has the argument why a crash at
// any point loses nobody and mails nobody twice.
//
// The parts: the executor runs one job; the deliverers send one mail at a time each; decide turns a verdict into a
// result; the journal remembers across a crash what went out; the reporter writes results in groups; the leases are
// kept alive by one goroutine, and another ends those of workers that died.
package worker
