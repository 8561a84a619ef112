package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

// alone is a running `cartero facade --embedded`.
type alone struct {
	*harness.Process

	address string
}

// aloneKey is its API_KEY.
const aloneKey = "the-key"

// startAlone starts one on a data directory, with no settings but API_KEY, those of the relay, and a free port.
func startAlone(t *testing.T, directory string, relay harness.Env) *alone {
	t.Helper()
	env := harness.Env{"API_KEY": aloneKey, "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0", "SMTP_FROM": harness.Sender}
	p := harness.Start(t, env.With(relay), "facade", "--embedded", "--data-dir", directory)
	address := p.Await(`"msg":"Listening"`)
	_, address, _ = strings.Cut(address, `"address":"`)
	address, _, _ = strings.Cut(address, `"`)
	awaitReady(t, address)
	return &alone{Process: p, address: "http://" + address}
}

// awaitReady waits until a facade lets requests in.
func awaitReady(t *testing.T, address string) {
	t.Helper()
	harness.Eventually(t, "the facade is ready", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// post calls the facade, and wants a status.
func post[T any](t *testing.T, url, key, body string, status int) T {
	t.Helper()
	header := http.Header{"X-Api-Key": {key}, "Content-Type": {"application/json"}}
	return call[T](t, http.MethodPost, url, header, body, status)
}

// ok is the answer that both calls share.
type ok struct {
	OK bool `json:"ok"`
}

// tryPost calls the facade, and returns the answer's status or the error.
func tryPost(t *testing.T, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	request.Header = http.Header{"X-Api-Key": {aloneKey}, "Content-Type": {"application/json"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	return response.Status
}

func mailTo(address string) string {
	return fmt.Sprintf(`{"to": %q, "subject": "Your code", "body": "4711", "message_type": "code"}`, address)
}

// TestEmbedded uses `cartero facade --embedded` as a program of the Python service would, and kills it (-9) with mails
// queued: the next one delivers each once.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	relay, directory := harness.StartRelay(t), t.TempDir()
	away := harness.NewProxy(t, relay.SMTPAddr())
	queued := harness.Addresses(30, "example.org")

	first := startAlone(t, directory, relay.Env().With(harness.Env{"SMTP_PORT": away.Port()}))
	for _, address := range queued {
		post[ok](t, first.address+"/send_async", aloneKey, mailTo(address), http.StatusAccepted)
	}
	post[ok](t, first.address+"/send-campaign", aloneKey, toTwo, http.StatusAccepted)
	first.Kill()

	second := startAlone(t, directory, relay.Env())
	if diff := cmp.Diff(ok{true}, post[ok](t, second.address+"/send", aloneKey, mailTo("eve@example.net"), http.StatusOK)); diff != "" {
		t.Errorf("POST /send (-want +got):\n%s", diff)
	}
	want := once(append(slices.Clone(queued), "ada@example.net", "bob@example.net", "eve@example.net")...)
	harness.Eventually(t, "all mails are at the relay", func() bool { return relay.Count() >= len(want) })
	if diff := cmp.Diff(map[string]string{"status": "ok"}, get[map[string]string](t, second.address+"/health", nil)); diff != "" {
		t.Errorf("GET /health (-want +got):\n%s", diff)
	}

	other := harness.Start(t, relay.Env().With(harness.Env{"API_KEY": aloneKey}), "facade", "--embedded", "--data-dir", directory)
	if code := other.Wait(); code != 1 || !strings.Contains(other.Output(), "another process uses "+directory) {
		t.Errorf("another one on the directory ended with %d and said %q", code, other.Output())
	}
	second.Stop()
	if diff := cmp.Diff(want, relay.Recipients()); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
}

// TestEmbeddedIsNotInTheImage: the binary that the container image holds says so.
func TestEmbeddedIsNotInTheImage(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), harness.ImageBinary(t), "facade", "--embedded")
	cmd.Env = []string{"API_KEY=" + aloneKey, "SMTP_SERVER=127.0.0.1"}
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "this build has no embedded database and queue") {
		t.Errorf("it ended with %v and said %q", err, output)
	}
}

// TestStopFacade sends SIGTERM to a facade that is sending mails to a slow relay: nobody new is let in, and whoever waits
// gets the answer, which the database has too.
func TestStopFacade(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			const connections = 3
			services, relay := s.start(t), harness.StartRelay(t)
			reached, released := make(chan struct{}), make(chan struct{})
			relay.OnMail(func(n int) {
				if n == connections {
					close(reached)
				}
				<-released
			})
			release := sync.OnceFunc(func() { close(released) })
			t.Cleanup(release) // before the relay is closed, which waits for its mails
			facade := harness.Start(t, services.Env().With(relay.Env()).With(harness.Env{
				"API_KEY": aloneKey, "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0", "SMTP_FROM": harness.Sender, "LOG_FORMAT": "text",
				"METRICS_BIND_ADDRESS": "0", "WORKER_JOURNAL_DIR": t.TempDir(), "SMTP_MAX_CONNECTIONS": fmt.Sprint(connections),
			}), "facade")
			_, address, _ := strings.Cut(facade.Await("msg=Listening"), "address=")
			awaitReady(t, address)

			people := harness.Addresses(4*connections, "example.org")
			answers := make(chan string, len(people))
			for _, to := range people {
				go func() { answers <- tryPost(t, "http://"+address+"/send", mailTo(to)) }()
			}
			<-reached
			harness.Eventually(t, "all mails are written", func() bool { return len(services.Recipients(t)) == len(people) })
			facade.Signal(syscall.SIGTERM)
			harness.Eventually(t, "nobody new is let in", func() bool {
				connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err == nil {
					_ = connection.Close()
				}
				return err != nil
			})
			release()
			for range people {
				if answer := <-answers; answer != "200 OK" {
					t.Errorf("POST /send = %s, want 200 OK", answer)
				}
			}
			if code := facade.Wait(); code != 0 {
				t.Errorf("the facade ended with %d after SIGTERM, want 0", code)
			}
			states := map[string]int{}
			for _, r := range services.Recipients(t) {
				states[r.State]++
			}
			if diff := cmp.Diff(map[string]int{"accepted": len(people)}, states); diff != "" {
				t.Errorf("recipients by state (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(once(people...))), slices.Sorted(maps.Keys(relay.Recipients()))); diff != "" {
				t.Errorf("mails at the relay (-want +got):\n%s", diff)
			}
		})
	}
}
