package outbox_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
)

// TestWindow: few jobs of a campaign are rung at a time, the first of them before others, and one more for each that is
// taken, without waiting for the next sweep.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{due: []campaign.DueJob{
			{ID: "a", First: true}, {ID: "b"}, {ID: "mail", Priority: 1, First: true}, {ID: "c"}, {ID: "d"}, {ID: "e"}, {ID: "f"},
		}}
		o, err := outbox.New(outbox.Config{Store: m, Queue: m, SweepInterval: time.Hour, Window: 3})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		expect := func(want ...outbox.Ring) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, m.rung); diff != "" {
				t.Errorf("rung (-want +got):\n%s", diff)
			}
		}
		rung := []outbox.Ring{{BullID: "a", JobID: "a", Priority: 2}, {BullID: "b", JobID: "b"}, {BullID: "mail", JobID: "mail", Priority: 1}}
		expect(rung...)
		m.due = m.due[:1] // what the store would return, one having been taken
		o.Taken("growth/launch")
		expect(append(rung, outbox.Ring{BullID: "c", JobID: "c"})...)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, window := range m.windows {
			if window != 3 {
				t.Errorf("the window was %d", window)
			}
		}
	})
}

// TestNoWindow: without one, what is taken makes no difference, and a first job is like any other.
func TestNoWindow(t *testing.T) {
	t.Parallel()
	m := &memory{due: []campaign.DueJob{{ID: "a", First: true}}}
	o := newOutbox(t, m)
	o.Taken("growth/launch")
	if err := o.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]outbox.Ring{{BullID: "a", JobID: "a"}}, m.rung); diff != "" || m.windows != nil {
		t.Errorf("rung (-want +got):\n%s", diff)
	}
}
