// Messages measures what a campaign is made of: lists (a million rows read, and written to MariaDB and Redis, against a
// bare LOAD DATA of the same rows), and messages (mails rendered, against libraries). docs/benchmarks.md says how to read what it prints.
//
//	make bench-messages
//	make bench-messages BENCH_FLAGS='-run lists -rounds 5 -json bench.json'
package main
