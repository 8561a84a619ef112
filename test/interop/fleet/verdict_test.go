package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/redistest"
)

// attempts is what all jobs are added with.
const attempts = 2

// outcome is what became of a job, as its hash and the sets of finished jobs say.
type outcome struct {
	completed, failed  bool
	attempts, stalls   int
	finished, returned bool
}

// outcomes reads all of them.
func (f *fleet) outcomes(ids []string) map[string]outcome {
	f.Helper()
	ctx := f.Context()
	in := func(set string) map[string]bool {
		members, err := f.redis.ZRange(ctx, f.base+set, 0, -1).Result()
		if err != nil {
			f.Fatal(err)
		}
		all := make(map[string]bool, len(members))
		for _, id := range members {
			all[id] = true
		}
		return all
	}
	completed, failed := in("completed"), in("failed")
	all := make(map[string]outcome, len(ids))
	for chunk := range slices.Chunk(ids, 1000) {
		pipe := f.redis.Pipeline()
		cmds := make([]*redis.SliceCmd, len(chunk))
		for i, id := range chunk {
			cmds[i] = pipe.HMGet(ctx, f.base+id, "attemptsMade", "stalledCounter", "finishedOn", "returnvalue")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			f.Fatal(err)
		}
		for i, id := range chunk {
			v := cmds[i].Val()
			all[id] = outcome{
				completed: completed[id], failed: failed[id], attempts: number(v[0]), stalls: number(v[1]),
				finished: v[2] != nil, returned: v[3] != nil,
			}
		}
	}
	return all
}

func number(v any) int {
	text, _ := v.(string)
	n, _ := strconv.Atoi(text)
	return n
}

// wantEnds checks that each job ended as its id says, once.
func (f *fleet) wantEnds(ids []string, outcomes map[string]outcome) {
	f.Helper()
	wrong := 0
	for _, id := range ids {
		got := outcomes[id]
		want := outcome{completed: true, finished: true, returned: true, stalls: got.stalls}
		switch {
		case failsAlways(id):
			want = outcome{failed: true, finished: true, attempts: attempts, stalls: got.stalls}
		case failsOnce(id):
			want.attempts = 1
		}
		if got != want {
			if wrong++; wrong <= 5 {
				f.Errorf("job %s: %+v, want %+v; it ran %+v", id, got, want, f.runs()[id])
			}
		}
	}
	if wrong > 5 {
		f.Errorf("%d jobs of %d did not end as they should", wrong, len(ids))
	}
}

// wantNoStalls checks that no worker was taken for dead: none has died.
func (f *fleet) wantNoStalls(outcomes map[string]outcome, runs map[string][]run) {
	f.Helper()
	for id, o := range outcomes {
		if o.stalls > 0 {
			f.Errorf("job %s stalled, although nobody died: %+v; it ran %+v", id, o, runs[id])
		}
	}
}

// wantRuns checks that no job ran more often than its attempts and the deaths of its workers account for, and returns how
// many runs there were and how many of them those deaths have caused.
func (f *fleet) wantRuns(ids []string, outcomes map[string]outcome, runs map[string][]run) (all, again int) {
	f.Helper()
	wrong := 0
	for _, id := range ids {
		o, n := outcomes[id], len(runs[id])
		regular := o.attempts
		if o.completed {
			regular++
		}
		all += n
		again += max(n-regular, 0)
		// A worker may have died between taking a job and running it: then there are fewer.
		if n < 1 || n > regular+o.stalls || o.stalls == 0 && n != regular {
			if wrong++; wrong <= 5 {
				f.Errorf("job %s ran %d times: %+v, %+v", id, n, runs[id], o)
			}
		}
	}
	if wrong > 5 {
		f.Errorf("%d jobs ran too often, or too seldom", wrong)
	}
	return all, again
}

// wantNothingLeft checks that the queue holds finished jobs and nothing else: no lists, no locks, no limiter's sets.
func (f *fleet) wantNothingLeft(ids []string) {
	f.Helper()
	known := map[string]bool{"id": true, "completed": true, "failed": true, "stalled-check": true}
	for _, id := range ids {
		known[id] = true
	}
	// The last script of a job ends before its event is out, but a limiter's counter expires when it will.
	redistest.Eventually(f, "nothing is left over", func(ctx context.Context) error {
		var left []string
		server, err := f.server(ctx)
		if err != nil {
			return err
		}
		iter := server.Scan(ctx, 0, f.base+"*", 1000).Iterator()
		for iter.Next(ctx) {
			if name := strings.TrimPrefix(iter.Val(), f.base); !known[name] {
				left = append(left, name)
			}
		}
		if err := errors.Join(iter.Err()); err != nil || len(left) == 0 {
			return err
		}
		return fmt.Errorf("there are %q", left[:min(10, len(left))])
	})
}

// wantShares checks that both kinds of workers took more than a tenth of the runs.
func (f *fleet) wantShares(runs map[string][]run) {
	f.Helper()
	taken, all := map[string]int{}, 0
	for _, list := range runs {
		for _, r := range list {
			taken[r.kind]++
			all++
		}
	}
	for _, kind := range []string{"Go", "Node"} {
		if taken[kind] <= all/10 {
			f.Errorf("%s took %d of %d runs", kind, taken[kind], all)
		}
	}
	f.Logf("runs: %v", taken)
}
