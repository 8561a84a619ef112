package points

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/test/harness"
)

// The environment: which plans there are, and which of them are run.
const (
	// allVariable with the value all has every plan run, instead of some for each place.
	allVariable = "TEST_FAULTS"
	// onlyVariable has those plans run alone whose name contains it.
	onlyVariable = "TEST_FAULTS_PLAN"
)

// lanes is how many plays are given at once: most of the time each waits.
const lanes = 6

// undisturbed is how often each play is given without a fault: what is not reached every time is chance.
const undisturbed = 2

// pausePatience is how long others may overtake somebody who stands still. It decides nothing: whoever waits for a lock that
// is held there can't come any further.
const pausePatience = 2 * time.Second

// TestEveryPoint lets a small campaign and some single mails be sent undisturbed, and notes what each process reached. Then
// it does the same again for every place: once for each of the first, the second and the last time that the process comes
// there, it is killed, it loses a connection, or it stands still while another takes over. It must end the same.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	harness.FailpointBinary(t)
	all, only := os.Getenv(allVariable) == "all", os.Getenv(onlyVariable)

	stage := newStage(t)
	var references []plan
	for range undisturbed {
		for _, p := range plays {
			for _, who := range p.victims {
				references = append(references, plan{play: p.name, victim: who})
			}
		}
	}
	stage.run(references)
	if t.Failed() {
		t.Fatal("undisturbed, it does not end as it should")
	}
	var reached []failpoint.Point
	recorded := recording{} // what is reached each time, as often as it is at least
	for at, counts := range stage.recorded {
		reached = append(reached, at.point)
		if len(counts) == undisturbed {
			recorded[at] = slices.Min(counts)
		}
	}
	var points []failpoint.Point
	for _, d := range failpoint.All() {
		points = append(points, d.Point)
	}
	slices.Sort(reached)
	slices.Sort(points)
	if diff := cmp.Diff(points, slices.Compact(reached)); diff != "" {
		t.Errorf("points that no play reaches (-all +reached):\n%s", diff)
	}

	plans := enumerate(recorded, all || only != "")
	plans = slices.DeleteFunc(plans, func(p plan) bool { return !strings.Contains(p.String(), only) })
	began := time.Now()
	stage.run(plans)
	t.Logf("%d places, %d plans, %d of them not reached, in %s", len(recorded), len(plans), len(stage.missed), time.Since(began).Round(time.Second))
	for _, p := range stage.missed {
		t.Logf("not reached: %s", p)
	}
}

// TestFailpointsAreThere is the other half of faults.TestNothingOfFailpoints: with the build tag the names are there.
func TestFailpointsAreThere(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(harness.FailpointBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range failpoint.All() {
		if !bytes.Contains(program, []byte(d.Point)) {
			t.Errorf("the binary does not contain %q", d.Point)
		}
	}
}

// stage has several lanes.
type stage struct {
	t *testing.T

	mu       sync.Mutex
	recorded map[place][]int // how often each place was reached in each undisturbed play
	// ends are those of the undisturbed plays.
	ends   map[string]end
	missed []plan
	free   []*lane
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{t: t, recorded: map[place][]int{}, ends: map[string]end{}}
}

// run has the plans carried out, each lane one after the other.
func (s *stage) run(plans []plan) {
	work := make(chan plan)
	gone := make(chan struct{}) // no lane is left: none could be made
	var working sync.WaitGroup
	for range min(lanes, len(plans)) {
		working.Go(func() { s.keepTo(work) })
	}
	go func() {
		working.Wait()
		close(gone)
	}()
	for _, p := range plans {
		select {
		case work <- p:
		case <-gone:
			return
		}
	}
	close(work)
	<-gone
}

// keepTo carries out plans in one lane. After one that failed it is another: whatever was left may disturb the next.
func (s *stage) keepTo(work <-chan plan) {
	var l *lane
	for p := range work {
		if l == nil {
			l = s.take()
		}
		if !s.t.Run(p.String(), func(t *testing.T) { s.carryOut(t, l, p) }) {
			for _, who := range []role{operator, worker, facade} {
				l.end(who)
			}
			l = nil
		}
	}
	if l != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free = append(s.free, l)
	}
}

func (s *stage) take() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		l := s.free[n-1]
		s.free = s.free[:n-1]
		return l
	}
	return newLane(s.t)
}

// carryOut gives a play with a plan; without a step it is the undisturbed one.
func (s *stage) carryOut(t *testing.T, l *lane, p plan) {
	t.Helper()
	sc := l.newScene(t, playNamed(p.play))
	sc.play.prepare(sc)
	l.crew(p.victim, sc.play.needs...)
	steps := ""
	if p.step.Point != "" {
		steps = p.step.String()
	}
	v := l.startVictim(t, p.victim, steps)
	sc.play.act(sc)
	sc.watch(v, p)
	if !v.Ended() { // what it still has in hand is finished, even if it came to a stand after the end
		v.letGo(t)
		v.Stop()
	}
	l.end(p.victim)
	reached := v.taken()

	s.mu.Lock()
	defer s.mu.Unlock()
	if steps == "" {
		sc.judge(nil, excuses{})
		s.ends[p.play] = sc.end()
		for at, n := range readHits(t, v.dir, p.play, p.victim) {
			s.recorded[at] = append(s.recorded[at], n)
		}
		return
	}
	if !reached {
		s.missed = append(s.missed, p)
		if p.certain() {
			t.Error("the process never came there")
		}
	}
	if p.step.Action == failpoint.Error && strings.Contains(v.Output(), "whose lease ran out") {
		t.Error("somebody was claimed and forgotten: only the end of the lease gave them back")
	}
	reference := s.ends[p.play]
	sc.judge(&reference, excusesFor(p.step))
}

// watch sees the play to its end. Whoever was killed is replaced; while somebody stands still, another is started beside.
func (s *scene) watch(v victim, p plan) {
	s.t.Helper()
	var others <-chan time.Time // over when those that overtake have had their time
	paused, replaced := false, false
	harness.Eventually(s.t, "it is over", func() bool {
		switch {
		case v.Ended() && !replaced:
			replaced = true
			if p.step.Action != failpoint.Kill && !p.keepsFromStarting() {
				s.t.Fatalf("the process ended by itself:\n%s", v.Output())
			}
			s.died(p.victim)
			s.running[p.victim] = s.start(p.victim, nil)
		case p.step.Action == failpoint.Pause && !paused && v.taken():
			paused, replaced = true, true
			s.running[p.victim] = s.start(p.victim, nil)
			others = time.After(pausePatience)
		}
		over := s.play.over(s) && s.drained()
		if others == nil { // a process may be about to die, or have come to a stand just now
			return over && (replaced || p.step.Action == failpoint.Error || !v.taken())
		}
		select {
		case <-others:
		default:
			if !over {
				return false
			}
		}
		others = nil
		v.letGo(s.t)
		return false
	})
}
