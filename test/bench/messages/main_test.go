package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/bench/measure"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestMain is what is measured when a measurement starts this program again.
func TestMain(m *testing.M) { program.TestMain(m) }

// TestLists measures hardly anything, so that the benchmark works on the day it is wanted.
func TestLists(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs MariaDB and Redis")
	}
	services := harness.RealServices(t)
	file := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	args := []string{
		"-database", services.DatabaseURL, "-redis", services.RedisURL, "-run", "^lists$", "-rows", "2500", "-rounds", "1",
		"-cartero", "", "-json", file,
	}
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := measure.ReadJSON(file, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) < 10 {
		t.Errorf("%d rows", len(got.Rows))
	}
	for _, row := range got.Rows {
		if row.Part != "lists" || len(row.Values) != 1 || row.Median < 0 {
			t.Errorf("row %+v", row)
		}
		if !bytes.Contains(out.Bytes(), []byte(row.Name)) {
			t.Errorf("%s is missing in what was printed", row.Name)
		}
	}
}

func TestNewRow(t *testing.T) {
	t.Parallel()
	got := []row{newRow("a", "s", 2, []float64{3, 1, 2}), newRow("b", "s", 1.9, []float64{3, 1, 2}), newRow("c", "s", 0, nil)}
	three := measure.Series{Values: []float64{3, 1, 2}, Median: 2, Min: 1, Max: 3}
	want := []row{
		{Name: "a", Unit: "s", Series: three, Target: 2, Met: true},
		{Name: "b", Unit: "s", Series: three, Target: 1.9},
		{Name: "c", Unit: "s", Met: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"even rounds":    {"-rounds", "2"},
		"no rows":        {"-rows", "0"},
		"stray argument": {"more"},
		"unknown flag":   {"-what"},
	} {
		if _, err := parse(args, t.Output()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
