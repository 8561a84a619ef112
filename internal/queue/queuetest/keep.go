package queuetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/queue/bull"
)

// keepRules are removeOnComplete and removeOnFail in all forms, and which of the jobs 1 (finished 2 s before), 2 (1 s
// before) and now remain.
var keepRules = []struct {
	rule string
	left list
}{
	{`true`, list{"1", "2"}},
	{`0`, list{"1", "2"}},
	{`{"count":0}`, list{"1", "2"}},
	{`1`, list{"now"}},
	{`2`, list{"2", "now"}},
	{`{"count":2}`, list{"2", "now"}},
	{`{"age":0}`, list{"1", "2"}},
	{`{"age":0,"count":5}`, list{"1", "2"}},
	{`{"age":1}`, list{"now"}},
	{`{"age":1.5}`, list{"2", "now"}},
	{`{"age":2}`, list{"2", "now"}},
	{`{"age":3}`, list{"1", "2", "now"}},
	{`{"age":3,"count":1}`, list{"now"}},
	{`false`, list{"1", "2", "now"}},
	{`null`, list{"1", "2", "now"}},
	{`"what"`, list{"1", "2", "now"}},
	{`-1`, list{"1", "2", "now"}},
}

// seedKeep seeds one of the rules; the job is waiting.
func (f *fixture) seedKeep(t *testing.T, kind, option, rule string) {
	for _, key := range f.scan(t.Context(), t) {
		f.redis.Del(t.Context(), key)
	}
	f.seed(t, dump{
		kind: zset{"1": float64(start - 2000), "2": float64(start - 1000)}, "wait": list{"now"},
		"1": job(nil), "1:logs": list{"l"}, "2": job(nil), "2:logs": list{"l"}, "now:logs": list{"l"},
		"now": job(hash{"opts": fmt.Sprintf(`{"attempts":1,"%s":%s}`, option, rule)}),
	})
}

// wantKept checks that exactly these jobs are left, with hash, log and place.
func (f *fixture) wantKept(t *testing.T, kind, rule string, ids list) {
	t.Helper()
	got, want, finished := f.dump(t), map[string]bool{}, zset{}
	times := zset{"1": float64(start - 2000), "2": float64(start - 1000), "now": float64(start)}
	for _, id := range ids {
		want[id], want[id+":logs"] = true, true
		finished[id] = times[id]
	}
	want[kind] = true
	delete(got, "stalled-check")
	names := map[string]bool{}
	for name := range got {
		names[name] = true
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s: keys (-want +got):\n%s", rule, diff)
	}
	if diff := cmp.Diff(finished, got[kind]); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s", rule, kind, diff)
	}
}

func testCompleteKeeps(t *testing.T, f *fixture) {
	for _, test := range keepRules {
		f.seedKeep(t, "completed", "removeOnComplete", test.rule)
		if _, err := f.queue.Complete(t.Context(), f.take(t, "now"), nil, false); err != nil {
			t.Fatal(err)
		}
		f.wantKept(t, "completed", test.rule, test.left)

		f.seedKeep(t, "failed", "removeOnFail", test.rule)
		if final, err := f.queue.Fail(t.Context(), f.take(t, "now"), errors.New("no")); err != nil || !final {
			t.Fatal(final, err)
		}
		f.wantKept(t, "failed", test.rule, test.left)
	}
}

func testCheckStalledKeeps(t *testing.T, f *fixture) {
	strict := f.open(t, func(c *bull.Config) { c.MaxStalledCount = -1 })
	for _, test := range keepRules {
		f.seedKeep(t, "failed", "removeOnFail", test.rule)
		f.take(t, "now")
		f.redis.Del(t.Context(), f.base+"now:lock")
		f.sweep(t, strict)
		if diff := cmp.Diff([]string{"now"}, f.sweep(t, strict).Failed); diff != "" {
			t.Errorf("%s: failed (-want +got):\n%s", test.rule, diff)
		}
		f.wantKept(t, "failed", test.rule, test.left)
	}
}
