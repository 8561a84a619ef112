package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/domains"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/pace"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
	"github.com/cartero-mail/cartero/internal/worker"
)

// How many recipients of a job are announced at once: all of them that a lost node can put in doubt. A relay that takes
// them fast gets more, up to maxAnnouncedFast.
const (
	announcedPerConnection = 8
	maxAnnounced           = 200
	maxAnnouncedFast       = 400
)

// bodyWithDot is the largest message that goes out in one write with its final dot: what the buffer of a new socket takes
// at once, so that the dot never waits behind a body that the relay doesn't read.
const bodyWithDot = 16 << 10

// engineSettings is what sending needs.
type engineSettings struct {
	delivery options.Delivery
	smtp     options.SMTP
	sender   options.Sender
	redis    options.Redis
}

// engine sends: a worker with its relay and its pace.
type engine struct {
	process *process
	worker  *worker.Worker
	pool    *smtp.Pool
	pacer   *pace.Pacer // nil without a send interval
	closers []func() error
	grace   time.Duration
}

// newEngine returns an engine that is not started; more completes its worker's configuration.
func (p *process) newEngine(
	s engineSettings, retry worker.RetryPolicy, db *store.Store, metrics *telemetry.WorkerMetrics,
	more ...func(*engine, *worker.Config) error,
) (*engine, error) {
	pool, err := smtp.NewPool(smtp.Config{
		Host:           s.smtp.Server,
		Port:           s.smtp.Port,
		Username:       s.smtp.Username,
		Password:       s.smtp.Password,
		UseTLS:         s.smtp.UseTLS,
		MaxConnections: s.smtp.MaxConnections,
		BodyWithDot:    bodyWithDot,
		HELO:           s.smtp.HELOName,
		Auth:           s.smtp.Auth,
	})
	if err != nil {
		return nil, err
	}
	p.showRelay(pool)
	e := &engine{process: p, pool: pool, grace: s.delivery.ShutdownGrace, closers: []func() error{pool.Close}}
	if err := e.setPace(s); err != nil {
		return nil, err
	}
	limits, err := e.domainLimits(s)
	if err != nil {
		return nil, err
	}
	cfg := worker.Config{
		Store:       db,
		Sender:      pool,
		From:        s.sender.Address(),
		JournalDir:  s.delivery.JournalDir,
		JournalSync: s.delivery.JournalSync,
		// More than there are connections: while a mail waits for the reply to its final dot, others are opened behind it.
		MaxConnections: pool.Concurrency(),
		Window:         min(announcedPerConnection*s.smtp.MaxConnections, maxAnnounced),
		Domains:        limits,
		MaxWindow:      maxAnnouncedFast,
		Lease:          s.delivery.Lease,
		Now:            db.Now,
		Retry:          retry,
		Logger:         p.logger,
		Hooks: worker.Hooks{
			OnResult: func(state campaign.State, category string) { metrics.Mail(string(state), category) },
			OnSend:   func(took time.Duration, _ mail.Outcome) { metrics.Phase("send", took) },
			OnRescue: metrics.Recovered,

			OnThrottled: metrics.Throttled,
			OnLimited:   metrics.DomainLimited,
			OnSetAside:  metrics.SetAside,
			OnRule:      func(action campaign.Action) { metrics.FailurePolicy(string(action)) },
			OnHold:      metrics.Held,
			OnAbort:     metrics.Aborted,
		},
	}
	if e.pacer != nil {
		cfg.Pacer = onePace{e.pacer}
	}
	for _, complete := range more {
		if err := complete(e, &cfg); err != nil {
			return nil, err
		}
	}
	e.worker, err = worker.New(cfg)
	return e, err
}

// setPace spreads the mails of one account over time.
func (e *engine) setPace(s engineSettings) error {
	if s.smtp.SendInterval == 0 {
		return nil
	}
	client, err := conn.Open(s.redis.URL)
	if err != nil {
		return err
	}
	e.closers = append(e.closers, client.Close)
	e.pacer, err = pace.New(client, accountOf(s.smtp), s.smtp.SendInterval)
	return err
}

