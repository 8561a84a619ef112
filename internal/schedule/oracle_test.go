package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/schedule"
)

// oracle knows every minute of some time by looking at the clock, and nothing else.
type oracle struct {
	from  time.Time
	zone  *time.Location
	shown []int64 // by the clock, in its minutes since 1970
	high  []int64 // the latest that it has shown so far
	low   []int64 // the earliest that it shows from here on
	open  []bool
	spent []int    // open minutes before this one
	runs  [][2]int // the first of each row of open minutes, and the first after it
}

func newOracle(t *testing.T, zone string, from, to time.Time) *oracle {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	minutes := int(to.Sub(from) / time.Minute)
	o := &oracle{from: from, zone: location, shown: make([]int64, minutes), high: make([]int64, minutes), low: make([]int64, minutes)}
	for i := range o.shown {
		_, offset := o.at(i).In(location).Zone()
		o.shown[i] = (o.at(i).Unix() + int64(offset)) / 60
		o.high[i] = o.shown[i]
		if i > 0 {
			o.high[i] = max(o.high[i], o.high[i-1])
		}
	}
	for i := minutes - 1; i >= 0; i-- {
		o.low[i] = o.shown[i]
		if i+1 < minutes {
			o.low[i] = min(o.low[i], o.low[i+1])
		}
	}
	return o
}

func (o *oracle) at(minute int) time.Time { return o.from.Add(time.Duration(minute) * time.Minute) }

// mark notes for every minute whether these windows are open. The days at the ends are only there to reach in.
func (o *oracle) mark(windows []schedule.Window) {
	o.open = make([]bool, len(o.shown))
	if len(windows) == 0 {
		for i := range o.open {
			o.open[i] = true
		}
	}
	first := o.from.Truncate(24*time.Hour).AddDate(0, 0, -2)
	for date := first; date.Before(o.at(len(o.shown)).AddDate(0, 0, 2)); date = date.AddDate(0, 0, 1) {
		for _, window := range windows {
			if len(window.Days) > 0 && !slices.Contains(window.Days, date.Weekday()) {
				continue
			}
			start, end := clockMinutes(window.Start), clockMinutes(window.End)
			if end <= start {
				end += 24 * 60
			}
			start, end = start+date.Unix()/60, end+date.Unix()/60
			begin := sort.Search(len(o.high), func(i int) bool { return o.high[i] >= start })
			// The last minute that shows end or earlier is outside, unless it shows less and the clock is put on after it.
			stop := sort.Search(len(o.low), func(i int) bool { return o.low[i] > end })
			if stop > 0 && o.shown[stop-1] == end {
				stop--
			}
			for i := begin; i < stop; i++ {
				o.open[i] = true
			}
		}
	}
	o.spent = make([]int, len(o.open)+1)
	o.runs = nil
	for i, open := range o.open {
		o.spent[i+1] = o.spent[i]
		if !open {
			continue
		}
		o.spent[i+1]++
		if i == 0 || !o.open[i-1] {
			o.runs = append(o.runs, [2]int{i, i})
		}
		o.runs[len(o.runs)-1][1] = i + 1
	}
}

func clockMinutes(text string) int64 {
	var hour, minute int64
	if _, err := fmt.Sscanf(text, "%d:%d", &hour, &minute); err != nil {
		panic(err)
	}
	return hour*60 + minute
}

// next returns the open minutes around or after a minute; ok is false if they reach an end of what the oracle knows.
func (o *oracle) next(minute int) (from, to int, ok bool) {
	at := sort.Search(len(o.runs), func(i int) bool { return o.runs[i][1] > minute })
	if at == len(o.runs) {
		return 0, 0, false
	}
	from, to = o.runs[at][0], o.runs[at][1]
	return from, to, from > 0 && to < len(o.open)
}

