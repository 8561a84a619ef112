package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/bench/measure"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestMain is the SMTP sink when the benchmark starts this program again.
func TestMain(m *testing.M) { program.TestMain(harness.Guarded(m)) }

// TestRun measures hardly anything, so that the benchmark works on the day it is wanted.
func TestRun(t *testing.T) {
	t.Parallel()
	cartero, services := harness.Binary(t), harness.RealServices(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "bench.json")
	var out bytes.Buffer
	args := []string{
		"-cartero", cartero, "-database", services.DatabaseURL, "-redis", services.RedisURL, "-dir", dir, "-rounds", "1",
		"-window", "300ms", "-conns", "4", "-worker", "-json", file,
	}
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := measure.ReadJSON(file, &got); err != nil {
		t.Fatal(err)
	}
	for _, row := range got.Rows[:6] { // processor time has a grain of 10 ms
		for i, s := range row.Sides {
			if s == nil || s.Median <= 0 {
				t.Errorf("%s, %s: not measured", row.Name, side(i))
			}
		}
		if !strings.Contains(out.String(), row.Name) {
			t.Errorf("%s is missing in what was printed", row.Name)
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	rates := func(values ...float64) (all []sample) {
		for _, value := range values {
			all = append(all, sample{Rate: value, P99: 10 / value})
		}
		return all
	}
	table := rows([]endpoint{send}, found{send.path: {rates(2, 1, 4), rates(20, 10, 30), rates(3, 1, 2)}})
	want := row{
		Section: sectionRate, Name: "/send", Target: 8,
		Sides: [sides]*series{
			{measure.Series{Median: 2, Min: 1, Max: 4, Values: []float64{2, 1, 4}}, 1},
			{measure.Series{Median: 20, Min: 10, Max: 30, Values: []float64{20, 10, 30}}, 10},
			{measure.Series{Median: 2, Min: 1, Max: 3, Values: []float64{3, 1, 2}}, 1},
		},
	}
	if diff := cmp.Diff(want, table[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p99 := table[2]
	if !table[0].met(onSQLite) || table[0].met(onMariaDB) || !p99.met(onSQLite) || p99.met(onMariaDB) {
		t.Errorf("rates %+v or latencies %+v are judged wrongly", table[0], p99)
	}
}

// TestLoad: all arrivals are asked for, and each answer is judged.
func TestLoad(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != apiKey || r.URL.Path != "/send" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(server.Close)
	l := load{address: server.Listener.Addr().String(), request: request("/send", "{}"), want: http.StatusOK, conns: 2}
	o, err := l.at(t.Context(), 200, 100*time.Millisecond)
	if err != nil || o.answered != 20 || len(o.latencies) != 20 || o.failure != nil {
		t.Errorf("got %+v, %v", o, err)
	}
	l.want = http.StatusAccepted
	if o, err := l.closed(t.Context(), 10*time.Millisecond); err != nil || o.answered != 0 || o.failure == nil {
		t.Errorf("with a wrong status: got %+v, %v", o, err)
	}
}

func TestSustained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    outcome
		want bool
	}{
		"in time":     {outcome{offered: 10, answered: 10, elapsed: time.Second}, true},
		"behind":      {outcome{offered: 10, answered: 10, elapsed: 1200 * time.Millisecond}, false},
		"not all":     {outcome{offered: 10, answered: 9, elapsed: time.Second}, false},
		"with errors": {outcome{offered: 10, answered: 10, elapsed: time.Second, failure: errors.New("no")}, false},
	} {
		if got := c.o.sustained(time.Second); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	good := []string{"-redis", "redis://127.0.0.1", "-database", "mysql://127.0.0.1"}
	if _, err := parse(good, t.Output()); err != nil {
		t.Error(err)
	}
	for name, args := range map[string][]string{
		"even rounds": append(good, "-rounds", "2"), "stray argument": append(good, "more"), "unknown flag": {"-what"},
		"no Redis": {"-redis", "", "-database", "mysql://127.0.0.1"}, "no connections": append(good, "-conns", "0"),
	} {
		if _, err := parse(args, t.Output()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
