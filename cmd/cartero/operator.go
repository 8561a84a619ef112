package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/controllers"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// leaderElectionID names the Lease.
const leaderElectionID = "operator.mail.cartero.dev"

func runOperator(ctx context.Context, c cli) (err error) {
	var (
		o        options.Operator
		database options.Database
		redis    options.Redis
		queueOpt options.Queue
		sender   options.Sender
		sweep    options.Outbox
		web      options.Fetch
		links    = options.Unsubscribe{URLOnly: true}
		t        options.Telemetry
	)
	err = load(c, "operator", "reconciles EmailCampaign objects", &o, &web, &links, &database, &redis, &queueOpt, &sender, &sweep, &t)
	if err != nil {
		return err
	}
	p, ctx := newProcess(ctx, c.stderr, t, &database, &redis, &web)
	config, err := kubeConfig(o)
	if err != nil {
		return err
	}
	db, queue, closeBoth, err := openBackends(ctx, database, redis, queueOpt, openProducer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()

	p.serveTelemetry(ctx, t, databaseCheck(db), queueCheck(queue))
	p.group.Go(func() error {
		if err := p.prepareStore(ctx, db, database.MigrateOnStart); err != nil {
			return err
		}
		if err := p.checkQueue(ctx, queue); err != nil {
			return err
		}
		box, err := p.newOutbox(db, queue, sweep, queueOpt)
		if err != nil {
			return err
		}
		p.group.Go(func() error { return box.Run(ctx) })
		return p.reconcile(ctx, reconciling{
			config: config, operator: o, from: sender.Address(), mixed: queueOpt.Workers == options.WorkersMixed,
			db: db, queue: queue, box: box, web: web, links: links,
		})
	})
	return p.wait(ctx)
}

// kubeConfig connects with KUBECONFIG, or as the pod.
func kubeConfig(o options.Operator) (*rest.Config, error) {
	if o.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("connecting to Kubernetes: KUBECONFIG is not set, and this is no pod: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(o.Kubeconfig)}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	return config, nil
}

// reconciling is what the controller is made of.
type reconciling struct {
	config   *rest.Config
	operator options.Operator
	from     mail.Address
	mixed    bool
	db       *store.Store
	queue    producer
	box      *outbox.Outbox
	web      options.Fetch
	links    options.Unsubscribe
}

// reconcile runs the controller until ctx ends.
func (p *process) reconcile(ctx context.Context, r reconciling) error {
	mgr, err := newManager(r.config, r.operator, p)
	if err != nil {
		return err
	}
	tests, err := submit.New(submit.Config{Store: r.db, Queue: r.queue, Now: r.db.Now, Logger: p.logger})
	if err != nil {
		return err
	}
	p.group.Go(func() error { return tests.Run(ctx) })
	fetcher, err := r.web.Client()
	if err != nil {
		return err
	}
	states, err := controllers.CountStates(ctx, mgr.GetCache())
	if err != nil {
		return err
	}
	telemetry.NewCampaignMetrics(p.registry, states.Read)
	recorder, stop, err := newRecorder(ctx, mgr, p.logger)
	if err != nil {
		return err
	}
	defer stop() // when nobody tells anything any more
	reconciler := &controllers.EmailCampaignReconciler{
		Client:        mgr.GetClient(),
		Reader:        mgr.GetAPIReader(),
		Recorder:      recorder,
		Ledger:        r.db,
		Doorbell:      r.box,
		IsUnavailable: store.IsUnavailable,
		Redact:        p.redactor.Redact,
		DefaultFrom:   r.from,
		MixedWorkers:  r.mixed,

		ManagedUnsubscribe: r.links.URL != "",
		Fetcher:            fetcher,
		Suppressed:         r.db,
		Now:                r.db.Now,
		QueuePaused:        r.queue.IsPaused,

		DeletionPatience: r.operator.DeletionPatience,
		NoProgressAfter:  r.operator.NoProgressAfter,
		TestRecipients:   r.operator.TestRecipients,
		Mailer:           testMails{tests},
	}
	err = reconciler.SetupWithManager(mgr, controllers.Options{MaxConcurrentReconciles: r.operator.MaxConcurrentReconciles})
	if err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controller: %w", err)
	}
	return nil
}

// testMails is how the reconciler sees what takes single mails.
type testMails struct{ service *submit.Service }

// Enqueue implements controllers.Mailer.
func (t testMails) Enqueue(ctx context.Context, mail campaign.Submission) error {
	_, err := t.service.Enqueue(ctx, mail)
	if errors.Is(err, submit.ErrKeyReused) { // written before the campaign or TEST_RECIPIENTS changed
		return nil
	}
	return err
}

func newManager(config *rest.Config, o options.Operator, p *process) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("building the scheme: %w", err)
	}
	opts := ctrl.Options{
		Scheme: scheme,
		Logger: telemetry.Logr(p.logger),
		Client: client.Options{Cache: &client.CacheOptions{
			DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}},
		}},
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after the manager
		Metrics:                       server.Options{BindAddress: telemetry.Disabled},
		HealthProbeBindAddress:        telemetry.Disabled,
	}
	opts.Cache.DefaultTransform = controllers.Slim
	if o.WatchNamespace != "" {
		opts.Cache.DefaultNamespaces = map[string]cache.Config{o.WatchNamespace: {}}
	}
	// The API server's own priority and fairness keeps the operator from asking too much; client-go's default of 20
	// requests a second would keep a thousand campaigns waiting for minutes.
	config = rest.CopyConfig(config)
	config.QPS = -1
	var err error
	if opts.Client.HTTPClient, err = httpForWrites(config); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, opts)
	if err != nil {
		return nil, fmt.Errorf("connecting to Kubernetes: %w", err)
	}
	return mgr, nil
}

// writeTimeout bounds a write to the API server: the longest that it takes itself is a minute.
const writeTimeout = time.Minute

// httpForWrites has a connection for each write that is under way. Over the one connection of HTTP/2, where dozens of writes and
// what is watched take turns frame by frame, both are late in a burst of campaigns. That a connection is dead, which HTTP/2 would
// notice, the timeout tells.
func httpForWrites(config *rest.Config) (*http.Client, error) {
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"}
	config.Timeout = writeTimeout
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to Kubernetes: %w", err)
	}
	return web, nil
}
