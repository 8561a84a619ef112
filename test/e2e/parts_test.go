package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

// once is every address with one mail.
func once(addresses ...string) map[string]int {
	all := map[string]int{}
	for _, address := range addresses {
		all[address] = 1
	}
	return all
}

// TestParts runs operator, worker and facade as processes of their own, as in a cluster. All bring the tables up to date
// at once.
func TestParts(t *testing.T) {
	t.Parallel()
	onEachStack(t, allParts)
}

// TestPartsOfTheImage is TestParts with the binary that the container image holds, which knows MySQL only.
func TestPartsOfTheImage(t *testing.T) {
	t.Parallel()
	image := harness.ImageBinary(t)
	w := harness.NewWorld(t, harness.RealServices(t))
	w.Program = image
	allParts(t, w)
}

func allParts(t *testing.T, w *harness.World) {
	t.Helper()
	operator := w.StartOperator(nil)
	worker := w.StartWorker(t.TempDir(), nil)
	facade, address := w.StartFacade("old-key,new-key")

	people := harness.Addresses(120, "example.org")
	w.Send("parts", slices.Concat(people, harness.Addresses(5, "bounce.example"), people[:3]), 50)
	status := w.AwaitComplete("parts").Status
	if r := status.Recipients; r.Total != 125 || r.Accepted != 120 || r.Bounced != 5 || status.List.Duplicates != 3 {
		t.Errorf("status = %d recipients, %d accepted, %d bounced, %d duplicates, want 125, 120, 5, 3",
			r.Total, r.Accepted, r.Bounced, status.List.Duplicates)
	}
	harness.Eventually(t, "the facade's tables are ready", func() bool { return strings.Contains(worker.Output(), "Taking jobs") })
	if diff := cmp.Diff(sentToTwo, sendCampaign(t, address, "new-key", toTwo)); diff != "" {
		t.Errorf("the campaign sent by HTTP (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(once(append(people, "ada@example.net", "bob@example.net")...), w.Relay.Recipients()); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
	w.AwaitJobs(t)
	for _, p := range []*harness.Process{facade, worker, operator} {
		p.Stop()
	}
}

// TestStop sends SIGTERM to a worker in the middle of a campaign: it finishes what is in flight, holds nothing, and
// another one goes on.
func TestStop(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		const arrived = 40
		reached, released := make(chan struct{}), make(chan struct{})
		w.Relay.OnMail(func(n int) {
			if n == arrived {
				close(reached)
			}
			if n >= arrived { // hold the reply back: these are in flight
				<-released
			}
		})
		w.StartOperator(nil)
		journal := t.TempDir()
		first := w.StartWorker(journal, harness.Env{"SMTP_MAX_CONNECTIONS": "4"})
		people := harness.Addresses(300, "example.org")
		w.Send("stop", people, 100)
		select {
		case <-reached:
		case <-t.Context().Done():
			t.Fatal("the worker sent nothing")
		}
		first.Signal(syscall.SIGTERM) // one: a second would end it at once
		close(released)
		if code := first.Wait(); code != 0 {
			t.Errorf("the worker ended with %d after SIGTERM, want 0", code)
		}
		if n := w.Claimed(t); n != 0 {
			t.Errorf("%d recipients are still claimed after the worker stopped", n)
		}
		if files, _ := filepath.Glob(filepath.Join(journal, "*")); len(files) > 0 {
			t.Errorf("the journal holds %d files after the worker stopped", len(files))
		}
		sent := 0
		for _, r := range w.Recipients(t) {
			if r.State == "accepted" && r.Status == "SENT" {
				sent++
			}
		}
		if at := w.Relay.Count(); sent != at || sent == len(people) {
			t.Errorf("after the stop %d recipients are sent and %d mails at the relay, want the same, fewer than %d", sent, at, len(people))
		}

		w.StartWorker(t.TempDir(), nil)
		if r := w.AwaitComplete("stop").Status.Recipients; r.Accepted != int64(len(people)) {
			t.Errorf("%d accepted, want %d", r.Accepted, len(people))
		}
		if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
	})
}

// TestWrongSettings starts the parts with wrong settings: each variable is named at once, its value is not.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, test := range []struct {
		command string
		env     harness.Env
		want    []string
	}{
		{
			"worker",
			harness.Env{"SMTP_SEND_INTERVAL": "10", "SMTP_PORT": "many", "SMTP_PASSWORD": "hunter2", "DATABASE_URL": "postgres://u:hunter2@db/x"},
			[]string{"DATABASE_URL", "REDIS_URL", "SMTP_SERVER", "SMTP_PORT", "SMTP_USERNAME", "SMTP_SEND_INTERVAL"},
		},
		{
			"operator",
			harness.Env{"LEADER_ELECT": "perhaps", "QUEUE_DIALECT": "rabbit", "SWEEP_INTERVAL": "0s"},
			[]string{"DATABASE_URL", "REDIS_URL", "LEADER_ELECT", "QUEUE_DIALECT", "SWEEP_INTERVAL"},
		},
		{"facade", harness.Env{"SERVICE_PORT": "http"}, []string{"API_KEY", "DATABASE_URL", "REDIS_URL", "SERVICE_PORT"}},
		{"dev", harness.Env{"SMTP_FROM": "nobody", "LOG_LEVEL": "loud"}, []string{"SMTP_FROM", "LOG_LEVEL"}},
	} {
		t.Run(test.command, func(t *testing.T) {
			t.Parallel()
			p := harness.Start(t, test.env, test.command)
			if code := p.Wait(); code != 2 {
				t.Errorf("cartero %s ended with %d, want 2", test.command, code)
			}
			var named []string
			for line := range strings.Lines(p.Output()) {
				if name, _, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.ToUpper(name) == name {
					named = append(named, name)
				}
			}
			slices.Sort(named)
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, named); diff != "" {
				t.Errorf("variables named (-want +got):\n%s\n%s", diff, p.Output())
			}
			if strings.Contains(p.Output(), "hunter2") {
				t.Error("a password is in the output")
			}
		})
	}
}

// TestTwice runs two operators at once, and a second campaign with the key of the first.
func TestTwice(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		w.StartOperator(nil)
		w.StartOperator(nil)
		w.StartWorker(t.TempDir(), nil)
		people := harness.Addresses(200, "example.org")
		w.Send("twice", people, 20)
		w.AwaitComplete("twice")
		if diff := cmp.Diff(once(people...), w.Relay.Recipients()); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
		if jobs := w.Jobs(t); len(jobs) != 10 {
			t.Errorf("%d jobs, want 10", len(jobs))
		}
		other := kubetest.NewCampaign(w.Namespace, "other").WithKey(w.Key("twice")).WithInline("ada@example.net").Obj()
		if err := w.Cluster.Client.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		w.AwaitCondition("other", "Ready", "KeyConflict")
		if n := w.Relay.Count(); n != len(people) {
			t.Errorf("%d mails at the relay, want %d", n, len(people))
		}
	})
}
