// Package check judges a run after it: from what is left behind alone, it says which of the invariants does not hold, and
// for whom. `go run ./test/faults/check/judge` is the same as a program. It names ids, keys of campaigns, and places in
// files, never an address.
//
//   - I1, nobody is lost: whoever is on a list that was taken has a row, every row has come to an end, and whoever counts as
//     sent has at least one accepted mail. What was answered with 202 is in the database.
//   - I2, nobody twice: a mail was accepted at most once, and once more for each time that it was accepted without the reply
//     having certainly been delivered, where the campaign asks for that (spec.retry.inDoubt: Retry). Every accepted mail
//     belongs to a row, and went to that row's address. One Idempotency-Key is one job.
//   - I3, nothing is made up: who has an accepted mail is sent, or in doubt if the reply may have been lost; never failed,
//     bounced, cancelled or still waiting. The legacy columns say the same.
//   - I4, nothing is maimed: each accepted mail is, to the octet, what composing it anew gives.
//   - I5, it comes to rest: once nothing happens any more, no object of the API changes, each has ended, and its status is
//     about its last generation.
//   - I6, the counts are true: in every status that was seen the states add up to the total, and no end is taken back;
//     the last one, and the counters of the jobs, are those of the rows.
//   - I7, nothing is told: none of the secrets (addresses, a password, a body) is in an output, a status, an event or the queue.
//   - I8, nothing is left: no entry of the queue, no lease, no journal, no object that waits for its finalizer.
package check
