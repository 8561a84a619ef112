package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/sleep"
)

// Defaults of Config.
const (
	DefaultMaxConnections = 10
	DefaultClaimSize      = 500
	DefaultLease          = 60 * time.Second
	DefaultRescueInterval = 15 * time.Second
	DefaultFlushSize      = 200
	DefaultFlushInterval  = 50 * time.Millisecond
	DefaultRelayPatience  = time.Minute

	mailsPerConnection = 8
	maxWindow          = 200
)

// Errors that callers decide on.
var (
	// ErrStopped: the worker is not started, or stops. What it had not sent waits for another run.
	ErrStopped = errors.New("the worker is not running")
	// ErrRecordingBehind: results wait for the database to come back.
	ErrRecordingBehind = errors.New("results wait for the database")
)

// Pacer spreads mails over time, over all workers together.
type Pacer interface {
	// Wait returns when one more mail may be sent, or with an error once ctx is done.
	Wait(ctx context.Context) error
}

// Hooks are told what happens, for metrics; each may be nil. They must return quickly.
type Hooks struct {
	// OnResult is told each result that is in the database; state pending is a recipient given back unsent.
	OnResult func(state campaign.State, category string)
	// OnSend is told how long each transaction took and how it ended.
	OnSend func(took time.Duration, outcome mail.Outcome)
	// OnRescue is told the recipients whose lease ran out: given back, or put in doubt.
	OnRescue func(released, inDoubt int)
	// OnThrottled is told how long a run waited for its campaign's rate.
	OnThrottled func(waited time.Duration)
	// OnLimited is told how long a part of a run waited for the limit of its recipients' domains.
	OnLimited func(waited time.Duration)
	// OnSetAside is told how many recipients were put off because the limit of their domains is used up for a while.
	OnSetAside func(recipients int)
	// OnRule is told what a rule of a failure policy did with a refused mail.
	OnRule func(action campaign.Action)
	// OnHold is told why a campaign, or all jobs of legacy programs, were held.
	OnHold func(reason string)
	// OnAbort is told that an abort policy was exceeded, and whether it ends the campaign or pauses it.
	OnAbort func(ends bool)
}

// Config is what a Worker is made of. Store, Sender and JournalDir are required; every other zero value means the default.
type Config struct {
	Store  Store
	Sender mail.Sender
	// Compile prepares what the mails of a job have in common; nil means compose.NewTemplate. Its errors and panics, and
	// those of the Composer, fail single recipients.
	Compile func(mail.Content) (Composer, error)
	// UnsubscribeURL is where the recipient with this id unsubscribes. Without it, jobs whose mails need such links are left
	// to other workers.
	UnsubscribeURL func(recipientID string) string
	// Pacer is asked before each mail; nil sends as fast as the relay takes.
	Pacer Pacer
	// Rates returns the rate of a campaign, which the worker asks before it announces recipients; the same arguments mean
	// the same rate. nil sends as if no campaign had one.
	Rates func(key string, rate campaign.Rate) Throttle
	// Domains bounds the mails to groups of recipient domains; the zero value bounds none.
	Domains DomainLimits
	// Crowded reports whether jobs wait in the queue for somebody to run them. Runs of campaigns with a rate then give their
	// jobs back after a while. nil means that nobody ever waits.
	Crowded func(ctx context.Context) bool
	// Taken is told the key of a campaign of which HandleJob begins a job: the queue may have its next one. nil tells nobody.
	Taken func(key string)
	// From is the sender of campaigns that name none, and of jobs that legacy programs wrote.
	From mail.Address
	// JournalDir holds the journal and must outlive the process; it may be shared by processes on one machine.
	JournalDir string
	// JournalSync flushes the journal to disk before each final dot, so that it also survives the loss of the node.
	JournalSync bool
	// MaxConnections is the number of mails on their way at once, over all jobs of this process.
	MaxConnections int
	// Window is the number of recipients announced at once: all that a lost node can put in doubt, per running job.
	// The default is 8 for each connection, at most 200; with a Pacer it is always 1.
	Window int
	// MaxWindow bounds the windows of a relay that takes more than Window recipients in a quarter of a second: they grow to
	// what it takes in that time. The default is Window: they don't grow. They never do with a Pacer or a rate.
	MaxWindow int
	// ClaimSize is the number of recipients claimed at once where a Pacer or a rate holds them up.
	ClaimSize int
	// Lease is how long a claim holds without being renewed.
	Lease time.Duration
	// RescueInterval is the time between two rescues.
	RescueInterval time.Duration
	// FlushSize and FlushInterval bound a group of results: whichever is reached first has it written.
	FlushSize     int
	FlushInterval time.Duration
	// RelayPatience is how long a run waits for a relay that is away before it gives its job back.
	RelayPatience time.Duration
	// Retry is the schedule of attempts.
	Retry RetryPolicy
	// Now is the clock; nil means time.Now. Random yields numbers in [0, 1); nil means math/rand.
	Now    func() time.Time
	Random func() float64
	Logger *slog.Logger
	Hooks  Hooks
}

