package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Defaults of Config.
const (
	DefaultSweepInterval = 15 * time.Second
	defaultBatch         = 500

	// firstPriority is the priority of a campaign's first job, where few of each are rung: single mails have 1.
	firstPriority = 2
)

// Config is what an Outbox is made of.
type Config struct {
	Store Store
	Queue Queue
	// SweepInterval is the time between two sweeps, and how long a ring is given to be answered before the job counts
	// as lost; 0 means DefaultSweepInterval.
	SweepInterval time.Duration
	// Window bounds the jobs of a campaign that wait in the queue, so that those of other campaigns come between: whenever
	// one of them is taken, Taken has to be called, else the next sweep rings more. A campaign's first job then goes before
	// the others. 0 rings all at once.
	Window int
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Metrics is told what happens; nil for nobody.
	Metrics Metrics
}

// Metrics counts what an Outbox does.
type Metrics interface {
	// Rung counts jobs put into the queue.
	Rung(jobs int)
	// Swept counts one sweep; err is how it ended.
	Swept(err error)
}

type noMetrics struct{}

func (noMetrics) Rung(int)    {}
func (noMetrics) Swept(error) {}

// QueueError tells that it was the queue that failed, not the database.
type QueueError struct{ err error }

func (e *QueueError) Error() string { return e.err.Error() }

// Unwrap returns what the queue failed with.
func (e *QueueError) Unwrap() error { return e.err }

// Outbox rings jobs. Any number of processes may run one on the same database and queue.
type Outbox struct {
	cfg Config

	mu sync.Mutex
	// taken are the campaigns of which jobs were taken since they were rung last; wake holds an element if there are any.
	taken map[string]struct{}
	wake  chan struct{}
}

// New returns an Outbox, or an error that names what cfg lacks.
func New(cfg Config) (*Outbox, error) {
	if cfg.Store == nil || cfg.Queue == nil {
		return nil, errors.New("outbox: Store and Queue are required")
	}
	if cfg.SweepInterval < 0 || cfg.Window < 0 {
		return nil, errors.New("outbox: SweepInterval and Window must not be negative")
	}
	if cfg.SweepInterval == 0 {
		cfg.SweepInterval = DefaultSweepInterval
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = noMetrics{}
	}
	return &Outbox{cfg: cfg, taken: map[string]struct{}{}, wake: make(chan struct{}, 1)}, nil
}

// RingCampaign rings the jobs of one campaign that are due and were not rung recently. After a nil error every job of
// the campaign that had to be in the queue is there, or, with a Window, the first of them.
func (o *Outbox) RingCampaign(ctx context.Context, key string) error {
	return o.ring(ctx, key)
}

// UnringCampaign takes the campaign's jobs out of the queue, but for those that run. It is idempotent; a failure of the
// queue is a *QueueError.
func (o *Outbox) UnringCampaign(ctx context.Context, key string) error {
	after := ""
	for {
		jobs, err := o.cfg.Store.RungJobs(ctx, key, after, defaultBatch)
		if err != nil {
			return fmt.Errorf("finding jobs in the queue: %w", err)
		}
		if len(jobs) == 0 {
			return nil
		}
		after = jobs[len(jobs)-1].ID
		ids := make([]string, len(jobs))
		for i, job := range jobs {
			ids[i] = campaign.BullID(job.ID, job.Rings-1)
		}
		if err := o.cfg.Queue.Unring(ctx, ids); err != nil {
			return &QueueError{fmt.Errorf("taking %d jobs out of the queue: %w", len(ids), err)}
		}
		if err := o.cfg.Store.ForgetRings(ctx, jobs); err != nil {
			return fmt.Errorf("remembering that %d jobs are not in the queue: %w", len(jobs), err)
		}
	}
}

// Sweep rings whatever job of any campaign is due and was not rung recently.
func (o *Outbox) Sweep(ctx context.Context) error {
	err := o.ring(ctx, "")
	o.cfg.Metrics.Swept(err)
	return err
}

