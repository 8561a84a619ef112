package failover

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	campaign = "failing-over"
	readers  = 300
	jobSize  = 50
	// replicated mails are recorded before replication breaks off, lost ones between that and the primary's end.
	replicated, lost = 20, 120
)

// TestLastCommitsAreLost kills a primary whose replica lacks its last commits, and promotes the replica. What live workers have not
// recorded yet they record there. The operator sees that the database knows less than it has told, and holds the campaign. Once
// somebody resumes it, exactly those have a second mail whose claim and result the replica never had; whose result alone it lacks
// is in doubt.
func TestLastCommitsAreLost(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	f := newPair(t)
	world := harness.NewWorld(t, f.services())
	gate := newGate(world.Relay)
	t.Cleanup(func() { gate.allow(1 << 30) })
	world.StartOperator(nil)
	worker := world.StartWorker(t.TempDir(), harness.Env{"SMTP_MAX_CONNECTIONS": "3"})
	worker.Await("Taking jobs")

	gate.allow(replicated)
	world.Send(campaign, harness.Addresses(readers, "example.org"), jobSize)
	f.awaitRows("accepted", replicated)
	f.breakOff()
	gate.allow(replicated + lost)
	f.awaitRows("accepted", replicated+lost)
	harness.Eventually(t, "the status tells of them", func() bool {
		r := world.Campaign(campaign).Status.Recipients
		return r != nil && r.Accepted >= replicated+lost
	})
	gate.awaitDots(replicated + lost + 3) // three are between final dot and reply

	told := states(t, f.primaryDB, "accepted")
	f.failOver()
	knows := states(t, f.replicaDB, "accepted")
	announced := states(t, f.replicaDB, "active")
	gate.allow(replicated + lost + 3)
	world.AwaitCondition(campaign, v1alpha1.ConditionSuspended, v1alpha1.ReasonDataRegression)
	harness.Kubectl(t, world.Kubeconfig, "", "annotate", "--namespace", world.Namespace, "emailcampaign/"+campaign, "mail.cartero.dev/resume-at=now")
	gate.allow(1 << 30)
	world.AwaitComplete(campaign)
	world.AwaitJobs(t)

	again, doubts := map[string]bool{}, map[string]bool{}
	for address := range told {
		switch {
		case knows[address]:
		case announced[address]:
			doubts[address] = true
		default:
			again[address] = true
		}
	}
	t.Logf("of %d accepted the replica had %d; %d were announced there, %d nobody's", len(told), len(knows), len(doubts), len(again))
	if len(again) == 0 {
		t.Error("no claim was lost")
	}
	mails := world.Relay.Recipients()
	for _, row := range world.Recipients(t) {
		want, state := 1, "accepted"
		if again[row.Email] {
			want = 2
		}
		if doubts[row.Email] {
			state = "inDoubt"
		}
		if mails[row.Email] != want || row.State != state {
			t.Errorf("recipient %s is %s and has %d mails, want %s and %d", row.ID, row.State, mails[row.Email], state, want)
		}
	}
	if worker.Ended() {
		t.Error("the worker has ended")
	}
}

// pair is a primary, its replica, and the proxy before whichever is it.
type pair struct {
	*testing.T

	primary, replica     *harness.MariaDB
	primaryDB, replicaDB *sql.DB
	proxy                *harness.Proxy
}

func newPair(t *testing.T) *pair {
	t.Helper()
	flags := []string{"--log-bin=bin", "--binlog-format=ROW", "--gtid-strict-mode=ON", "--sync-binlog=1", "--innodb-buffer-pool-size=32M"}
	f := &pair{T: t}
	f.primary = harness.StartMariaDB(t, append(flags, "--server-id=1")...)
	f.replica = harness.StartMariaDB(t, append(flags, "--server-id=2")...)
	if f.primary == nil || f.replica == nil {
		t.Fatal("mariadbd is not installed: run `make test`, which installs it, or apt-get install mariadb-server-core")
	}
	f.primaryDB = f.primary.Open("")
	host, port, _ := net.SplitHostPort(f.primary.Addr)
	f.sameUser()
	f.do(f.replicaDB, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos",
		host, port, f.primary.User, f.primary.Password))
	f.do(f.replicaDB, "START SLAVE")
	f.proxy = harness.NewProxy(t, f.primary.Addr)
	f.proxy.Come()
	return f
}

