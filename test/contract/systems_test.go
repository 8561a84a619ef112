package contract

import (
	"os"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/test/bench/facade/peer"
	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	key    = "first-key"
	key2   = "second-key"
	sender = "service@shop.example"
)

// system is a mail service with the relay that it sends to.
type system struct {
	client

	t     *testing.T
	relay *harness.Relay
}

// starter starts a system with more settings. A queue that is not worked keeps the mails of /send_async.
type starter func(t *testing.T, relay *harness.Relay, worked bool, more harness.Env) client

// systems are those that the contract holds for.
var systems = []struct {
	name  string
	start starter
}{
	{"Python", startPython},
	{"Cartero on MariaDB and Redis", startCartero(harness.RealServices)},
	{"Cartero on SQLite and the embedded Redis", startCartero(harness.EmbeddedServices)},
}

// onEachSystem tells a story on all systems at once.
func onEachSystem(t *testing.T, worked bool, more harness.Env, story func(s system)) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Python, MariaDB and Redis")
	}
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			relay := harness.StartRelay(t)
			story(system{t: t, client: s.start(t, relay, worked, more), relay: relay})
		})
	}
}

// settings are those that both kinds of service have.
func settings(relay *harness.Relay) harness.Env {
	return relay.Env().With(harness.Env{"API_KEY": key + "," + key2, "SMTP_FROM": sender})
}

func startPython(t *testing.T, relay *harness.Relay, worked bool, more harness.Env) client {
	t.Helper()
	if !worked { // its worker waits for the relay's reply until the test is over
		over := make(chan struct{})
		relay.OnMail(func(int) { <-over })
		t.Cleanup(func() { close(over) })
	}
	s, err := peer.Start(t.Context(), t.TempDir(), settings(relay).With(harness.Env{"RETRY_WAIT": "0.1"}).With(more))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return client{url: s.URL}
}

func startCartero(services func(testing.TB) harness.Services) starter {
	return func(t *testing.T, relay *harness.Relay, worked bool, more harness.Env) client {
		t.Helper()
		env := services(t).Env().With(settings(relay)).With(harness.Env{
			"LOG_FORMAT": "text", "METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0",
			"SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0", "SWEEP_INTERVAL": "1s",
		}).With(more)
		facade := harness.Start(t, env.With(harness.Env{"WORKER_JOURNAL_DIR": t.TempDir()}), "facade")
		_, address, _ := strings.Cut(facade.Await("msg=Listening"), "address=")
		if worked {
			harness.Start(t, env.With(harness.Env{"WORKER_JOURNAL_DIR": t.TempDir()}), "worker")
		}
		c := client{url: "http://" + address}
		harness.Eventually(t, "the facade is ready", func() bool { return c.ask(t, "GET", "/readyz", "", "").status == 200 })
		return c
	}
}
