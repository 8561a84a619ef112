package worker_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// effectiveWithin is how long after a campaign was stopped a mail may still begin.
const effectiveWithin = 2 * time.Second

// steer has the campaign run so from now on.
func (w *world) steer(control campaign.Control) {
	w.t.Helper()
	if _, err := w.db.Steer(w.t.Context(), testKey, campaign.Steered{Control: control, Now: time.Now()}); err != nil {
		w.t.Error(err)
	}
}

// slowly has each mail take its time before or after the final dot, and notes when it began.
type slowly struct {
	mu    sync.Mutex
	began []time.Time
	dots  []time.Time
}

func (s *slowly) step(before, after time.Duration) step {
	return func(_ context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		s.mu.Lock()
		s.began = append(s.began, time.Now())
		s.mu.Unlock()
		<-time.After(before)
		if err := beforeDot(); err != nil {
			return vetoed()
		}
		s.mu.Lock()
		s.dots = append(s.dots, time.Now())
		s.mu.Unlock()
		r.accept(to)
		<-time.After(after)
		return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
	}
}

// TestStopsWithinTwoSeconds: whatever stops a campaign, nothing of it is handed to a slow relay two seconds later, and
// nothing gets its final dot soon after that. Nobody is lost, and nobody gets two mails.
func TestStopsWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	const people = 300
	cancelled := func(email string) row { return row{Email: email, Status: "FAILED", State: "cancelled"} }
	for name, test := range map[string]struct {
		stop func(w *world) error
		// resume ends it; nil for what is for good.
		resume func(w *world) error
	}{
		"suspended": {
			func(w *world) error { return w.suspend(true) },
			func(w *world) error { return w.suspend(false) },
		},
		"held": {
			func(w *world) error {
				return w.db.HoldCampaign(w.t.Context(), testKey, campaign.Hold{Reason: "Test", Until: campaign.Forever})
			},
			func(w *world) error { return w.db.Resume(w.t.Context(), testKey, "token") },
		},
		"closed": {
			func(w *world) error { w.steer(campaign.Control{ClosesAt: time.Now().Add(-time.Hour)}); return nil },
			func(w *world) error { w.steer(campaign.Control{ClosesAt: time.Now().Add(time.Hour)}); return nil },
		},
		"cancelled": {
			func(w *world) error { return w.db.Cancel(w.t.Context(), testKey, campaign.EndDeleted, time.Now()) }, nil,
		},
	} {
		for relay, took := range map[string][2]time.Duration{"slow before the dot": {5 * time.Second, 0}, "slow to reply": {0, 5 * time.Second}} {
			t.Run(name+", "+relay, func(t *testing.T) {
				t.Parallel()
				bubble(t, func(w *world) {
					jobs := w.seed(people, people/2)
					s := &slowly{}
					w.relay.fallback = s.step(took[0], took[1])
					k := w.start(func(cfg *worker.Config) { cfg.MaxConnections, cfg.Window = 10, 80 })
					wait := w.runAll(k, jobs)
					w.pass(12300 * time.Millisecond)
					if err := test.stop(w); err != nil {
						w.t.Fatal(err)
					}
					stopped := time.Now()
					wait()

					for _, began := range s.began {
						if late := began.Sub(stopped); late > effectiveWithin {
							w.t.Errorf("a mail began %s after the campaign was stopped", late)
						}
					}
					for _, dot := range s.dots {
						if late := dot.Sub(stopped); late > 2*effectiveWithin {
							w.t.Errorf("a final dot went out %s after the campaign was stopped", late)
						}
					}
					left := waiting
					if test.resume == nil {
						left = cancelled
					}
					var want []row
					sent := w.relay.accepted()
					for _, email := range addresses(0, people) {
						if slices.Contains(sent, email) {
							want = append(want, accepted(email))
						} else {
							want = append(want, left(email))
						}
					}
					if len(sent) < 20 || len(sent) > 60 {
						w.t.Errorf("%d mails were sent", len(sent))
					}
					w.expect(want)
					w.expectNoJournal()
					if test.resume != nil {
						if err := test.resume(w); err != nil {
							w.t.Fatal(err)
						}
						w.runAll(k, jobs)()
						w.expect(each(0, people, accepted))
						w.expectLedger(addresses(0, people))
					}
					w.stop(k)
				})
			})
		}
	}
}

