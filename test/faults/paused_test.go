package faults

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

// TestPausedQueueStaysPaused pauses the queue and has everything at work that might get past it: the operator's ring, the sweeps
// of all processes, which ring anew what was lost, mails with a priority, and a worker that is killed and comes back. Nothing is
// sent before the queue is resumed, and then everything, once.
func TestPausedQueueStaysPaused(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for name, start := range map[string]func(testing.TB) harness.Services{
		"SQLite and the embedded Redis": harness.EmbeddedServices, "MariaDB and Redis": harness.RealServices,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := harness.NewWorld(t, start(t))
			w.StartOperator(nil)
			journal := t.TempDir()
			worker := w.StartWorker(journal, nil)
			_, address := w.StartFacade("key", w.Relay.Env(), harness.Env{"WORKER_JOURNAL_DIR": t.TempDir()})
			worker.Await("Taking jobs")
			steerQueue(t, w, "pause")

			people := harness.Addresses(60, "example.org")
			w.Send("paused", people, 10)
			w.AwaitCondition("paused", "Enqueued", "Enqueued")
			w.AwaitCondition("paused", "Ready", "QueuePaused")
			post(t, address+"/send_async", `{"to":"single@example.net","subject":"News","body":"There is news."}`, http.StatusAccepted)
			awaitPaused(t, w)

			// What is lost is rung again, by the outbox: into the pause as well.
			loseJobs(t, w)
			awaitPaused(t, w)
			worker.Kill()
			worker = w.StartWorker(journal, nil)
			worker.Await("Taking jobs")
			loseJobs(t, w)
			awaitPaused(t, w)
			if n := w.Relay.Count(); n != 0 {
				t.Errorf("%d mails were sent while the queue was paused", n)
			}
			if n := w.Claimed(t); n != 0 {
				t.Errorf("%d recipients were claimed while the queue was paused", n)
			}

			steerQueue(t, w, "resume")
			w.AwaitComplete("paused")
			harness.Eventually(t, "the single mail is sent", func() bool { return w.Relay.Recipients()["single@example.net"] > 0 })
			want := map[string]int{"single@example.net": 1}
			for _, person := range people {
				want[person] = 1
			}
			if diff := cmp.Diff(want, w.Relay.Recipients()); diff != "" {
				t.Errorf("mails at the relay (-want +got):\n%s", diff)
			}
		})
	}
}

// steerQueue runs `cartero queue pause` or `resume`.
func steerQueue(t *testing.T, w *harness.World, action string) {
	t.Helper()
	if code := harness.Start(t, w.Services.Env(), "queue", action).Wait(); code != 0 {
		t.Fatalf("cartero queue %s ended with %d, want 0", action, code)
	}
}

// queueKeys are where Bull keeps a queue's jobs.
func queueKeys(w *harness.World) string { return w.Prefix + ":email-queue:" }

// awaitPaused waits until jobs of the campaign and the single mail's are in the list that no worker takes from.
func awaitPaused(t *testing.T, w *harness.World) {
	t.Helper()
	harness.Eventually(t, "the jobs wait for the pause to end", func() bool {
		jobs, err := w.Redis.LRange(context.Background(), queueKeys(w)+"paused", 0, -1).Result()
		if err != nil {
			t.Fatalf("Reading the queue: %v", err)
		}
		return len(jobs) >= 2
	})
	for _, list := range []string{"wait", "active"} {
		if n := w.Redis.LLen(context.Background(), queueKeys(w)+list).Val(); n != 0 {
			t.Errorf("%d jobs are in %q while the queue is paused", n, list)
		}
	}
}

// loseJobs has Redis lose all of the queue but that it is paused.
func loseJobs(t *testing.T, w *harness.World) {
	t.Helper()
	keys, err := w.Redis.Keys(context.Background(), queueKeys(w)+"*").Result()
	if err != nil {
		t.Fatalf("Reading the queue: %v", err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.HasSuffix(key, ":meta-paused") || strings.HasSuffix(key, ":meta")
	})
	if err := w.Redis.Del(context.Background(), keys...).Err(); err != nil {
		t.Fatalf("Emptying the queue: %v", err)
	}
}

// post calls the facade, whose key is "key", and wants a status.
func post(t *testing.T, url, body string, status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {"key"}, "Content-Type": {"application/json"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("Calling the facade: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		t.Errorf("POST %s answered %d, want %d", url, response.StatusCode, status)
	}
}
