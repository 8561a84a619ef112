package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
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

	unsubscribe options.Unsubscribe
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
		&s.worker, &s.smtp, &s.sender, &s.unsubscribe, &database, &s.redis, &queueOpt, &sweep, &t)
	if err != nil {
		return err
	}
	p, ctx := newProcess(ctx, c.stderr, t, &database, &s.redis, &s.smtp, &s.unsubscribe)
	db, queue, closeBoth, err := openBackends(ctx, database, s.redis, queueOpt, openQueue)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBoth()) }()

	box, err := p.newOutbox(db, queue, sweep, queueOpt)
	if err != nil {
		return err
	}
	delivery, err := p.newDelivery(s, db, queue, box, telemetry.NewWorkerMetrics(p.registry))
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
		p.group.Go(func() error { return box.Run(ctx) })
		return delivery.run(ctx)
	})
	return p.wait(ctx)
}

// delivery is the engine behind the queue.
type delivery struct {
	*engine

	consumer *bull.Consumer
	metrics  *telemetry.WorkerMetrics
}

func (p *process) newDelivery(
	s workerSettings, db *store.Store, queue *bull.Queue, box *outbox.Outbox, metrics *telemetry.WorkerMetrics,
) (*delivery, error) {
	engine, err := p.newEngine(engineSettings{s.worker.Delivery, s.smtp, s.sender, s.redis}, worker.RetryPolicy{
		MaxAttempts:    s.worker.Retry.MaxAttempts,
		InitialBackoff: s.worker.Retry.InitialBackoff,
		MaxBackoff:     s.worker.Retry.MaxBackoff,
		MaxAge:         s.worker.Retry.MaxAge,
	}, db, metrics, withRates(s.redis, queue), withLinks(s.unsubscribe), asksForMore(box))
	if err != nil {
		return nil, err
	}
	d := &delivery{engine: engine, metrics: metrics}
	d.consumer = &bull.Consumer{
		Queue:       queue,
		Handler:     d.handle,
		Concurrency: s.worker.Concurrency,
		Express:     expressPerSlot * s.worker.Concurrency,
		Grace:       s.worker.ShutdownGrace,
		Logger:      p.logger,
	}
	return d, nil
}

// expressPerSlot is how many single mails there is room for beside the jobs of each slot: one of them mostly waits, for the
// database and the relay.
const expressPerSlot = 4

// run delivers until ctx ends.
func (d *delivery) run(ctx context.Context) error {
	return d.engine.run(ctx, func() error {
		d.process.logger.Info("Taking jobs from the queue")
		err := d.consumer.Run(ctx)
		if ctx.Err() == nil { // the queue refused us: nothing is running
			return cmp.Or(err, errors.New("the consumer ended by itself"))
		}
		return err
	})
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