func randomWindows(r *rand.Rand, n int) []schedule.Window {
	var windows []schedule.Window
	for range n {
		window := schedule.Window{}
		for _, day := range r.Perm(7)[:r.IntN(8)] {
			window.Days = append(window.Days, time.Weekday(day))
		}
		start := r.IntN(24 * 60)
		if r.IntN(2) == 0 {
			start = r.IntN(6 * 60) // when clocks are changed
		}
		end := (start + 1 + r.IntN(24*60-1)) % (24 * 60)
		if r.IntN(2) == 0 {
			end = (start + 1 + r.IntN(120)) % (24 * 60)
		}
		window.Start = fmt.Sprintf("%02d:%02d", start/60, start%60)
		window.End = fmt.Sprintf("%02d:%02d", end/60, end%60)
		if end == 0 && r.IntN(2) == 0 {
			window.End = "24:00"
		}
		windows = append(windows, window)
	}
	return windows
}

// zones change their clocks at midnight, at other hours, by half an hour, by a day, by no rule, for a month, or never.
var zones = map[string]int{
	"Etc/UTC": 2024, "Europe/Madrid": 2024, "America/New_York": 2027, "America/Santiago": 2025, "Asia/Beirut": 2025,
	"Africa/Cairo": 2025, "Australia/Lord_Howe": 2024, "Asia/Kathmandu": 2024, "Africa/Casablanca": 2025, "Pacific/Apia": 2011,
	"Asia/Pyongyang": 2015, "Antarctica/Troll": 2024, "America/Caracas": 2016, "Asia/Gaza": 2026, "Pacific/Kwajalein": 1993,
	"Asia/Almaty": 2023, "Europe/Volgograd": 2018, "America/Asuncion": 2024, "Pacific/Chatham": 2023,
}

// TestOracle compares everything with a look at the clock of every minute of two years.
func TestOracle(t *testing.T) {
	t.Parallel()
	numbers := []int{0, 1, 2, 4, 11, 14}
	if testing.Short() {
		numbers = []int{1, 14}
	}
	for zone, year := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			from := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
			o := newOracle(t, zone, from, from.AddDate(2, 0, 0))
			r := rand.New(rand.NewPCG(uint64(year), uint64(len(zone))))
			for _, n := range numbers {
				windows := randomWindows(r, n)
				o.mark(windows)
				s, err := schedule.New(zone, windows)
				if err != nil {
					t.Fatal(err)
				}
				o.compare(t, s, r, windows)
				if t.Failed() {
					return
				}
			}
		})
	}
}

func (o *oracle) compare(t *testing.T, s *schedule.Schedule, r *rand.Rand, windows []schedule.Window) {
	t.Helper()
	for minute := range o.open {
		// Every edge, and some moments between.
		if minute > 0 && o.open[minute] == o.open[minute-1] && minute%4999 > 0 {
			continue
		}
		at, other := o.at(minute), r.IntN(len(o.open)-minute)+minute
		if from, to, ok := o.next(minute); ok {
			opensAt, closesAt := s.Next(at)
			if !opensAt.Equal(o.at(from)) || !closesAt.Equal(o.at(to)) {
				t.Errorf("%v: Next(%s) is %s to %s; want %s to %s", windows, at.In(o.zone), opensAt.In(o.zone), closesAt.In(o.zone),
					o.at(from).In(o.zone), o.at(to).In(o.zone))
			}
		}
		if r.IntN(20) > 0 {
			continue
		}
		want := time.Duration(o.spent[other]-o.spent[minute]) * time.Minute
		if got := s.OpenBetween(at, o.at(other)); got != want {
			t.Errorf("%v: OpenBetween(%s, %s) is %s; want %s", windows, at, o.at(other), got, want)
		}
		wantAfter := at
		if want > 0 {
			wantAfter = o.at(sort.SearchInts(o.spent, o.spent[other]))
		}
		if got := s.After(at, want); !got.Equal(wantAfter) {
			t.Errorf("%v: After(%s, %s) is %s; want %s", windows, at, want, got, wantAfter)
		}
	}
}
