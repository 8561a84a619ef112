package schedule_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/schedule"
)

var workdays = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}

func daily(startEnd ...string) []schedule.Window {
	var windows []schedule.Window
	for i := 0; i < len(startEnd); i += 2 {
		windows = append(windows, schedule.Window{Start: startEnd[i], End: startEnd[i+1]})
	}
	return windows
}

func on(start, end string, days ...time.Weekday) schedule.Window {
	return schedule.Window{Days: days, Start: start, End: end}
}

func newSchedule(tb testing.TB, zone string, windows ...schedule.Window) *schedule.Schedule {
	tb.Helper()
	s, err := schedule.New(zone, windows)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	return s
}

// moment reads "2026-03-29 02:30 +0100", or the same without offset for UTC.
func moment(t *testing.T, text string) time.Time {
	t.Helper()
	layout := "2006-01-02 15:04 -0700"
	if len(text) == len("2006-01-02 15:04") {
		layout = "2006-01-02 15:04"
	}
	at, err := time.Parse(layout, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestNext gives moments with the offset that holds there.
func TestNext(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, zone     string
		windows        []schedule.Window
		from           string
		opens, closes  string
		wantNeverClose bool
	}{
		{
			name: "before it opens", zone: "Europe/Madrid", windows: daily("09:00", "18:00"),
			from: "2026-01-12 08:59 +0100", opens: "2026-01-12 09:00 +0100", closes: "2026-01-12 18:00 +0100",
		},
		{
			name: "as it opens", zone: "Europe/Madrid", windows: daily("09:00", "18:00"),
			from: "2026-01-12 09:00 +0100", opens: "2026-01-12 09:00 +0100", closes: "2026-01-12 18:00 +0100",
		},
		{
			name: "while it is open", zone: "Europe/Madrid", windows: daily("09:00", "18:00"),
			from: "2026-01-12 17:59 +0100", opens: "2026-01-12 09:00 +0100", closes: "2026-01-12 18:00 +0100",
		},
		{
			name: "as it closes", zone: "Europe/Madrid", windows: daily("09:00", "18:00"),
			from: "2026-01-12 18:00 +0100", opens: "2026-01-13 09:00 +0100", closes: "2026-01-13 18:00 +0100",
		},
		{
			name: "over the weekend", zone: "Europe/Madrid", windows: []schedule.Window{on("09:00", "18:00", workdays...)},
			from: "2026-01-16 20:00 +0100", opens: "2026-01-19 09:00 +0100", closes: "2026-01-19 18:00 +0100",
		},
		{
			name: "over midnight", zone: "Europe/Madrid", windows: []schedule.Window{on("22:00", "06:00", time.Friday)},
			from: "2026-01-17 01:00 +0100", opens: "2026-01-16 22:00 +0100", closes: "2026-01-17 06:00 +0100",
		},
		{
			name: "over midnight, of another day", zone: "Europe/Madrid", windows: []schedule.Window{on("22:00", "06:00", time.Friday)},
			from: "2026-01-16 01:00 +0100", opens: "2026-01-16 22:00 +0100", closes: "2026-01-17 06:00 +0100",
		},
		{
			name: "over the end of the week", zone: "Etc/UTC", windows: []schedule.Window{on("22:00", "06:00", time.Sunday)},
			from: "2026-01-19 05:59", opens: "2026-01-18 22:00", closes: "2026-01-19 06:00",
		},
		{
			name: "to midnight as 24:00", zone: "Etc/UTC", windows: []schedule.Window{on("20:00", "24:00", time.Sunday)},
			from: "2026-01-12 00:00", opens: "2026-01-18 20:00", closes: "2026-01-19 00:00",
		},
		{
			name: "to midnight as 00:00", zone: "Etc/UTC", windows: []schedule.Window{on("20:00", "00:00", time.Sunday)},
			from: "2026-01-12 00:00", opens: "2026-01-18 20:00", closes: "2026-01-19 00:00",
		},
		{
			name: "overlapping", zone: "Etc/UTC", windows: daily("12:00", "15:00", "09:00", "13:00", "10:00", "11:00"),
			from: "2026-01-12 12:30", opens: "2026-01-12 09:00", closes: "2026-01-12 15:00",
		},
		{
			name: "touching", zone: "Etc/UTC", windows: daily("09:00", "12:00", "12:00", "15:00"),
			from: "2026-01-12 12:00", opens: "2026-01-12 09:00", closes: "2026-01-12 15:00",
		},
		{
			name: "touching over the end of the week", zone: "Etc/UTC",
			windows: []schedule.Window{on("20:00", "24:00", time.Sunday), on("00:00", "02:00", time.Monday)},
			from:    "2026-01-19 01:00", opens: "2026-01-18 20:00", closes: "2026-01-19 02:00",
		},
		{
			name: "not touching", zone: "Etc/UTC", windows: daily("09:00", "12:00", "12:01", "15:00"),
			from: "2026-01-12 12:00", opens: "2026-01-12 12:01", closes: "2026-01-12 15:00",
		},
		{
			name: "leap day", zone: "Asia/Tokyo", windows: []schedule.Window{on("09:00", "10:00", time.Thursday)},
			from: "2024-02-28 12:00 +0900", opens: "2024-02-29 09:00 +0900", closes: "2024-02-29 10:00 +0900",
		},
		{
			name: "end of a leap February", zone: "Asia/Tokyo", windows: daily("23:00", "01:00"),
			from: "2024-02-29 12:00 +0900", opens: "2024-02-29 23:00 +0900", closes: "2024-03-01 01:00 +0900",
		},
		{
			name: "end of February 2100", zone: "Etc/UTC", windows: daily("23:00", "01:00"),
			from: "2100-02-28 12:00", opens: "2100-02-28 23:00", closes: "2100-03-01 01:00",
		},

		{
			name: "spring: start skipped", zone: "Europe/Berlin", windows: daily("02:30", "05:00"),
			from: "2026-03-29 00:00 +0100", opens: "2026-03-29 03:00 +0200", closes: "2026-03-29 05:00 +0200",
		},
		{
			name: "spring: end skipped", zone: "Europe/Berlin", windows: daily("01:00", "02:30"),
			from: "2026-03-29 00:00 +0100", opens: "2026-03-29 01:00 +0100", closes: "2026-03-29 03:00 +0200",
		},
		{
			name: "spring: window skipped", zone: "Europe/Berlin", windows: daily("02:10", "02:50"),
			from: "2026-03-29 00:00 +0100", opens: "2026-03-30 02:10 +0200", closes: "2026-03-30 02:50 +0200",
		},
		{
			name: "spring: gap between windows skipped", zone: "Europe/Berlin", windows: daily("01:00", "02:10", "02:50", "04:00"),
			from: "2026-03-29 00:00 +0100", opens: "2026-03-29 01:00 +0100", closes: "2026-03-29 04:00 +0200",
		},
		{
			name: "autumn: start twice", zone: "Europe/Berlin", windows: daily("02:30", "05:00"),
			from: "2026-10-25 00:00 +0200", opens: "2026-10-25 02:30 +0200", closes: "2026-10-25 05:00 +0100",
		},
		{
			name: "autumn: end twice", zone: "Europe/Berlin", windows: daily("01:00", "02:30"),
			from: "2026-10-25 00:00 +0200", opens: "2026-10-25 01:00 +0200", closes: "2026-10-25 02:30 +0100",
		},
		{
			name: "autumn: both twice", zone: "Europe/Berlin", windows: daily("02:10", "02:50"),
			from: "2026-10-25 00:00 +0200", opens: "2026-10-25 02:10 +0200", closes: "2026-10-25 02:50 +0100",
		},
		{
			name: "autumn: windows overlap", zone: "Europe/Berlin", windows: daily("01:00", "02:10", "02:50", "04:00"),
			from: "2026-10-25 00:00 +0200", opens: "2026-10-25 01:00 +0200", closes: "2026-10-25 04:00 +0100",
		},
		{
			name: "midnight skipped", zone: "America/Santiago", windows: daily("00:00", "06:00"),
			from: "2025-09-06 12:00 -0400", opens: "2025-09-07 01:00 -0300", closes: "2025-09-07 06:00 -0300",
		},
		{
			name: "24:00 skipped", zone: "America/Santiago", windows: daily("20:00", "24:00"),
			from: "2025-09-06 12:00 -0400", opens: "2025-09-06 20:00 -0400", closes: "2025-09-07 01:00 -0300",
		},
		{
			name: "midnight twice", zone: "America/Santiago", windows: daily("00:00", "06:00"),
			from: "2025-04-05 12:00 -0300", opens: "2025-04-06 00:00 -0400", closes: "2025-04-06 06:00 -0400",
		},
		{
			name: "last hour of the day twice", zone: "America/Santiago", windows: daily("23:30", "24:00"),
			from: "2025-04-05 12:00 -0300", opens: "2025-04-05 23:30 -0300", closes: "2025-04-06 00:00 -0400",
		},
		{
			name: "midnight skipped in Beirut", zone: "Asia/Beirut", windows: []schedule.Window{on("00:30", "06:00", time.Sunday)},
			from: "2026-03-28 12:00 +0200", opens: "2026-03-29 01:00 +0300", closes: "2026-03-29 06:00 +0300",
		},
		{
			name: "last hour twice in Cairo", zone: "Africa/Cairo", windows: []schedule.Window{on("23:15", "23:45", time.Thursday)},
			from: "2025-10-30 12:00 +0300", opens: "2025-10-30 23:15 +0300", closes: "2025-10-30 23:45 +0200",
		},
		{
			name: "half an hour skipped", zone: "Australia/Lord_Howe", windows: daily("02:15", "04:00"),
			from: "2025-10-05 00:00 +1030", opens: "2025-10-05 02:30 +1100", closes: "2025-10-05 04:00 +1100",
		},
		{
			name: "half an hour twice", zone: "Australia/Lord_Howe", windows: daily("01:00", "01:45"),
			from: "2026-04-05 00:00 +1100", opens: "2026-04-05 01:00 +1100", closes: "2026-04-05 01:45 +1030",
		},
		{
			name: "offset changed for good", zone: "Asia/Almaty", windows: daily("20:00", "23:30"),
			from: "2024-02-29 12:00 +0600", opens: "2024-02-29 20:00 +0600", closes: "2024-02-29 23:30 +0500",
		},
		{
			name: "a day skipped", zone: "Pacific/Apia", windows: daily("09:00", "10:00"),
			from: "2011-12-29 10:00 -1000", opens: "2011-12-31 09:00 +1400", closes: "2011-12-31 10:00 +1400",
		},

		{name: "no windows", zone: "Europe/Madrid", from: "2026-01-12 08:59 +0100", wantNeverClose: true},
		{name: "whole days", zone: "Europe/Madrid", windows: daily("00:00", "24:00"), from: "2026-01-12 08:59 +0100", wantNeverClose: true},
		{
			name: "halves of all days", zone: "Europe/Madrid", windows: daily("07:00", "19:00", "19:00", "07:00"),
			from: "2026-01-12 08:59 +0100", wantNeverClose: true,
		},
		{
			name: "days that overlap", zone: "Europe/Madrid", windows: daily("10:00", "09:00", "08:00", "11:00"),
			from: "2026-01-12 08:59 +0100", wantNeverClose: true,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(t, tc.zone, tc.windows...)
			var wantOpens, wantCloses time.Time
			if !tc.wantNeverClose {
				wantOpens, wantCloses = moment(t, tc.opens).UTC(), moment(t, tc.closes).UTC()
			}
			opensAt, closesAt := s.Next(moment(t, tc.from))
			if opensAt != wantOpens || closesAt != wantCloses {
				t.Errorf("Next is %s to %s; want %s to %s", opensAt, closesAt, wantOpens, wantCloses)
			}
			if s.Always() != tc.wantNeverClose {
				t.Errorf("Always is %t; want %t", s.Always(), tc.wantNeverClose)
			}
		})
	}
}

