package worker_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// bubble runs a test on its own clock, which moves on when everybody waits.
func bubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		test(w)
		w.close()
	})
}

func TestSendsEverybodyOnce(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(1234, 700)
		k := w.start(nil)
		w.run(k, jobs[0])
		progress := w.run(k, jobs[1])
		w.run(k, jobs[1]) // rung twice
		w.stop(k)

		if progress.Status != campaign.JobCompleted || !progress.Finished || progress.Tally.Accepted != 534 {
			w.t.Errorf("progress = %+v", progress)
		}
		w.expect(each(0, 1234, accepted))
		w.expectJobs(done(700, 700), done(534, 534))
		w.expectLedger(addresses(0, 1234))
		w.expectNoJournal()
	})
}

func TestVerdictsBecomeRows(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(7, 10)
		verdicts := []mail.Verdict{
			{Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, EnhancedCode: "5.1.1", Category: mail.CategoryBadMailbox},
			{Outcome: mail.Permanent, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Code: 554, Category: mail.CategoryPolicy},
			{Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 450, Category: mail.CategoryRateLimited},
			{Outcome: mail.Temporary, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Code: 451, Category: mail.CategoryOther},
			{Outcome: mail.Uncertain, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Category: mail.CategoryInDoubt},
		}
		for i, v := range verdicts {
			w.relay.script[address(i)] = []step{refuse(v)}
		}
		w.relay.script[address(5)] = []step{func(context.Context, *scriptedRelay, string, func() error) mail.Verdict {
			panic("a sender's bug")
		}}
		k := w.start(nil)
		progress := w.run(k, jobs[0])
		w.stop(k)

		want := []row{
			{Email: address(0), Status: "FAILED", State: "bounced", Attempts: 1, Category: mail.CategoryBadMailbox, Code: 550},
			{Email: address(1), Status: "FAILED", State: "failed", Attempts: 1, Category: mail.CategoryPolicy, Code: 554},
			{Email: address(2), Status: "PENDING", State: "deferred", Attempts: 1, Category: mail.CategoryRateLimited, Code: 450, Next: true},
			{Email: address(3), Status: "PENDING", State: "deferred", Attempts: 1, Category: mail.CategoryOther, Code: 451, Next: true},
			doubted(address(4)),
			{Email: address(5), Status: "PENDING", State: "deferred", Attempts: 1, Category: mail.CategoryOther, Next: true},
			accepted(address(6)),
		}
		w.expect(want)
		w.expectJobs(job{Status: "PROCESSING", Total: 7, Started: true})
		w.expectNoJournal()
		if progress.Finished || progress.Tally.Deferred != 3 {
			w.t.Errorf("progress = %+v", progress)
		}
	})
}

func TestRetryIsTheSameMail(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(1, 10)
		later := refuse(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Code: 451, Category: mail.CategoryOther})
		w.relay.script[address(0)] = []step{later, later}
		k := w.start(nil)
		w.run(k, jobs[0])
		w.run(k, jobs[0]) // too early
		if n := len(w.relay.raw[address(0)]); n != 1 {
			w.t.Fatalf("%d attempts before the next was due, want 1", n)
		}
		time.Sleep(30 * time.Second) // the bubble's time
		w.run(k, jobs[0])
		time.Sleep(time.Minute)
		w.run(k, jobs[0])
		w.stop(k)

		r := accepted(address(0))
		r.Attempts = 3
		w.expect([]row{r})
		w.expectJobs(done(1, 1))
		raw := w.relay.raw[address(0)]
		if len(raw) != 3 || raw[0] != raw[1] || raw[1] != raw[2] {
			w.t.Errorf("the attempts differ:\n%s", strings.Join(raw, "\n----\n"))
		}
		want := "Message-ID: <" + campaign.MessageID(jobs[0], address(0), testFrom) + ">\r\n"
		if !strings.HasPrefix(raw[0], testFrom+"\n") || !strings.Contains(raw[0], want) {
			w.t.Errorf("the mail is not from %s with %s:\n%s", testFrom, want, raw[0])
		}
	})
}

func TestRelayAwayCostsNobodyAnAttempt(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(50, 100)
		var calls atomic.Int32
		w.relay.fallback = func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
			if calls.Add(1) <= 8 {
				return away(ctx, r, to, beforeDot)
			}
			return accept(ctx, r, to, beforeDot)
		}
		k := w.start(nil)
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 50, accepted))
		w.expectJobs(done(50, 50))
		w.expectLedger(addresses(0, 50))
	})
}

