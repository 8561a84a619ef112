package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/bench/measure"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestMain is whatever the benchmark starts of itself.
func TestMain(m *testing.M) { program.TestMain(harness.Guarded(m)) }

// TestRun measures hardly anything, so that the benchmark works on the day it is wanted.
func TestRun(t *testing.T) {
	t.Parallel()
	cartero, services := harness.Binary(t), harness.RealServices(t)
	file := filepath.Join(t.TempDir(), "bench.json")
	// Not the recovery: what a killed worker leaves is taken up after as long as Bull's locks last.
	args := []string{
		"-cartero", cartero, "-database", services.DatabaseURL, "-redis", services.RedisURL, "-rounds", "1", "-mails", "200",
		"-conns", "2", "-seconds", "0.1", "-round-trips", "0s,1ms", "-run", "^[01]|stages", "-json", file,
	}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := measure.ReadJSON(file, &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range got.Rates {
		names = append(names, one.RoundTrip.String()+" "+one.Side)
		if one.Rate.Median <= 0 || one.Octets < 3500 || one.Octets > 4500 {
			t.Errorf("%s at %s: %+v", one.Side, one.RoundTrip, one)
		}
	}
	var want []string
	for _, roundTrip := range []string{"0s", "1ms"} {
		for _, s := range sides {
			want = append(want, roundTrip+" "+s.name)
			if !strings.Contains(out.String(), s.title) {
				t.Errorf("%s is missing in what was printed", s.title)
			}
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	if len(got.Stages) != 6 {
		t.Errorf("stages: %+v", got.Stages)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	good := []string{"-redis", "redis://127.0.0.1", "-database", "mysql://127.0.0.1"}
	if _, err := parse(append(good, "-round-trips", "0s, 5ms", "-env", "WORKER_CONCURRENCY=8"), t.Output()); err != nil {
		t.Error(err)
	}
	for name, args := range map[string][]string{
		"even rounds": append(good, "-rounds", "2"), "stray argument": append(good, "more"), "unknown flag": {"-what"},
		"no Redis": {"-redis", "", "-database", "mysql://127.0.0.1"}, "no connections": append(good, "-conns", "0"),
		"no time": append(good, "-round-trips", "1"), "no variable": append(good, "-env", "X"), "tiny mails": append(good, "-size", "10"),
	} {
		if _, err := parse(args, t.Output()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestMails: everybody sends for about as long, with what the round trip allows.
func TestMails(t *testing.T) {
	t.Parallel()
	set, err := parse([]string{"-redis", "r", "-database", "d"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int{}
	for _, s := range sides {
		for _, roundTrip := range set.roundTrips {
			got[s.name] = append(got[s.name], s.mails(set, roundTrip))
		}
	}
	want := map[string][]int{
		"control": {100_000, 50_000, 2500}, "node": {600, 600, 35}, "node-tuned": {1500, 1500, 625},
		"smtp-source": {45_000, 12_500, 625}, "sender": {100_000, 50_000, 2500}, "cartero": {100_000, 100_000, 5000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSpeeds: the kill, 2 s before the end of the slots, and how long it took until the speed was back.
func TestSpeeds(t *testing.T) {
	t.Parallel()
	slots := func(parts ...[2]int) (all []int) {
		for _, part := range parts {
			for range part[0] {
				all = append(all, part[1])
			}
		}
		return all
	}
	for name, c := range map[string]struct {
		slots []int
		ago   float64
		want  recovery
	}{
		"back after 0.8 s": {slots([2]int{20, 100}, [2]int{8, 0}, [2]int{12, 95}, [2]int{1, 0}), 2, recovery{Before: 1000, After: 950, Back: 0.8}},
		"never":            {slots([2]int{20, 100}, [2]int{8, 0}, [2]int{12, 50}, [2]int{1, 0}), 2, recovery{Before: 1000, After: 500, Back: -1}},
	} {
		var got recovery
		got.speeds(c.slots, c.ago)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func sampleReport() report {
	one := func(s *side, roundTrip time.Duration, rates ...float64) rate {
		r := rate{RoundTrip: roundTrip, Side: s.name, Rate: measure.NewSeries(rates), CPU: map[string]measure.Series{}}
		for _, name := range processes {
			r.CPU[name] = measure.NewSeries([]float64{30})
		}
		r.Resident = measure.NewSeries([]float64{50})
		return r
	}
	return report{
		Conns: 10, Rounds: 3,
		Rates: []rate{
			one(control, 0, 1000, 1060, 1040), one(nodeUsual, 0, 100), one(smtpSource, 0, 9000), one(sender, 0, 8000), one(cartero, 0, 8500),
			one(control, time.Millisecond, 1000, 1200, 1000), one(smtpSource, time.Millisecond, 2000), one(sender, time.Millisecond, 6000),
		},
		Recovery: &recovery{Before: 8000, After: 7900, Back: 0.7, Over: 31, InDoubt: 3},
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	got := map[string]bool{}
	for _, one := range sampleReport().targets() {
		got[one.name] = one.met()
	}
	want := map[string]bool{
		"SMTP sender to smtp-source, 0s": false, "SMTP sender to smtp-source, 1ms": true, "end to end to the usual Node worker": true,
		"end to end": true, "memory of the worker": true, "processor time of the worker for 1,000 mails": true,
		"back at full speed after kill -9": true, "mailed twice": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1ms by 20 %"}, sampleReport().disturbed()); diff != "" {
		t.Errorf("disturbed (-want +got):\n%s", diff)
	}
}

// TestDocument: the results take the place of older ones, and nothing else changes; the chart is XML.
func TestDocument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page := filepath.Join(dir, pageName)
	if err := os.WriteFile(page, []byte("# Before\n"+pageBegin+"old\n"+pageEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sampleReport().document(dir); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "# Before\n"+pageBegin) || !strings.HasSuffix(got, pageEnd+"after\n") ||
		strings.Contains(got, "old\n") || strings.Count(got, "Cartero, end to end") != 2 {
		t.Errorf("the page became:\n%s", got)
	}
	file, err := os.Open(filepath.Join(dir, chartName))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := xml.NewDecoder(file)
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart: %v", err)
		}
	}
}
