//go:build !nodev

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/devstack/inbox"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// devDefaults are the settings that suit one person on one machine, where the environment has none.
var devDefaults = map[string]string{
	"SERVICE_HOST":              "127.0.0.1",
	"LOG_FORMAT":                options.LogText,
	"LOG_LEVEL":                 "warn",
	"LEADER_ELECT":              "false",
	"METRICS_BIND_ADDRESS":      "0",
	"HEALTH_PROBE_BIND_ADDRESS": "0",
	"SMTP_FROM":                 "Cartero <cartero@example.com>",
}

// devSettings are the settings of all parts, and of what is embedded.
type devSettings struct {
	dev       devOptions
	database  options.Database
	redis     options.Redis
	queue     options.Queue
	smtp      options.SMTP
	sender    options.Sender
	worker    options.Worker
	facade    options.Facade
	operator  options.Operator
	outbox    options.Outbox
	telemetry options.Telemetry

	fetch       options.Fetch
	unsubscribe options.Unsubscribe
}

func runDev(ctx context.Context, c cli) (err error) {
	s := &devSettings{queue: options.Queue{BullOnly: true}}
	s.database.Embedded, s.redis.Embedded, s.smtp.Embedded = true, true, true
	s.worker.Embedded, s.facade.Embedded, s.operator.Embedded = true, true, true
	c.env = withDefaults(c.env, devDefaults)
	err = load(c, "dev", "runs everything in one process, with what is not configured embedded", &s.dev, &s.database,
		&s.redis, &s.queue, &s.smtp, &s.sender, &s.worker, &s.facade, &s.unsubscribe, &s.operator, &s.fetch, &s.outbox, &s.telemetry)
	if err != nil {
		return err
	}
	stack, err := startStack(ctx, c, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.stop()) }()
	return stack.run(ctx, c, s)
}

func withDefaults(env options.Lookup, defaults map[string]string) options.Lookup {
	return func(name string) (string, bool) {
		if value, ok := env(name); ok && value != "" {
			return value, true
		}
		value, ok := defaults[name]
		return value, ok
	}
}

// stack is what `cartero dev` has started besides its parts.
type stack struct {
	directory *devstack.Directory
	plane     *devstack.ControlPlane
	inbox     *inbox.Inbox // nil where SMTP_SERVER names a relay
	keyFile   string
	closers   []func() error
}

