package swap

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

const (
	// strikes is how many times a worker is killed, in turns one of Cartero's and one of Node's.
	strikes = 10
	// apart is how many mails arrive between two strikes.
	apart = 25
	// each producer's jobs and their recipients, one of which bounces.
	jobsEach, people = 20, 10
)

// gate has the relay hold its replies back, from the mail at which somebody is to be killed until that is done.
type gate struct {
	mu    sync.Mutex
	next  int // the mail that closes it
	shut  chan struct{}
	opens chan struct{}
}

func newGate(relay *harness.Relay) *gate {
	g := &gate{next: apart, shut: make(chan struct{}), opens: make(chan struct{})}
	relay.OnMail(g.pass)
	return g
}

func (g *gate) pass(n int) {
	g.mu.Lock()
	opens := g.opens
	if n == g.next {
		close(g.shut)
	}
	closed := g.next > 0 && n >= g.next
	g.mu.Unlock()
	if closed {
		<-opens
	}
}

// closing is closed when the mail has arrived at which the gate shuts.
func (g *gate) closing() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// open lets everybody through: until some mails more have arrived, or for ever.
func (g *gate) open(n int, forEver bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opens)
	g.opens, g.shut, g.next = make(chan struct{}), make(chan struct{}), n+apart
	if forEver {
		g.next = 0
	}
}

// fleet is one worker of each kind, which are killed and started again.
type fleet struct {
	*testing.T
	world   *harness.World
	journal string
	cartero *harness.Process
	node    *nodejs.Process
}

// startCartero starts Cartero's worker, slowed down to about the pace of Node's.
func (f *fleet) startCartero() {
	f.cartero = f.world.StartWorker(f.journal, agreed.With(harness.Env{"SMTP_MAX_CONNECTIONS": "2", "SMTP_SEND_INTERVAL": "30ms"}))
}

func (f *fleet) strike(round int) {
	f.Helper()
	if round%2 == 0 {
		f.cartero.Kill()
		f.startCartero()
		return
	}
	f.node.Kill()
	f.node = startNodeWorker(f.T, f.world)
}

// TestBothWorkersAreKilled: both producers fill a queue that both kinds of worker empty, and one worker after another is
// killed (-9) with its mails at the relay. Each job ends once, nobody is lost, and Cartero mails nobody twice. The Node
// worker mails a whole job again when it takes one over, as it always has.
func TestBothWorkersAreKilled(t *testing.T) {
	t.Parallel()
	w := harness.NewWorld(t, newServices(t))
	g := newGate(w.Relay)
	letAll := sync.OnceFunc(func() { g.open(0, true) })
	t.Cleanup(letAll)
	w.StartOperator(mixed.With(agreed))
	backend := startProgram(t, "backend.js", w.Services)
	f := &fleet{T: t, world: w, journal: t.TempDir()}

	var addresses []string
	jobs := outcomes{}
	for i := range jobsEach {
		to := append(harness.Addresses(people-1, fmt.Sprintf("backend%d.example.org", i)), fmt.Sprintf("gone%d@bounce.example", i))
		jobs[send(backend, fmt.Sprint("job ", i), to...).ID] = ""
	}
	for i := range jobsEach {
		addresses = append(addresses, harness.Addresses(people-1, fmt.Sprintf("operator%d.example.org", i))...)
		addresses = append(addresses, fmt.Sprintf("left%d@bounce.example", i))
	}
	mixed := html(w, "mixed", people, addresses...)
	mixed.Spec.AbortPolicy = &v1alpha1.AbortPolicy{ // a tenth of them bounce
		MaxHardBouncePercent: new(int32(100)), MaxFailedPercent: new(int32(100)),
	}
	create(t, w, mixed)
	f.startCartero()
	f.node = startNodeWorker(t, w)

	for round := range strikes {
		select {
		case <-g.closing():
		case <-t.Context().Done():
			t.Fatalf("strike %d never came", round)
		}
		f.strike(round)
		g.open(w.Relay.Count(), false)
	}
	letAll()

	w.AwaitComplete("mixed")
	finished := outcomes{}
	harness.Eventually(t, "every job is over in Node", func() bool {
		finished.drain(backend)
		var counts map[string]int
		backend.Do("counts", nil, &counts)
		return len(finished) == jobsEach && counts["waiting"]+counts["active"]+counts["delayed"] == 0
	})
	f.judge(jobs, finished)
}

func (f *fleet) judge(jobs, finished outcomes) {
	f.Helper()
	for id := range jobs {
		if end := finished[id]; strings.Count(end, "{") != 1 || strings.Contains(end, "error") {
			f.Errorf("job.finished() of %s came to %q, want one result", id, end)
		}
	}
	f.world.AwaitJobs(f.T)
	byCartero, byNode := mailsOf(f.world, harness.Sender), mailsOf(f.world, nodeSender)
	for address, n := range byCartero {
		if n > 1 {
			f.Errorf("Cartero mailed %s %d times", address, n)
		}
	}
	doubtful, both := 0, 0
	for _, r := range f.world.Recipients(f.T) {
		mails := byCartero[r.Email] + byNode[r.Email]
		bounces := strings.HasSuffix(r.Email, "@bounce.example")
		switch {
		case r.Status == "SENT" && mails > 0 && !bounces:
		case r.Status == "FAILED" && mails == 0 && bounces:
		case r.Status == "FAILED" && r.State == "inDoubt":
			doubtful++
		default:
			f.Errorf("%s is %s (%s) and got %d mails", r.Email, r.Status, r.State, mails)
		}
		if byCartero[r.Email] > 0 && byNode[r.Email] > 0 {
			both++
		}
	}
	f.Logf("%d mails by Cartero, %d recipients mailed by Node, %d by both, %d in doubt", len(byCartero), len(byNode), both, doubtful)
	if len(byCartero) == 0 || len(byNode) == 0 {
		f.Error("one of the workers sent nothing")
	}
}
