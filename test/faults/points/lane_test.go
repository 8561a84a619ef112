package points

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
	"github.com/cartero-mail/cartero/test/harness"
)

// role is a kind of process.
type role string

const (
	operator role = "operator"
	worker   role = "worker"
	facade   role = "facade"
)

const apiKey = "key-of-the-tests"

// connections is how many mails one process has between final dot and reply at most.
const connections = 2

// lane is a world in which one play after the other is given. All of its processes live on from play to play, but for the
// victim, which is started anew with its plan.
type lane struct {
	*testing.T

	world *harness.World
	relay *smtptest.Server
	env   harness.Env // of the relay
	// journals are the directories of whoever sends.
	journals map[role]string
	// running are those without a plan.
	running map[role]*harness.Process

	mu sync.Mutex
	// facade is the one that was started last.
	facade *harness.Process
	putOff map[string]bool
	plays  int
}

func newLane(t *testing.T) *lane {
	t.Helper()
	l := &lane{
		T: t, world: harness.NewWorld(t, harness.RealServices(t)), running: map[role]*harness.Process{}, putOff: map[string]bool{},
		journals: map[role]string{worker: t.TempDir(), facade: t.TempDir()},
	}
	l.world.Program = harness.FailpointBinary(t)
	l.relay = smtptest.Start(t, smtptest.Script{Features: []string{"PIPELINING", "8BITMIME"}, React: l.react})
	host, port, _ := strings.Cut(l.relay.Addr(), ":")
	l.env = harness.Env{
		"SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_MAX_CONNECTIONS": fmt.Sprint(connections), "WORKER_CONCURRENCY": "2",
		"RETRY_INITIAL_BACKOFF": "1s", "SMTP_USE_TLS": "false", "SMTP_HELO_NAME": "worker.example.com",
	}
	return l
}

// react refuses and puts off by the local part: PLAY.bounce0@, PLAY.later0@.
func (l *lane) react(step smtptest.Step, recipient string) *smtptest.Reaction {
	if step != smtptest.RCPT {
		return nil
	}
	switch _, name, _ := strings.Cut(recipient, "."); {
	case strings.HasPrefix(name, "bounce"):
		return &smtptest.Reaction{Reply: "550 5.1.1 no such mailbox"}
	case strings.HasPrefix(name, "later"):
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.putOff[recipient] {
			l.putOff[recipient] = true
			return &smtptest.Reaction{Reply: "450 4.2.2 mailbox full"}
		}
	}
	return nil
}

// start starts a process; more are the settings of its plan.
func (l *lane) start(who role, more harness.Env) *harness.Process {
	l.Helper()
	switch who {
	case operator:
		return l.world.StartOperator(more)
	case worker:
		return l.world.StartWorker(l.journals[worker], l.env.With(more))
	default:
		p := l.world.LaunchFacade(apiKey, l.env, harness.Env{"WORKER_JOURNAL_DIR": l.journals[facade], "WORKER_LEASE": "10s"}, more)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.facade = p
		return p
	}
}

// restart replaces whoever runs in a role by a process without a plan.
func (l *lane) restart(who role) {
	l.Helper()
	l.end(who)
	l.running[who] = l.start(who, nil)
}

// end kills whoever runs in a role.
func (l *lane) end(who role) {
	if p := l.running[who]; p != nil {
		p.Kill()
		delete(l.running, who)
	}
}

// crew has everybody run but the victim.
func (l *lane) crew(victim role, needed ...role) {
	l.Helper()
	for _, who := range []role{operator, worker, facade} {
		wanted := false
		for _, n := range needed {
			wanted = wanted || n == who
		}
		switch {
		case who == victim || !wanted:
			l.end(who)
		case l.running[who] == nil || l.running[who].Ended():
			l.restart(who)
		}
	}
}

// victim is a process that goes by a plan.
type victim struct {
	*harness.Process

	dir string
}

func (l *lane) startVictim(t *testing.T, who role, steps string) victim {
	t.Helper()
	dir := t.TempDir()
	return victim{l.start(who, harness.Env{"FAILPOINTS": steps, "FAILPOINTS_DIR": dir}), dir}
}

// taken reports whether the plan's first step was.
func (v victim) taken() bool {
	_, err := os.Stat(filepath.Join(v.dir, "taken-0"))
	return err == nil
}

// letGo ends the pause of the plan's first step.
func (v victim) letGo(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, "go-0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
