package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/faults/check"
	"github.com/cartero-mail/cartero/test/faults/ledger"
	"github.com/cartero-mail/cartero/test/harness"
)

const (
	sender   = "news@news.example.com"
	apiKey   = "soak-canary-key-5d1e77"
	password = "soak-canary-password-9b2f"
	// canary is in every address, and bodyMark in every body.
	canary   = "canary7f3a"
	bodyMark = "soak-canary-body-c0ffee"
)

// part is a process that is to run, and its lives so far.
type part struct {
	name  string
	args  []string
	env   harness.Env
	lives []*harness.Process
	// stopped: it has had SIGSTOP.
	stopped bool
}

// world is everything that runs.
type world struct {
	*testing.T
	harness.Services

	cluster   *kubetest.Cluster
	namespace string
	db        *harness.MariaDB // nil: somebody else's, which is not killed
	// database, redis, smtp and kube stand before the servers.
	database, redis, smtp, kube *harness.Proxy
	relay                       *ledger.Server
	config                      ledger.Config
	parts                       []*part
	facade                      string // its URL
	dir                         string // of what is judged
	journals                    string
	history                     *check.History
	historyFailed               sync.Once
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{T: t, dir: dir, journals: filepath.Join(dir, "journals")}
	harness.Binary(t) // skips a short test before anything is started
	if w.db = harness.StartMariaDB(t); w.db != nil {
		t.Setenv("TEST_DATABASE_URL", w.db.URL)
	}
	w.Services = harness.RealServices(t)
	w.cluster = kubetest.Start(t)
	w.namespace = w.cluster.Namespace(t)
	var err error
	if w.history, err = check.NewHistory(filepath.Join(dir, "history.jsonl")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.history.Close() })
	w.config = ledger.Config{
		Path: filepath.Join(dir, "ledger.jsonl"), Address: harness.FreeAddr(t), Username: "cartero", Password: password,
	}
	w.startRelay()
	t.Cleanup(func() { _ = w.relay.Close() })
	w.smtp = w.before(w.config.Address)
	w.wire()
	return w
}

// before puts a proxy before a server.
func (w *world) before(target string) *harness.Proxy {
	w.Helper()
	p := harness.NewProxy(w.T, target)
	p.Come()
	return p
}

func (w *world) startRelay() {
	w.Helper()
	relay, err := ledger.New(w.config)
	if err != nil {
		w.Fatalf("Starting the relay: %v", err)
	}
	w.relay = relay
}

// wire puts the parts together: two operators, two workers and a facade, each behind proxies.
func (w *world) wire() {
	w.Helper()
	database, err := url.Parse(w.DatabaseURL)
	if err != nil {
		w.Fatal("the database's URL is not one")
	}
	redis, err := url.Parse(w.RedisURL)
	if err != nil {
		w.Fatal("the URL of Redis is not one")
	}
	w.database, w.redis = w.before(database.Host), w.before(redis.Host)
	w.kube = w.before(strings.TrimPrefix(w.cluster.Config.Host, "https://"))
	database.Host, redis.Host = w.database.Addr(), w.redis.Addr()
	base := harness.Env{
		"DATABASE_URL": database.String(), "REDIS_URL": redis.String(), "BULL_PREFIX": w.Prefix,
		"LOG_FORMAT": "text", "LOG_LEVEL": "info", "METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0",
		"SMTP_FROM": sender, "SWEEP_INTERVAL": "1s", "BULL_LOCK_DURATION": "2s", "BULL_STALLED_INTERVAL": "2s",
	}
	kubeconfig := filepath.Join(w.TempDir(), "kubeconfig")
	original, err := os.ReadFile(w.cluster.Kubeconfig(w.T))
	if err != nil {
		w.Fatal(err)
	}
	text := strings.ReplaceAll(string(original), w.cluster.Config.Host, "https://"+w.kube.Addr())
	text = strings.ReplaceAll(text, strings.TrimPrefix(w.cluster.Config.Host, "https://"), w.kube.Addr())
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	operator := base.With(harness.Env{"KUBECONFIG": kubeconfig, "WATCH_NAMESPACE": w.namespace, "LEADER_ELECT": "false"})
	worker := func(journal string) harness.Env {
		return base.With(harness.Env{
			"SMTP_SERVER": "127.0.0.1", "SMTP_PORT": w.smtp.Port(), "SMTP_USE_TLS": "false", "SMTP_HELO_NAME": "worker.example.com",
			"SMTP_USERNAME": "cartero", "SMTP_PASSWORD": password, "SMTP_MAX_CONNECTIONS": "4",
			"WORKER_JOURNAL_DIR": filepath.Join(w.journals, journal), "WORKER_LEASE": "10s",
			"RETRY_INITIAL_BACKOFF": "1s", "RETRY_MAX_BACKOFF": "4s", "RETRY_MAX_ATTEMPTS": "100",
		})
	}
	addr := harness.FreeAddr(w.T)
	_, port, _ := net.SplitHostPort(addr)
	w.facade = "http://" + addr
	facade := base.With(harness.Env{"API_KEY": apiKey, "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": port})
	w.parts = []*part{
		{name: "operator-a", args: []string{"operator"}, env: operator},
		{name: "operator-b", args: []string{"operator"}, env: operator},
		{name: "worker-a", args: []string{"worker"}, env: worker("a")},
		{name: "worker-b", args: []string{"worker"}, env: worker("b")},
		{name: "facade", args: []string{"facade"}, env: facade},
	}
	for _, p := range w.parts {
		w.start(p)
	}
}

func (w *world) start(p *part) {
	w.Helper()
	p.lives, p.stopped = append(p.lives, harness.Start(w.T, p.env, p.args...)), false
}

func (p *part) now() *harness.Process { return p.lives[len(p.lives)-1] }

func (w *world) kill(p *part) {
	w.Helper()
	p.now().Kill()
	p.stopped = false
}

// tend starts what has ended, as Kubernetes does.
func (w *world) tend() {
	w.Helper()
	for _, p := range w.parts {
		if p.now().Ended() {
			w.note("%s has ended by itself", p.name)
			w.start(p)
		}
	}
}

func (w *world) freeze(p *part) {
	w.Helper()
	p.now().Signal(syscall.SIGSTOP)
	p.stopped = true
}

func (w *world) thaw(p *part) {
	w.Helper()
	if p.stopped {
		p.now().Signal(syscall.SIGCONT)
	}
	p.stopped = false
}

// note writes what was done into the history.
func (w *world) note(format string, args ...any) {
	w.Helper()
	w.add(check.Event{Kind: check.KindFault, Note: sprintf(format, args...)})
}

func (w *world) add(e check.Event) {
	if err := w.history.Add(e); err != nil {
		w.historyFailed.Do(func() { w.Errorf("%v", err) })
	}
}

// pause waits, or until the end.
func pause(d time.Duration, end <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-end:
	}
}
