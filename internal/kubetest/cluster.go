package kubetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

const (
	// startTimeout is for one process of the control plane, on a busy machine.
	startTimeout = 2 * time.Minute
	// startAttempts: envtest gives a fresh API server five seconds for its default namespace, which is not always enough.
	startAttempts = 3
)

// Cluster is a control plane: etcd and kube-apiserver, without controllers or nodes, with the CRD installed.
type Cluster struct {
	// Config is an administrator's.
	Config *rest.Config
	// Client reads and writes, uncached, as administrator.
	Client client.Client
	// Scheme knows the built-in kinds and EmailCampaign.
	Scheme *runtime.Scheme
	// KubectlPath is the real kubectl.
	KubectlPath string

	env *envtest.Environment
}

// shared is the control plane of this test binary.
var shared struct {
	sync.Mutex

	mainRuns bool
	cluster  *Cluster
	err      error
}

// Main runs the tests of a binary and stops the control plane that they started, if they did. It returns the exit code.
func Main(m *testing.M) int {
	flag.Parse()
	shared.Lock()
	shared.mainRuns = true
	shared.Unlock()

	code := m.Run()

	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		return code
	}
	if err := shared.cluster.env.Stop(); err != nil {
		fmt.Fprintf(os.Stderr, "Stopping the control plane: %v\n", err)
		return max(code, 1)
	}
	return code
}

// Start returns the control plane of this test binary, which the first call starts. With -short it skips the test. The
// binary's TestMain must call Main.
func Start(tb testing.TB) *Cluster {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a Kubernetes API server")
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		tb.Fatal("KUBEBUILDER_ASSETS is not set: run `make test`, or `make control-plane` and set it to bin/")
	}

	shared.Lock()
	defer shared.Unlock()
	if !shared.mainRuns {
		tb.Fatal("kubetest.Start needs a TestMain that calls kubetest.Main")
	}
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = start(assets, Root(tb))
	}
	if shared.err != nil {
		tb.Fatalf("Starting the control plane: %v", shared.err)
	}
	return shared.cluster
}

func start(assets, root string) (*Cluster, error) {
	var errs []error
	for range startAttempts {
		env := &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			ControlPlaneStartTimeout: startTimeout,
			ControlPlaneStopTimeout:  startTimeout,
			CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
			ErrorIfCRDPathMissing:    true,
		}
		config, err := env.Start()
		if err == nil {
			return newCluster(env, config)
		}
		errs = append(errs, err, env.Stop())
		if apierrors.ReasonForError(err) == metav1.StatusReasonInvalid { // the CRD is refused, and will be again
			break
		}
	}
	return nil, errors.Join(errs...)
}

func newCluster(env *envtest.Environment, config *rest.Config) (*Cluster, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, errors.Join(fmt.Errorf("building the scheme: %w", err), env.Stop())
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a client: %w", err), env.Stop())
	}
	return &Cluster{Config: config, Client: c, Scheme: scheme, KubectlPath: env.ControlPlane.KubectlPath, env: env}, nil
}

// Namespace makes a namespace and returns its name. It is not deleted: there is no controller that would empty it.
func (c *Cluster) Namespace(tb testing.TB) string {
	tb.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Client.Create(context.Background(), namespace); err != nil {
		tb.Fatalf("Creating a namespace: %v", err)
	}
	return namespace.Name
}

// Root returns the root directory of the repository that the test runs in.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("Finding the working directory: %v", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil:
			return dir
		case !errors.Is(err, fs.ErrNotExist):
			tb.Fatalf("Looking for go.mod: %v", err)
		case filepath.Dir(dir) == dir:
			tb.Fatal("The working directory is in no Go module")
		}
		dir = filepath.Dir(dir)
	}
}