func TestOpenBetween(t *testing.T) {
	t.Parallel()
	work := []schedule.Window{on("09:00", "18:00", workdays...)}
	cases := []struct {
		name, zone string
		windows    []schedule.Window
		from, to   string
		want       time.Duration
	}{
		{name: "a week of work", zone: "Europe/Madrid", windows: work, from: "2026-01-12 00:00", to: "2026-01-19 00:00", want: 45 * time.Hour},
		{name: "part of two days", zone: "Etc/UTC", windows: work, from: "2026-01-12 17:30", to: "2026-01-13 09:15", want: 45 * time.Minute},
		{name: "inside", zone: "Etc/UTC", windows: work, from: "2026-01-12 10:00", to: "2026-01-12 10:01", want: time.Minute},
		{name: "outside", zone: "Etc/UTC", windows: work, from: "2026-01-12 18:00", to: "2026-01-13 09:00"},
		{name: "nothing", zone: "Etc/UTC", windows: work, from: "2026-01-12 10:00", to: "2026-01-12 10:00"},
		{name: "backwards", zone: "Etc/UTC", windows: work, from: "2026-01-12 12:00", to: "2026-01-12 10:00"},
		{name: "always", zone: "Etc/UTC", from: "2026-01-12 10:00", to: "2026-01-13 10:00", want: 24 * time.Hour},
		{name: "always, backwards", zone: "Etc/UTC", from: "2026-01-13 10:00", to: "2026-01-12 10:00"},
		{name: "spring night", zone: "Europe/Berlin", windows: daily("22:00", "06:00"), from: "2026-03-28 12:00", to: "2026-03-29 12:00", want: 7 * time.Hour},
		{name: "autumn night", zone: "Europe/Berlin", windows: daily("22:00", "06:00"), from: "2026-10-24 12:00", to: "2026-10-25 12:00", want: 9 * time.Hour},
		{name: "a leap year", zone: "America/Santiago", windows: daily("12:00", "13:00"), from: "2024-01-01 00:00", to: "2025-01-01 00:00", want: 366 * time.Hour},
		{name: "no leap year", zone: "America/Santiago", windows: daily("12:00", "13:00"), from: "2025-01-01 00:00", to: "2026-01-01 00:00", want: 365 * time.Hour},
		{name: "too long to count", zone: "Etc/UTC", windows: daily("00:00", "23:59"), from: "1000-01-01 00:00", to: "2000-01-01 00:00", want: 1<<63 - 1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := newSchedule(t, tc.zone, tc.windows...).OpenBetween(moment(t, tc.from), moment(t, tc.to)); got != tc.want {
				t.Errorf("OpenBetween is %s; want %s", got, tc.want)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	work := []schedule.Window{on("09:00", "18:00", workdays...)}
	cases := []struct {
		name, zone string
		windows    []schedule.Window
		from       string
		open       time.Duration
		want       string
	}{
		{name: "the same day", zone: "Etc/UTC", windows: work, from: "2026-01-12 10:00", open: time.Hour, want: "2026-01-12 11:00"},
		{name: "until it closes", zone: "Etc/UTC", windows: work, from: "2026-01-12 10:00", open: 8 * time.Hour, want: "2026-01-12 18:00"},
		{name: "the next day", zone: "Etc/UTC", windows: work, from: "2026-01-12 10:00", open: 9 * time.Hour, want: "2026-01-13 10:00"},
		{name: "after the weekend", zone: "Etc/UTC", windows: work, from: "2026-01-16 18:00", open: time.Minute, want: "2026-01-19 09:01"},
		{name: "none", zone: "Etc/UTC", windows: work, from: "2026-01-16 20:00", want: "2026-01-16 20:00"},
		{name: "less than none", zone: "Etc/UTC", windows: work, from: "2026-01-16 20:00", open: -time.Hour, want: "2026-01-16 20:00"},
		{name: "always", zone: "Etc/UTC", from: "2026-01-16 20:00", open: 48 * time.Hour, want: "2026-01-18 20:00"},
		{name: "over the autumn night", zone: "Europe/Berlin", windows: daily("22:00", "06:00"), from: "2026-10-24 20:00", open: 8 * time.Hour, want: "2026-10-25 04:00"},
		{name: "never", zone: "Etc/UTC", windows: []schedule.Window{on("09:00", "09:01", time.Monday)}, from: "2026-01-16 20:00", open: 1<<63 - 1, want: "9999-01-01 00:00"},
		{name: "always, and never", zone: "Etc/UTC", from: "9998-01-16 20:00", open: 1<<63 - 1, want: "9999-01-01 00:00"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := newSchedule(t, tc.zone, tc.windows...).After(moment(t, tc.from), tc.open); got != moment(t, tc.want).UTC() {
				t.Errorf("After is %s; want %s", got, tc.want)
			}
		})
	}
}

// TestNil: the nil schedule is one without windows.
func TestNil(t *testing.T) {
	t.Parallel()
	var s *schedule.Schedule
	from := moment(t, "2026-01-12 10:00")
	opensAt, closesAt := s.Next(from)
	if !opensAt.IsZero() || !closesAt.IsZero() || !s.Always() {
		t.Errorf("Next is %s to %s; want two zero times", opensAt, closesAt)
	}
	if got := s.OpenBetween(from, from.Add(time.Hour)); got != time.Hour {
		t.Errorf("OpenBetween is %s; want an hour", got)
	}
	if got := s.After(from, time.Hour); got != from.Add(time.Hour) {
		t.Errorf("After is %s; want an hour later", got)
	}
}

func TestNew_Errors(t *testing.T) {
	t.Parallel()
	zones := map[string]bool{
		"": true, "UTC": true, "Etc/UTC": true, "Europe/Madrid": true, "America/Argentina/Buenos_Aires": true, "Etc/GMT+12": true,
		"Local": false, "localtime": false, "right/Europe/Madrid": false, "posix/Europe/Madrid": false, "posixrules": false,
		"Europe": false, "Europe/Atlantis": false, "../etc/passwd": false, "/etc/localtime": false, "Factory": false, "+02:00": false,
	}
	for zone, want := range zones {
		_, err := schedule.New(zone, nil)
		var unknown *schedule.UnknownTimeZoneError
		switch {
		case want && err != nil:
			t.Errorf("New(%q): %v", zone, err)
		case !want && (!errors.As(err, &unknown) || unknown.Name != zone):
			t.Errorf("New(%q) is %v; want an UnknownTimeZoneError", zone, err)
		}
	}

	windows := map[startEnd]string{
		{"09:00", "09:00"}: "windows[1]: start and end are the same; 00:00 to 24:00 is the whole day",
		{"24:00", "09:00"}: `windows[1]: "24:00" is no time of the day to start at`,
		{"9:00", "10:00"}:  `windows[1]: "9:00" is no time of the day (HH:MM)`,
		{"09:00", "24:01"}: `windows[1]: "24:01" is no time of the day (HH:MM)`,
		{"09:60", "10:00"}: `windows[1]: "09:60" is no time of the day (HH:MM)`,
		{"", ""}:           `windows[1]: "" is no time of the day (HH:MM)`,
		{"09:00", "soon"}:  `windows[1]: "soon" is no time of the day (HH:MM)`,
	}
	for window, want := range windows {
		_, err := schedule.New("", append(daily("01:00", "02:00"), daily(window.start, window.end)...))
		var invalid *schedule.InvalidWindowError
		if !errors.As(err, &invalid) {
			t.Errorf("New(%v) is %v; want an InvalidWindowError", window, err)
			continue
		}
		if diff := cmp.Diff(want, invalid.Error()); diff != "" || invalid.Index != 1 {
			t.Errorf("New(%v) (-want +got):\n%s", window, diff)
		}
	}
	if _, err := schedule.New("", []schedule.Window{on("01:00", "02:00", 7)}); err == nil {
		t.Error("New takes a day of the week that there is not")
	}
}

type startEnd struct{ start, end string }
