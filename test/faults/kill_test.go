package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/harness"
)

// seedVariable repeats the schedule of an earlier run.
const seedVariable = "TEST_FAULTS_SEED"

const (
	people   = 2000
	bouncing = 25
	jobSize  = 100
	// connections is how many mails one worker has between final dot and reply at most.
	connections = 3
	// rounds is how many times somebody is killed while mails are sent.
	rounds = 40
)

// TestKilledAtRandom kills (-9) operator and workers, and empties Redis, again and again while a campaign is sent. In the
// end everybody has one mail, and nobody two; in doubt is exactly who was between final dot and reply when a worker died.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, stack := range []struct {
		name  string
		start func(testing.TB) harness.Services
	}{
		{"SQLite and the embedded Redis", harness.EmbeddedServices},
		{"MariaDB and Redis", harness.RealServices},
	} {
		t.Run(stack.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if text := os.Getenv(seedVariable); text != "" {
				var err error
				if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
					t.Fatalf("%s is not a number", seedVariable)
				}
			}
			t.Logf("%s=%d", seedVariable, seed)
			c := newChaos(t, harness.NewWorld(t, stack.start(t)), seed)
			c.run()
			c.judge()
		})
	}
}

// chaos is one run.
type chaos struct {
	*testing.T
	world    *harness.World
	random   *rand.Rand
	gate     *gate
	operator *harness.Process
	workers  []*harness.Process
	journals []string
	doubtful map[string]bool // ids of recipients whose reply nobody can have read
	killed   map[string]int  // by who
}

const name = "chaos"

func newChaos(t *testing.T, world *harness.World, seed uint64) *chaos {
	t.Helper()
	c := &chaos{
		T: t, world: world, random: rand.New(rand.NewPCG(seed, 0)), gate: newGate(world.Relay),
		journals: []string{t.TempDir(), t.TempDir()}, doubtful: map[string]bool{}, killed: map[string]int{},
	}
	t.Cleanup(c.gate.open) // before the relay is closed, which waits for its mails
	return c
}

func (c *chaos) run() {
	c.Helper()
	c.startOperator()
	for i := range c.journals {
		c.workers = append(c.workers, nil)
		c.startWorker(i)
	}
	c.materialize()
	for round := range rounds {
		mails := 1 + c.random.IntN(2*(people-bouncing)/rounds-1)
		mark := 1 + c.random.IntN(mails) // the last of them: everybody hangs when somebody dies
		if round == rounds/2 {
			c.killed["Redis"]++
			c.world.ForgetQueue(c.T)
		}
		if !c.await(c.gate.allow(mails, mark)) {
			break
		}
		c.strike()
	}
	c.gate.open()
	c.world.AwaitComplete(name)
}

// await waits for mails; it reports false if the campaign has ended before.
func (c *chaos) await(marked <-chan struct{}) bool {
	c.Helper()
	ended := false
	harness.Eventually(c, "the next mails arrive", func() bool {
		select {
		case <-marked:
			return true
		default:
			ended = c.world.Campaign(name).Status.TerminalState != ""
			return ended
		}
	})
	return !ended
}

// strike kills somebody, and starts them again; now and then before they have come up the time before.
func (c *chaos) strike() {
	c.Helper()
	restart := func(i int) {
		c.killWorker(i)
		c.startWorker(i)
		for c.random.IntN(3) == 0 { // in the middle of its start, or of its replay
			c.killWorker(i)
			c.startWorker(i)
		}
	}
	var started []*harness.Process
	switch dice := c.random.IntN(10); {
	case dice < 7:
		i := dice % len(c.workers)
		restart(i)
		started = append(started, c.workers[i])
	case dice < 8:
		for i := range c.workers {
			c.killWorker(i)
		}
		for i := range c.workers {
			c.startWorker(i)
		}
		started = append(started, c.workers...)
	default:
		c.killOperator()
		c.startOperator()
	}
	if c.random.IntN(4) == 0 { // the next one is killed in its start, perhaps
		return
	}
	for _, p := range started {
		p.Await("Taking jobs")
	}
}

