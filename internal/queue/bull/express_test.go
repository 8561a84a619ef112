package bull

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// betweenLooks is a time at which the consumer does not look out.
const betweenLooks = 10*time.Second + expressInterval/2

// expressRun is a consumer of a test. A job takes as long as its data says.
type expressRun struct {
	*bubble
	stop func()

	mu   sync.Mutex
	runs []string
}

func newExpressRun(t *testing.T, consumer Consumer) *expressRun {
	t.Helper()
	e := &expressRun{bubble: newBubble(t, Config{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	consumer.Queue, consumer.Logger = e.queue, slog.New(slog.NewTextHandler(&e.log, nil))
	consumer.Handler = func(_ context.Context, d *Delivery) (any, error) {
		begin := time.Now()
		e.note("begin " + d.ID)
		var data struct{ Takes time.Duration }
		err := json.Unmarshal(d.Data, &data)
		<-time.After(data.Takes - time.Since(begin))
		e.note("end " + d.ID)
		return nil, err
	}
	go func() { done <- consumer.Run(ctx) }()
	e.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
	return e
}

func (e *expressRun) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = append(e.runs, what)
}

func (e *expressRun) addFor(t *testing.T, id string, priority int, takes time.Duration) {
	t.Helper()
	job := Job{ID: id, Data: fmt.Appendf(nil, `{"takes":%d}`, takes), Opts: Opts{Priority: priority}}
	if _, err := e.queue.Add(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

func (e *expressRun) expect(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if diff := cmp.Diff(want, e.runs); diff != "" {
		t.Errorf("what the handlers did (-want +got):\n%s", diff)
	}
}

// TestExpressRunsBesideLongJobs: jobs with a priority run while all slots are taken, one after the other in their order,
// and no other job takes their slot. Those with the first priority are not held up by others.
func TestExpressRunsBesideLongJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExpressRun(t, Consumer{Concurrency: 1, Express: 1})
		e.addFor(t, "long", 0, time.Minute)
		<-time.After(betweenLooks)
		e.addFor(t, "next", 0, time.Second)
		e.addFor(t, "c", 3, time.Second)
		e.addFor(t, "b", 2, 5*time.Second)
		<-time.After(2 * time.Second)
		e.addFor(t, "a1", 1, time.Second)
		e.addFor(t, "a2", 1, time.Second)
		<-time.After(8 * time.Second)
		done := []string{
			"begin long", "begin b", "begin a1", "end a1", "begin a2", "end a2", "end b", "begin c", "end c",
		}
		e.expect(t, done...)
		e.wantState(t, "next", StateWaiting)
		e.wantState(t, "b", StateCompleted)
		if left, _ := e.ZMembers("bull:email-queue:priority"); len(left) > 0 {
			t.Errorf("priorities of %v are left", left)
		}
		<-time.After(2 * time.Minute)
		e.expect(t, append(done, "end long", "begin next", "end next")...)
		e.stop()
	})
}

// TestExpressLeavesFreeSlotsTheirJobs: while a slot is free, nothing runs beyond Concurrency.
func TestExpressLeavesFreeSlotsTheirJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExpressRun(t, Consumer{Concurrency: 2, Express: 2})
		e.addFor(t, "long", 0, time.Minute)
		<-time.After(betweenLooks)
		e.addFor(t, "a", 1, 10*time.Second)
		<-time.After(time.Second)
		e.addFor(t, "waits", 0, time.Second)
		<-time.After(5 * time.Second)
		e.expect(t, "begin long", "begin a")
		<-time.After(20 * time.Second)
		e.expect(t, "begin long", "begin a", "end a", "begin waits", "end waits")
		<-time.After(2 * time.Minute)
		e.stop()
	})
}

// TestExpressLooksPastWhatWasGivenBack: a job without a priority that is the next to run does not hide those with one.
func TestExpressLooksPastWhatWasGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExpressRun(t, Consumer{Concurrency: 1, Express: 1})
		e.addFor(t, "long", 0, time.Minute)
		<-time.After(betweenLooks)
		e.addFor(t, "back", 0, time.Second)
		e.addFor(t, "a", 1, time.Second)
		if _, err := e.Lpop("bull:email-queue:wait"); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Push("bull:email-queue:wait", "back"); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		e.expect(t, "begin long", "begin a", "end a")
		e.wantState(t, "back", StateWaiting)
		<-time.After(2 * time.Minute)
		e.stop()
	})
}

// TestExpressStops: a consumer that stops waits for the express job, takes no further one, and leaves none active.
func TestExpressStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExpressRun(t, Consumer{Concurrency: 1, Express: 1, Grace: time.Hour})
		e.addFor(t, "long", 0, 30*time.Second)
		<-time.After(betweenLooks)
		e.addFor(t, "a1", 1, 10*time.Second)
		e.addFor(t, "a2", 1, time.Second)
		<-time.After(5 * time.Second)
		e.stop()
		e.expect(t, "begin long", "begin a1", "end a1", "end long")
		e.wantState(t, "a1", StateCompleted)
		e.wantState(t, "a2", StateWaiting)
		if active, _ := e.List("bull:email-queue:active"); len(active) > 0 {
			t.Errorf("%v are left active", active)
		}
	})
}

// TestExpressSurvivesAnOutage: while Redis is away nothing is taken, and the look-out goes on.
func TestExpressSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExpressRun(t, Consumer{Concurrency: 1, Express: 1})
		e.addFor(t, "long", 0, time.Minute)
		<-time.After(betweenLooks)
		e.addFor(t, "a", 1, time.Second)
		e.SetError("LOADING gone")
		<-time.After(5 * time.Second)
		e.expect(t, "begin long")
		e.SetError("")
		<-time.After(5 * time.Second)
		e.expect(t, "begin long", "begin a", "end a")
		<-time.After(2 * time.Minute)
		e.stop()
	})
}
