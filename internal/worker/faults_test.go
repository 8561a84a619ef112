package worker_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/worker"
)

func TestTwoWorkersOnOneJob(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(900, 1000)
		one := w.start(func(cfg *worker.Config) { cfg.ClaimSize = 40 })
		two := w.start(func(cfg *worker.Config) { cfg.ClaimSize = 70 }) // on the same journal directory, too
		ended := make(chan struct{}, 3)
		for _, k := range []*worker.Worker{one, two, two} {
			go func() {
				w.run(k, jobs[0])
				ended <- struct{}{}
			}()
		}
		for range 3 {
			<-ended
		}
		w.stop(one)
		w.stop(two)
		w.expect(each(0, 900, accepted))
		w.expectJobs(done(900, 900))
		w.expectLedger(addresses(0, 900))
		w.expectNoJournal()
	})
}

// leaseless makes renewals fail: the leases run out although the worker lives.
func (w *world) leaseless() worker.Store {
	s := &hookedStore{Store: w.db}
	s.hook(func(method string) error {
		if method == "RenewLeases" {
			return errAway
		}
		return nil
	}, nil)
	return s
}

func TestLeaseRunsOutInTheDot(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(3, 1000)
		reached, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		w.relay.script[address(1)] = []step{heldAtDot(reached, release)}
		slow := w.start(func(cfg *worker.Config) {
			cfg.Store, cfg.MaxConnections, cfg.RescueInterval = w.leaseless(), 1, 24*time.Hour
		})
		go func() {
			w.run(slow, jobs[0])
			close(ended)
		}()
		<-reached
		other := w.start(nil)
		w.pass(2 * worker.DefaultLease)
		w.run(other, jobs[0])
		// The third was announced with the second, and nobody knows that it is not on the wire.
		w.expect([]row{accepted(address(0)), doubted(address(1)), doubted(address(2))})
		w.expectJobs(done(3, 1))

		close(release)
		<-ended
		// Now it is known: the second was accepted, and the third never left, so that it can be claimed again.
		w.stop(slow)
		w.stop(other)
		w.expect(each(0, 3, accepted))
		w.expectJobs(done(3, 3))
		w.expectLedger(addresses(0, 3))
		w.expectNoJournal()
	})
}

func TestLeaseRunsOutBeforeTheDot(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(2, 1000)
		reached, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		asked := make(chan error, 1)
		w.relay.script[address(0)] = []step{func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
			close(reached)
			<-release
			return accept(ctx, r, to, func() error {
				err := beforeDot()
				asked <- err
				return err
			})
		}}
		slow := w.start(func(cfg *worker.Config) {
			cfg.Store, cfg.MaxConnections, cfg.Window, cfg.RescueInterval = w.leaseless(), 1, 1, 24*time.Hour
		})
		go func() {
			w.run(slow, jobs[0])
			close(ended)
		}()
		<-reached
		other := w.start(nil)
		w.pass(2 * worker.DefaultLease)
		w.run(other, jobs[0])
		w.expect(each(0, 2, doubted)) // the second was announced when the first was handed out

		close(release) // the dot is refused, for its lease is gone; both are claimed again
		<-ended
		if <-asked == nil {
			w.t.Error("the final dot went out although the lease had run out")
		}
		w.stop(slow)
		w.stop(other)
		w.expect(each(0, 2, accepted))
		w.expectJobs(done(2, 2))
		w.expectLedger(addresses(0, 2))
	})
}

func TestLostLockFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(50, 1000)
		errLock := errors.New("the lock is lost")
		ctx, cancel := context.WithCancelCause(w.t.Context())
		w.relay.script[address(5)] = []step{first(func() { cancel(errLock) }, accept)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections, cfg.Window = 1, 3 })
		if _, err := k.HandleJob(ctx, jobs[0]); !errors.Is(err, errLock) {
			w.t.Errorf("HandleJob returned %v, want %v", err, errLock)
		}
		w.expect(append(each(0, 6, accepted), each(6, 50, waiting)...))
		w.expectNoJournal()
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 50, accepted))
		w.expectLedger(addresses(0, 50))
	})
}

func TestDatabaseAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(100, 1000)
		var gone atomic.Bool
		w.store.hook(func(string) error {
			if gone.Load() {
				return errAway
			}
			return nil
		}, nil)
		w.relay.script[address(20)] = []step{first(func() { gone.Store(true) }, accept)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections, cfg.Window = 1, 10 })
		ended := make(chan error)
		go func() {
			_, err := k.HandleJob(w.t.Context(), jobs[0])
			ended <- err
		}()
		w.pass(10 * time.Minute)
		if err := k.Ready(); !errors.Is(err, worker.ErrRecordingBehind) {
			w.t.Errorf("Ready returned %v while results wait, want %v", err, worker.ErrRecordingBehind)
		}
		if n := len(w.relay.accepted()); n > 30 {
			w.t.Errorf("%d mails were sent, more than were announced before the database went", n)
		}
		gone.Store(false)
		// It depends on what the run was about to do then whether it notices anything.
		if err := <-ended; err != nil && !errors.Is(err, errAway) {
			w.t.Errorf("HandleJob returned %v, want %v or nothing", err, errAway)
		}
		if err := k.Ready(); err != nil {
			w.t.Errorf("Ready returned %v after the database came back", err)
		}
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 100, accepted))
		w.expectLedger(addresses(0, 100))
		w.expectNoJournal()
	})
}

