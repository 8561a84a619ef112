package harness

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// Sender is the sender of the campaigns that tests make.
const Sender = "news@news.example.com"

// World is what the parts of cartero run against when each is a process of its own: a real API server, a database, a
// Redis and a relay.
type World struct {
	Services

	Relay      *Relay
	Cluster    *kubetest.Cluster
	Namespace  string
	Kubeconfig string
	// Program is the binary that the parts run; Binary's unless set.
	Program string

	tb testing.TB
}

// NewWorld makes a world with a namespace of its own. The cluster is that of the test binary.
func NewWorld(tb testing.TB, services Services) *World {
	tb.Helper()
	cluster := kubetest.Start(tb)
	return &World{
		Services:   services,
		Relay:      StartRelay(tb),
		Cluster:    cluster,
		Namespace:  cluster.Namespace(tb),
		Kubeconfig: cluster.Kubeconfig(tb),
		tb:         tb,
	}
}

// base are the settings that all parts share, with short times.
func (w *World) base() Env {
	return w.Env().With(Env{
		"LOG_FORMAT": "text", "LOG_LEVEL": "info", "METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0",
		"SMTP_FROM": Sender, "SWEEP_INTERVAL": "1s", "BULL_LOCK_DURATION": "1s", "BULL_STALLED_INTERVAL": "1s",
	})
}

// StartOperator starts `cartero operator` for the world's namespace. Nobody is elected: a test may run two at once.
func (w *World) StartOperator(more Env) *Process {
	w.tb.Helper()
	return startBinary(w.tb, cmp.Or(w.Program, Binary(w.tb)), w.base().With(Env{
		"KUBECONFIG": w.Kubeconfig, "WATCH_NAMESPACE": w.Namespace, "LEADER_ELECT": "false",
	}).With(more), "operator")
}

// StartWorker starts `cartero worker` with its journal in a directory that may be the one of a worker that ended.
func (w *World) StartWorker(journal string, more Env) *Process {
	w.tb.Helper()
	return startBinary(w.tb, cmp.Or(w.Program, Binary(w.tb)), w.base().With(w.Relay.Env()).With(Env{
		"WORKER_JOURNAL_DIR": journal, "WORKER_LEASE": "10s",
	}).With(more), "worker")
}

// StartFacade starts `cartero facade` with the key and returns it with its address.
func (w *World) StartFacade(key string, more ...Env) (*Process, string) {
	w.tb.Helper()
	p := w.LaunchFacade(key, more...)
	p.Await(listening)
	return p, w.FacadeAddress(p)
}

// listening is what a facade says, and behind it its address.
const listening = "msg=Listening"

// LaunchFacade is StartFacade for a process that may die before it listens.
func (w *World) LaunchFacade(key string, more ...Env) *Process {
	w.tb.Helper()
	env := w.base().With(Env{"API_KEY": key, "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0"})
	for _, m := range more {
		env = env.With(m)
	}
	return startBinary(w.tb, cmp.Or(w.Program, Binary(w.tb)), env, "facade")
}

// FacadeAddress is where a facade listens; empty while it does not.
func (w *World) FacadeAddress(p *Process) string {
	_, said, found := strings.Cut(p.Output(), listening)
	line, _, whole := strings.Cut(said, "\n")
	if !found || !whole {
		return ""
	}
	_, address, _ := strings.Cut(line, "address=")
	return "http://" + strings.TrimSpace(address)
}

// Send creates a campaign to a list of addresses in a ConfigMap.
func (w *World) Send(name string, addresses []string, jobSize int32) {
	w.tb.Helper()
	list := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name + "-list"},
		Data:       map[string]string{"list": strings.Join(addresses, "\n") + "\n"},
	}
	object := kubetest.NewCampaign(w.Namespace, name).
		WithMessage(v1alpha1.Message{From: &v1alpha1.Mailbox{Address: Sender}, Subject: "News of " + name, Text: "There is news.\n"}).
		WithConfigMap(list.Name, "list", v1alpha1.FormatLines).WithJobSize(jobSize).Obj()
	for _, o := range []client.Object{list, object} {
		if err := w.Cluster.Client.Create(w.tb.Context(), o); err != nil {
			w.tb.Fatalf("Creating campaign %s: %v", name, err)
		}
	}
}

// Campaign reads a campaign.
func (w *World) Campaign(name string) *v1alpha1.EmailCampaign {
	w.tb.Helper()
	object := &v1alpha1.EmailCampaign{}
	key := types.NamespacedName{Namespace: w.Namespace, Name: name}
	if err := w.Cluster.Client.Get(context.Background(), key, object); err != nil {
		w.tb.Fatalf("Reading campaign %s: %v", name, err)
	}
	return object
}

// AwaitCondition waits until a condition of a campaign has the reason, and returns it.
func (w *World) AwaitCondition(name, condition, reason string) metav1.Condition {
	w.tb.Helper()
	var found metav1.Condition
	Eventually(w.tb, fmt.Sprintf("campaign %s is %s: %s", name, condition, reason), func() bool {
		if c := meta.FindStatusCondition(w.Campaign(name).Status.Conditions, condition); c != nil {
			found = *c
		}
		return found.Reason == reason
	})
	return found
}

// AwaitComplete waits with kubectl, as a user does.
func (w *World) AwaitComplete(name string) *v1alpha1.EmailCampaign {
	w.tb.Helper()
	Kubectl(w.tb, w.Kubeconfig, "", "wait", "--namespace", w.Namespace, "--for=condition=Complete",
		"--timeout="+Patience.String(), "emailcampaign/"+name)
	return w.Campaign(name)
}

// Key is the campaign's key in the database.
func (w *World) Key(name string) string { return w.Namespace + "/" + name }

// Kubectl runs the real kubectl and returns what it printed. The test fails if it fails.
func Kubectl(tb testing.TB, kubeconfig, input string, args ...string) string {
	tb.Helper()
	output, err := TryKubectl(tb, kubeconfig, input, args...)
	if err != nil {
		tb.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

// TryKubectl is Kubectl for a command that may fail.
func TryKubectl(tb testing.TB, kubeconfig, input string, args ...string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(Assets(tb), "kubectl"), args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + guarded, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &output, &output
	err := cmd.Run()
	return output.String(), err
}

// Assets is the directory of etcd, kube-apiserver and kubectl.
func Assets(tb testing.TB) string {
	tb.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		tb.Fatal("KUBEBUILDER_ASSETS is not set: run `make test`, or `make control-plane` and set it to bin/")
	}
	return assets
}

// Addresses are n different addresses of a domain.
func Addresses(n int, domain string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("reader%05d@%s", i, domain)
	}
	return all
}
