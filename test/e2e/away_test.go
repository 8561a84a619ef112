package e2e

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/test/harness"
)

// behind puts a proxy before the server that a URL names.
func behind(t *testing.T, serverURL string) (*harness.Proxy, string) {
	t.Helper()
	server, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal("a service's URL is not one")
	}
	proxy := harness.NewProxy(t, server.Host)
	server.Host = proxy.Addr()
	return proxy, server.String()
}

// TestRelayAway starts with no relay: nobody fails for it, and all are sent when it comes.
func TestRelayAway(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		proxy := harness.NewProxy(t, w.Relay.SMTPAddr())
		w.StartOperator(nil)
		w.StartWorker(t.TempDir(), harness.Env{"SMTP_PORT": proxy.Port()})
		people := harness.Addresses(20, "example.org")
		w.Send("patient", people, 10)
		w.AwaitCondition("patient", v1alpha1.ConditionReady, v1alpha1.ReasonDependencyNotReady)
		proxy.HangUp()
		harness.Eventually(t, "the worker has tried the relay", func() bool { return proxy.HungUp() >= 3 })
		if r := w.Campaign("patient").Status.Recipients; r == nil || r.Total != 20 || r.Failed+r.Bounced+r.InDoubt+r.Accepted != 0 {
			t.Errorf("with the relay away the counts are %+v, want 20 that wait", r)
		}
		proxy.Come()
		w.AwaitComplete("patient")
		if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
	})
}

// TestRedisAway starts everything with no Redis: the rows are written, the status says what is missing, and the jobs are
// enqueued when it comes.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		var proxy *harness.Proxy
		proxy, w.RedisURL = behind(t, w.RedisURL)
		operator := w.StartOperator(nil)
		worker := w.StartWorker(t.TempDir(), nil)
		for _, p := range []*harness.Process{operator, worker} {
			p.Await("Redis does not answer")
		}
		people := harness.Addresses(20, "example.org")
		w.Send("queued", people, 10)
		w.AwaitCondition("queued", v1alpha1.ConditionEnqueued, v1alpha1.ReasonQueueUnavailable)
		w.AwaitCondition("queued", v1alpha1.ConditionMaterialized, v1alpha1.ReasonMaterialized)
		w.AwaitCondition("queued", v1alpha1.ConditionReady, v1alpha1.ReasonDependencyNotReady)
		proxy.Come()
		w.AwaitComplete("queued")
		if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
	})
}

// TestDatabaseAway starts everything with no MariaDB: the processes wait and say so.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	w := harness.NewWorld(t, harness.RealServices(t))
	var proxy *harness.Proxy
	proxy, w.DatabaseURL = behind(t, w.DatabaseURL)
	operator := w.StartOperator(nil)
	worker := w.StartWorker(t.TempDir(), nil)
	facade, address := w.StartFacade("key")
	for _, p := range []*harness.Process{operator, worker, facade} {
		p.Await("Waiting for the database")
	}
	type health struct {
		Status string `json:"status"`
	}
	if diff := cmp.Diff(health{"ok"}, get[health](t, address+"/health", nil)); diff != "" {
		t.Errorf("GET /health (-want +got):\n%s", diff)
	}
	call[any](t, "POST", address+"/send-campaign", map[string][]string{"X-Api-Key": {"key"}}, toTwo, 503)

	people := harness.Addresses(20, "example.org")
	w.Send("stored", people, 10)
	proxy.Come()
	for _, p := range []*harness.Process{operator, worker, facade} {
		p.Await("The database answers")
	}
	w.AwaitComplete("stored")
	if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
}

// TestDatabaseLost takes MariaDB away while the operator runs: the campaign says so, and goes on when it is back.
func TestDatabaseLost(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	w := harness.NewWorld(t, harness.RealServices(t))
	proxy, databaseURL := behind(t, w.DatabaseURL)
	proxy.Come()
	w.DatabaseURL = databaseURL
	operator := w.StartOperator(nil)
	worker := w.StartWorker(t.TempDir(), nil)
	operator.Await("Starting workers")
	worker.Await("Taking jobs")
	proxy.Leave()
	people := harness.Addresses(20, "example.org")
	w.Send("lost", people, 10)
	w.AwaitCondition("lost", v1alpha1.ConditionMaterialized, v1alpha1.ReasonDatabaseUnavailable)
	w.AwaitCondition("lost", v1alpha1.ConditionReady, v1alpha1.ReasonDependencyNotReady)
	proxy.Come()
	w.AwaitComplete("lost")
	if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
}

// TestSendInterval has two workers share an account that takes a mail every quarter of a second.
func TestSendInterval(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		const (
			interval = 250 * time.Millisecond
			mails    = 16
		)
		w.StartOperator(nil)
		pace := harness.Env{"SMTP_SEND_INTERVAL": interval.String()}
		for range 2 {
			w.StartWorker(t.TempDir(), pace).Await("Taking jobs")
		}
		people := harness.Addresses(mails, "example.org")
		begin := time.Now()
		w.Send("slow", people, 3)
		w.AwaitComplete("slow")
		if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
		// A mail may be late on its way, and none early: the last slot begins mails-1 intervals after the first one or later.
		received := w.Relay.Messages()
		if took := received[mails-1].Received.Sub(begin); took < (mails-1)*interval {
			t.Errorf("%d mails took %s, less than %s", mails, took, (mails-1)*interval)
		}
	})
}
