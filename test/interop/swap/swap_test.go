package swap

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// nodeSender is the sender of the Node worker: by it the relay tells who sent a mail.
const nodeSender = "worker@legacy.example.net"

// mixed are the settings of producers on a queue that Node workers share.
var mixed = harness.Env{"QUEUE_WORKERS": "mixed"}

// The settings that all workers of a queue must agree on, as each side has them.
var (
	agreed     = harness.Env{"BULL_LOCK_DURATION": "5s", "BULL_STALLED_INTERVAL": "1s", "BULL_MAX_STALLED_COUNT": "100"}
	nodeAgreed = `BULL_SETTINGS={"lockDuration":5000,"stalledInterval":1000,"maxStalledCount":100,"guardInterval":1000}`
)

// startNodeWorker starts a Node worker that sends to the world's relay, and waits until it takes jobs.
func startNodeWorker(t *testing.T, w *harness.World) *nodejs.Process {
	t.Helper()
	relay := w.Relay.Env()
	p := startProgram(t, "worker.js", w.Services, nodeAgreed,
		"SMTP_SERVER="+relay["SMTP_SERVER"], "SMTP_PORT="+relay["SMTP_PORT"], "SMTP_FROM="+nodeSender)
	p.Next("ready")
	return p
}

// html is a campaign that every worker mails alike.
func html(w *harness.World, name string, jobSize int32, addresses ...string) *v1alpha1.EmailCampaign {
	return kubetest.NewCampaign(w.Namespace, name).
		WithMessage(v1alpha1.Message{Subject: "News of " + name, HTML: "<p>¡Hola, O'Brien! 👍</p>"}).
		WithInline(addresses...).WithJobSize(jobSize).Obj()
}

func create(t *testing.T, w *harness.World, object *v1alpha1.EmailCampaign) {
	t.Helper()
	if err := w.Cluster.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// request makes a request of the facade and returns the status and the JSON of its answer.
func request(t *testing.T, method, url, body string) (int, object) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "key")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer object
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s %s answered %q", method, url, text)
	}
	return response.StatusCode, answer
}

// mailsOf counts the relay's mails by recipient, those of one sender alone.
func mailsOf(w *harness.World, sender string) map[string]int {
	counts := map[string]int{}
	for _, m := range w.Relay.Messages() {
		if m.Sender == sender {
			for _, to := range m.Recipients {
				counts[to]++
			}
		}
	}
	return counts
}

func once(addresses ...string) map[string]int {
	counts := map[string]int{}
	for _, address := range addresses {
		counts[address] = 1
	}
	return counts
}

