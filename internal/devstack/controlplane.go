package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/config/crd"
)

const (
	// processTimeout is for one process of the control plane to start or end, on a busy machine.
	processTimeout = 2 * time.Minute
	// startAttempts: envtest gives a fresh API server five seconds for its default namespace, which is not always enough.
	startAttempts = 3
)

// ControlPlane is a Kubernetes API server with Cartero's CRDs: the real one, without nodes.
type ControlPlane struct {
	// Config connects as an administrator.
	Config *rest.Config
	// Kubeconfig is the path of a kubeconfig that does the same.
	Kubeconfig string

	environment *envtest.Environment // nil for a cluster that is only used
}

// StartControlPlane starts etcd and kube-apiserver from the assets directory, with their data below directory, where
// the next start finds it. Left-overs of a process that was killed are ended first.
func StartControlPlane(ctx context.Context, directory *Directory, assets string) (*ControlPlane, error) {
	for _, binary := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(assets, binary)); err != nil {
			return nil, fmt.Errorf("%s is not in %s: run `make control-plane`, or set KUBECONFIG to use a cluster", binary, assets)
		}
	}
	state, certificates := directory.Path("etcd"), directory.Path("apiserver")
	if err := endLeftovers(ctx, assets, state, certificates); err != nil {
		return nil, err
	}
	// The certificates belong to an authority that lives as long as the process.
	if err := os.RemoveAll(certificates); err != nil {
		return nil, fmt.Errorf("removing old certificates: %w", err)
	}
	for _, dir := range []string{state, certificates} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a directory for the control plane: %w", err)
		}
	}

	environment, config, err := startEnvironment(ctx, assets, state, certificates)
	if err != nil {
		return nil, fmt.Errorf("starting the local control plane: %w", err)
	}
	plane := &ControlPlane{Config: config, Kubeconfig: directory.Path("kubeconfig"), environment: environment}
	if err := plane.prepare(); err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return plane, nil
}

// startEnvironment starts the processes, again if need be.
func startEnvironment(ctx context.Context, assets, state, certificates string) (*envtest.Environment, *rest.Config, error) {
	var errs []error
	for range startAttempts {
		environment := &envtest.Environment{
			BinaryAssetsDirectory:    assets,
			ControlPlaneStartTimeout: processTimeout,
			ControlPlaneStopTimeout:  processTimeout,
		}
		environment.ControlPlane.Etcd = &envtest.Etcd{DataDir: state}
		environment.ControlPlane.APIServer = &envtest.APIServer{CertDir: certificates}
		config, err := environment.Start()
		if err == nil {
			return environment, config, nil
		}
		errs = append(errs, err, environment.Stop())
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, errors.Join(errs...)
}

// prepare writes the kubeconfig and installs the CRDs.
func (p *ControlPlane) prepare() error {
	if err := os.WriteFile(p.Kubeconfig, p.environment.KubeConfig, 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return InstallCRDs(p.Config)
}

// Stop ends the API server and etcd; their data stays. A cluster that is only used goes on.
func (p *ControlPlane) Stop() error {
	if p.environment == nil {
		return nil
	}
	if err := p.environment.Stop(); err != nil {
		return fmt.Errorf("stopping the local control plane: %w", err)
	}
	return nil
}

// UseCluster connects to the cluster that a kubeconfig's current context names, and installs the CRDs there.
func UseCluster(kubeconfig string) (*ControlPlane, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(kubeconfig)}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	if err := InstallCRDs(config); err != nil {
		return nil, err
	}
	return &ControlPlane{Config: config, Kubeconfig: kubeconfig}, nil
}

// InstallCRDs creates or updates Cartero's CRDs and waits until the API server knows them.
func InstallCRDs(config *rest.Config) error {
	var definitions []*apiextensionsv1.CustomResourceDefinition
	names, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return fmt.Errorf("listing the CRDs: %w", err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(crd.Bases, name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, definition); err != nil {
			return fmt.Errorf("parsing %s: %w", name, err)
		}
		definitions = append(definitions, definition)
	}
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{CRDs: definitions}); err != nil {
		return fmt.Errorf("installing the CRDs: %w", err)
	}
	return nil
}