// Worker runs jobs. Any number of processes may run one on the same database.
type Worker struct {
	cfg      Config
	tails    mail.TailSender // the Sender, if it takes mails without their tail; else nil
	journal  *journal
	claims   *claims
	reporter *reporter
	relay    *relay
	notes    *notes
	closings closings
	watched  *watched
	guard    *guard
	groups   []*group
	// ending holds one element while a campaign that was left half cancelled is ended.
	ending chan struct{}
	// tasks are announced recipients for the deliverers; those of jobs with a priority are urgent, and come first.
	tasks  chan task
	urgent chan task
	// turn holds one element while a run without a priority waits for the pace.
	turn       chan struct{}
	lastWindow lastWindow

	mu       sync.Mutex
	running  bool
	runs     sync.WaitGroup
	stopping context.Context //nolint:containedctx // the worker's life, no call's: done once Stop is called
	stop     context.CancelFunc
	hard     context.Context //nolint:containedctx // as stopping: done once what is in flight must end
	kill     context.CancelFunc
	actors   sync.WaitGroup
	// legacyHeldUntil is a hold of the jobs that no campaign stands for; they share one sender and account.
	legacyHeldUntil time.Time
}

// New returns a Worker, or an error that names everything that cfg lacks.
func New(cfg Config) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	journal, err := openJournal(cfg.JournalDir, cfg.JournalSync, cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	open := &claims{byToken: map[string]*claim{}}
	w := &Worker{
		cfg: cfg, journal: journal, claims: open, reporter: newReporter(cfg, open),
		relay: &relay{random: cfg.Random}, notes: &notes{at: map[string]time.Time{}},
		closings: closings{of: map[string]int{}},
		watched:  newWatched(), guard: &guard{samples: map[string]*sample{}}, ending: make(chan struct{}, 1),
		tasks: make(chan task), urgent: make(chan task), turn: make(chan struct{}, 1),
	}
	w.groups = newGroups(cfg.Domains)
	w.tails, _ = cfg.Sender.(mail.TailSender)
	w.stopping, w.stop = context.WithCancel(context.Background())
	w.hard, w.kill = context.WithCancel(context.Background())
	return w, nil
}

func (c *Config) validate() error {
	var problems []error
	for _, required := range []struct {
		missing bool
		name    string
	}{
		{c.Store == nil, "Store"}, {c.Sender == nil, "Sender"}, {c.JournalDir == "", "JournalDir"},
	} {
		if required.missing {
			problems = append(problems, fmt.Errorf("worker: %s is required", required.name))
		}
	}
	if min(c.MaxConnections, c.Window, c.MaxWindow, c.ClaimSize, c.FlushSize, c.Retry.MaxAttempts) < 0 {
		problems = append(problems, errors.New("worker: no number may be negative"))
	}
	if min(c.Lease, c.RescueInterval, c.FlushInterval, c.RelayPatience, c.Retry.InitialBackoff, c.Retry.MaxBackoff,
		c.Retry.MaxAge, c.Retry.GreylistDelay, c.Retry.HoldFor) < 0 {
		problems = append(problems, errors.New("worker: no duration may be negative"))
	}
	if len(c.Domains.Groups) > 0 && c.Domains.Match == nil {
		problems = append(problems, errors.New("worker: Domains.Match is required"))
	}
	return errors.Join(problems...)
}

