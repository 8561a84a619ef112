package main

import (
	"bufio"
	"fmt"
	"io"
)

// replies are those of a server that agrees to everything.
type replies struct{ lines *bufio.Reader }

func newReplies(r io.Reader) replies { return replies{bufio.NewReader(r)} }

// await reads so many replies; one that is no 2yz or 3yz is an error.
func (r replies) await(n int) error {
	for n > 0 {
		line, err := r.lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading a reply: %w", err)
		}
		if len(line) < 5 || line[0] != '2' && line[0] != '3' {
			return fmt.Errorf("the sink replied %q", line)
		}
		if line[3] != '-' {
			n--
		}
	}
	return nil
}
