package bull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// Handler runs one job. Its result is stored as JSON. An error fails the attempt, and its text is stored in Redis and
// shown to every listener: it must not contain addresses. Unrecoverable(err) ends further attempts.
//
// ctx ends when the job's lock is lost (context.Cause is ErrLockLost), when its timeout is over, or when the consumer
// stops and its grace is over (ErrStopping).
type Handler func(ctx context.Context, job *Delivery) (result any, err error)

// ErrStopping is the cause of a handler's cancelled context when the consumer stops. A job whose handler then returns an
// error goes back as the next to run, and no attempt is counted.
var ErrStopping = errors.New("the consumer is stopping")

// Consumer takes jobs from a queue and runs them.
type Consumer struct {
	// Queue is required.
	Queue *Queue
	// Handler runs the jobs that were given no name.
	Handler Handler
	// Handlers run jobs by their name; "*" runs those that have none of their own. Handler or Handlers is required. A job
	// that nobody runs fails, and uses up an attempt, as with Bull: there is no way to leave a job to other workers, so
	// all workers of a queue must know all names.
	Handlers map[string]Handler
	// Concurrency is how many jobs run at a time; 1 if zero.
	Concurrency int
	// Express is how many more jobs run at a time that have a priority, where all of Concurrency are taken: jobs that run
	// long do not hold them up, nor are interrupted for them. 0 is none, as with Bull.
	Express int
	// Grace is how long handlers may go on once Run's context ended; 30 s if zero.
	Grace time.Duration
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Run takes and runs jobs until ctx ends. Then it takes nothing new and waits for the handlers, whose locks stay renewed
// and whose contexts end only after Grace. It returns nil, or an error: a setting that is wrong, or a queue that can't be
// worked on (*DialectError), at once, or also later, when a repeatable job turns up: then it stops as if ctx had ended,
// and leaves that job to be the next that a worker of Bull's takes. While Redis is away it keeps trying.
func (c *Consumer) Run(ctx context.Context) error {
	handlers, err := c.handlers()
	if err != nil {
		return err
	}
	if c.Queue == nil {
		return errors.New("bull.Consumer: Queue is required")
	}
	if c.Concurrency < 0 || c.Express < 0 || c.Grace < 0 {
		return errors.New("bull.Consumer: Concurrency, Express and Grace must not be negative")
	}
	blocking, err := conn.Named(c.Queue.client, c.Queue.keys.clientName())
	if err != nil {
		return err
	}
	defer func() { _ = blocking.Close() }()

	log := cmp.Or(c.Logger, slog.Default()).With("queue", c.Queue.Name())
	r := &run{
		queue:    c.Queue,
		blocking: blocking,
		handlers: handlers,
		log:      log,
		outage:   outage{log: log},
		slots:    make(chan struct{}, cmp.Or(c.Concurrency, 1)),
	}
	r.locks, r.completer = newLocks(c.Queue, &r.outage), &completer{queue: c.Queue, running: func() int { return len(r.slots) }}
	return r.run(ctx, cmp.Or(c.Grace, 30*time.Second), c.Express)
}

// handlers are all handlers of a consumer, by job name.
type handlers map[string]Handler

// anyName stands for every job name without a handler of its own.
const anyName = "*"

func (c *Consumer) handlers() (handlers, error) {
	all := handlers{}
	maps.Copy(all, c.Handlers)
	if c.Handler != nil {
		if all[DefaultName] != nil {
			return nil, fmt.Errorf("bull.Consumer: Handler and Handlers[%q] are for the same jobs", DefaultName)
		}
		all[DefaultName] = c.Handler
	}
	if len(all) == 0 {
		return nil, errors.New("bull.Consumer: Handler or Handlers is required")
	}
	for name, handler := range all {
		if handler == nil {
			return nil, fmt.Errorf("bull.Consumer: the handler of %q is nil", name)
		}
	}
	return all, nil
}

// of is the handler of the jobs of a name; nil if there is none.
func (h handlers) of(name string) Handler {
	if handler := h[name]; handler != nil {
		return handler
	}
	return h[anyName]
}

// run is one call of Run.
type run struct {
	queue    *Queue
	blocking redis.UniversalClient // a connection of its own: a blocking pop holds up all that comes behind it
	handlers handlers
	log      *slog.Logger
	outage   outage

	locks     *locks
	completer *completer
	slots     chan struct{} // one element per running job
	running   sync.WaitGroup
	stop      context.CancelCauseFunc // ends the run
	oldServer bool                    // the server has no BLMOVE; only the fetch loop uses it
}

func (r *run) run(ctx context.Context, grace time.Duration, express int) error {
	if err := r.prepare(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	jobs, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)

	var renewal sync.WaitGroup
	renewed, stopRenewing := context.WithCancel(context.WithoutCancel(ctx))
	renewal.Go(func() { r.locks.run(renewed) })
	defer func() { stopRenewing(); renewal.Wait() }()

	var background sync.WaitGroup
	background.Go(func() { r.promoteLoop(ctx) })
	background.Go(func() { r.stalledLoop(ctx) })
	waitExpress := r.startExpress(ctx, jobs, express)
	r.fetchLoop(ctx, jobs)
	waitExpress()

	timer := time.AfterFunc(grace, func() { cancel(ErrStopping) })
	defer timer.Stop()
	r.running.Wait()
	background.Wait()
	if refused, ok := errors.AsType[*DialectError](context.Cause(ctx)); ok {
		return refused
	}
	return nil
}

// prepare refuses a queue that can't be worked on. It returns nil if ctx ended before Redis answered.
func (r *run) prepare(ctx context.Context) error {
	var pause backoff
	for ctx.Err() == nil {
		err := r.queue.CheckConsumable(ctx)
		if _, foreign := errors.AsType[*DialectError](err); foreign {
			return err
		}
		if ctx.Err() == nil {
			r.outage.report(err)
		}
		if err == nil || !pause.wait(ctx) {
			return nil
		}
	}
	return nil
}

// fetchLoop fills the slots. A slot that got a job goes on taking jobs until none is waiting; so a busy queue costs one
// round trip a job, and an idle one a blocking pop. It ends with ctx; jobs is the parent of every handler's context.
func (r *run) fetchLoop(ctx, jobs context.Context) {
	var pause backoff
	for {
		select {
		case <-ctx.Done():
			return
		case r.slots <- struct{}{}:
		}
		if ctx.Err() != nil { // select chooses at random if both are ready
			<-r.slots
			return
		}
		delivery, err := r.fetch(ctx)
		if delivery != nil {
			r.running.Go(func() {
				defer func() { <-r.slots }()
				r.work(ctx, jobs, delivery)
			})
		} else {
			<-r.slots
		}
		if err == nil {
			pause.reset()
		} else if !pause.wait(ctx) {
			return
		}
	}
}

// fetch waits for a job. It returns none if none came within DrainDelay, or ctx ended.
func (r *run) fetch(ctx context.Context) (*Delivery, error) {
	// The pop is not broken off when ctx ends: a pop whose reply is not read leaves a job active that nobody runs.
	live := context.WithoutCancel(ctx)
	id, err := r.pop(live)
	if err != nil || id == "" {
		r.outage.report(err)
		return nil, err
	}
	if ctx.Err() != nil {
		if err := r.queue.giveBack(live, id, ""); err != nil {
			r.log.Warn("Job was popped while stopping, the stalled check will return it", "job", id, "error", err)
		}
		return nil, nil
	}
	return r.take(live, id)
}

// pop moves the next id from wait to active, waiting for one up to DrainDelay.
func (r *run) pop(ctx context.Context) (string, error) {
	k, timeout := r.queue.keys, r.queue.config.DrainDelay
	if !r.oldServer {
		move := redis.NewStringCmd(ctx, "blmove", k.wait(), k.active(), "RIGHT", "LEFT", timeout.Seconds())
		if timeout < time.Second { // go-redis's own command would wait for a second
			_ = r.blocking.Process(ctx, move)
		} else {
			move = r.blocking.BLMove(ctx, k.wait(), k.active(), "RIGHT", "LEFT", timeout)
		}
		id, err := move.Result()
		if err == nil || !isUnknownCommand(err) {
			return id, popError(err)
		}
		r.oldServer = true
	}
	// Before Redis 6 the timeout of a blocking pop was in whole seconds.
	id, err := r.blocking.BRPopLPush(ctx, k.wait(), k.active(), max(timeout.Round(time.Second), time.Second)).Result()
	return id, popError(err)
}

func isUnknownCommand(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "unknown command")
}

func popError(err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	return fmt.Errorf("waiting for a job: %w", err)
}

// take makes a job active; id is empty for the next one.
func (r *run) take(ctx context.Context, id string) (*Delivery, error) {
	taken, err := r.queue.Take(ctx, id)
	r.outage.report(err)
	return r.took(taken), err
}

// took acts on all that taking a job brought, and returns the job.
func (r *run) took(taken Taken) *Delivery {
	r.logDropped(taken.Dropped)
	if taken.Refused != nil {
		r.stop(taken.Refused)
	}
	return taken.Delivery
}

func (r *run) logDropped(ids []string) {
	if len(ids) > 0 {
		r.log.Warn("Queue had ids without a job, dropped them", "count", len(ids), "first", ids[0])
	}
}