// TestRepliesLostByTheDatabase loses the reply of every seventh call: what was written is written, and nobody was told.
func TestRepliesLostByTheDatabase(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(200, 1000)
		var calls atomic.Int32
		w.store.hook(nil, func(method string) error {
			if method != "Job" && calls.Add(1)%7 == 0 {
				return errAway
			}
			return nil
		})
		k := w.start(func(cfg *worker.Config) { cfg.Window, cfg.ClaimSize = 10, 50 })
		for range 100 {
			progress, _ := k.HandleJob(w.t.Context(), jobs[0])
			if progress.Finished {
				break
			}
		}
		w.stop(k)
		w.expect(each(0, 200, accepted))
		w.expectLedger(addresses(0, 200))
		w.expectNoJournal()
	})
}

// panicky panics over one address.
type panicky struct {
	worker.Composer
	over string
}

func (c panicky) Append(dst []byte, to compose.Recipient) (compose.Mail, error) {
	if to.Address == c.over {
		panic("a bug that quotes " + to.Address)
	}
	return c.Composer.Append(dst, to)
}

func TestPanicInComposeFailsOneRecipient(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(3, 1000)
		k := w.start(func(cfg *worker.Config) {
			cfg.Compile = func(content mail.Content) (worker.Composer, error) {
				template, err := compose.NewTemplate(content)
				return panicky{template, address(1)}, err
			}
		})
		w.run(k, jobs[0])
		w.stop(k)
		failed := row{Email: address(1), Status: "FAILED", State: "failed", Attempts: 1, Category: mail.CategoryInvalid}
		w.expect([]row{accepted(address(0)), failed, accepted(address(2))})
		w.expectJobs(done(3, 2))
	})
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(30, 1000)
		reached, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		w.relay.script[address(4)] = []step{heldAtDot(reached, release)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		go func() {
			w.run(k, jobs[0])
			close(ended)
		}()
		<-reached
		stopped := make(chan error)
		go func() { stopped <- k.Stop(w.t.Context()) }()
		synctest.Wait()
		if _, err := k.HandleJob(w.t.Context(), jobs[0]); !errors.Is(err, worker.ErrStopped) {
			w.t.Errorf("HandleJob while stopping returned %v, want %v", err, worker.ErrStopped)
		}
		close(release)
		if err := <-stopped; err != nil {
			w.t.Errorf("Stop: %v", err)
		}
		<-ended
		w.expect(append(each(0, 5, accepted), each(5, 30, waiting)...))
		w.expectNoJournal()
	})
}

func TestStopBreaksOffAfterTheGrace(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(10, 1000)
		reached, ended := make(chan struct{}), make(chan struct{})
		w.relay.script[address(4)] = []step{heldAtDot(reached, nil)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		go func() {
			defer close(ended)
			if _, err := k.HandleJob(w.t.Context(), jobs[0]); err == nil {
				w.t.Error("HandleJob returned no error although it was broken off")
			}
		}()
		<-reached
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		if err := k.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("Stop returned %v, want %v", err, context.DeadlineExceeded)
		}
		<-ended

		again := w.start(nil) // its replay brings what the database was not told
		w.expect(append(append(each(0, 4, accepted), doubted(address(4))), each(5, 10, waiting)...))
		w.run(again, jobs[0])
		w.stop(again)
		w.expect(append(append(each(0, 4, accepted), doubted(address(4))), each(5, 10, accepted)...))
		w.expectLedger(addresses(0, 10))
		w.expectNoJournal()
	})
}

func TestNothingIsSentWithoutAJournal(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(10, 1000)
		k := w.start(nil)
		if err := os.Rename(w.journalDir(), w.journalDir()+".gone"); err != nil {
			w.t.Fatal(err)
		}
		if _, err := k.HandleJob(w.t.Context(), jobs[0]); err == nil {
			w.t.Error("HandleJob returned no error without a journal")
		}
		if err := k.Ready(); err == nil {
			w.t.Error("the worker says that it is ready")
		}
		w.expect(each(0, 10, waiting))
		if err := os.Rename(w.journalDir()+".gone", w.journalDir()); err != nil {
			w.t.Fatal(err)
		}
		w.run(k, jobs[0])
		if err := k.Ready(); err != nil {
			w.t.Errorf("Ready: %v", err)
		}
		w.stop(k)
		w.expect(each(0, 10, accepted))
	})
}

func TestStartWaitsForTheReplay(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		if err := os.MkdirAll(w.journalDir(), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(w.journalDir()+"/token.journal", nil, 0o600); err != nil {
			w.t.Fatal(err)
		}
		w.store.hook(func(string) error { return errAway }, nil)
		k, err := worker.New(w.config())
		if err != nil {
			w.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
		defer cancel()
		if err := k.Start(ctx); !errors.Is(err, errAway) {
			w.t.Errorf("Start returned %v, want %v", err, errAway)
		}
		if _, err := k.HandleJob(w.t.Context(), "job"); !errors.Is(err, worker.ErrStopped) {
			w.t.Errorf("HandleJob returned %v, want %v", err, worker.ErrStopped)
		}
		w.store.hook(nil, nil)
		if err := k.Start(w.t.Context()); err != nil {
			w.t.Errorf("Start: %v", err)
		}
		w.expectNoJournal()
		w.stop(k)
	})
}