// materialize creates the campaign and kills the operator at the first changes of its status, whatever they are.
func (c *chaos) materialize() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), harness.Patience)
	defer cancel()
	watcher, err := client.NewWithWatch(c.world.Cluster.Config, client.Options{Scheme: c.world.Cluster.Scheme})
	if err != nil {
		c.Fatal(err)
	}
	changes, err := watcher.Watch(ctx, &v1alpha1.EmailCampaignList{}, client.InNamespace(c.world.Namespace))
	if err != nil {
		c.Fatalf("Watching the campaign: %v", err)
	}
	defer changes.Stop()
	c.world.Send(name, c.list(), jobSize)
	for kills := 0; kills < 4; {
		select {
		case <-ctx.Done():
			c.Fatal("the campaign's status does not change")
		case event := <-changes.ResultChan():
			object, ok := event.Object.(*v1alpha1.EmailCampaign)
			if !ok {
				c.Fatalf("Watching the campaign: %v", event.Type)
			}
			kills++
			c.killOperator()
			c.startOperator()
			if object.Status.Recipients != nil && object.Status.Recipients.Active > 0 {
				return // it has begun: mails set the pace from here
			}
		}
	}
}

// list is everybody, those who bounce between the others.
func (c *chaos) list() []string {
	list := slices.Concat(harness.Addresses(people-bouncing, "example.org"), harness.Addresses(bouncing, "bounce.example"))
	c.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (c *chaos) startOperator() {
	c.Helper()
	c.operator = c.world.StartOperator(nil)
}

func (c *chaos) startWorker(i int) {
	c.Helper()
	c.workers[i] = c.world.StartWorker(c.journals[i], harness.Env{"SMTP_MAX_CONNECTIONS": strconv.Itoa(connections)})
}

func (c *chaos) killOperator() {
	c.Helper()
	c.operator.Kill()
	c.killed["operator"]++
}

func (c *chaos) killWorker(i int) {
	c.Helper()
	c.workers[i].Kill()
	c.killed[fmt.Sprintf("worker %d", i)]++
	for _, id := range harness.Unanswered(c.T, c.journals[i]) {
		c.doubtful[id] = true
	}
}

// judge compares every row with the relay's ledger and with what the journals knew.
func (c *chaos) judge() {
	c.Helper()
	status := c.world.Campaign(name).Status
	mails := c.world.Relay.Recipients()
	rows := c.world.Recipients(c)
	if len(rows) != people {
		c.Errorf("%d rows, want %d", len(rows), people)
	}
	var accepted, bounced int64
	var inDoubt, arrived int64
	for _, row := range rows {
		n := mails[row.Email]
		delete(mails, row.Email)
		want := 0
		switch row.State {
		case "accepted":
			want = 1
			accepted++
		case "inDoubt":
			want = min(n, 1)
			inDoubt++
			arrived += int64(n)
			if !c.doubtful[row.ID] {
				c.Errorf("recipient %s is in doubt, but no worker died between its final dot and its reply", row.ID)
			}
		case "bounced":
			bounced++
		default:
			c.Errorf("recipient %s ended as %q", row.ID, row.State)
		}
		if c.doubtful[row.ID] && row.State != "inDoubt" {
			c.Errorf("recipient %s is %s, but a worker died between its final dot and its reply", row.ID, row.State)
		}
		if n != want {
			c.Errorf("recipient %s is %s and has %d mails, want %d", row.ID, row.State, n, want)
		}
		legacy := harness.Recipient{ID: row.ID, Email: row.Email, State: row.State, Status: "FAILED"}
		if row.State == "accepted" {
			legacy.Status, legacy.Sent = "SENT", true
		}
		if diff := gocmp.Diff(legacy, row); diff != "" {
			c.Errorf("legacy columns (-want +got):\n%s", diff)
		}
	}
	if len(mails) > 0 {
		c.Errorf("%d recipients of mails are in no row", len(mails))
	}
	c.Logf("%d accepted, %d bounced, %d in doubt, of these %d arrived; killed: %v", accepted, bounced, inDoubt, arrived, c.killed)
	got := [4]int64{status.Recipients.Total, status.Recipients.Accepted, status.Recipients.Bounced, status.Recipients.InDoubt}
	if diff := gocmp.Diff([4]int64{people, accepted, bounced, inDoubt}, got); diff != "" {
		c.Errorf("total, accepted, bounced and in doubt in the status (-rows +status):\n%s", diff)
	}
	if limit := int64(connections * (c.killed["worker 0"] + c.killed["worker 1"])); inDoubt > limit {
		c.Errorf("%d in doubt, more than the %d connections that were killed", inDoubt, limit)
	}
	c.world.AwaitJobs(c)
}
