// Command soak breaks Cartero at random, for as long as it is told to: operators, workers and facade with campaigns that
// come, are suspended, deleted and applied again, and with single mails whose requests are made again until they are
// answered, on a real API server, MariaDB, Redis, and a relay with a book. Every few seconds something is killed, stopped, cut
// or emptied. Then all is mended, and when nothing happens any more package check judges what is left.
//
//	make test-soak SOAK_FLAGS='-seed 1 -duration 5m -keep DIR'
//
// The same seed makes the same choices; how they meet the processes is up to the machine. It runs TestSoak of this package,
// which `make test` has for some seconds.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

func main() {
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "`number` that decides what is done")
	duration := flag.Duration("duration", 5*time.Minute, "how long things break")
	keep := flag.String("keep", "", "`directory` for the history, the book, the outputs and the rest that is judged; none unless set")
	flag.Parse()
	test := exec.Command("go", "test", "-run=^TestSoak$", "-count=1", "-v", "-timeout", (*duration + 15*time.Minute).String(),
		"./test/faults/soak", "-args", "-soak.seed="+strconv.FormatUint(*seed, 10), "-soak.duration="+duration.String(), "-soak.keep="+*keep)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	if err := test.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}
