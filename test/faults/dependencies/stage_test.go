package dependencies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/faults/proxy/kube"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
	"github.com/cartero-mail/cartero/test/faults/proxy/redis"
	"github.com/cartero-mail/cartero/test/harness"
)

// stage is a world in which operator and worker reach each server through a proxy of their own.
type stage struct {
	*testing.T

	world    *harness.World
	operator part
	worker   part
	api      *kube.Proxy
	journal  string
}

// part is a process and the proxies that it goes through.
type part struct {
	*harness.Process

	db    *mysql.Proxy
	queue *redis.Proxy
}

const (
	// jobSize makes several jobs of a few dozen recipients.
	jobSize = 20
	// connections is how many mails are on the wire at once at most.
	connections = 3
)

func newStage(t *testing.T) *stage {
	t.Helper()
	harness.Binary(t)
	s := &stage{T: t, world: harness.NewWorld(t, harness.RealServices(t)), journal: t.TempDir()}
	s.api = kube.New(t, s.world.Cluster.Config)
	s.operator.db, s.operator.queue = s.proxies()
	s.worker.db, s.worker.queue = s.proxies()
	return s
}

func (s *stage) proxies() (*mysql.Proxy, *redis.Proxy) {
	s.Helper()
	db, _ := mysql.Before(s, s.world.DatabaseURL)
	queue, _ := redis.Before(s, s.world.RedisURL)
	return db, queue
}

// through are the settings of a process that goes through the proxies.
func (s *stage) through(db *mysql.Proxy, queue *redis.Proxy) harness.Env {
	return harness.Env{
		"DATABASE_URL": elsewhere(s.T, s.world.DatabaseURL, db.Addr()), "REDIS_URL": elsewhere(s.T, s.world.RedisURL, queue.Addr()),
	}
}

func (s *stage) startOperator(more harness.Env) {
	s.Helper()
	env := s.through(s.operator.db, s.operator.queue).With(harness.Env{"KUBECONFIG": s.api.Kubeconfig()})
	s.operator.Process = s.world.StartOperator(env.With(more))
}

func (s *stage) startWorker(more harness.Env) {
	s.Helper()
	env := s.through(s.worker.db, s.worker.queue).With(harness.Env{"SMTP_MAX_CONNECTIONS": "3"})
	s.worker.Process = s.world.StartWorker(s.journal, env.With(more))
}

// people are n addresses that only one campaign has.
func people(campaign string, n int) []string { return harness.Addresses(n, campaign+".example.org") }

func domain(campaign string) string { return "@" + campaign + ".example.org" }

// judge waits for the end of a campaign, and compares rows, the relay's mails, jobs, status and what was said with what they
// must be if everybody was mailed once.
func (s *stage) judge(campaign string, n int64) {
	s.Helper()
	status := s.world.AwaitComplete(campaign).Status
	want := v1alpha1.RecipientCounts{Total: n, Accepted: n}
	if diff := gocmp.Diff(&want, status.Recipients); diff != "" || status.TerminalState != v1alpha1.TerminalCompleted {
		s.Errorf("%s: ended as %s, counts (-want +got):\n%s", campaign, status.TerminalState, diff)
	}
	mails := s.world.Relay.Recipients()
	rows := 0
	for _, row := range s.world.Recipients(s) {
		if !strings.HasSuffix(row.Email, domain(campaign)) {
			continue
		}
		rows++
		want := harness.Recipient{ID: row.ID, Email: row.Email, Status: "SENT", Sent: true, State: "accepted"}
		if diff := gocmp.Diff(want, row); diff != "" {
			s.Errorf("%s: a row (-want +got):\n%s", campaign, diff)
		}
		if mails[row.Email] != 1 {
			s.Errorf("%s: recipient %s has %d mails", campaign, row.ID, mails[row.Email])
		}
	}
	if int64(rows) != n {
		s.Errorf("%s: %d rows, want %d", campaign, rows, n)
	}
	s.world.AwaitJobs(s)
	s.judgeOutput(campaign)
}

// judgeOutput: faults make nobody panic, and tell no addresses.
func (s *stage) judgeOutput(campaign string) {
	s.Helper()
	for _, p := range []*harness.Process{s.operator.Process, s.worker.Process} {
		if p == nil {
			continue
		}
		if p.Ended() {
			s.Errorf("%s: a process has ended", campaign)
		}
		for line := range strings.Lines(p.Output()) {
			if strings.Contains(line, domain(campaign)) || strings.Contains(strings.ToLower(line), "panic") {
				s.Errorf("%s: a process said %s", campaign, line)
			}
		}
	}
}

// script is the text of one of the queue's scripts, as it is sent.
func script(t *testing.T, name string) string {
	t.Helper()
	folder := filepath.Join(kubetest.Root(t), "internal", "queue", "bull", "scripts")
	var text [2]string
	for i, file := range []string{"lib.lua", name + ".lua"} {
		source, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(source)
	}
	return text[0] + "\n" + text[1]
}
