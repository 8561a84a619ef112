// Queue measures Cartero's queue against npm bull: both in one run, on one Redis, each in processes of its own, taking
// turns. docs/benchmarks.md says how to read what it prints.
//
//	make bench-queue
//	make bench-queue BENCH_FLAGS='-rounds 9 -json bench.json'
//	make bench-queue BENCH_FLAGS='-run "process.*50" -cpuprofile cpu.out'
package main