func (c *Config) setDefaults() {
	c.MaxConnections = cmp.Or(c.MaxConnections, DefaultMaxConnections)
	c.Window = cmp.Or(c.Window, min(mailsPerConnection*c.MaxConnections, maxWindow))
	if c.Pacer != nil {
		c.Window = 1 // a mail that waits for its turn must not be in doubt
	}
	c.MaxWindow = max(c.MaxWindow, c.Window)
	c.ClaimSize = cmp.Or(c.ClaimSize, DefaultClaimSize)
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	c.RescueInterval = cmp.Or(c.RescueInterval, DefaultRescueInterval)
	c.FlushSize = cmp.Or(c.FlushSize, DefaultFlushSize)
	c.FlushInterval = cmp.Or(c.FlushInterval, DefaultFlushInterval)
	c.RelayPatience = cmp.Or(c.RelayPatience, DefaultRelayPatience)
	c.Retry = RetryPolicy{
		MaxAttempts:    cmp.Or(c.Retry.MaxAttempts, 6),
		InitialBackoff: cmp.Or(c.Retry.InitialBackoff, time.Minute),
		MaxBackoff:     cmp.Or(c.Retry.MaxBackoff, 4*time.Hour),
		MaxAge:         cmp.Or(c.Retry.MaxAge, 48*time.Hour),
		GreylistDelay:  cmp.Or(c.Retry.GreylistDelay, 5*time.Minute),
		HoldFor:        cmp.Or(c.Retry.HoldFor, 5*time.Minute),
		InDoubt:        c.Retry.InDoubt,
	}
	if c.Compile == nil {
		c.Compile = compile
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Hooks.setDefaults()
}

func (h *Hooks) setDefaults() {
	if h.OnResult == nil {
		h.OnResult = func(campaign.State, string) {}
	}
	if h.OnSend == nil {
		h.OnSend = func(time.Duration, mail.Outcome) {}
	}
	if h.OnRescue == nil {
		h.OnRescue = func(int, int) {}
	}
	if h.OnThrottled == nil {
		h.OnThrottled = func(time.Duration) {}
	}
	if h.OnLimited == nil {
		h.OnLimited = func(time.Duration) {}
	}
	if h.OnSetAside == nil {
		h.OnSetAside = func(int) {}
	}
	if h.OnRule == nil {
		h.OnRule = func(campaign.Action) {}
	}
	if h.OnHold == nil {
		h.OnHold = func(string) {}
	}
	if h.OnAbort == nil {
		h.OnAbort = func(bool) {}
	}
}

// Start replays the journals of dead processes and makes the worker ready for HandleJob. While the database is away it
// blocks, trying again, until ctx is done: nothing is sent before all that is known is recorded. ctx bounds the start
// only; a started worker runs until Stop. A Worker is started once.
func (w *Worker) Start(ctx context.Context) error {
	pause := reportFirstPause
	for {
		err := w.replay(ctx)
		if err == nil {
			break
		}
		w.cfg.Logger.ErrorContext(ctx, "Replaying the journal failed, nothing is sent before it is done", "after", pause, "err", err)
		if !sleep.For(ctx, pause) {
			return fmt.Errorf("worker: replaying the journal: %w", err)
		}
		pause = min(2*pause, reportMaxPause)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running || w.stopping.Err() != nil {
		return errors.New("worker: started twice")
	}
	w.running = true
	w.actors.Go(func() { w.reporter.run(w.hard) })
	w.actors.Go(func() { w.renewLoop(w.hard) })
	w.actors.Go(func() { w.rescueLoop(w.hard) })
	w.actors.Go(func() { w.watchLoop(w.hard) })
	for range w.cfg.MaxConnections {
		w.actors.Go(w.deliverLoop)
	}
	return nil
}

// Stop ends the worker: nothing new is announced, what is in flight is finished and recorded, claims are given back.
// When ctx is done first, it breaks off transactions and returns ctx's error; the journal then knows what the database
// does not. The Sender stays open: it is the caller's.
func (w *Worker) Stop(ctx context.Context) error {
	w.mu.Lock()
	w.running = false
	w.stop()
	w.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		w.runs.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("worker: stopping before all mails in flight were recorded: %w", context.Cause(ctx))
	}
	w.kill()
	<-ended
	w.actors.Wait()
	for _, c := range w.claims.all() {
		c.journal.abandon()
	}
	return err
}

// Ready reports why the worker can't send now; nil if it can.
func (w *Worker) Ready() error {
	w.mu.Lock()
	running := w.running
	w.mu.Unlock()
	if !running {
		return ErrStopped
	}
	if err := w.journal.err(); err != nil {
		return fmt.Errorf("the journal can't be written: %w", err)
	}
	if w.reporter.err() != nil {
		return ErrRecordingBehind
	}
	return nil
}
