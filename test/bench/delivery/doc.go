// Delivery measures how fast campaigns become mails, against a Node worker (Bull, Prisma, nodemailer) and Postfix's
// smtp-source: all of them to one SMTP sink, over the same number of connections and the same round trips, taking turns. A
// run counts only if the sink got exactly one mail for every recipient. docs/performance.md has its results.
//
//	make bench-delivery
//	make bench-delivery BENCH_FLAGS='-run "^0s/cartero" -rounds 1'
//	make bench-delivery BENCH_FLAGS='-docs docs -json bench.json'
package main