// TestWatchIsOneQueryASecond: however many jobs run, and none while nothing does.
func TestWatchIsOneQueryASecond(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(80, 10)
		var looks atomic.Int32
		w.store.hook(func(method string) error {
			if method == "Runnable" {
				looks.Add(1)
			}
			return nil
		}, nil)
		w.relay.fallback = (&slowly{}).step(0, 5*time.Second)
		k := w.start(nil) // four connections: 100 seconds
		w.pass(time.Hour)
		if n := looks.Load(); n != 0 {
			w.t.Errorf("an idle worker looked %d times", n)
		}
		w.runAll(k, jobs)()
		if n := looks.Load(); n < 95 || n > 101 {
			w.t.Errorf("the worker looked %d times in 100 s", n)
		}
		looks.Store(0)
		w.pass(time.Hour)
		w.stop(k)
		if n := looks.Load(); n > 1 {
			w.t.Errorf("an idle worker looked %d times", n)
		}
	})
}

// TestChangedPolicyTakesEffect: a run goes on and follows the campaign's policy as it is now.
func TestChangedPolicyTakesEffect(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		const people = 100
		jobs := w.seed(people, people)
		full := mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 452, Category: mail.CategoryMailboxFull}
		w.relay.fallback = first(func() { <-time.After(time.Second) }, refuse(full))
		var starts atomic.Int32
		w.store.hook(func(method string) error {
			if method == "StartJob" {
				starts.Add(1)
			}
			return nil
		}, nil)
		k := w.start(func(cfg *worker.Config) { // nobody is due again before the end
			cfg.MaxConnections, cfg.Random, cfg.Retry = 1, func() float64 { return 0.5 }, worker.RetryPolicy{InitialBackoff: time.Hour}
		})
		wait := w.runAll(k, jobs)
		w.pass(20500 * time.Millisecond)
		w.steer(campaign.Control{Policy: campaign.Policy{Retry: campaign.Retry{MaxAttempts: 1}}})
		w.pass(20 * time.Second)
		w.steer(campaign.Control{Policy: campaign.Policy{
			Rules: []campaign.Rule{{Action: campaign.ActionFailRecipient, Codes: []int{452}, Stages: []string{"rcpt"}}},
		}})
		wait()
		w.stop(k)

		states := map[string]int{}
		for _, r := range w.rows() {
			states[r.State]++
		}
		if starts.Load() != 1 {
			w.t.Errorf("the job was started %d times, want 1", starts.Load())
		}
		if states["deferred"] < 20 || states["deferred"] > 22 || states["failed"] < 19 || states["failed"] > 22 || states["bounced"] < 56 {
			w.t.Errorf("states: %v", states)
		}
	})
}

// TestPolicyThatCannotBeReadIsReadAgain: the run goes by what it knew until then.
func TestPolicyThatCannotBeReadIsReadAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(30, 30)
		var gone atomic.Bool
		w.store.hook(func(method string) error {
			if gone.Load() && (method == "Runnable" || method == "Job") {
				return errAway
			}
			return nil
		}, nil)
		w.relay.fallback = (&slowly{}).step(0, time.Second)
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		wait := w.runAll(k, jobs)
		w.pass(5500 * time.Millisecond)
		gone.Store(true)
		w.pass(5 * time.Second)
		// Nobody can tell the run: it knows of the window itself.
		gone.Store(false)
		w.steer(campaign.Control{ClosesAt: time.Now().Add(5 * time.Second)})
		w.pass(2 * time.Second)
		gone.Store(true)
		wait()
		w.stop(k)
		if n := len(w.relay.accepted()); n < 14 || n > 19 {
			w.t.Errorf("%d mails were sent", n)
		}
	})
}

func TestDoubtIsRetriedWhereTheCampaignSaysSo(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		control := campaign.Control{Policy: campaign.Policy{Retry: campaign.Retry{InDoubt: true, MaxAttempts: 3}}}
		jobs := w.seedWith(control, 3, 10)
		lost := refuse(mail.Verdict{Outcome: mail.Uncertain, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Category: mail.CategoryInDoubt})
		w.relay.script[address(0)] = []step{lost}
		w.relay.script[address(1)] = []step{lost, lost, lost}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		w.run(k, jobs[0])
		if diff := cmp.Diff(row{
			Email: address(0), Status: "PENDING", State: "deferred", Attempts: 1, Category: mail.CategoryInDoubt, Next: true,
		}, w.rows()[0]); diff != "" {
			w.t.Errorf("after the first attempt (-want +got):\n%s", diff)
		}
		for range 3 {
			w.pass(5 * time.Minute)
			w.run(k, jobs[0])
		}
		w.stop(k)
		again := accepted(address(0))
		again.Attempts = 2
		w.expect([]row{
			again,
			{Email: address(1), Status: "FAILED", State: "failed", Attempts: 3, Category: mail.CategoryInDoubt},
			accepted(address(2)),
		})
		w.expectLeases(0, 0)
		w.expectJobs(done(3, 2))
	})
}
