package worker_test

import (
	"context"
	"errors"
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
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

// pass lets time go by, which in a bubble takes none.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(d):
	case <-w.t.Context().Done():
	}
}

func TestSendsEverybodyOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(1234, 700)
		k := w.start(nil)
		w.run(k, jobs[0])
		progress := w.run(k, jobs[1])
		w.run(k, jobs[1]) // rung twice
		w.pass(2 * worker.DefaultLease)
		w.expectLeases(0, 0)
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
	t.Parallel()
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
		w.pass(2 * worker.DefaultLease)
		w.expectLeases(0, 1)
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
	t.Parallel()
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
		w.pass(30 * time.Second) // the bubble's time
		w.run(k, jobs[0])
		w.pass(time.Minute)
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
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(50, 100)
		var calls atomic.Int32
		w.relay.fallback = func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
			if calls.Add(1) <= 5 {
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
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(20, 100)
		w.relay.fallback = away
		k := w.start(nil)
		for range 3 { // each run tries, and none waits for ever
			began := time.Now()
			if progress := w.run(k, jobs[0]); progress.Finished {
				w.t.Errorf("progress = %+v", progress)
			}
			if took := time.Since(began); took < worker.DefaultRelayPatience || took > worker.DefaultRelayPatience+time.Second {
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
			t.Parallel()
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

				w.pass(5 * time.Minute)
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

// suspend steers the campaign to being suspended, or not.
func (w *world) suspend(suspended bool) error {
	_, err := w.db.Steer(w.t.Context(), testKey, campaign.Steered{Control: campaign.Control{Suspended: suspended}, Now: time.Now()})
	return err
}

func TestSuspendTakesEffectWithinAWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(100, 1000)
		w.relay.script[address(9)] = []step{first(func() {
			if err := w.suspend(true); err != nil {
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

		if err := w.suspend(false); err != nil {
			w.t.Fatal(err)
		}
		w.run(k, jobs[0])
		w.stop(k)
		w.expect(each(0, 100, accepted))
		w.expectLedger(addresses(0, 100))
	})
}

func TestCancelEndsWhoWaits(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(100, 1000)
		w.relay.script[address(9)] = []step{first(func() {
			if err := w.db.Cancel(w.t.Context(), testKey, campaign.EndCancelled, time.Now()); err != nil {
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
	t.Parallel()
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
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(5, 1000)
		if err := w.suspend(true); err != nil {
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
	want := "worker: Store is required\nworker: Sender is required\nworker: JournalDir is required\n" +
		"worker: no number may be negative\nworker: no duration may be negative"
	if err == nil || err.Error() != want {
		t.Errorf("New returned:\n%v\nwant:\n%s", err, want)
	}
}