// Taken says that a worker took a job of the campaign from the queue: Run rings the next one. It does not wait for that.
func (o *Outbox) Taken(key string) {
	if o.cfg.Window == 0 {
		return
	}
	o.mu.Lock()
	o.taken[key] = struct{}{}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// refill rings for campaigns whose jobs are taken, until ctx ends. What fails, the next sweep does.
func (o *Outbox) refill(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		o.mu.Lock()
		keys := o.taken
		o.taken = map[string]struct{}{}
		o.mu.Unlock()
		for key := range keys {
			if err := o.ring(ctx, key); err != nil && ctx.Err() == nil {
				o.cfg.Logger.Debug("Ringing more jobs of a campaign failed", "error", err)
			}
		}
	}
}

// Run sweeps at once and then every SweepInterval until ctx ends. A failed sweep is logged once per outage.
func (o *Outbox) Run(ctx context.Context) error {
	var refilling sync.WaitGroup
	defer refilling.Wait()
	refilling.Go(func() { o.refill(ctx) })
	ticker := time.NewTicker(o.cfg.SweepInterval)
	defer ticker.Stop()
	failing := false
	for {
		err := o.Sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			o.cfg.Logger.Warn("Sweeping the outbox failed; it is retried", "error", err)
			failing = true
		case err == nil && failing:
			o.cfg.Logger.Info("Sweeping the outbox works again")
			failing = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (o *Outbox) ring(ctx context.Context, key string) error {
	for {
		now := o.cfg.Now()
		due, err := o.due(ctx, key, now)
		if err != nil {
			return fmt.Errorf("finding jobs to ring: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		if err := o.ringBatch(ctx, due, now); err != nil {
			return err
		}
		if len(due) < defaultBatch {
			return nil
		}
	}
}

// due returns jobs to ring, at most defaultBatch.
func (o *Outbox) due(ctx context.Context, key string, now time.Time) ([]campaign.DueJob, error) {
	rungBefore := now.Add(-o.cfg.SweepInterval)
	if o.cfg.Window == 0 {
		return o.cfg.Store.DueJobs(ctx, key, now, rungBefore, defaultBatch)
	}
	return o.cfg.Store.FirstDueJobs(ctx, key, now, rungBefore, o.cfg.Window, defaultBatch)
}

// priority is the one that a job is rung with.
func (o *Outbox) priority(job campaign.DueJob) int {
	if o.cfg.Window > 0 && job.Priority == 0 && job.First {
		return firstPriority
	}
	return job.Priority
}

// ringBatch puts jobs into the queue and then remembers it: a crash in between repeats the same ids, which the queue
// ignores.
func (o *Outbox) ringBatch(ctx context.Context, due []campaign.DueJob, now time.Time) error {
	lost, waiting, err := o.split(ctx, due)
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		if err := o.cfg.Store.PostponeRing(ctx, waiting, now); err != nil {
			return fmt.Errorf("postponing the ring of %d jobs: %w", len(waiting), err)
		}
	}
	if len(lost) == 0 {
		return nil
	}

	rings := make([]Ring, len(lost))
	for i, job := range lost {
		rings[i] = Ring{BullID: campaign.BullID(job.ID, job.Rings), JobID: job.ID, Priority: o.priority(job)}
	}
	if err := o.cfg.Queue.Ring(ctx, rings); err != nil {
		return &QueueError{fmt.Errorf("adding %d jobs to the queue: %w", len(rings), err)}
	}
	if err := o.cfg.Store.MarkRung(ctx, lost, now); err != nil {
		return fmt.Errorf("remembering that %d jobs were rung: %w", len(lost), err)
	}
	o.cfg.Metrics.Rung(len(lost))
	return nil
}

// split tells the jobs whose latest ring the queue still has from those that must be rung.
func (o *Outbox) split(ctx context.Context, due []campaign.DueJob) (lost, waiting []campaign.DueJob, err error) {
	ids := make([]string, 0, len(due))
	for _, job := range due {
		if job.Rings > 0 {
			ids = append(ids, campaign.BullID(job.ID, job.Rings-1))
		}
	}
	var inQueue map[string]bool
	if len(ids) > 0 {
		if inQueue, err = o.cfg.Queue.Waiting(ctx, ids); err != nil {
			return nil, nil, &QueueError{fmt.Errorf("asking the queue for %d jobs: %w", len(ids), err)}
		}
	}
	for _, job := range due {
		if job.Rings > 0 && inQueue[campaign.BullID(job.ID, job.Rings-1)] {
			waiting = append(waiting, job)
		} else {
			lost = append(lost, job)
		}
	}
	return lost, waiting, nil
}
