// Package measure is what the benchmarks below test/bench have in common: flags, processes and what they cost, servers with
// databases of a run's own, SMTP sinks, numbers over rounds, and tables of them. Only benchmarks import it.
package measure
