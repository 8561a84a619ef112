package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// facadeGrace is how long requests under way may take to finish: a mail that is being sent takes submit.DefaultPatience,
// and some seconds to be recorded.
const facadeGrace = 45 * time.Second

func runFacade(ctx context.Context, c cli) (err error) {
	if options.Switched(c.args, c.env, options.EmbeddedVariable) {
		return runEmbedded(ctx, c)
	}
	var (
		o        options.Facade
		embedded options.Embedded
		s        engineSettings
		database options.Database
		queueOpt options.Queue
		sweep    options.Outbox
		links    options.Unsubscribe
		t        options.Telemetry
	)
	s.smtp.Optional = true
	err = load(c, "facade", "serves the HTTP interface of the services that Cartero replaces",
		&o, &links, &embedded, &database, &s.redis, &queueOpt, &s.sender, &s.smtp, &s.delivery, &sweep, &t)
	if err != nil {
		return err
	}
	leaveRoom()
	p, ctx := newProcess(ctx, c.stderr, t, &database, &s.redis, &s.smtp, &o, &links)
	db, queue, closeBoth, err := openBackends(ctx, database, s.redis, queueOpt, openProducer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()
	listener, err := listen(ctx, o.Address())
	if err != nil {
		return err
	}

	// Probes are the facade's own; a sidecar shares the pod's other ports with its neighbour.
	p.group.Go(func() error {
		return telemetry.Serve(ctx, t.MetricsAddress, telemetry.MetricsHandler(p.registry), p.logger)
	})
	box, err := p.newOutbox(db, queue, sweep, queueOpt)
	if err != nil {
		return err
	}
	mails, err := p.newMails(s, db, queue, telemetry.NewWorkerMetrics(p.registry))
	if err != nil {
		return err
	}
	serving, gate, err := p.serveFacade(ctx, listener, o, links, queueOpt, s.sender.Address(), db, queue, box, mails)
	if err != nil {
		return err
	}
	p.group.Go(func() error {
		if err := p.prepareStore(ctx, db, database.MigrateOnStart); err != nil {
			return err
		}
		p.group.Go(func() error { return mails.run(serving, func() { gate.open.Store(true) }) })
		p.group.Go(func() error { return p.keepRecords(ctx, db, o.RecordRetention) })
		if err := p.checkQueue(ctx, queue); err != nil {
			return err
		}
		return box.Run(ctx)
	})
	return p.wait(ctx)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on SERVICE_HOST:SERVICE_PORT: %w", err)
	}
	return listener, nil
}

// serveFacade answers from the first moment; until the gate is opened, all but the probes with 503. When ctx ends, requests
// under way are finished; serving ends when none is left: what they need has to live that long.
func (p *process) serveFacade(
	ctx context.Context, listener net.Listener, o options.Facade, links options.Unsubscribe, queueOpt options.Queue, from mail.Address,
	db *store.Store, queue producer, box *outbox.Outbox, mails *mails,
) (serving context.Context, gate *startGate, err error) {
	gate = &startGate{}
	cfg := facade.Config{
		Version:    version,
		Ledger:     db,
		Jobs:       db,
		Messages:   db,
		Submission: mails.service,
		Doorbell:   box,
		QueueLength: func(ctx context.Context) (int64, error) {
			counts, err := queue.Counts(ctx)
			return counts.Waiting + counts.Delayed, err
		},
		Keys:         o.Keys,
		Policies:     policies(o.Policies),
		MaxQueue:     int64(queueOpt.MaxSize),
		MaxBody:      o.MaxBody,
		MaxInFlight:  o.MaxInFlight,
		DefaultFrom:  from,
		MixedWorkers: queueOpt.Workers == options.WorkersMixed,
		SpoolDir:     o.SpoolDir,
		// Redis alone being away is no reason to refuse: the row is the truth, and is rung later.
		Checks:      []telemetry.Check{databaseCheck(db), {Name: "start", Probe: gate.ready}},
		Unavailable: store.IsUnavailable,
		Logger:      p.logger,
		Metrics:     telemetry.NewHTTPMetrics(p.registry),
	}
	handler, err := withUnsubscribing(cfg, links, db)
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	gate.Handler = handler
	serving, served := context.WithCancel(context.WithoutCancel(ctx))
	p.logger.Info("Listening", "address", listener.Addr().String())
	p.group.Go(func() error {
		defer served()
		return facade.Serve(ctx, listener, gate, facadeGrace, p.logger)
	})
	return serving, gate, nil
}

// withUnsubscribing makes a facade that recipients unsubscribe at, if there is a key for their links.
func withUnsubscribing(cfg facade.Config, o options.Unsubscribe, db *store.Store) (http.Handler, error) {
	links, err := o.Links()
	if err != nil {
		return nil, err
	}
	if links != nil {
		cfg.Links, cfg.Unsubscriber = links, db
	}
	return facade.New(cfg)
}

func policies(all []options.KeyPolicy) []facade.Policy {
	converted := make([]facade.Policy, len(all))
	for i, p := range all {
		converted[i] = facade.Policy(p)
	}
	return converted
}

// startGate refuses work before the tables are known to be there.
type startGate struct {
	http.Handler
	open atomic.Bool
}

// ready says why nothing is let in; nil once it is.
func (g *startGate) ready(context.Context) error {
	if g.open.Load() {
		return nil
	}
	return errors.New("the tables are not ready, or what an earlier process left is still recorded")
}

func (g *startGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	probe := r.URL.Path == "/health" || r.URL.Path == "/livez" || r.URL.Path == "/readyz"
	if !probe && !g.open.Load() {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"ok":false,"error":"the database is not ready yet"}`)) // whoever asked has gone away
		return
	}
	g.Handler.ServeHTTP(w, r)
}
