package campaign

import (
	"testing"
	"time"
)

// TestRunnable: a job is taken if its campaign is sealed, and neither cancelled, held, suspended nor closed.
func TestRunnable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	before, after := now.Add(-time.Minute), now.Add(time.Minute)
	for name, test := range map[string]struct {
		change func(*Job)
		want   bool
	}{
		"as it is":             {func(*Job) {}, true},
		"not sealed":           {func(j *Job) { j.Sealed = false }, false},
		"cancelled":            {func(j *Job) { j.Cancelled = true }, false},
		"held":                 {func(j *Job) { j.Hold = &Hold{Until: after} }, false},
		"the hold is over":     {func(j *Job) { j.Hold = &Hold{Until: now} }, true},
		"suspended":            {func(j *Job) { j.Control.Suspended = true }, false},
		"not open yet":         {func(j *Job) { j.Control.OpensAt = after }, false},
		"open":                 {func(j *Job) { j.Control.OpensAt, j.Control.ClosesAt = before, after }, true},
		"closed":               {func(j *Job) { j.Control.ClosesAt = before }, false},
		"too late to start":    {func(j *Job) { j.Control.StartBefore = before }, false},
		"started in time":      {func(j *Job) { j.Control.StartBefore, j.Started = before, true }, true},
		"time enough to start": {func(j *Job) { j.Control.StartBefore = after }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := Job{Sealed: true}
			test.change(&job)
			if got := job.Runnable(now); got != test.want {
				t.Errorf("runnable: %t, want %t", got, test.want)
			}
		})
	}
}
