package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// TestMain is Cartero's side of the benchmark when that starts this program again.
func TestMain(m *testing.M) { program.TestMain(m) }

// TestRun measures hardly anything, so that the benchmark works on the day it is wanted.
func TestRun(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Redis and Node.js")
	}
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts one")
	}
	file := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	tiny := size{add: time.Millisecond, one: 20, many: [2]int{100, 100}, samples: 20, gap: time.Millisecond}
	if err := run(t.Context(), []string{"-redis", url, "-rounds", "1", "-json", file}, &out, t.Output(), tiny); err != nil {
		t.Fatal(err)
	}

	var got report
	if err := measure.ReadJSON(file, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"add one after another", bestAdd, "process ×1", "process ×50", "process ×1, kept", "process ×50, kept",
		"latency p50", "latency p95", "latency p99", "latency across p50", "latency across p95", "latency across p99",
	}
	var names []string
	for _, row := range got.Rows {
		if row.Unit == unitCPU {
			continue
		}
		names = append(names, row.Name)
		if row.Peer.Median <= 0 || row.Ours.Median <= 0 {
			t.Errorf("%s was not measured on both sides: %+v, %+v", row.Name, row.Peer, row.Ours)
		}
		if !bytes.Contains(out.Bytes(), []byte(row.Name)) {
			t.Errorf("%s is missing in what was printed", row.Name)
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	rates := func(values ...float64) (all []sample) {
		for _, value := range values {
			all = append(all, sample{Rate: value})
		}
		return all
	}
	steps := []step{
		{name: "add a", kind: kindAdd, row: bestAdd},
		{name: "add b", kind: kindAdd, row: bestAdd},
	}
	found := samples{
		"add a": {rates(30, 10, 20), rates(40, 80, 60)},
		"add b": {rates(5, 50, 9), nil},
	}
	all, ways := rows(steps, found)
	want := row{
		Name: bestAdd, Unit: unitRate,
		Peer:  &series{measure.Series{Median: 20, Min: 10, Max: 30, Values: []float64{30, 10, 20}}, "a"},
		Ours:  &series{measure.Series{Median: 60, Min: 40, Max: 80, Values: []float64{40, 80, 60}}, "a"},
		Ratio: 3, Lowest: 40.0 / 30, Highest: 8, Target: "≥ 4.0", Met: false,
	}
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Errorf("best row (-want +got):\n%s", diff)
	}
	if len(ways) != 2 || ways[1].Ours != nil {
		t.Errorf("ways: %+v", ways)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	added, handled := map[string]int64{}, map[string]int64{}
	for i := range unmeasured + 100 {
		id := fmt.Sprint(i)
		added[id] = int64(i) * 1e6
		wait := 1e9 // what comes before counting
		if i >= unmeasured {
			wait = float64(i-unmeasured+1) * 1e6
		}
		handled[id] = added[id] + int64(wait)
	}
	want := sample{P50: 50, P95: 95, P99: 99}
	if diff := cmp.Diff(want, percentiles(added, handled)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"even rounds":     {"-redis", "redis://127.0.0.1", "-rounds", "2"},
		"stray argument":  {"-redis", "redis://127.0.0.1", "more"},
		"unknown flag":    {"-what"},
		"no Redis at all": {"-redis", ""},
	} {
		if _, err := parse(args, t.Output()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
