package failpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Action is what happens at a point.
type Action string

// The actions.
const (
	// Kill ends the process with SIGKILL.
	Kill Action = "kill"
	// Error returns what a lost connection gives.
	Error Action = "error"
	// Pause stands still until the test lets go; the rest of the process goes on.
	Pause Action = "pause"
	// Panic panics.
	Panic Action = "panic"
)

// Step is one action of a plan.
type Step struct {
	Point  Point
	Detail string
	// Occurrence is which time the point is reached with this detail, counted from 1.
	Occurrence int
	Action     Action
	// Times is for how many occurrences in a row; at least 1. More than one is an outage.
	Times int
}

// String writes the step as Parse reads it.
func (s Step) String() string {
	text := string(s.Point)
	if s.Detail != "" {
		text += "@" + s.Detail
	}
	text += ":" + strconv.Itoa(s.Occurrence) + ":" + string(s.Action)
	if s.Times > 1 {
		text += "*" + strconv.Itoa(s.Times)
	}
	return text
}

// Parse reads a plan: steps separated by ";", each POINT[@DETAIL]:OCCURRENCE:ACTION[*TIMES], such as
// "store.committed@sealing the campaign:1:error*6". An empty text is an empty plan.
func Parse(text string) ([]Step, error) {
	var steps []Step
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		step, err := parseStep(part)
		if err != nil {
			return nil, fmt.Errorf("failpoints: %q: %w", part, err)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func parseStep(text string) (Step, error) {
	rest, action, found := cutLast(text, ":")
	place, occurrence, foundToo := cutLast(rest, ":")
	if !found || !foundToo {
		return Step{}, fmt.Errorf("it is not POINT[@DETAIL]:OCCURRENCE:ACTION[*TIMES]")
	}
	name, detail, _ := strings.Cut(place, "@")
	step := Step{Point: Point(name), Detail: detail, Times: 1}
	if !slices.ContainsFunc(All(), func(d Definition) bool { return d.Point == step.Point }) {
		return Step{}, fmt.Errorf("there is no point %q", name)
	}
	var err error
	if step.Occurrence, err = positive(occurrence); err != nil {
		return Step{}, fmt.Errorf("the occurrence %w", err)
	}
	word, times, several := strings.Cut(action, "*")
	if several {
		if step.Times, err = positive(times); err != nil {
			return Step{}, fmt.Errorf("the number of times %w", err)
		}
	}
	step.Action = Action(word)
	if !slices.Contains([]Action{Kill, Error, Pause, Panic}, step.Action) {
		return Step{}, fmt.Errorf("there is no action %q", word)
	}
	return step, nil
}

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("must be a number from 1, not %q", text)
	}
	return n, nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}