func TestRelayAwayForLongGivesTheJobBack(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(20, 100)
		w.relay.fallback = away
		k := w.start(nil)
		for range 3 { // each run tries, and none waits for ever
			began := time.Now()
			if progress := w.run(k, jobs[0]); progress.Finished {
				w.t.Errorf("progress = %+v", progress)
			}
			if took := time.Since(began); took < worker.DefaultRelayPatience || took > 3*worker.DefaultRelayPatience {
				w.t.Errorf("the run waited %s for the relay", took)
			}
		}
		w.expect(each(0, 20, waiting))
		w.expectNoJournal()

		w.relay.mu.Lock()
		w.relay.fallback = nil
		w.relay.mu.Unlock()
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 20, accepted))
	})
}

func TestRefusedSenderOrCredentialsHoldTheCampaign(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		verdict mail.Verdict
		reason  string
	}{
		"credentials": {mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Code: 535, Category: mail.CategoryRelayAuth}, worker.HoldAuthenticationFailed},
		"sender":      {mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseMail, Scope: mail.ScopeSender, Code: 550, Category: mail.CategorySenderRefused}, worker.HoldSenderRefused},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				jobs := w.seed(300, 1000)
				w.relay.fallback = refuse(test.verdict)
				k := w.start(nil)
				w.run(k, jobs[0])
				w.run(k, jobs[0]) // rung again while it is held
				w.expect(each(0, 300, waiting))
				record, err := w.db.Campaign(w.t.Context(), testKey)
				if err != nil {
					w.t.Fatal(err)
				}
				if record.Hold == nil || record.Hold.Reason != test.reason {
					w.t.Errorf("hold = %+v, want %s", record.Hold, test.reason)
				}
				if n := len(w.relay.raw); n > 4 {
					w.t.Errorf("%d mails were tried, want no more than there are connections", n)
				}

				time.Sleep(5 * time.Minute)
				w.relay.mu.Lock()
				w.relay.fallback = nil
				w.relay.mu.Unlock()
				w.run(k, jobs[0])
				w.stop(k)
				w.expect(each(0, 300, accepted))
				w.expectLedger(addresses(0, 300))
			})
		})
	}
}

func TestSuspendTakesEffectWithinAWindow(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(100, 1000)
		w.relay.script[address(9)] = []step{first(func() {
			if err := w.db.Suspend(w.t.Context(), testKey, true); err != nil {
				w.t.Error(err)
			}
		}, accept)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections, cfg.Window = 1, 5 })
		w.run(k, jobs[0])
		// The tenth mail suspends; the fifteenth is the last of the window that may have been announced by then.
		n := len(w.relay.accepted())
		if n < 10 || n > 15 {
			w.t.Errorf("%d mails were sent, want 10 to 15", n)
		}
		w.expect(append(each(0, n, accepted), each(n, 100, waiting)...))

		if err := w.db.Suspend(w.t.Context(), testKey, false); err != nil {
			w.t.Fatal(err)
		}
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 100, accepted))
		w.expectLedger(addresses(0, 100))
	})
}

func TestCancelEndsWhoWaits(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(100, 1000)
		w.relay.script[address(9)] = []step{first(func() {
			if err := w.db.Cancel(w.t.Context(), testKey, time.Now()); err != nil {
				w.t.Error(err)
			}
		}, accept)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections, cfg.Window, cfg.ClaimSize = 1, 1, 20 })
		w.run(k, jobs[0])
		w.stop(k)
		n := len(w.relay.accepted())
		if n < 10 || n > 11 {
			w.t.Errorf("%d mails were sent, want 10 or 11", n)
		}
		cancelled := func(email string) row { return row{Email: email, Status: "FAILED", State: "cancelled"} }
		w.expect(append(each(0, n, accepted), each(n, 100, cancelled)...))
		w.expectJobs(done(100, n))
		w.expectNoJournal()
	})
}

func TestTwoWorkersOnOneJob(t *testing.T) {
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
		time.Sleep(2 * worker.DefaultLease)
		w.run(other, jobs[0])
		// The third was announced with the second, and nobody knows that it is not on the wire.
		w.expect([]row{accepted(address(0)), doubted(address(1)), doubted(address(2))})
		w.expectJobs(done(3, 1))

		close(release)
		<-ended
		// Now it is known: the second was accepted, and the third never left, so that it can be claimed again.
		w.stop(slow)
		w.stop(other)
		w.expectButAttempts(each(0, 3, accepted))
		w.expectJobs(done(3, 3))
		w.expectLedger(addresses(0, 3))
		w.expectNoJournal()
	})
}

