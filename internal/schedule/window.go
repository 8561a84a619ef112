package schedule

import (
	"errors"
	"fmt"
	"time"
)

// UnknownTimeZoneError says that there is no zone of that name.
type UnknownTimeZoneError struct{ Name string }

func (e *UnknownTimeZoneError) Error() string { return fmt.Sprintf("unknown time zone %q", e.Name) }

// InvalidWindowError says what is wrong with a window.
type InvalidWindowError struct {
	Index int // of the window, from 0
	Err   error
}

func (e *InvalidWindowError) Error() string { return fmt.Sprintf("windows[%d]: %v", e.Index, e.Err) }

// Unwrap returns what is wrong with it.
func (e *InvalidWindowError) Unwrap() error { return e.Err }

// spans returns the windows of a week that this one stands for.
func (w Window) spans() ([]span, error) {
	start, err := parse(w.Start)
	if err != nil {
		return nil, err
	}
	if start == day {
		return nil, fmt.Errorf("%q is no time of the day to start at", w.Start)
	}
	end, err := parse(w.End)
	if err != nil {
		return nil, err
	}
	if start == end {
		return nil, errors.New("start and end are the same; 00:00 to 24:00 is the whole day")
	}
	if end < start {
		end += day
	}
	days := w.Days
	if len(days) == 0 {
		days = []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	}
	var spans []span
	for _, name := range days {
		if name < time.Sunday || name > time.Saturday {
			return nil, fmt.Errorf("%d is no day of the week", int(name))
		}
		begin := int64(name+6) % 7 * day // Monday is the first
		spans = append(spans, span{from: begin + start, to: begin + end})
	}
	return spans, nil
}

// parse reads HH:MM, 24:00 included, as seconds.
func parse(text string) (int64, error) {
	if text == "24:00" {
		return day, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%q is no time of the day (HH:MM)", text)
	}
	return int64(at.Hour()*60+at.Minute()) * 60, nil
}
