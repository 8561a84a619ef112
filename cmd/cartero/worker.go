package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/queue/pace"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
	"github.com/cartero-mail/cartero/internal/worker"
)

// workerSettings is what the delivering part needs.
type workerSettings struct {
	worker options.Worker
	smtp   options.SMTP
	sender options.Sender
	redis  options.Redis
}

func runWorker(ctx context.Context, c cli) (err error) {
	var (
		s        workerSettings
		database options.Database
		queueOpt = options.Queue{BullOnly: true}
		sweep    options.Outbox
		t        options.Telemetry
	)
	err = load(c, "worker", "takes jobs from the queue and delivers their mails over SMTP",
		&s.worker, &s.smtp, &s.sender, &database, &s.redis, &queueOpt, &sweep, &t)
	if err != nil {
		return err
	}
	p, ctx := newProcess(ctx, c.stderr, t, &database, &s.redis, &s.smtp)
	db, queue, closeBoth, err := openBackends(ctx, database, s.redis, queueOpt, openQueue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()

	delivery, err := p.newDelivery(s, db, queue)
	if err != nil {
		return err
	}
	p.serveTelemetry(ctx, t, databaseCheck(db), queueCheck(queue), telemetry.Check{
		Name: "delivery", Probe: func(context.Context) error { return delivery.worker.Ready() },
	})
	p.group.Go(func() error {
		if err := p.prepareStore(ctx, db, database.MigrateOnStart); err != nil {
			return err
		}
		if err := p.checkQueue(ctx, queue); err != nil {
			return err
		}
		box, err := p.newOutbox(db, queue, sweep)
		if err != nil {
			return err
		}
		p.group.Go(func() error { return box.Run(ctx) })
		return delivery.run(ctx)
	})
	return p.wait(ctx)
}

// delivery is the worker between queue and relay.
type delivery struct {
	process  *process
	worker   *worker.Worker
	consumer *bull.Consumer
	pool     *smtp.Pool
	pacer    *pace.Pacer // nil without a send interval
	metrics  *telemetry.WorkerMetrics
	closers  []func() error
	grace    time.Duration
}

func (p *process) newDelivery(s workerSettings, db *store.Store, queue *bull.Queue) (*delivery, error) {
	pool, err := smtp.NewPool(smtp.Config{
		Host:           s.smtp.Server,
		Port:           s.smtp.Port,
		Username:       s.smtp.Username,
		Password:       s.smtp.Password,
		UseTLS:         s.smtp.UseTLS,
		MaxConnections: s.smtp.MaxConnections,
		HELO:           s.smtp.HELOName,
	})
	if err != nil {
		return nil, err
	}
	d := &delivery{process: p, pool: pool, grace: s.worker.ShutdownGrace, closers: []func() error{pool.Close}}
	if err := d.setPace(s); err != nil {
		return nil, err
	}
	if err := d.setWorker(s, db); err != nil {
		return nil, err
	}
	d.consumer = &bull.Consumer{
		Queue:       queue,
		Handler:     d.handle,
		Concurrency: s.worker.Concurrency,
		Grace:       s.worker.ShutdownGrace,
		Logger:      p.logger,
	}
	return d, nil
}

// setPace spreads the mails of one account over time.
func (d *delivery) setPace(s workerSettings) error {
	if s.smtp.SendInterval == 0 {
		return nil
	}
	client, err := conn.Open(s.redis.URL)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, client.Close)
	d.pacer, err = pace.New(client, accountOf(s.smtp), s.smtp.SendInterval)
	return err
}

// accountOf names an SMTP account in Redis without telling it: user names are addresses, often enough.
func accountOf(o options.SMTP) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s@%s:%d", o.Username, o.Server, o.Port))
	return hex.EncodeToString(sum[:8])
}

