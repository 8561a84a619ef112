package fleet

import (
	"bufio"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestLimitedFleet is case 39: all workers share one limiter, whose counter allows so many starts, and whose windows don't
// overlap. Both are judged by what Redis did, and when, by its own clock.
func TestLimitedFleet(t *testing.T) {
	needsServers(t)
	t.Parallel()
	const jobs, maximum, window = 100, 10, 500 * time.Millisecond
	server := redistest.Start(t)
	f := newFleet(t, settings{
		URL: server.URL(), GuardMS: 100, Limiter: &limiter{Max: maximum, Duration: window.Milliseconds()},
	})
	f.joinFour()
	stop := monitor(t, server.Addr())
	ids := f.produceBoth(jobs)
	f.awaitFinished(len(ids))
	lines := stop()

	var opened, starts []time.Duration // times of Redis
	var perWindow []int
	for _, line := range lines {
		parts := monitored.FindStringSubmatch(strings.ToLower(line))
		if parts == nil {
			continue
		}
		seconds, err := strconv.ParseFloat(parts[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Duration(seconds * float64(time.Second))
		switch name, key := parts[2], strings.TrimPrefix(parts[3], f.base); {
		case key == "limiter" && (name == "set" || name == "psetex"): // ours, and Bull's
			opened, perWindow = append(opened, at), append(perWindow, 1)
		case key == "limiter" && name == "incr":
			perWindow[len(perWindow)-1]++
		case name == "publish" && strings.HasPrefix(key, "active@"):
			starts = append(starts, at)
		}
	}
	outcomes, runs := f.outcomes(ids), f.runs()
	f.wantEnds(ids, outcomes)
	all, _ := f.wantRuns(ids, outcomes, runs)
	f.wantNoStalls(outcomes, runs)
	f.wantNothingLeft(ids)
	counted := 0
	for i, n := range perWindow {
		// In the last millisecond of a window Bull's arithmetic finds nothing left to wait for, and lets one more start.
		if counted += n; n > maximum+1 {
			t.Errorf("window %d counted %d starts, want at most %d", i, n, maximum+1)
		}
		// Redis expires by the millisecond in which a script began.
		if i > 0 && opened[i]-opened[i-1] < window-5*time.Millisecond {
			t.Errorf("window %d began %s after the one before", i, opened[i]-opened[i-1])
		}
	}
	if counted != all || len(starts) != all {
		t.Errorf("%d runs, of which %d were counted and %d announced: one went past the limiter", all, counted, len(starts))
	}
	t.Logf("%d windows, at most %d starts within any %s", len(perWindow), most(starts, window), window)
}

// monitored is a line of MONITOR: the time, who, the command and its first argument.
var monitored = regexp.MustCompile(`^\+([0-9.]+) \[[^\]]*\] "([a-z]+)" "([^"]*)"`)

// most is how many starts there were within any stretch of this length, at most.
func most(starts []time.Duration, within time.Duration) int {
	highest, first := 0, 0
	for i, at := range starts {
		for at-starts[first] >= within {
			first++
		}
		highest = max(highest, i-first+1)
	}
	return highest
}

// monitor records all that Redis does, what scripts do included, from now on.
func monitor(t *testing.T, addr string) (stop func() []string) {
	t.Helper()
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, 16<<20)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("MONITOR answered %q", lines.Text())
	}
	var all []string
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines.Scan() {
			all = append(all, lines.Text())
		}
	})
	return func() []string {
		_ = c.Close()
		reading.Wait()
		return all
	}
}
