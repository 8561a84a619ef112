package bullmq

import (
	"database/sql"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// world is Cartero without a worker of its own, and a worker of BullMQ's.
type world struct {
	*harness.World
	*testing.T

	node *nodejs.Process
}

func newWorld(t *testing.T, v version) *world {
	t.Helper()
	services := harness.RealServices(t)
	w := &world{T: t, World: harness.NewWorld(t, services)}
	w.node = nodejs.Start(t, "bullmq/driver.js",
		object{"url": services.RedisURL, "prefix": services.Prefix, "name": queueName}, "BULLMQ="+v.pkg)
	return w
}

var dialect = harness.Env{"QUEUE_DIALECT": "bullmq"}

// startFacade starts `cartero facade` and returns its address.
func (w *world) startFacade() string {
	w.Helper()
	facade := harness.Start(w.T, w.Env().With(dialect).With(harness.Env{
		"LOG_FORMAT": "text", "METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0", "SMTP_FROM": harness.Sender,
		"API_KEY": "key", "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0",
	}), "facade")
	_, address, _ := strings.Cut(facade.Await("msg=Listening"), "address=")
	return "http://" + address
}

// call sends a request to the facade, again while its database is not ready.
func (w *world) call(method, url, body string, answer any) {
	w.Helper()
	harness.Eventually(w.T, "the facade is ready", func() bool {
		request, err := http.NewRequestWithContext(w.T.Context(), method, url, strings.NewReader(body))
		if err != nil {
			w.Fatal(err)
		}
		request.Header.Set("X-Api-Key", "key")
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			w.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			w.Fatal(err)
		}
		if response.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		if err := json.Unmarshal(text, answer); err != nil || response.StatusCode >= 300 {
			w.Fatalf("%s answered %d: %s", url, response.StatusCode, text)
		}
		return true
	})
}

// workOff does with the next n jobs what a legacy worker does with the rows, and lets the worker complete them. It returns
// how many recipients each had.
func (w *world) workOff(n int) map[string]int64 {
	w.Helper()
	sent := map[string]int64{}
	for range n {
		run := w.node.Next("run")
		var data map[string]string
		if err := json.Unmarshal(run.Data, &data); err != nil || len(data) != 1 || run.Name != "__default__" {
			w.Fatalf("the worker got %s %s, want __default__ with jobUuid alone", run.Name, run.Data)
		}
		id := data["jobUuid"]
		if _, again := sent[id]; again || id == "" {
			w.Fatalf("the worker got job %q, twice or never", id)
		}
		w.exec("UPDATE `EmailJob` SET `status` = 'PROCESSING', `startedAt` = NOW(3) WHERE `id` = ? AND `status` = 'PENDING'", id)
		sent[id], _ = w.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = NOW(3) WHERE `jobId` = ? AND `status` = 'PENDING'", id).RowsAffected()
		w.exec("UPDATE `EmailJob` SET `status` = 'COMPLETED', `sentEmails` = ?, `failedEmails` = 0, `completedAt` = NOW(3) WHERE `id` = ?", sent[id], id)
		w.node.Do("release", object{"id": run.ID}, nil)
		w.node.Next("completed")
	}
	return sent
}

func (w *world) exec(statement string, args ...any) sql.Result {
	w.Helper()
	result, err := w.DB.ExecContext(w.T.Context(), statement, args...)
	if err != nil {
		w.Fatalf("writing rows: %v", err)
	}
	return result
}

// TestEndToEnd: what operator and facade enqueue, a real BullMQ worker works off, and the campaign becomes complete.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	onEachVersion(t, func(t *testing.T, v version) {
		t.Helper()
		w := newWorld(t, v)
		w.node.Do("work", object{"how": "hold", "options": object{"drainDelay": 3600}}, nil)
		w.StartOperator(dialect)
		campaign := kubetest.NewCampaign(w.Namespace, "bullmq").
			WithMessage(v1alpha1.Message{From: &v1alpha1.Mailbox{Address: harness.Sender}, Subject: "News", HTML: "<p>News</p>"}).
			WithInline(harness.Addresses(25, "example.org")...).WithJobSize(10).Obj()
		if err := w.Cluster.Client.Create(t.Context(), campaign); err != nil {
			t.Fatal(err)
		}
		sent := w.workOff(3)
		if r := w.AwaitComplete("bullmq").Status.Recipients; r.Total != 25 || r.Accepted != 25 {
			t.Errorf("status: %d of %d recipients accepted, want 25 of 25", r.Accepted, r.Total)
		}

		facade := w.startFacade()
		var accepted struct{ JobID string }
		w.call(http.MethodPost, facade+"/send-campaign",
			`{"subject": "By HTTP", "body": "<p>Hello</p>", "recipients": ["ada@example.net", "bob@example.net"]}`, &accepted)
		maps.Copy(sent, w.workOff(1))
		if sent[accepted.JobID] != 2 {
			t.Errorf("the facade's job %s had %d recipients, want 2; all: %v", accepted.JobID, sent[accepted.JobID], sent)
		}
		var job struct {
			Status      string
			Total, Sent int
		}
		w.call(http.MethodGet, facade+"/jobs/"+accepted.JobID, "", &job)
		if job.Status != "COMPLETED" || job.Total != 2 || job.Sent != 2 {
			t.Errorf("the facade says %+v, want COMPLETED, 2 of 2", job)
		}
		w.AwaitJobs(t)
	})
}

// TestOnlyWhatNodeWorkersCanMail: QUEUE_DIALECT=bullmq implies QUEUE_WORKERS=mixed.
func TestOnlyWhatNodeWorkersCanMail(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the whole program")
	}
	w := newWorld(t, versions[0])
	w.StartOperator(dialect.With(harness.Env{"QUEUE_WORKERS": "cartero"}))
	w.Send("text", harness.Addresses(1, "example.org"), 1)
	condition := w.AwaitCondition("text", v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalidSpec)
	if !strings.Contains(condition.Message, "spec.message.text") {
		t.Errorf("the condition says %q, want what a Node worker can't mail", condition.Message)
	}
}

// TestRefusedAtStart: what only works with Bull says so, and a queue of Bull's is not produced for.
func TestRefusedAtStart(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, command := range []string{"worker", "dev"} {
		p := harness.Start(t, dialect, command)
		if code := p.Wait(); code != 2 || !strings.Contains(p.Output(), "QUEUE_DIALECT: must be bull here") {
			t.Errorf("cartero %s ended with %d and said:\n%s", command, code, p.Output())
		}
	}

	services := harness.RealServices(t)
	client, err := conn.Open(services.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	queue, err := bull.New(client, bull.Config{Prefix: services.Prefix, Queue: queueName, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.Ring(t.Context(), []outbox.Ring{{BullID: "a", JobID: "a"}}); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, services.Env().With(dialect).With(harness.Env{
		"METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0", "API_KEY": "key", "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0",
	}), "facade")
	if code := p.Wait(); code != 1 || !strings.Contains(p.Output(), "it belongs to Bull") {
		t.Errorf("cartero facade on a queue of Bull's ended with %d and said:\n%s", code, p.Output())
	}
}