func (d *delivery) setWorker(s workerSettings, db *store.Store) error {
	metrics := telemetry.NewWorkerMetrics(d.process.registry)
	d.metrics = metrics
	cfg := worker.Config{
		Store:          db,
		Sender:         d.pool,
		Compose:        compose.Compose,
		From:           s.sender.Address(),
		JournalDir:     s.worker.JournalDir,
		JournalSync:    s.worker.JournalSync,
		MaxConnections: s.smtp.MaxConnections,
		Lease:          s.worker.Lease,
		Retry: worker.RetryPolicy{
			MaxAttempts:    s.worker.Retry.MaxAttempts,
			InitialBackoff: s.worker.Retry.InitialBackoff,
			MaxBackoff:     s.worker.Retry.MaxBackoff,
			MaxAge:         s.worker.Retry.MaxAge,
		},
		Logger: d.process.logger,
		Hooks: worker.Hooks{
			OnResult: func(state campaign.State, category string) { metrics.Mail(string(state), category) },
			OnSend:   func(took time.Duration, _ mail.Outcome) { metrics.Phase("send", took) },
			OnRescue: metrics.Recovered,
		},
	}
	if d.pacer != nil {
		cfg.Pacer = onePace{d.pacer}
	}
	var err error
	d.worker, err = worker.New(cfg)
	return err
}

// onePace paces one mail at a time.
type onePace struct{ *pace.Pacer }

func (p onePace) Wait(ctx context.Context) error { return p.Pacer.Wait(ctx, 1) }

// run delivers until ctx ends; then nothing new is announced, and what is in flight is finished and recorded.
func (d *delivery) run(ctx context.Context) error {
	if err := d.worker.Start(ctx); err != nil {
		return err
	}
	if d.pacer != nil {
		d.process.group.Go(func() error { return d.pacer.Run(ctx) })
	}
	d.process.logger.Info("Taking jobs from the queue")
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.grace)
		defer cancel()
		stopped <- d.worker.Stop(grace)
	})
	err := d.consumer.Run(ctx)
	if ctx.Err() == nil { // the queue refused us: nothing is running
		return cmp.Or(err, errors.New("the consumer ended by itself"))
	}
	err = errors.Join(err, <-stopped)
	for _, closeIt := range d.closers {
		err = errors.Join(err, closeIt())
	}
	return err
}

// outcome is what Bull keeps as the job's result, and what job.finished() resolves to in Node.
type outcome struct {
	Status campaign.JobStatus `json:"status"`
	Total  int64              `json:"total"`
	Sent   int64              `json:"sent"`
	Failed int64              `json:"failed"`
}

// handle runs one Bull job. While the database is away it waits for it: the queue's lock stays renewed.
func (d *delivery) handle(ctx context.Context, job *bull.Delivery) (any, error) {
	id, err := bull.JobUUID(job.Data)
	if err != nil {
		return nil, bull.Unrecoverable(err)
	}
	d.metrics.JobsActive(1)
	defer d.metrics.JobsActive(-1)
	var progress campaign.JobProgress
	err = untilAvailable(ctx, d.process.logger, "database", store.IsUnavailable, func() error {
		var err error
		progress, err = d.worker.HandleJob(ctx, id)
		return err
	})
	if errors.Is(err, campaign.ErrNotFound) {
		return nil, bull.Unrecoverable(errors.New("the job has no row in the table EmailJob"))
	}
	if err != nil {
		return nil, errors.New(d.process.redactor.Redact(err.Error()))
	}
	d.tell(ctx, job, progress)
	if !progress.ResumeAt.IsZero() {
		return nil, bull.Later(progress.ResumeAt)
	}
	return outcome{
		Status: progress.Status,
		Total:  progress.Tally.Total,
		Sent:   progress.Tally.Accepted,
		Failed: progress.Tally.Unsuccessful(),
	}, nil
}

// tell shows whoever watches the Bull job how far it is. The job's rows are what counts: a failure here is no fault of it.
func (d *delivery) tell(ctx context.Context, job *bull.Delivery, progress campaign.JobProgress) {
	total := progress.Tally.Total
	if total == 0 {
		return
	}
	ended := progress.Tally.Accepted + progress.Tally.Unsuccessful()
	err := job.Progress(ctx, ended*100/total)
	if err == nil && !progress.ResumeAt.IsZero() {
		row := fmt.Sprintf("%d of %d recipients are not sent yet; the job goes on at %s",
			total-ended, total, progress.ResumeAt.UTC().Format(time.RFC3339))
		err = job.Log(ctx, row, maxLogRows)
	}
	if err != nil {
		d.process.logger.Debug("The Bull job does not show its progress", "job", job.ID, "error", err)
	}
}

// maxLogRows is how many rows of a Bull job's log are kept.
const maxLogRows = 100
