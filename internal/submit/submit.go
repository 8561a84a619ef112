// Package submit takes mails that programs hand in one by one, and makes few transactions of many of them: those that are
// to be sent while the program waits, and those that are only to be queued.
package submit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/worker"
)

// Defaults of Config.
const (
	DefaultMaxBatch = 200
	DefaultPatience = 30 * time.Second

	// writeTimeout bounds the transaction of one batch.
	writeTimeout = 15 * time.Second
	// ringTimeout bounds telling the queue; the outbox tells it later.
	ringTimeout = 2 * time.Second
	// settleTimeout bounds ending what could not be sent in time.
	settleTimeout = 10 * time.Second
	// retryPause is the wait before another try of a mail that the relay did not even see.
	retryPause = time.Second
)

// Errors that callers decide on.
var (
	// ErrKeyReused: the key is another mail's.
	ErrKeyReused = errors.New("the key belongs to another mail")
	// ErrInFlight: the same mail is being sent; what becomes of it is not known yet.
	ErrInFlight = errors.New("the same mail is being sent")
	// ErrStopped: the service is not running. Nothing was written.
	ErrStopped = errors.New("the service is stopping")
	// ErrNoRelay: there is no Sender. Nothing was written.
	ErrNoRelay = errors.New("there is no SMTP relay to send with")
	// ErrUnknown: the mail was written, and may have been sent; what became of it can't be read at present.
	ErrUnknown = errors.New("the outcome is not known")
)

// Store is what a Service needs of the database.
type Store interface {
	// Submit writes mails in one transaction.
	Submit(ctx context.Context, mails []campaign.Submission, lease *campaign.Lease, now time.Time) ([]campaign.Submitted, error)
	// RecipientReports says how the recipients of a job stand, in order.
	RecipientReports(ctx context.Context, jobID, after string, limit int) ([]campaign.RecipientReport, error)
	// RetryFailed has those who failed wait again, once for each token.
	RetryFailed(ctx context.Context, key string, request campaign.RetryRequest) (int64, error)
	// Cancel ends whoever still waits.
	Cancel(ctx context.Context, key, reason string, now time.Time) error
}

// Sender sends at once. worker.Worker is one.
type Sender interface {
	// Submit writes mails and sends them; done is told of each.
	Submit(ctx context.Context, mails []campaign.Submission, done func(i int, d worker.Delivery)) error
	// HandleJob tries again whoever of a job is due.
	HandleJob(ctx context.Context, jobID string) (campaign.JobProgress, error)
}

// Queue takes jobs.
type Queue interface {
	Ring(ctx context.Context, rings []outbox.Ring) error
}

// Config is what a Service is made of. Store and Queue are required.
type Config struct {
	Store Store
	Queue Queue
	// Sender sends mails while their callers wait; without one, Send fails.
	Sender Sender
	// Waits reports whether a mail may have to wait for its turn: then it is not announced before that comes. nil means that
	// none has to.
	Waits func(mail campaign.Submission) bool
	// MaxBatch bounds the mails of one transaction; 0 means DefaultMaxBatch.
	MaxBatch int
	// Patience is how long Send tries; 0 means DefaultPatience.
	Patience time.Duration
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Service writes and sends what is handed in.
type Service struct {
	cfg    Config
	sends  *group[worker.Delivery]
	queues *group[campaign.Submitted]
}

// New returns a Service, or an error that names what cfg lacks. It works while Run runs.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Queue == nil {
		return nil, errors.New("submit: Store and Queue are required")
	}
	if cfg.MaxBatch < 0 || cfg.Patience < 0 {
		return nil, errors.New("submit: MaxBatch and Patience must not be negative")
	}
	cfg.MaxBatch = cmp.Or(cfg.MaxBatch, DefaultMaxBatch)
	cfg.Patience = cmp.Or(cfg.Patience, DefaultPatience)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Waits == nil {
		cfg.Waits = func(campaign.Submission) bool { return false }
	}
	s := &Service{cfg: cfg}
	s.sends = newGroup(cfg.MaxBatch, s.sendBatch)
	s.queues = newGroup(cfg.MaxBatch, s.queueBatch)
	return s, nil
}

// Run works until ctx ends; what was taken by then is finished.
func (s *Service) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.queues.run(ctx)
	}()
	s.sends.run(ctx)
	<-stopped
	return nil
}

// Queued is a mail that is in the database.
type Queued struct {
	JobID string
	// Known is true for a mail that was handed in before, under the same key.
	Known bool
}

// Enqueue writes the mail, and puts its job into the queue. Once it returns without an error the mail can't be lost: where
// the queue is away, the outbox adds the job later. After campaign.ErrUncertain it may be in the database, and is sent if it
// is; after any other error it is not. Concurrent calls share a transaction.
func (s *Service) Enqueue(ctx context.Context, mail campaign.Submission) (Queued, error) {
	submitted, err := s.queues.do(ctx, mail)
	if err != nil {
		return Queued{}, err
	}
	if !submitted.Created && !mail.Matches(submitted.Record) {
		return Queued{}, ErrKeyReused
	}
	return Queued{JobID: mail.JobID(), Known: !submitted.Created}, nil
}

func (s *Service) queueBatch(mails []campaign.Submission, done func(i int, result campaign.Submitted, err error)) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	submitted, err := s.cfg.Store.Submit(ctx, mails, nil, s.cfg.Now())
	if err != nil {
		for i := range mails {
			done(i, campaign.Submitted{}, err)
		}
		return
	}
	s.ring(mails)
	for i := range mails {
		done(i, submitted[i], nil)
	}
}

// ring tells the queue. A job that it knows, since the mail was handed in before, it leaves alone.
func (s *Service) ring(mails []campaign.Submission) {
	rings := make([]outbox.Ring, len(mails))
	for i, mail := range mails {
		id := mail.JobID()
		rings[i] = outbox.Ring{BullID: campaign.BullID(id, 0), JobID: id, Priority: mail.Priority}
	}
	ctx, cancel := context.WithTimeout(context.Background(), ringTimeout)
	defer cancel()
	if err := s.cfg.Queue.Ring(ctx, rings); err != nil {
		s.cfg.Logger.Warn("Adding jobs to the queue failed; the sweep will do it", "jobs", len(rings), "error", err)
	}
}
