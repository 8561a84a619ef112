package gitops_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

// people are whom the campaigns are for.
const people = 40

// stage is a real API server, MariaDB and Redis, with an operator and a worker as processes of their own, and somebody who
// applies manifests with kubectl.
type stage struct {
	*harness.World
	*testing.T

	operator, worker *harness.Process
	manifest         string
}

// newStage starts all but the operator and the worker. The manifest is that of a campaign "launch".
func newStage(t *testing.T, mutate ...func(*v1alpha1.EmailCampaign)) *stage {
	t.Helper()
	harness.Binary(t) // skips with -short
	s := &stage{World: harness.NewWorld(t, harness.RealServices(t)), T: t}
	s.manifest = s.manifestOf(s.Namespace, mutate...)
	return s
}

// manifestOf is the manifest as it is in Git: 40 people, in jobs of 10.
func (s *stage) manifestOf(namespace string, mutate ...func(*v1alpha1.EmailCampaign)) string {
	s.Helper()
	builder := kubetest.NewCampaign(namespace, "launch").WithInline(harness.Addresses(people, "example.org")...).
		WithMessage(v1alpha1.Message{
			From: &v1alpha1.Mailbox{Address: harness.Sender}, Subject: "News", Text: "There is news.\n",
		}).WithJobSize(10)
	for _, m := range mutate {
		builder = builder.With(m)
	}
	text, err := yaml.Marshal(builder.Obj())
	if err != nil {
		s.Fatal(err)
	}
	return "apiVersion: mail.cartero.dev/v1alpha1\nkind: EmailCampaign\n" + string(text)
}

// running starts what newStage did not.
func (s *stage) running() *stage {
	s.Helper()
	s.operator = s.StartOperator(nil)
	s.worker = s.StartWorker(s.TempDir(), harness.Env{"SMTP_MAX_CONNECTIONS": "2"})
	return s
}

func (s *stage) apply(manifest string) {
	s.Helper()
	harness.Kubectl(s, s.Kubeconfig, manifest, "apply", "-f", "-")
}

func (s *stage) kubectl(args ...string) string {
	s.Helper()
	return harness.Kubectl(s, s.Kubeconfig, "", append([]string{"--namespace", s.Namespace}, args...)...)
}

func (s *stage) awaitReady(reason string) {
	s.Helper()
	s.AwaitCondition("launch", v1alpha1.ConditionReady, reason)
}

func (s *stage) awaitGone() {
	s.Helper()
	harness.Eventually(s, "the object is gone", func() bool {
		key := types.NamespacedName{Namespace: s.Namespace, Name: "launch"}
		return apierrors.IsNotFound(s.Cluster.Client.Get(s.Context(), key, &v1alpha1.EmailCampaign{}))
	})
}

// once has everybody mailed once, and nobody else.
func (s *stage) once() {
	s.Helper()
	want := map[string]int{}
	for _, address := range harness.Addresses(people, "example.org") {
		want[address] = 1
	}
	if diff := cmp.Diff(want, s.Relay.Recipients()); diff != "" {
		s.Errorf("Mails by recipient (-want +got):\n%s", diff)
	}
}

// stays has the relay's mails be as many as they are, after the operator and the worker had every occasion to send more: a
// campaign that was applied later is complete.
func (s *stage) stays() {
	s.Helper()
	before := s.Relay.Count()
	s.Send("probe", []string{"probe@example.net"}, 10)
	s.AwaitComplete("probe")
	if got := s.Relay.Count(); got != before+1 {
		s.Errorf("%d mails were sent besides the probe", got-before-1)
	}
	if twice := s.mailedTwice(); len(twice) > 0 {
		s.Errorf("mailed twice: %v", twice)
	}
}

func (s *stage) mailedTwice() []string {
	var twice []string
	for address, n := range s.Relay.Recipients() {
		if n > 1 {
			twice = append(twice, address)
		}
	}
	return twice
}

// hold keeps the relay from answering from the n-th mail on, until release is called. reached is closed when it has come.
func (s *stage) hold(n int) (reached <-chan struct{}, release func()) {
	came, open := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s.Relay.OnMail(func(got int) {
		if got >= n {
			first.Do(func() { close(came) })
			<-open
		}
	})
	release = sync.OnceFunc(func() { close(open) })
	s.Cleanup(release)
	return came, release
}

func (s *stage) await(what string, event <-chan struct{}) {
	s.Helper()
	harness.Eventually(s, what, func() bool {
		select {
		case <-event:
			return true
		default:
			return false
		}
	})
}

// refused applies a manifest that the API server must refuse, with these words.
func (s *stage) refused(manifest, words string) {
	s.Helper()
	output, err := harness.TryKubectl(s, s.Kubeconfig, manifest, "apply", "-f", "-")
	if err == nil || !strings.Contains(output, words) {
		s.Errorf("it said %q, want an error with %q", output, words)
	}
}
