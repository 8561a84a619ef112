package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/schedule"
)

// FuzzProperties holds what is true of any schedule at any moment: its parts fit together.
func FuzzProperties(f *testing.F) {
	f.Add("Europe/Madrid", uint64(1), 3, int64(1774746000), int64(1))
	f.Add("America/Santiago", uint64(2), 1, int64(1757217600), int64(999_999_999))
	f.Add("Pacific/Apia", uint64(3), 14, int64(1325239200), int64(0))
	f.Add("Africa/Casablanca", uint64(4), 7, int64(4102444800), int64(5))
	f.Add("Etc/UTC", uint64(5), 2, int64(-1), int64(500))
	f.Fuzz(func(t *testing.T, zone string, seed uint64, n int, seconds, nanos int64) {
		r := rand.New(rand.NewPCG(seed, 1))
		windows := randomWindows(r, 1+(n&0xf)%14)
		s, err := schedule.New(zone, windows)
		if err != nil {
			return
		}
		const years = 365 * 24 * time.Hour
		from := time.Unix(seconds%(5000*365*24*3600), nanos&(1<<30-1))
		to := from.Add(time.Duration(r.Int64N(int64(3 * years))))
		middle := from.Add(time.Duration(r.Int64N(int64(to.Sub(from)) + 1)))
		checkOpening(t, s, from, fmt.Sprintf("%s %v", zone, windows))

		whole := s.OpenBetween(from, to)
		if parts := s.OpenBetween(from, middle) + s.OpenBetween(middle, to); parts != whole {
			t.Errorf("%s %v: open from %s to %s: %s; to and from %s: %s", zone, windows, from, to, whole, middle, parts)
		}
		if whole < 0 || whole > to.Sub(from) {
			t.Errorf("%s %v: open from %s to %s: %s", zone, windows, from, to, whole)
		}
		if after := s.After(from, whole); after.After(to) || after.Before(from) || s.OpenBetween(from, after) != whole {
			t.Errorf("%s %v: After(%s, %s) is %s, when %s were open; to %s", zone, windows, from, whole, after, s.OpenBetween(from, after), to)
		}
		if before := s.After(from, whole-1); whole > 1 && s.OpenBetween(from, before) != whole-1 {
			t.Errorf("%s %v: After(%s, %s) is %s, when %s were open", zone, windows, from, whole-1, before, s.OpenBetween(from, before))
		}
	})
}

// checkOpening follows the open intervals from a moment on.
func checkOpening(t *testing.T, s *schedule.Schedule, from time.Time, what string) {
	t.Helper()
	if s.Always() {
		return
	}
	for range 20 {
		opensAt, closesAt := s.Next(from)
		if !opensAt.Before(closesAt) || !closesAt.After(from) {
			t.Fatalf("%s: Next(%s) is %s to %s", what, from, opensAt, closesAt)
		}
		if open := s.OpenBetween(opensAt, closesAt); open != closesAt.Sub(opensAt) {
			t.Fatalf("%s: of %s to %s, %s are open", what, opensAt, closesAt, open)
		}
		if opensAt.After(from) && s.OpenBetween(from, opensAt) != 0 {
			t.Fatalf("%s: Next(%s) is %s, and it is open before", what, from, opensAt)
		}
		// It is the same from each of its moments, and from the closed time before.
		inside := opensAt.Add(closesAt.Sub(opensAt) / 2)
		if again, until := s.Next(inside); again != opensAt || until != closesAt {
			t.Fatalf("%s: Next(%s) is %s to %s; Next(%s) %s to %s", what, from, opensAt, closesAt, inside, again, until)
		}
		next, _ := s.Next(closesAt)
		if !next.After(closesAt) {
			t.Fatalf("%s: Next(%s) opens at %s; want it after %s, when it closes", what, closesAt, next, closesAt)
		}
		from = closesAt
	}
}

func BenchmarkYear(b *testing.B) {
	var windows []schedule.Window
	for i := range 14 {
		windows = append(windows, schedule.Window{Start: fmt.Sprintf("%02d:00", i), End: fmt.Sprintf("%02d:30", i)})
	}
	s := newSchedule(b, "America/Santiago", windows...)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.Run("Next", func(b *testing.B) {
		for b.Loop() {
			s.Next(from)
		}
	})
	b.Run("OpenBetween", func(b *testing.B) {
		for b.Loop() {
			s.OpenBetween(from, from.AddDate(1, 0, 0))
		}
	})
	b.Run("After", func(b *testing.B) {
		for b.Loop() {
			s.After(from, 2555*time.Hour)
		}
	})
}
