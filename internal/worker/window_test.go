package worker

import (
	"slices"
	"testing"
	"time"
)

// TestWindowsFollowTheRelay: they grow to what the relay takes in windowTime, and never beyond the bounds.
func TestWindowsFollowTheRelay(t *testing.T) {
	t.Parallel()
	const fast, even, slow = windowTime / 10, windowTime * 3 / 4, windowTime * 2
	r := &run{w: &Worker{cfg: Config{Window: 80, MaxWindow: 400}}, window: 80}
	var got, next []int
	now := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		handed int
		took   time.Duration
	}{{80, even}, {80, fast}, {160, fast}, {1, fast}, {320, fast}, {400, fast}, {400, slow}, {200, even}, {200, slow}, {100, slow}, {80, slow}} {
		r.adapt(step.handed, step.took, now)
		got = append(got, r.window)
		next = append(next, r.w.lastWindow.first(80, now.Add(windowMemory)))
	}
	if want := []int{80, 160, 320, 320, 400, 400, 200, 200, 100, 80, 80}; !slices.Equal(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
	if !slices.Equal(next, got) {
		t.Errorf("runs that come next begin with windows of %v, want %v", next, got)
	}
	r.adapt(80, fast, now)
	if first := r.w.lastWindow.first(80, now.Add(windowMemory+1)); first != 80 {
		t.Errorf("a run that comes much later begins with a window of %d, want 80", first)
	}
	fixed := &run{w: &Worker{cfg: Config{Window: 8, MaxWindow: 8}}, window: 8}
	if fixed.adapt(8, fast, now); fixed.window != 8 {
		t.Errorf("a window that may not grow is %d", fixed.window)
	}
}
