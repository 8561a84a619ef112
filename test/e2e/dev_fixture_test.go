package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/devstack/inbox"
	"github.com/cartero-mail/cartero/test/harness"
)

// dev is a running `cartero dev`, known by what it prints.
type dev struct {
	*harness.Process
	t *testing.T

	kubeconfig, inbox, facade, key string
}

// devEnv are the settings of a `cartero dev` that is in nobody's way.
func devEnv(t *testing.T) harness.Env {
	t.Helper()
	return harness.Env{
		"KUBEBUILDER_ASSETS": harness.Assets(t), "INBOX_HTTP_ADDRESS": "127.0.0.1:0", "INBOX_SMTP_ADDRESS": "127.0.0.1:0",
		"SERVICE_PORT": "0", "SWEEP_INTERVAL": "1s",
	}
}

// startDev starts `cartero dev` on a data directory and waits until it says where everything is.
func startDev(t *testing.T, directory string, env harness.Env) *dev {
	t.Helper()
	d := &dev{t: t, Process: harness.Start(t, env, "dev", "--data-dir", directory)}
	harness.EndChildren(t, directory)
	d.Await("Send a campaign:")
	d.kubeconfig = d.printed("KUBECONFIG=")
	d.inbox = d.printed("Inbox ")
	d.facade = d.printed("HTTP ")
	key, err := os.ReadFile(d.printed("X-API-Key   in "))
	if err != nil {
		t.Fatalf("Reading the printed key file: %v", err)
	}
	d.key = strings.TrimSpace(string(key))
	return d
}

// printed is what stands in the welcome behind a label.
func (d *dev) printed(label string) string {
	d.t.Helper()
	_, value, ok := strings.Cut(d.Await(label), label)
	if !ok || strings.TrimSpace(value) == "" {
		d.t.Fatalf("cartero dev printed nothing behind %q", label)
	}
	return strings.TrimSpace(value)
}

func (d *dev) kubectl(args ...string) string {
	d.t.Helper()
	return harness.Kubectl(d.t, d.kubeconfig, "", args...)
}

// awaitComplete waits as a user does.
func (d *dev) awaitComplete(name string) {
	d.t.Helper()
	d.kubectl("wait", "--for=condition=Complete", "--timeout="+harness.Patience.String(), "emailcampaign/"+name)
}

// mails is what the inbox's API says about its mails.
type mails struct {
	inbox.Summary
	PerRecipient map[string]int `json:"perRecipient"`
}

func (d *dev) mails() mails {
	d.t.Helper()
	return get[mails](d.t, d.inbox+"/api/summary?recipients=true", nil)
}

// get reads JSON from a server.
func get[T any](t *testing.T, url string, header http.Header) T {
	t.Helper()
	return call[T](t, http.MethodGet, url, header, "", http.StatusOK)
}

// call makes a request and reads the JSON of its answer, which must have the status.
func call[T any](t *testing.T, method, url string, header http.Header, body string, status int) T {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	defer response.Body.Close()
	var answer T
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != status {
		t.Fatalf("%s %s = %s, %v, want %d and JSON", method, url, response.Status, err, status)
	}
	return answer
}

// job is the answer of GET /jobs/{id}.
type job struct {
	OK      bool   `json:"ok"`
	ID      string `json:"id"`
	Status  string `json:"status"`
	Total   int    `json:"total"`
	Sent    int    `json:"sent"`
	Failed  int    `json:"failed"`
	Pending int    `json:"pending"`
}

// sendCampaign hands a campaign to the facade and waits until its job has ended.
func sendCampaign(t *testing.T, facade, key, body string) job {
	t.Helper()
	header := http.Header{"X-Api-Key": {key}, "Content-Type": {"application/json"}}
	accepted := call[struct {
		JobID string `json:"jobId"`
	}](t, http.MethodPost, facade+"/send-campaign", header, body, http.StatusAccepted)
	var state job
	harness.Eventually(t, "the job of /send-campaign has ended", func() bool {
		state = get[job](t, facade+"/jobs/"+accepted.JobID, header)
		return state.Status == "COMPLETED" || state.Status == "FAILED"
	})
	state.ID = ""
	return state
}

// toTwo is a body for /send-campaign.
const toTwo = `{"subject": "By HTTP", "body": "<p>Hello</p>", "recipients": ["ada@example.net", {"email": "bob@example.net", "name": "Bob"}]}`

// sentToTwo is what becomes of it.
var sentToTwo = job{OK: true, Status: "COMPLETED", Total: 2, Sent: 2}
