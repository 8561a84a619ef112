package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PeakMemory is the most that the process had resident so far, in bytes.
func (p *Process) PeakMemory() int64 {
	p.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Fatalf("Reading what cartero %s takes: %v", p.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				p.tb.Fatalf("Reading what cartero %s takes: %v", p.name, err)
			}
			return kilobytes << 10
		}
	}
	p.tb.Fatalf("The system does not tell what cartero %s takes", p.name)
	return 0
}
