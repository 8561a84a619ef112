package points

import (
	"bufio"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/failpoint"
)

// outage is how often an error is repeated: the store makes a transaction six times before its caller hears of it.
const outage = 6

// place is a point with its detail, in one kind of process in one play.
type place struct {
	play   string
	victim role
	point  failpoint.Point
	detail string
}

// plan is one thing that goes wrong, once.
type plan struct {
	play   string
	victim role
	step   failpoint.Step
}

func (p plan) String() string { return fmt.Sprintf("%s/%s/%s", p.play, p.victim, p.step) }

// keepsFromStarting reports whether a process that meets with this ends with an error: one that can't write its journal says so
// at its start, and Kubernetes starts it again.
func (p plan) keepsFromStarting() bool {
	return p.step.Point == failpoint.WorkerJournalOpened && p.step.Action == failpoint.Error && p.step.Occurrence == 1
}

// recording counts what the victim of a play without faults reached.
type recording map[place]int

// readHits counts the lines of a process's file of hits.
func readHits(t *testing.T, dir, play string, victim role) recording {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, "hits"))
	if err != nil {
		t.Fatalf("Reading what was hit: %v", err)
	}
	defer file.Close()
	counts := recording{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		point, detail, _ := strings.Cut(lines.Text(), "\t")
		counts[place{play, victim, failpoint.Point(point), detail}]++
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("Reading what was hit: %v", err)
	}
	return counts
}

// timed are the scripts that a process sends by the clock, and not for a campaign: how often is chance, and a process is cut
// off at the first.
var timed = []string{"extend", "promote", "stalled", "express", "state", "take"}

// chance are the transactions and scripts of a process that finds something left over when it looks, or is the first to ring.
var chance = []string{"add", "postponing rings", "rescuing recipients", "renewing leases", "noting rings", "forgetting rings"}

// certain reports whether a process that is given this plan must come there.
func (p plan) certain() bool {
	return p.step.Occurrence == 1 && !slices.Contains(timed, p.step.Detail) && !slices.Contains(chance, p.step.Detail)
}

// plansFor are all plans for a place that was reached so often: the first, the second and the last time, each with all that
// can happen there.
func plansFor(at place, count int) []plan {
	actions := []failpoint.Action{failpoint.Kill, failpoint.Pause}
	if fallible(at.point) {
		actions = append(actions, failpoint.Error)
	}
	occurrences := slices.Compact([]int{1, min(2, count), count})
	if slices.Contains(timed, at.detail) {
		occurrences = occurrences[:1]
	}
	var plans []plan
	for _, occurrence := range occurrences {
		for _, action := range actions {
			step := failpoint.Step{Point: at.point, Detail: at.detail, Occurrence: occurrence, Action: action, Times: 1}
			plans = append(plans, plan{at.play, at.victim, step})
			if action == failpoint.Error && strings.HasPrefix(string(at.point), "store.") { // once the store copes by itself
				step.Times = outage
				plans = append(plans, plan{at.play, at.victim, step})
			}
		}
	}
	return plans
}

func fallible(point failpoint.Point) bool {
	return slices.ContainsFunc(failpoint.All(), func(d failpoint.Definition) bool { return d.Point == point && d.Fallible })
}

// enumerate returns the plans for everything that was recorded; unless all are wanted, one for each place in each kind of
// process, over which occurrences and actions are spread.
func enumerate(recorded recording, all bool) []plan {
	places := slices.Collect(maps.Keys(recorded))
	order := func(at place) int { return slices.IndexFunc(plays, func(p play) bool { return p.name == at.play }) }
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	var plans []plan
	seen := map[place]bool{}
	for i, at := range places {
		choice := plansFor(at, recorded[at])
		if all {
			plans = append(plans, choice...)
			continue
		}
		anywhere := at
		anywhere.play = ""
		if !seen[anywhere] {
			plans = append(plans, choice[i%len(choice)])
		}
		seen[anywhere] = true
	}
	return plans
}
