package dependencies

import (
	"fmt"
	"testing"

	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
	"github.com/cartero-mail/cartero/test/harness"
)

// steps are the transactions by which a campaign is written and sent: each is named by a statement in it.
var steps = []struct {
	name, statement string
	of              func(*stage) *mysql.Proxy
}{
	{"opened", "^INSERT INTO `Campaign`", ofOperator},
	{"list written", "^INSERT INTO `Recipient` .*'pending'", ofOperator},
	{"sealed", "^UPDATE `Campaign` .*`sealedAt`='", ofOperator},
	{"rung", "^UPDATE `EmailJob` SET .*`rings`", ofOperator},
	{"started", "^UPDATE `EmailJob` .*'PROCESSING'", ofWorker},
	{"claimed", "^INSERT INTO `Lease`", ofWorker},
	{"announced", "^UPDATE `Recipient` .*`announcedAt` ?= ?'", ofWorker},
	{"recorded", "^(INSERT INTO|UPDATE) `Recipient` .*'accepted'", ofWorker},
	{"finished", "^UPDATE `EmailJob` .*'COMPLETED'", ofWorker},
}

func ofOperator(s *stage) *mysql.Proxy { return s.operator.db }
func ofWorker(s *stage) *mysql.Proxy   { return s.worker.db }

// faults are what happens to a transaction. A refusal is of the statement, so that the transaction is still open.
var faults = []struct {
	name string
	rule func(statement string) mysql.Rule
}{
	{"the reply to the commit is lost", func(statement string) mysql.Rule {
		return mysql.Rule{Match: mysql.CommitOf(statement), Do: proxy.Lose}
	}},
	{"cut before the commit", func(statement string) mysql.Rule {
		return mysql.Rule{Match: mysql.CommitOf(statement), Do: proxy.Cut}
	}},
	{"a deadlock", refused(mysql.Deadlock, 1, false)},
	{"read-only", refused(mysql.OptionPrevents, 2, false)},
	{"the table is full", refused(mysql.TableFull, 1, false)},
	{"a lock that was not got", refused(mysql.LockWaitTimeout, 2, false)},
	{"shut down", refused(mysql.Shutdown, 1, true)},
	{"the reply to the statement is lost", func(statement string) mysql.Rule {
		return mysql.Rule{Match: mysql.Statement(statement), Do: proxy.Lose}
	}},
	{"a replica", refused(mysql.ReadOnlyMode, 1, false)},
	{"a query that was killed", refused(mysql.Interrupted, 1, false)},
}

func refused(reply mysql.Error, times int, hangUp bool) func(string) mysql.Rule {
	return func(statement string) mysql.Rule {
		return mysql.Rule{Match: mysql.Statement(statement), Do: proxy.Answer, Reply: reply, Times: times, HangUp: hangUp}
	}
}

// TestEachTransactionFails has each transaction of a campaign fail in each way: nobody is lost, mailed twice, or in doubt.
// A plain run has each transaction fail in two ways, and each way at some transaction.
func TestEachTransactionFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(nil)
	rounds := 2
	if everything() {
		rounds = len(faults)
	}
	for round := range rounds {
		name := fmt.Sprintf("failing-%d", round)
		hits := map[string]*mysql.Armed{}
		for i, step := range steps {
			fault := faults[(i+round*len(faults)/rounds)%len(faults)]
			hits[step.name+": "+fault.name] = step.of(s).Arm(fault.rule(step.statement))
		}
		s.world.Send(name, people(name, 3*jobSize), jobSize)
		for what, armed := range hits {
			t.Logf("%s: %s", name, what)
			armed.Await(t, 1)
		}
		s.operator.db.DisarmAll()
		s.worker.db.DisarmAll()
		s.judge(name, 3*jobSize)
	}
}

// TestNoConnections: a database that has no connection left for anybody is waited for, at the start and later.
func TestNoConnections(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	none := mysql.Rule{Match: mysql.Connection, Do: proxy.Answer, Reply: mysql.TooManyConnections, Times: proxy.Always}
	operator, worker := s.operator.db.Arm(none), s.worker.db.Arm(none)
	s.startOperator(nil)
	s.startWorker(nil)
	s.operator.Await("Waiting for the database")
	s.worker.Await("Waiting for the database")
	operator.Disarm()
	worker.Disarm()
	s.worker.Await("Taking jobs")

	reached := make(chan struct{})
	s.world.Relay.OnMail(func(n int) {
		if n == 10 {
			worker = s.worker.db.Arm(none)
			s.worker.db.CutAll()
			close(reached)
		}
	})
	s.world.Send("crowded", people("crowded", 3*jobSize), jobSize)
	await(t, reached, "the tenth mail")
	worker.Await(t, 3)
	worker.Disarm()
	s.judge("crowded", 3*jobSize)
}

// TestDatabaseIsFull: while nothing can be written nobody new is mailed, and what was announced is the most that is.
func TestDatabaseIsFull(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(harness.Env{"WORKER_CONCURRENCY": "2"})
	const (
		mails     = 20 * jobSize
		before    = 15
		announced = 8 * connections * 2 // the windows of two jobs
	)
	full := make(chan *mysql.Armed, 1)
	s.world.Relay.OnMail(func(n int) {
		if n == before {
			full <- s.worker.db.Arm(mysql.Rule{
				Match: mysql.Statement("^(INSERT|UPDATE|DELETE)"), Do: proxy.Answer, Reply: mysql.DiskFull, Times: proxy.Always,
			})
		}
	})
	s.world.Send("full", people("full", mails), jobSize)
	var armed *mysql.Armed
	harness.Eventually(t, "the disk is full", func() bool {
		select {
		case armed = <-full:
			return true
		default:
			return false
		}
	})
	armed.Await(t, 12) // several tries of each who writes
	if n := len(s.world.Relay.Messages()); n > before+announced {
		t.Errorf("%d mails were sent while nothing could be recorded, want at most %d", n-before, announced)
	}
	armed.Disarm()
	s.judge("full", mails)
}

// TestSlowDatabase: every statement takes its time. Nobody is in doubt for it, and nobody is mailed twice.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.startOperator(nil)
	s.startWorker(harness.Env{"WORKER_LEASE": "60s"}) // the default: what the harness has is over before it can be renewed
	s.worker.Await("Taking jobs")
	slow := mysql.Rule{Match: mysql.Statement(""), Do: proxy.Hold, Delay: slowness(), Times: proxy.Always}
	s.operator.db.Arm(slow)
	s.worker.db.Arm(slow)
	s.world.Send("slow", people("slow", 2*jobSize), jobSize)
	s.judge("slow", 2*jobSize)
}

// TestSilentDatabase: a server that takes a statement and never answers. With socket_timeout that is a lost connection.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	timeout := func(p *mysql.Proxy) harness.Env {
		return harness.Env{"DATABASE_URL": elsewhere(t, s.world.DatabaseURL, p.Addr()) + "?socket_timeout=1"}
	}
	s.startOperator(timeout(s.operator.db))
	s.startWorker(timeout(s.worker.db))
	var hits []*mysql.Armed
	for _, step := range steps {
		hits = append(hits, step.of(s).Arm(mysql.Rule{Match: mysql.CommitOf(step.statement), Do: proxy.Swallow}))
	}
	s.world.Send("silent", people("silent", 2*jobSize), jobSize)
	for _, armed := range hits {
		armed.Await(t, 1)
	}
	s.judge("silent", 2*jobSize)
}