// services are a world's, whose database is behind the proxy.
func (f *pair) services() harness.Services {
	f.Helper()
	database, err := url.Parse(f.primary.URL)
	if err != nil {
		f.Fatal(err)
	}
	database.Host = f.proxy.Addr()
	redisURL := os.Getenv("TEST_REDIS_URL")
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		f.Fatal("TEST_REDIS_URL is not set: run `make test`, which starts a Redis")
	}
	s := harness.Services{
		DatabaseURL: database.String(), RedisURL: redisURL, Prefix: "cartero_test_" + strings.ToLower(rand.Text()), Real: true,
		DB: f.primary.Open(f.proxy.Addr()), Redis: redis.NewClient(options),
	}
	f.Cleanup(func() {
		s.ForgetQueue(f.T)
		_ = s.Redis.Close()
	})
	return s
}

// sameUser has the replica know the primary's user, without telling that in its own log.
func (f *pair) sameUser() {
	f.Helper()
	conn, err := f.replica.Open("").Conn(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range []string{"SET SESSION sql_log_bin=0", fmt.Sprintf("ALTER USER '%s'@'%%' IDENTIFIED BY '%s'", f.primary.User, f.primary.Password)} {
		if _, err := conn.ExecContext(f.Context(), statement); err != nil {
			f.Fatalf("%.20s: %v", statement, err)
		}
	}
	f.replica.Password = f.primary.Password
	f.replicaDB = f.replica.Open("")
}

func (f *pair) do(db *sql.DB, statement string) {
	f.Helper()
	if _, err := db.ExecContext(f.Context(), statement); err != nil {
		f.Fatalf("%.20s: %v", statement, err)
	}
}

// breakOff lets the replica have everything up to now, and nothing later.
func (f *pair) breakOff() {
	f.Helper()
	var position string
	if err := f.primaryDB.QueryRowContext(f.Context(), "SELECT @@gtid_binlog_pos").Scan(&position); err != nil {
		f.Fatal(err)
	}
	var waited int
	if err := f.replicaDB.QueryRowContext(f.Context(), "SELECT MASTER_GTID_WAIT(?, 60)", position).Scan(&waited); err != nil || waited != 0 {
		f.Fatalf("the replica has not caught up: %d, %v", waited, err)
	}
	f.do(f.replicaDB, "STOP SLAVE IO_THREAD")
}

// failOver kills the primary and has the replica take its place.
func (f *pair) failOver() {
	f.Helper()
	f.primary.Kill()
	f.do(f.replicaDB, "STOP SLAVE")
	f.do(f.replicaDB, "RESET SLAVE ALL")
	f.proxy.Become(f.replica.Addr)
}

// awaitRows waits until the primary has so many recipients in a state.
func (f *pair) awaitRows(state string, n int) {
	f.Helper()
	harness.Eventually(f.T, fmt.Sprintf("%d are %s", n, state), func() bool { return len(states(f.T, f.primaryDB, state)) >= n })
}

// states are the addresses of those who are in a state.
func states(t *testing.T, db *sql.DB, state string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	rows, err := db.QueryContext(t.Context(), "SELECT `email` FROM `Recipient` WHERE `state` = ?", state)
	if err != nil {
		if strings.Contains(err.Error(), "1146") { // no tables yet
			return all
		}
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var email string
		if err := rows.Scan(&email); err != nil {
			t.Fatal(err)
		}
		all[email] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// gate lets the relay take so many mails and keeps the others waiting for the reply to their final dot.
type gate struct {
	mu            sync.Mutex
	changed       *sync.Cond
	dots, allowed int
}

func newGate(relay *harness.Relay) *gate {
	g := &gate{}
	g.changed = sync.NewCond(&g.mu)
	relay.OnMail(g.pass)
	return g
}

func (g *gate) pass(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dots = max(g.dots, n)
	g.changed.Broadcast()
	for n > g.allowed {
		g.changed.Wait()
	}
}

func (g *gate) allow(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = max(g.allowed, n)
	g.changed.Broadcast()
}

// awaitDots waits until so many final dots have arrived.
func (g *gate) awaitDots(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.dots < n {
		g.changed.Wait()
	}
}