// startStack starts what is embedded and completes the settings with where it is.
func startStack(ctx context.Context, c cli, s *devSettings) (_ *stack, err error) {
	if s.dev.demo {
		s.dev.dataDir = filepath.Join(s.dev.dataDir, demoDirectory)
	}
	directory, err := devstack.OpenDirectory(s.dev.dataDir)
	if err != nil {
		return nil, err
	}
	st := &stack{directory: directory, closers: []func() error{directory.Close}}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.stop())
		}
	}()
	if s.dev.demo {
		if err := directory.Clear(); err != nil {
			return nil, err
		}
	}
	for _, start := range []func(context.Context, cli, *devSettings) error{
		st.startInbox, st.startRedis, st.chooseFiles, st.startControlPlane,
	} {
		if err := start(ctx, c, s); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// stop ends what was started, the last first.
func (st *stack) stop() error {
	var errs []error
	for _, closeIt := range slices.Backward(st.closers) {
		errs = append(errs, closeIt())
	}
	return errors.Join(errs...)
}

func (st *stack) startInbox(ctx context.Context, c cli, s *devSettings) error {
	if s.smtp.Server != "" {
		return nil
	}
	log := telemetry.NewLogger(c.stderr, s.telemetry.Level, s.telemetry.LogFormat == options.LogJSON, telemetry.NewRedactor())
	box, err := inbox.Start(context.WithoutCancel(ctx), inbox.Config{
		SMTPAddr: s.dev.inboxSMTP,
		HTTPAddr: s.dev.inboxHTTP,
		Dir:      st.directory.Path("inbox"),
		Log:      log,
	})
	if err != nil {
		return fmt.Errorf("%w (INBOX_SMTP_ADDRESS and INBOX_HTTP_ADDRESS choose other ports)", err)
	}
	st.inbox = box
	st.closers = append(st.closers, box.Close)

	host, port, err := net.SplitHostPort(box.SMTPAddr())
	if err != nil {
		return fmt.Errorf("reading the inbox's address: %w", err)
	}
	s.smtp.Server, s.smtp.UseTLS = host, false
	s.smtp.Port, err = strconv.Atoi(port)
	return err
}

func (st *stack) startRedis(ctx context.Context, _ cli, s *devSettings) error {
	if s.redis.URL != "" {
		return nil
	}
	url, stop, err := devstack.StartRedis(context.WithoutCancel(ctx), "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.redis.URL = url
	st.closers = append(st.closers, func() error { stop(); return nil })
	return nil
}

// chooseFiles puts the database, the journal and the facade's key into the data directory, unless they are given.
func (st *stack) chooseFiles(_ context.Context, _ cli, s *devSettings) error {
	if s.database.URL == "" {
		s.database.URL = "sqlite://" + st.directory.Path("cartero.db")
	}
	if s.worker.JournalDir == "" {
		s.worker.JournalDir = st.directory.Path("journal")
	}
	if len(s.facade.Keys) > 0 {
		return nil
	}
	key, err := st.directory.Secret("api-key", func() string {
		random := make([]byte, 32)
		_, _ = rand.Read(random) // never fails
		return hex.EncodeToString(random)
	})
	st.keyFile = st.directory.Path("api-key")
	s.facade.Keys = []string{key}
	return err
}

func (st *stack) startControlPlane(ctx context.Context, c cli, s *devSettings) (err error) {
	if s.operator.Kubeconfig != "" {
		fmt.Fprintf(c.stdout, "Using the cluster of %s; the CRD is installed there …\n", s.operator.Kubeconfig)
		st.plane, err = devstack.UseCluster(s.operator.Kubeconfig)
		return err
	}
	assets, err := filepath.Abs(s.dev.assets)
	if err != nil {
		return fmt.Errorf("finding the control plane's binaries: %w", err)
	}
	fmt.Fprintln(c.stdout, "Starting the local Kubernetes API server (some seconds) …")
	st.plane, err = devstack.StartControlPlane(ctx, st.directory, assets)
	if err != nil {
		return err
	}
	st.closers = append(st.closers, st.plane.Stop)
	return nil
}

// run runs operator, worker and facade until ctx ends, or the demo is over.
func (st *stack) run(ctx context.Context, c cli, s *devSettings) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, ctx := newProcess(ctx, c.stderr, s.telemetry, &s.database, &s.redis, &s.smtp, &s.facade, &s.fetch, &s.unsubscribe)
	db, queue, closeBoth, err := openBackends(ctx, s.database, s.redis, s.queue, openQueue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()
	if err := p.prepareStore(ctx, db, s.database.MigrateOnStart); err != nil {
		return err
	}
	if err := p.checkQueue(ctx, queue); err != nil {
		return err
	}
	if err := st.startParts(ctx, p, s, db, queue); err != nil {
		cancel()
		return errors.Join(err, p.group.Wait())
	}
	st.printWelcome(c, s)

	var demoErr error
	if s.dev.samples || s.dev.demo {
		demoErr = st.samples(ctx, c, s, db)
	}
	if s.dev.demo || demoErr != nil {
		cancel()
	}
	return errors.Join(demoErr, p.wait(ctx))
}

func (st *stack) startParts(ctx context.Context, p *process, s *devSettings, db *store.Store, queue *bull.Queue) error {
	box, err := p.newOutbox(db, queue, s.outbox, s.queue)
	if err != nil {
		return err
	}
	p.group.Go(func() error { return box.Run(ctx) })
	listener, err := listen(ctx, s.facade.Address())
	if err != nil {
		return err
	}
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		s.facade.Port = address.Port
	}
	metrics := telemetry.NewWorkerMetrics(p.registry)
	mails, err := p.newMails(engineSettings{s.worker.Delivery, s.smtp, s.sender, s.redis}, db, queue, metrics)
	if err != nil {
		return err
	}
	serving, gate, err := p.serveFacade(ctx, listener, s.facade, s.unsubscribe, s.queue, s.sender.Address(), db, queue, box, mails)
	if err != nil {
		return err
	}
	p.group.Go(func() error { return mails.run(serving, func() { gate.open.Store(true) }) })
	p.group.Go(func() error { return p.keepRecords(ctx, db, s.facade.RecordRetention) })
	delivery, err := p.newDelivery(workerSettings{
		worker: s.worker, smtp: s.smtp, sender: s.sender, redis: s.redis, unsubscribe: s.unsubscribe,
	}, db, queue, box, metrics)
	if err != nil {
		return err
	}
	p.serveTelemetry(ctx, s.telemetry, databaseCheck(db), queueCheck(queue))
	p.group.Go(func() error { return delivery.run(ctx) })
	p.group.Go(func() error {
		return p.reconcile(ctx, reconciling{
			config: st.plane.Config, operator: s.operator, from: s.sender.Address(),
			mixed: s.queue.Workers == options.WorkersMixed, db: db, queue: queue, box: box, web: s.fetch, links: s.unsubscribe,
		})
	})
	return nil
}

// printWelcome says where everything is, and what to paste.
func (st *stack) printWelcome(c cli, s *devSettings) {
	kubectl := kubectlPath(s)
	fmt.Fprintf(c.stdout, "\nCartero runs. Data: %s\n\n", st.directory.Path())
	row := func(name, text string) { fmt.Fprintf(c.stdout, "  %-12s%s\n", name, text) }
	row("Kubernetes", "KUBECONFIG="+st.plane.Kubeconfig)
	row("Database", redactURL(s.database.URL))
	row("Redis", redactURL(s.redis.URL))
	row("SMTP", net.JoinHostPort(s.smtp.Server, strconv.Itoa(s.smtp.Port)))
	if st.inbox != nil {
		row("Inbox", st.inbox.URL())
	}
	row("HTTP", "http://"+s.facade.Address())
	if st.keyFile != "" {
		row("X-API-Key", "in "+st.keyFile)
	}
	fmt.Fprintf(c.stdout, "\nSend a campaign:\n\n  %s --kubeconfig %s apply -k %s\n  %s --kubeconfig %s get emailcampaigns -w\n\n",
		kubectl, st.plane.Kubeconfig, s.dev.samplesDir, kubectl, st.plane.Kubeconfig)
}

// kubectlPath is the one beside the API server, or else the one in PATH.
func kubectlPath(s *devSettings) string {
	beside := filepath.Join(s.dev.assets, "kubectl")
	if info, err := os.Stat(beside); err == nil && !info.IsDir() {
		return beside
	}
	return "kubectl"
}
