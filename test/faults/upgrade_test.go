//go:build upgrade

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/test/harness"
)

// fromVariable names the binary of the version to come from; `make test-upgrade` builds it.
const fromVariable = "TEST_UPGRADE_FROM"

// TestUpgradeInTheMiddle replaces an older version by this one while a campaign is sent, process by process, half of them with
// kill -9, and then goes back. Each version finds the other's rows, leases and journals. Where this version has migrated the
// database, the older one that is started anew refuses, and this one goes on.
func TestUpgradeInTheMiddle(t *testing.T) {
	t.Parallel()
	from := os.Getenv(fromVariable)
	if from == "" {
		t.Fatalf("%s is not set: run `make test-upgrade FROM=<commit>`, which builds that version", fromVariable)
	}
	if _, err := os.Stat(from); err != nil {
		t.Fatalf("The older version is not there: %v", err)
	}
	harness.Binary(t)
	c := newChaos(t, harness.NewWorld(t, harness.RealServices(t)), uint64(time.Now().UnixNano()))
	c.world.Program = filepath.Clean(from)
	c.startOperator()
	for i := range c.journals {
		c.workers = append(c.workers, nil)
		c.startWorker(i)
		c.workers[i].Await("Taking jobs")
	}
	c.world.Send(name, c.list(), jobSize)

	c.after(func() { // a new worker on the journal of an old one that was killed, beside an old one
		c.world.Program = ""
		c.replaceWorker(0)
	})
	c.after(c.replaceOperator)
	c.after(func() { c.replaceWorker(1) })
	c.after(func() { // and back
		c.world.Program = filepath.Clean(from)
		c.killWorker(0)
		c.startWorker(0)
		if c.refused(c.workers[0]) {
			t.Log("the older version refuses the newer schema, as it should")
			c.world.Program = ""
			c.startWorker(0)
		}
		c.workers[0].Await("Taking jobs")
	})
	c.after(c.replaceOperator)
	c.after(func() { c.replaceWorker(1) })
	c.gate.open()
	c.world.AwaitComplete(name)
	c.judge()
}

// after lets some mails pass and does something while others hang between final dot and reply.
func (c *chaos) after(do func()) {
	c.Helper()
	const mails = 200
	if !c.await(c.gate.allow(mails, mails)) {
		c.Fatal("the campaign has ended before everything was replaced")
	}
	do()
}

func (c *chaos) replaceWorker(i int) {
	c.Helper()
	c.killWorker(i)
	c.startWorker(i)
	c.workers[i].Await("Taking jobs")
}

func (c *chaos) replaceOperator() {
	c.Helper()
	c.operator.Stop()
	c.startOperator()
	c.operator.Await("Starting workers")
}

// refused waits until a worker takes jobs, or has ended because the schema is newer than it knows.
func (c *chaos) refused(worker *harness.Process) bool {
	c.Helper()
	refused := false
	harness.Eventually(c, "the older worker takes jobs or refuses to", func() bool {
		refused = worker.Ended()
		return refused || strings.Contains(worker.Output(), "Taking jobs")
	})
	if refused && (worker.Wait() != 1 || !strings.Contains(worker.Output(), "a newer cartero wrote it")) {
		c.Errorf("the older worker ended with %d:\n%s", worker.Wait(), worker.Output())
	}
	return refused
}