// domainLimits bounds the mails to groups of recipient domains.
func (e *engine) domainLimits(s engineSettings) (worker.DomainLimits, error) {
	if len(s.smtp.Domains) == 0 {
		return worker.DomainLimits{}, nil
	}
	client, err := conn.Open(s.redis.URL)
	if err != nil {
		return worker.DomainLimits{}, err
	}
	e.closers = append(e.closers, client.Close)
	rates := pace.NewRates(client)
	limits := worker.DomainLimits{Match: domains.NewMatcher(s.smtp.Domains).Match}
	for _, group := range s.smtp.Domains {
		bounds := worker.DomainGroup{Connections: group.Connections}
		if group.Messages > 0 {
			bounds.Rate = rates.Group(accountOf(s.smtp), group.Name(), group.Messages, group.Period, group.Burst)
		}
		limits.Groups = append(limits.Groups, bounds)
	}
	return limits, nil
}

// crowdedTimeout bounds the look at the queue's length.
const crowdedTimeout = 2 * time.Second

// withRates has campaigns sent no faster than they say, and those with a rate make room for other jobs of the queue.
func withRates(redis options.Redis, queue *bull.Queue) func(*engine, *worker.Config) error {
	return func(e *engine, cfg *worker.Config) error {
		client, err := conn.Open(redis.URL)
		if err != nil {
			return err
		}
		e.closers = append(e.closers, client.Close)
		rates := pace.NewRates(client)
		cfg.Rates = func(key string, rate campaign.Rate) worker.Throttle {
			return rates.Of(key, rate.Messages, rate.Period, rate.Burst)
		}
		cfg.Crowded = func(ctx context.Context) bool {
			ctx, cancel := context.WithTimeout(ctx, crowdedTimeout)
			defer cancel()
			counts, err := queue.Counts(ctx)
			if err != nil || counts.Waiting == 0 {
				return false
			}
			paused, err := queue.IsPaused(ctx) // then nobody would take what was given back
			return err == nil && !paused
		}
		return nil
	}
}

// asksForMore has the next job of a campaign rung when one is taken.
func asksForMore(box *outbox.Outbox) func(*engine, *worker.Config) error {
	return func(_ *engine, cfg *worker.Config) error {
		cfg.Taken = box.Taken
		return nil
	}
}

// withLinks has mails carry links at which their recipients unsubscribe.
func withLinks(o options.Unsubscribe) func(*engine, *worker.Config) error {
	return func(_ *engine, cfg *worker.Config) error {
		links, err := o.Links()
		if links != nil && o.URL != "" {
			cfg.UnsubscribeURL = links.URL
		}
		return err
	}
}

// accountOf names an SMTP account in Redis without telling it: user names are addresses, often enough.
func accountOf(o options.SMTP) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s@%s:%d", o.Username, o.Server, o.Port))
	return hex.EncodeToString(sum[:8])
}

// onePace paces one mail at a time.
type onePace struct{ *pace.Pacer }

func (p onePace) Wait(ctx context.Context) error { return p.Pacer.Wait(ctx, 1) }

// run sends while do runs. When ctx ends nothing new is announced, and what is in flight is finished and recorded. An
// error of do before that is returned at once.
func (e *engine) run(ctx context.Context, do func() error) error {
	if err := e.worker.Start(ctx); err != nil {
		return err
	}
	if e.pacer != nil {
		e.process.group.Go(func() error { return e.pacer.Run(ctx) })
	}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.grace)
		defer cancel()
		stopped <- e.worker.Stop(grace)
	})
	err := do()
	if ctx.Err() == nil {
		return err
	}
	err = errors.Join(err, <-stopped)
	for _, closeIt := range e.closers {
		err = errors.Join(err, closeIt())
	}
	return err
}