func TestLeaseRunsOutBeforeTheDot(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(2, 1000)
		reached, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		w.relay.script[address(0)] = []step{first(func() { close(reached); <-release }, accept)}
		slow := w.start(func(cfg *worker.Config) {
			cfg.Store, cfg.MaxConnections, cfg.Window, cfg.RescueInterval = w.leaseless(), 1, 1, 24*time.Hour
		})
		go func() {
			w.run(slow, jobs[0])
			close(ended)
		}()
		<-reached
		other := w.start(nil)
		time.Sleep(2 * worker.DefaultLease)
		w.run(other, jobs[0])
		w.expect(each(0, 2, doubted)) // the second was announced when the first was handed out

		close(release) // the dot is refused, for its lease is gone; both are claimed again
		<-ended
		w.stop(slow)
		w.stop(other)
		w.expectButAttempts(each(0, 2, accepted))
		w.expectJobs(done(2, 2))
		w.expectLedger(addresses(0, 2))
	})
}

func TestLostLockFinishesWhatIsInFlight(t *testing.T) {
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
		time.Sleep(10 * time.Minute)
		if err := k.Ready(); !errors.Is(err, worker.ErrRecordingBehind) {
			w.t.Errorf("Ready returned %v while results wait, want %v", err, worker.ErrRecordingBehind)
		}
		if n := len(w.relay.accepted()); n > 30 {
			w.t.Errorf("%d mails were sent, more than were announced before the database went", n)
		}
		gone.Store(false)
		if err := <-ended; !errors.Is(err, errAway) {
			w.t.Errorf("HandleJob returned %v, want %v", err, errAway)
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

func TestPanicInComposeFailsOneRecipient(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(3, 1000)
		k := w.start(func(cfg *worker.Config) {
			inner := cfg.Compose
			cfg.Compose = func(m mail.Message) ([]byte, error) {
				if m.To.Address == address(1) {
					panic("a bug that quotes " + m.To.Address)
				}
				return inner(m)
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

// pacer counts the turns.
type pacer struct{ turns atomic.Int32 }

func (p *pacer) Wait(ctx context.Context) error {
	p.turns.Add(1)
	select {
	case <-time.After(10 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestPacedMailsAreAnnouncedOneByOne(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(20, 1000)
		var announced atomic.Int32
		w.store.hook(nil, func(method string) error {
			if method == "Announce" {
				announced.Add(1)
			}
			return nil
		})
		p := &pacer{}
		k := w.start(func(cfg *worker.Config) { cfg.Pacer = p })
		began := time.Now()
		w.run(k, jobs[0])
		took := time.Since(began)
		w.stop(k)
		if p.turns.Load() != 20 || announced.Load() != 20 || took < 200*time.Second {
			w.t.Errorf("%d turns, %d announcements, %s; want 20, 20 and 200s", p.turns.Load(), announced.Load(), took)
		}
		w.expect(each(0, 20, accepted))
	})
}

func TestJobsThatMayNotRunAreGivenBack(t *testing.T) {
	bubble(t, func(w *world) {
		jobs := w.seed(5, 1000)
		if err := w.db.Suspend(w.t.Context(), testKey, true); err != nil {
			w.t.Fatal(err)
		}
		k := w.start(nil)
		progress := w.run(k, jobs[0])
		if diff := cmp.Diff(campaign.JobProgress{Status: campaign.JobPending}, progress); diff != "" {
			w.t.Errorf("progress (-want +got):\n%s", diff)
		}
		if _, err := k.HandleJob(w.t.Context(), "00000000-0000-0000-0000-000000000000"); !errors.Is(err, campaign.ErrNotFound) {
			w.t.Errorf("HandleJob of a job that is not there returned %v, want %v", err, campaign.ErrNotFound)
		}
		w.stop(k)
		w.expect(each(0, 5, waiting))
		w.expectJobs(job{Status: "PENDING", Total: 5})
	})
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := worker.New(worker.Config{Lease: -1, MaxConnections: -1})
	want := "worker: Store is required\nworker: Sender is required\nworker: Compose is required\nworker: JournalDir is required\n" +
		"worker: no number may be negative\nworker: no duration may be negative"
	if err == nil || err.Error() != want {
		t.Errorf("New returned:\n%v\nwant:\n%s", err, want)
	}
}
