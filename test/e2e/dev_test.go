package e2e

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

// launch is a campaign as a user writes it: two copies of an address, one that is none, one that bounces.
const launch = `apiVersion: v1
kind: ConfigMap
metadata: {name: launch-list}
data:
  list.csv: |
    email,name
    ada@example.org,Ada
    bob@example.org,Bob
    ADA@example.org,Ada again
    nobody,Nobody
    gone@bounce.example,Gone
---
apiVersion: mail.cartero.dev/v1alpha1
kind: EmailCampaign
metadata: {name: launch}
spec:
  message:
    from: {address: news@news.example.com}
    subject: Launch
    text: We have launched.
  recipients:
    configMapKeyRef: {name: launch-list, key: list.csv}
    format: CSV
`

// TestDev is a first day with `cartero dev`: a campaign by kubectl, one by HTTP, a restart, a crash, a second copy started
// by mistake.
func TestDev(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, s := range []struct {
		name string
		env  func(t *testing.T) harness.Env
	}{
		{"with everything embedded", devEnv},
		{"on MariaDB and Redis", func(t *testing.T) harness.Env {
			t.Helper()
			services := harness.RealServices(t)
			return devEnv(t).With(harness.Env{
				"DATABASE_URL": services.DatabaseURL, "REDIS_URL": services.RedisURL, "QUEUE_NAME_EMAIL": services.Prefix,
			})
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			firstDay(t, t.TempDir(), s.env(t))
		})
	}
}

func firstDay(t *testing.T, directory string, env harness.Env) {
	t.Helper()
	d := startDev(t, directory, env)
	harness.Kubectl(t, d.kubeconfig, launch, "apply", "-f", "-")
	d.awaitComplete("launch")
	if diff := cmp.Diff(sentToTwo, sendCampaign(t, d.facade, d.key, toTwo)); diff != "" {
		t.Errorf("the campaign sent by HTTP (-want +got):\n%s", diff)
	}
	want := map[string]int{"ada@example.org": 1, "bob@example.org": 1, "ada@example.net": 1, "bob@example.net": 1}
	expectMails(t, d, want)
	const report = "jsonpath={.status.recipients.total} {.status.recipients.accepted} {.status.recipients.bounced} " +
		"{.status.list.duplicates} {.status.list.invalid} {.status.completionTime}"
	before := d.kubectl("get", "ecamp", "launch", "-o", report)
	if !strings.HasPrefix(before, "3 2 1 1 1 ") {
		t.Errorf("total, accepted, bounced, duplicates, invalid = %s, want 3 2 1 1 1", before)
	}

	second := harness.Start(t, env, "dev", "--data-dir", directory)
	if code := second.Wait(); code != 1 || !strings.Contains(second.Output(), "another process uses "+directory) ||
		!strings.Contains(second.Output(), "--data-dir") {
		t.Errorf("a second cartero dev on the directory ended with %d and said %q", code, second.Output())
	}

	d.Stop()
	if left := harness.Children(directory); len(left) > 0 {
		t.Errorf("%d processes are left after cartero dev ended in order", len(left))
	}

	d = startDev(t, directory, env)
	expectSame(t, d, report, before, want)
	plane := harness.Children(directory)
	d.Kill()
	d = startDev(t, directory, env)
	harness.AwaitEnd(t, without(plane, harness.Children(directory)))
	expectSame(t, d, report, before, want)

	// It still works, and what is applied again is not sent again.
	harness.Kubectl(t, d.kubeconfig, launch, "apply", "-f", "-")
	d.kubectl("delete", "ecamp", "launch")
	harness.Kubectl(t, d.kubeconfig, launch, "apply", "-f", "-")
	d.awaitComplete("launch")
	again := strings.NewReplacer("launch", "again", "@example.org", "@example.edu").Replace(launch)
	harness.Kubectl(t, d.kubeconfig, again, "apply", "-f", "-")
	d.awaitComplete("again")
	want["ada@example.edu"], want["bob@example.edu"] = 1, 1
	expectMails(t, d, want)
	d.Stop()
}

// expectSame compares what a restarted cartero dev shows with what was there before.
func expectSame(t *testing.T, d *dev, report, before string, want map[string]int) {
	t.Helper()
	d.awaitComplete("launch")
	if after := d.kubectl("get", "ecamp", "launch", "-o", report); after != before {
		t.Errorf("the campaign's status after a restart is %q, was %q", after, before)
	}
	expectMails(t, d, want)
}

func expectMails(t *testing.T, d *dev, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, d.mails().PerRecipient); diff != "" {
		t.Errorf("mails in the inbox (-want +got):\n%s", diff)
	}
}

// without returns the elements of a that are not in b.
func without(a, b []int) []int {
	gone := map[int]bool{}
	for _, x := range b {
		gone[x] = true
	}
	var rest []int
	for _, x := range a {
		if !gone[x] {
			rest = append(rest, x)
		}
	}
	return rest
}

// TestDemo is the README's first command.
func TestDemo(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			env := devEnv(t).With(harness.Env{"SAMPLES_DIR": kubetest.Root(t) + "/config/samples"})
			if s.name == stacks[1].name {
				services := s.start(t)
				env = env.With(harness.Env{
					"DATABASE_URL": services.DatabaseURL, "REDIS_URL": services.RedisURL, "QUEUE_NAME_EMAIL": services.Prefix,
				})
			}
			directory := t.TempDir()
			demo := harness.Start(t, env, "dev", "--demo", "--data-dir", directory)
			harness.EndChildren(t, directory)
			if code := demo.Wait(); code != 0 {
				t.Fatalf("cartero dev --demo ended with %d", code)
			}
			for _, line := range []string{
				`entries in the lists +1\d\d\d\b`, `duplicates dropped +[1-9]`, `invalid addresses +1\d\b`, `recipients +9\d\d\b`,
				`accepted +9\d\d\b`, `not accepted +\d+  \w+ 5\.`, `mails a second +\d`, `nobody is missing, nobody got one twice`,
			} {
				if !regexp.MustCompile(line).MatchString(demo.Output()) {
					t.Errorf("the summary has nothing like %q", line)
				}
			}
			if left := harness.Children(directory); len(left) > 0 {
				t.Errorf("%d processes are left after the demo", len(left))
			}
		})
	}
}

// TestInterrupted ends `cartero dev` while it starts.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	harness.Binary(t) // skips with -short
	directory := t.TempDir()
	p := harness.Start(t, devEnv(t), "dev", "--data-dir", directory)
	harness.EndChildren(t, directory)
	p.Await("Starting the local Kubernetes API server")
	p.Signal(syscall.SIGINT)
	p.Wait()
	if left := harness.Children(directory); len(left) > 0 {
		t.Errorf("%d processes are left after cartero dev was interrupted", len(left))
	}
}
