package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// patience bounds a wait for something that should come.
const patience = 10 * time.Minute

// progressInterval is how often a wait says how far it is.
const progressInterval = 10 * time.Second

// namespace is where the campaigns are.
const namespace = "default"

// bench is the system that is measured.
type bench struct {
	settings  settings
	progress  io.Writer
	directory string
	servers   *measure.Servers
	plane     *devstack.ControlPlane
	client    client.Client
	ends      *ends
	sink      *sink
	operator  *process
	worker    *process
	applied   int
	stops     []func() error
}

func newBench(ctx context.Context, s settings, progress io.Writer) (b *bench, err error) {
	b = &bench{settings: s, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.directory, err = os.MkdirTemp("", "bench-operator-"); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, func() error { return os.RemoveAll(b.directory) })
	if b.servers, err = measure.OpenServers(ctx, s.Database, s.Redis); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, b.servers.Close)
	b.say("starting etcd and kube-apiserver")
	directory, err := devstack.OpenDirectory(b.directory)
	if err != nil {
		return nil, err
	}
	if b.plane, err = devstack.StartControlPlane(ctx, directory, s.assets); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, b.plane.Stop)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(b.plane.Config)
	config.QPS = -1 // as fast as it goes
	if b.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	b.stops = append(b.stops, func() error { stop(); return nil })
	if b.ends, err = watchEnds(watching, config, scheme); err != nil {
		return nil, err
	}
	if b.sink, err = newSink(ctx); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, b.sink.Close)
	return b, b.startParts(ctx)
}

// startParts starts operator and worker.
func (b *bench) startParts(ctx context.Context) error {
	var err error
	if b.operator, err = b.startOperator(ctx); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(b.sink.Addr())
	if err != nil {
		return err
	}
	b.worker, err = b.start(ctx, "worker", b.env(map[string]string{
		"SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_USE_TLS": "false", "WORKER_JOURNAL_DIR": filepath.Join(b.directory, "journal"),
	}))
	return err
}

func (b *bench) startOperator(ctx context.Context) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	env := map[string]string{"KUBECONFIG": b.plane.Kubeconfig, "LEADER_ELECT": "false", "METRICS_BIND_ADDRESS": address}
	if b.settings.reconciles > 0 {
		env["MAX_CONCURRENT_RECONCILES"] = strconv.Itoa(b.settings.reconciles)
	}
	p, err := b.start(ctx, "operator", b.env(env))
	if p != nil {
		p.metrics = "http://" + address + "/metrics"
	}
	return p, err
}

// freeAddress is one that nobody listens at.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (b *bench) env(more map[string]string) map[string]string {
	env := map[string]string{
		"DATABASE_URL": b.settings.Database, "REDIS_URL": b.settings.Redis, "SMTP_FROM": "news@bench.example",
		"METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0", "LOG_LEVEL": "warn",
	}
	maps.Copy(env, more)
	return env
}

func (b *bench) close() error {
	err := errors.Join(b.worker.stop(), b.operator.stop())
	for _, stop := range slices.Backward(b.stops) {
		err = errors.Join(err, stop())
	}
	return err
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "  "+format+" …\n", args...)
}

// appliers is how many campaigns are applied at a time where there are many.
const appliers = 8

// applyMany creates the next campaigns as fast as the API server takes them.
func (b *bench) applyMany(ctx context.Context, campaigns, recipients int) error {
	progress := time.NewTicker(progressInterval)
	defer progress.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(appliers)
	for i := range campaigns {
		select {
		case <-progress.C:
			b.say("%d of %d are applied", i, campaigns)
		default:
		}
		b.applied++
		number := b.applied
		group.Go(func() error { return b.create(ctx, number, recipients) })
	}
	return group.Wait()
}

// apply creates the next campaign, to one recipient, and returns the domain of that.
func (b *bench) apply(ctx context.Context) (string, error) {
	b.applied++
	return domainOf(b.applied), b.create(ctx, b.applied, 1)
}

func domainOf(number int) string { return fmt.Sprintf("campaign-%05d.example", number) }

// create creates a campaign to that many recipients in a domain of its own.
func (b *bench) create(ctx context.Context, number, recipients int) error {
	domain := domainOf(number)
	name := strings.TrimSuffix(domain, ".example")
	object := &v1alpha1.EmailCampaign{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	object.Spec.Message = v1alpha1.Message{Subject: "News", Text: "There is news.\n", HTML: "<p>There is <b>news</b>.</p>\n"}
	for i := range recipients {
		object.Spec.Recipients.Inline = append(object.Spec.Recipients.Inline, v1alpha1.InlineRecipient{
			Address: fmt.Sprintf("reader%03d@%s", i, domain), Name: "Reader",
		})
	}
	if err := b.client.Create(ctx, object); err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	return nil
}

// awaitEnd waits until all that was applied has ended, and fails unless all of it is complete.
func (b *bench) awaitEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	progress := time.NewTicker(progressInterval)
	defer progress.Stop()
	for {
		ended, complete, changed := b.ends.count()
		if ended == b.applied {
			if complete != ended {
				return fmt.Errorf("only %d of %d campaigns are complete", complete, ended)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d campaigns have ended: %w", ended, b.applied, context.Cause(ctx))
		case <-changed:
		case <-progress.C:
			b.say("%d of %d have ended", ended, b.applied)
		}
	}
}
