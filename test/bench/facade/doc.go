// Facade measures Cartero's HTTP facade against a Python service of the kind that it replaces (package peer): both in one
// run, with one SMTP sink, under the same open-loop load, taking turns. docs/benchmarks.md says how to read what it prints.
//
//	make bench-facade
//	make bench-facade BENCH_FLAGS='-rounds 5 -json bench.json'
//	make bench-facade BENCH_FLAGS='-run send_async -worker'
package main
