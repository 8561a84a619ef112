//go:build !nodev

package main

import (
	"context"
	"errors"
	netmail "net/mail"

	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// embeddedDefaults are the settings that suit a facade that is all alone, where the environment has none.
var embeddedDefaults = map[string]string{
	"METRICS_BIND_ADDRESS": "0", // one port, as the service that it replaces
	"SWEEP_INTERVAL":       "5s",
}

// embeddedSettings are the settings of a facade with all that it needs.
type embeddedSettings struct {
	facade    options.Facade
	embedded  options.Embedded
	smtp      options.SMTP
	sender    options.Sender
	database  options.Database
	redis     options.Redis
	queue     options.Queue
	worker    options.Worker
	outbox    options.Outbox
	telemetry options.Telemetry

	unsubscribe options.Unsubscribe
}

// runEmbedded is `cartero facade --embedded`: what is not configured is in the process.
func runEmbedded(ctx context.Context, c cli) (err error) {
	s := &embeddedSettings{queue: options.Queue{BullOnly: true}}
	s.database.Embedded, s.redis.Embedded, s.worker.Embedded = true, true, true
	c.env = withDefaults(c.env, embeddedDefaults)
	err = load(c, "facade", "serves the HTTP interface of the services that Cartero replaces", &s.facade, &s.unsubscribe, &s.embedded, &s.smtp,
		&s.sender, &s.database, &s.redis, &s.queue, &s.worker, &s.outbox, &s.telemetry)
	if err != nil {
		return err
	}
	directory, err := devstack.OpenDirectory(s.embedded.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	if s.database.URL == "" {
		s.database.URL = "sqlite://" + directory.Path("cartero.db")
	}
	if s.worker.JournalDir == "" {
		s.worker.JournalDir = directory.Path("journal")
	}
	if s.redis.URL == "" {
		url, stop, err := devstack.StartPrivateRedis(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		defer stop()
		s.redis.URL = url
	}
	return s.run(ctx, c)
}

func (s *embeddedSettings) run(ctx context.Context, c cli) (err error) {
	leaveRoom()
	p, ctx := newProcess(ctx, c.stderr, s.telemetry, &s.database, &s.redis, &s.smtp, &s.facade, &s.unsubscribe)
	s.chooseSender(p)
	db, queue, closeBoth, err := openBackends(ctx, s.database, s.redis, s.queue, openQueue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()
	listener, err := listen(ctx, s.facade.Address())
	if err != nil {
		return err
	}
	p.group.Go(func() error {
		return telemetry.Serve(ctx, s.telemetry.MetricsAddress, telemetry.MetricsHandler(p.registry), p.logger)
	})
	box, err := p.newOutbox(db, queue, s.outbox, s.queue)
	if err != nil {
		return err
	}
	metrics := telemetry.NewWorkerMetrics(p.registry)
	mails, err := p.newMails(engineSettings{s.worker.Delivery, s.smtp, s.sender, s.redis}, db, queue, metrics)
	if err != nil {
		return err
	}
	delivery, err := p.newDelivery(workerSettings{
		worker: s.worker, smtp: s.smtp, sender: s.sender, redis: s.redis, unsubscribe: s.unsubscribe,
	}, db, queue, box, metrics)
	if err != nil {
		return err
	}
	serving, gate, err := p.serveFacade(ctx, listener, s.facade, s.unsubscribe, s.queue, s.sender.Address(), db, queue, box, mails)
	if err != nil {
		return err
	}
	p.group.Go(func() error {
		if err := p.prepareStore(ctx, db, s.database.MigrateOnStart); err != nil {
			return err
		}
		if err := p.checkQueue(ctx, queue); err != nil {
			return err
		}
		p.group.Go(func() error { return mails.run(serving, func() { gate.open.Store(true) }) })
		p.group.Go(func() error { return p.keepRecords(ctx, db, s.facade.RecordRetention) })
		p.group.Go(func() error { return box.Run(ctx) })
		return delivery.run(ctx)
	})
	return p.wait(ctx)
}

// chooseSender makes the account's name the default sender, where it is an address: so do many services that have no
// setting for one.
func (s *embeddedSettings) chooseSender(p *process) {
	if s.sender.From != "" {
		return
	}
	account := options.Sender{From: s.smtp.Username}
	if parsed, err := netmail.ParseAddress(account.From); err == nil && parsed.Address == account.From && account.Validate() == nil {
		s.sender = account
		return
	}
	p.logger.Warn("There is no SMTP_FROM: requests have to name their sender")
}
