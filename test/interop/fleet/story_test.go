package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// TestSkewedFleet is case 47: clocks that are two seconds wrong make delayed jobs run two seconds early or late, and lose
// none.
func TestSkewedFleet(t *testing.T) {
	needsServers(t)
	t.Parallel()
	const jobs, delay, skew = 200, 2_500, 2_000 // ms
	f := newFleet(t, settings{URL: redistest.Start(t).URL(), GuardMS: 200})
	f.join("go-ahead", ours, func(s *settings) { s.SkewMS = skew })
	f.join("go-behind", ours, func(s *settings) { s.SkewMS = -skew })
	f.await(2)
	added := time.Now().UnixMilli()
	lateJS := maps.Clone(retriesJS)
	lateJS["delay"] = delay
	wait := f.produceNode(nodeNew, "node", batch{Count: jobs, Opts: lateJS})
	late := retries
	late.Delay = delay * time.Millisecond
	ids := f.produceGo("go", jobs, late)
	ids = append(ids, wait()...)
	f.awaitFinished(len(ids))

	outcomes, runs := f.outcomes(ids), f.runs()
	f.wantEnds(ids, outcomes)
	f.wantRuns(ids, outcomes, runs)
	f.wantNoStalls(outcomes, runs)
	f.wantNothingLeft(ids)
	for _, id := range ids {
		if early := added + delay - runs[id][0].at; early > skew {
			t.Errorf("job %s ran %d ms early, more than the clocks are wrong", id, early)
		}
	}

	// A fleet whose clocks are behind is late, and no more.
	f.members[0].kill()
	more := f.produceGo("more", jobs, late)
	f.awaitFinished(len(ids) + len(more))
	f.wantEnds(more, f.outcomes(more))
}

// TestPausedFleet is a pause under load: once what runs has ended, nothing starts until the queue is resumed, and nothing
// is lost over it.
func TestPausedFleet(t *testing.T) {
	needsServers(t)
	t.Parallel()
	const jobs = 3_000
	f := newFleet(t, settings{URL: redistest.Start(t).URL(), WorkMS: 4})
	f.joinFour()
	ids := f.produceAhead(jobs)
	for i := range 4 {
		f.awaitFinished((i + 1) * jobs / 6)
		if err := f.queue.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "what runs has ended", func(ctx context.Context) error {
			c, err := f.queue.Counts(ctx)
			if err == nil && c.Active > 0 {
				err = fmt.Errorf("%d jobs are active", c.Active)
			}
			return err
		})
		before := len(slices.Concat(slices.Collect(maps.Values(f.runs()))...))
		ids = append(ids, f.produceGo("paused"+strconv.Itoa(i), 100, retries)...)
		if n, err := f.redis.Exists(t.Context(), f.base+"wait").Result(); err != nil || n > 0 {
			t.Errorf("wait exists while the queue is paused: %d, %v", n, err)
		}
		if after := len(slices.Concat(slices.Collect(maps.Values(f.runs()))...)); after != before {
			t.Errorf("%d runs began while the queue was paused", after-before)
		}
		if err := f.queue.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitFinished(len(ids))
	outcomes, runs := f.outcomes(ids), f.runs()
	f.wantEnds(ids, outcomes)
	f.wantRuns(ids, outcomes, runs)
	f.wantNoStalls(outcomes, runs)
	f.wantNothingLeft(ids)
}