// TestNodeWorkerForOperatorAndFacade: Cartero's producers, a Node worker that knows the legacy columns alone. The campaign
// shows how far it is, and ends with the right counts; what the Node worker would mail otherwise is refused.
func TestNodeWorkerForOperatorAndFacade(t *testing.T) {
	t.Parallel()
	w := harness.NewWorld(t, newServices(t))
	const arrived = 4
	reached, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	w.Relay.OnMail(func(n int) {
		if n == arrived {
			close(reached)
			<-released
		}
	})
	w.StartOperator(mixed)
	_, facade := w.StartFacade("key", mixed)
	startNodeWorker(t, w)

	people := harness.Addresses(7, "example.org")
	create(t, w, html(w, "node", 4, append([]string{"gone@bounce.example"}, people...)...))
	select {
	case <-reached:
	case <-t.Context().Done():
		t.Fatal("the Node worker sent nothing")
	}
	// The fourth mail is on its way: three arrived, and one was refused if its turn has come.
	harness.Eventually(t, "the campaign shows what the Node worker has done so far", func() bool {
		r := w.Campaign("node").Status.Recipients
		return r != nil && r.Accepted == arrived-1 && r.Total == 8 && r.Pending == 8-r.Accepted-r.Failed && r.Failed <= 1
	})
	w.AwaitCondition("node", v1alpha1.ConditionReady, v1alpha1.ReasonSending)
	if w.Campaign("node").Status.StartTime == nil {
		t.Error("the campaign has no start, though the Node worker sends it: its message could still be edited")
	}
	release()

	status := w.AwaitComplete("node").Status
	want := v1alpha1.RecipientCounts{Total: 8, Accepted: 7, Failed: 1}
	if diff := cmp.Diff(&want, status.Recipients); diff != "" {
		t.Errorf("counts of the campaign (-want +got):\n%s", diff)
	}
	w.AwaitJobs(t)

	code, answer := request(t, http.MethodPost, facade+"/send-campaign",
		`{"subject": "By HTTP", "body": "<p>Hello</p>", "recipients": ["http@example.net", "gone@bounce.example"]}`)
	if code != http.StatusAccepted {
		t.Fatalf("/send-campaign = %d %v", code, answer)
	}
	job := facade + "/jobs/" + text(answer, "jobId")
	harness.Eventually(t, "the facade's job has ended", func() bool {
		_, answer = request(t, http.MethodGet, job, "")
		return answer["status"] == "COMPLETED"
	})
	if answer["sent"] != 1.0 || answer["failed"] != 1.0 || answer["pending"] != 0.0 {
		t.Errorf("/jobs = %v, want one sent and one failed", answer)
	}
	refusedWhereMixed(t, w, facade)
	if diff := cmp.Diff(once(append(people, "http@example.net")...), mailsOf(w, nodeSender)); diff != "" {
		t.Errorf("mails of the Node worker (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{}, mailsOf(w, harness.Sender)); diff != "" {
		t.Errorf("mails of Cartero (-want +got):\n%s", diff)
	}
}

// refusedWhereMixed: what the Node worker would mail raw is refused by the operator and by the facade, with the reason.
func refusedWhereMixed(t *testing.T, w *harness.World, facade string) {
	t.Helper()
	before := len(w.Jobs(t))
	raw := html(w, "raw", 10, "nobody@example.org")
	raw.Spec.Message.Text = "¡Hola!"
	raw.Spec.Message.Headers = map[string]string{"X-Campaign": "raw"}
	create(t, w, raw)
	c := w.AwaitCondition("raw", v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalidSpec)
	for _, named := range []string{"QUEUE_WORKERS=mixed", "spec.message.text", "spec.message.headers"} {
		if !strings.Contains(c.Message, named) {
			t.Errorf("the campaign does not name %s: %s", named, c.Message)
		}
	}
	code, answer := request(t, http.MethodPost, facade+"/send-campaign",
		`{"subject": "By HTTP", "body": "Hello", "content_type": "text/plain", "recipients": ["nobody@example.org"]}`)
	if code != http.StatusUnprocessableEntity || !strings.HasPrefix(text(answer, "error"), "content_type: Node workers share the queue") {
		t.Errorf("/send-campaign = %d %v, want 422 for content_type", code, answer)
	}
	if n := len(w.Jobs(t)); n != before {
		t.Errorf("%d jobs were written for campaigns that are refused", n-before)
	}
}

// outcomes collects what job.finished() came to, by EmailJob.
type outcomes map[string]string

// drain takes what the backend has told so far.
func (o outcomes) drain(backend *nodejs.Process) {
	for {
		select {
		case e := <-backend.Events:
			if e.Event == "finished" {
				o[e.ID] += string(e.Value)
			}
		default:
			return
		}
	}
}

// sent is a job of the Node backend: its rows' id, and the id of its entry in the queue.
type sent struct{ ID, Bull string }

// send has the backend write and queue a job.
func send(backend *nodejs.Process, subject string, recipients ...string) (job sent) {
	backend.Do("send", object{"subject": subject, "body": "<p>¡Hola!</p>", "recipients": append([]string{}, recipients...)}, &job)
	return job
}

// TestCarteroWorkerForNodeBackend: jobs that a Node backend wrote and queued are run by Cartero's worker. job.finished()
// resolves in Node with the counts, and not before the last retry is over.
func TestCarteroWorkerForNodeBackend(t *testing.T) {
	t.Parallel()
	w := harness.NewWorld(t, newServices(t))
	again, release := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	relay := smtptest.Start(t, smtptest.Script{For: map[string]map[smtptest.Step][]smtptest.Reaction{
		"gone@example.org": {smtptest.RCPT: {{Reply: "550 5.1.1 no such user"}, {Reply: "550 5.1.1 no such user"}}},
		"full@example.org": {smtptest.RCPT: {
			{Reply: "452 4.2.2 mailbox full"}, {Reply: "452 4.2.2 mailbox full", Reached: again, Hang: release},
		}},
	}})
	t.Cleanup(open)
	backend := startProgram(t, "backend.js", w.Services)
	_, port, _ := strings.Cut(relay.Addr(), ":")
	w.StartWorker(t.TempDir(), harness.Env{"SMTP_PORT": port, "RETRY_INITIAL_BACKOFF": "1s"}).Await("Taking jobs")

	some := send(backend, "some", "a@example.org", "gone@example.org", "b@example.org")
	none := send(backend, "none", "gone@example.org")
	empty := send(backend, "empty")
	later := send(backend, "later", "c@example.org", "full@example.org")

	finished := outcomes{}
	select {
	case <-again:
	case <-t.Context().Done():
		t.Fatal("nobody was tried again")
	}
	harness.Eventually(t, "the jobs without retries are over in Node", func() bool {
		finished.drain(backend)
		return len(finished) >= 3
	})
	want := outcomes{
		some.ID:  `{"status":"COMPLETED","total":3,"sent":2,"failed":1}`,
		none.ID:  `{"status":"FAILED","total":1,"sent":0,"failed":1}`,
		empty.ID: `{"status":"COMPLETED","total":0,"sent":0,"failed":0}`,
	}
	if diff := cmp.Diff(want, finished); diff != "" {
		t.Errorf("job.finished() while a recipient is tried again (-want +got):\n%s", diff)
	}
	var seen struct {
		State    string
		Progress float64
		Logs     []string
	}
	backend.Do("bull", object{"id": later.Bull}, &seen)
	if seen.State != "active" || seen.Progress != 50 || len(seen.Logs) != 1 {
		t.Errorf("the job that is tried again is %+v, want it active, at 50 %%, with one row in its log", seen)
	}
	var row object
	backend.Do("row", object{"id": later.ID}, &row)
	if row["status"] != "PROCESSING" || row["completedAt"] != nil {
		t.Errorf("the row of the job that is tried again is %v", row)
	}
	open()

	want[later.ID] = `{"status":"COMPLETED","total":2,"sent":2,"failed":0}`
	harness.Eventually(t, "the retried job is over in Node", func() bool {
		finished.drain(backend)
		return len(finished) == len(want)
	})
	if diff := cmp.Diff(want, finished); diff != "" {
		t.Errorf("job.finished() (-want +got):\n%s", diff)
	}
	readsTheEnd(t, backend, some)
	w.AwaitJobs(t, harness.Job{ID: empty.ID, Status: "COMPLETED", Completed: true})
}

// readsTheEnd compares what the Node backend reads of a job of which two were sent and one failed.
func readsTheEnd(t *testing.T, backend *nodejs.Process, job sent) {
	t.Helper()
	var row object
	backend.Do("row", object{"id": job.ID}, &row)
	recipients, _ := row["recipients"].([]any)
	states := map[string]string{}
	for _, r := range recipients {
		r, _ := r.(object)
		states[text(r, "email")] = text(r, "status") + " " + text(r, "error")
		if (text(r, "status") == "SENT") != (text(r, "sentAt") != "") {
			t.Errorf("%s is %s, sent at %q", text(r, "email"), text(r, "status"), text(r, "sentAt"))
		}
	}
	want := map[string]string{
		"a@example.org": "SENT ", "b@example.org": "SENT ", "gone@example.org": "FAILED 550 5.1.1 no such user",
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if row["status"] != "COMPLETED" || row["sentEmails"] != 2.0 || row["failedEmails"] != 1.0 || row["startedAt"] == nil || row["completedAt"] == nil {
		t.Errorf("the job is %v", row)
	}
}
