// Command generate writes the recipient list of the samples to the file that it is given.
package main

import (
	"fmt"
	"os"

	"github.com/cartero-mail/cartero/internal/samples"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], samples.List(), 0o644); err != nil { //nolint:gosec // a file of the repository
		fmt.Fprintln(os.Stderr, "writing the list:", err)
		os.Exit(1)
	}
}
