package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

var spam = mail.Verdict{
	Outcome: mail.Permanent, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Code: 554, EnhancedCode: "5.7.1", Category: mail.CategoryPolicy,
}

// record reads the campaign's row.
func (w *world) record() campaign.Record {
	w.t.Helper()
	record, err := w.db.Campaign(w.t.Context(), testKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return record
}

// expectHeld compares the hold, which lasts until somebody resumes the campaign.
func (w *world) expectHeld(reason, says string) {
	w.t.Helper()
	hold := w.record().Hold
	if hold == nil || hold.Reason != reason || !hold.Until.Equal(campaign.Forever) || !strings.Contains(hold.Message, says) {
		w.t.Errorf("hold = %+v, want %s for ever, saying %q", hold, reason, says)
	}
}

func TestRulePausesTheCampaign(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		control := campaign.Control{Policy: campaign.Policy{Rules: []campaign.Rule{
			{Action: campaign.ActionFailRecipient, Codes: []int{550}},
			{Action: campaign.ActionPauseCampaign, EnhancedCodes: []string{"5.7.1"}},
		}}}
		jobs := w.seedWith(control, 200, 100)
		w.relay.script[address(3)] = []step{refuse(spam)}
		w.relay.fallback = first(func() { <-time.After(100 * time.Millisecond) }, accept)
		var actions atomic.Int32
		k := w.start(func(cfg *worker.Config) {
			cfg.Hooks.OnRule = func(action campaign.Action) {
				if action == campaign.ActionPauseCampaign {
					actions.Add(1)
				}
			}
		})
		w.runAll(k, jobs)() // the other job's run learns of it by the watch
		w.expectHeld("FailurePolicyMatched", "rule 2 of spec.failurePolicy matched a reply of the SMTP relay (554 5.7.1)")
		if n := len(w.relay.accepted()); n > 2*4*12 {
			w.t.Errorf("%d mails were sent after the rule matched", n)
		}
		w.pass(time.Hour)
		w.run(k, jobs[0]) // to no effect
		if r := w.rows()[3]; r != waiting(address(3)) {
			w.t.Errorf("who was refused is %+v", r)
		}
		if err := w.db.Resume(w.t.Context(), testKey, "token"); err != nil {
			w.t.Fatal(err)
		}
		w.runAll(k, jobs)()
		w.stop(k)
		w.expect(each(0, 200, accepted))
		w.expectLedger(addresses(0, 200))
		if actions.Load() != 1 {
			w.t.Errorf("the rule acted %d times, want 1", actions.Load())
		}
	})
}

// TestRuleEndsTheCampaign: also if the database is away when it should.
func TestRuleEndsTheCampaign(t *testing.T) {
	t.Parallel()
	for name, failures := range map[string]int32{"at once": 0, "once the database takes it": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				control := campaign.Control{Policy: campaign.Policy{Rules: []campaign.Rule{{Action: campaign.ActionFailCampaign, Codes: []int{554}}}}}
				jobs := w.seedWith(control, 100, 50)
				w.relay.script[address(7)] = []step{refuse(spam)}
				var tries atomic.Int32
				w.store.hook(func(method string) error {
					if method == "Cancel" && tries.Add(1) <= failures {
						return errAway
					}
					return nil
				}, nil)
				k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
				w.run(k, jobs[0])
				w.run(k, jobs[1])
				w.stop(k)
				sent := len(w.relay.accepted())
				if sent < 7 || sent > 8 {
					w.t.Errorf("%d mails were sent, want 7 and one that was on its way", sent)
				}
				refused := row{Email: address(7), Status: "FAILED", State: "failed", Attempts: 1, Category: mail.CategoryPolicy, Code: 554}
				cancelled := func(email string) row { return row{Email: email, Status: "FAILED", State: "cancelled"} }
				want := slices.Concat(each(0, 7, accepted), []row{refused}, each(8, 100, cancelled))
				if sent == 8 {
					want[8] = accepted(address(8))
				}
				w.expect(want)
				if reason := w.record().EndReason; reason != campaign.EndFailurePolicyMatched {
					w.t.Errorf("the campaign ended for %q", reason)
				}
				w.expectNoJournal()
			})
		})
	}
}

// TestHalfCancelledIsFinished: whoever cancelled died before all recipients were ended; the next worker that comes upon a
// job of the campaign goes on.
func TestHalfCancelledIsFinished(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(20, 10)
		db := w.raw()
		if _, err := db.ExecContext(w.t.Context(), "UPDATE Campaign SET cancelledAt = '2026-01-01 00:00:00.000', endReason = 'Deleted'"); err != nil {
			w.t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			w.t.Fatal(err)
		}
		k := w.start(nil)
		w.runAll(k, jobs)()
		w.stop(k)
		w.expect(each(0, 20, func(email string) row { return row{Email: email, Status: "FAILED", State: "cancelled"} }))
		if reason := w.record().EndReason; reason != campaign.EndDeleted {
			w.t.Errorf("the campaign ended for %q", reason)
		}
	})
}

// TestAbortPolicy: the shares are counted over all jobs of the campaign, and anew once somebody resumed it.
func TestAbortPolicy(t *testing.T) {
	t.Parallel()
	const people, jobSize = 100, 10
	bounce := refuse(mail.Verdict{
		Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, EnhancedCode: "5.1.1", Category: mail.CategoryBadMailbox,
	})
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprintf("ends=%t", ends), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				abort := campaign.Abort{MinSample: 25, MaxHardBouncePercent: 10, MaxFailedPercent: 100, Fail: ends}
				jobs := w.seedWith(campaign.Control{Policy: campaign.Policy{Abort: abort}}, people, jobSize)
				for i := range people {
					if i%5 == 0 {
						w.relay.script[address(i)] = []step{bounce}
					}
				}
				var aborts atomic.Int32
				k := w.start(func(cfg *worker.Config) {
					cfg.MaxConnections = 1
					cfg.Hooks.OnAbort = func(fail bool) {
						if fail == ends {
							aborts.Add(1)
						}
					}
				})
				for _, job := range jobs {
					w.run(k, job)
				}
				counted := func() (tried int) {
					for _, r := range w.rows() {
						if r.State == "accepted" || r.State == "bounced" {
							tried++
						}
					}
					return tried
				}
				if n := counted(); n < 25 || n > 26 || aborts.Load() != 1 {
					w.t.Errorf("%d recipients were tried and %d aborts told, want 25 and 1", n, aborts.Load())
				}
				if ends {
					if reason := w.record().EndReason; reason != campaign.EndAbortThresholdExceeded {
						w.t.Errorf("the campaign ended for %q", reason)
					}
					w.stop(k)
					return
				}
				w.expectHeld("AbortThresholdExceeded", "of 25 recipients, 5 bounced")
				if err := w.db.Resume(w.t.Context(), testKey, "token"); err != nil {
					w.t.Fatal(err)
				}
				for _, job := range jobs {
					w.run(k, job)
				}
				if n := counted(); n < 50 || n > 52 {
					w.t.Errorf("%d recipients were tried once the campaign was resumed, want 50", n)
				}
				w.stop(k)
			})
		})
	}
}

// TestAbortPolicyIsAboutTheWholeCampaign: a worker that begins anew where all bad addresses are stops nothing.
func TestAbortPolicyIsAboutTheWholeCampaign(t *testing.T) {
	t.Parallel()
	const people, jobSize, good = 100, 10, 80
	bubble(t, func(w *world) {
		abort := campaign.Abort{MinSample: 10, MaxHardBouncePercent: 25, MaxFailedPercent: 100}
		jobs := w.seedWith(campaign.Control{Policy: campaign.Policy{Abort: abort}}, people, jobSize)
		for i := good; i < people; i++ {
			w.relay.script[address(i)] = []step{refuse(mail.Verdict{
				Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, EnhancedCode: "5.1.1",
				Category: mail.CategoryBadMailbox,
			})}
		}
		first := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		for _, job := range jobs[:good/jobSize] {
			w.run(first, job)
		}
		w.stop(first)
		second := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		for _, job := range jobs[good/jobSize:] {
			w.run(second, job)
		}
		w.stop(second)
		if hold := w.record().Hold; hold != nil {
			w.t.Errorf("the campaign is held: %s", hold.Message)
		}
		bounced := 0
		for _, r := range w.rows() {
			if r.State == "bounced" {
				bounced++
			}
		}
		if bounced != people-good {
			w.t.Errorf("%d bounced, want %d", bounced, people-good)
		}
	})
}

// evenly is a throttle of one process: turns an interval apart.
type evenly struct {
	turn  chan struct{}
	every time.Duration
	next  time.Time
}

func newEvenly(every time.Duration) *evenly {
	return &evenly{turn: make(chan struct{}, 1), every: every}
}

func (e *evenly) Take(ctx context.Context, n int) (int, time.Time, time.Duration, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return 0, time.Time{}, 0, context.Cause(ctx)
	}
	if now := time.Now(); e.next.Before(now) {
		e.next = now
	}
	first := e.next
	select {
	case <-time.After(time.Until(first)):
	case <-ctx.Done():
		return 0, time.Time{}, 0, context.Cause(ctx)
	}
	n = min(n, 1+int(time.Second/e.every))
	e.next = first.Add(time.Duration(n) * e.every)
	return n, first, e.every, nil
}

// TestThrottledMailsGoWhenTheirTurnComes: nobody is announced for longer than a second before, other campaigns are not held
// up, and another rate holds at once.
func TestThrottledMailsGoWhenTheirTurnComes(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		rate := func(perMinute int) campaign.Control {
			return campaign.Control{Policy: campaign.Policy{Rate: campaign.Rate{Messages: perMinute, Period: time.Minute, Burst: 1}}}
		}
		jobs := w.seedWith(rate(1), 100, 50)
		var mu sync.Mutex
		var announced time.Time
		var waits []time.Duration
		w.store.hook(nil, func(method string) error {
			if method == "Announce" {
				mu.Lock()
				announced = time.Now()
				mu.Unlock()
			}
			return nil
		})
		w.relay.fallback = func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
			mu.Lock()
			if to != address(100) {
				waits = append(waits, time.Since(announced))
			}
			mu.Unlock()
			return accept(ctx, r, to, beforeDot)
		}
		throttles := map[campaign.Rate]*evenly{}
		var throttled atomic.Int64
		k := w.start(func(cfg *worker.Config) {
			cfg.Rates = func(key string, rate campaign.Rate) worker.Throttle {
				if key != testKey {
					w.t.Errorf("a rate was asked for %q", key)
				}
				mu.Lock()
				defer mu.Unlock()
				if throttles[rate] == nil {
					throttles[rate] = newEvenly(rate.Period / time.Duration(rate.Messages))
				}
				return throttles[rate]
			}
			cfg.Hooks.OnThrottled = func(waited time.Duration) { throttled.Add(int64(waited)) }
		})
		began := time.Now()
		wait := w.runAll(k, jobs[:1])
		w.pass(10*time.Minute + 30*time.Second)
		if n := len(w.relay.accepted()); n != 11 {
			w.t.Errorf("%d mails were sent in ten minutes, want 11", n)
		}

		w.expectEnded(w.submit(k, submission(100, 101)), ended{true, []campaign.State{campaign.StateAccepted}})
		if late := time.Since(began) - 10*time.Minute - 30*time.Second; late > time.Second {
			w.t.Errorf("another mail was sent after %s", late)
		}

		changed := time.Now()
		w.steer(rate(600))
		wait()
		// The other 39, ten a second, from the next look of the worker on.
		if took := time.Since(changed); took < 3*time.Second || took > 5*time.Second {
			w.t.Errorf("the rest of the job took %s with the new rate", took)
		}
		w.stop(k)
		for _, waited := range waits {
			if waited > 1050*time.Millisecond {
				w.t.Errorf("an announced mail waited %s", waited)
			}
		}
		if got := time.Duration(throttled.Load()); got < 10*time.Minute || got > 11*time.Minute {
			w.t.Errorf("the runs waited %s for the rate", got)
		}
		if diff := cmp.Diff(each(0, 50, accepted), w.rows()[:50]); diff != "" {
			w.t.Errorf("recipients (-want +got):\n%s", diff)
		}
	})
}

// TestThrottledRunsMakeRoom: where jobs wait in the queue, a campaign with a rate keeps one slot, and leaves even that where
// such campaigns have all; its rate is kept.
func TestThrottledRunsMakeRoom(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		crowded bool
		// other runs beside them, of no campaign with a rate.
		other bool
		// after is when the runs end.
		after []time.Duration
	}{
		"nobody waits":        {false, false, []time.Duration{100 * time.Second, 100 * time.Second, 100 * time.Second}},
		"others wait":         {true, false, []time.Duration{6 * time.Second, 6 * time.Second, 31 * time.Second}},
		"others wait and run": {true, true, []time.Duration{6 * time.Second, 6 * time.Second, 100 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				control := campaign.Control{Policy: campaign.Policy{Rate: campaign.Rate{Messages: 1, Period: time.Second, Burst: 1}}}
				jobs := w.seedWith(control, 100, 34)
				k := w.start(func(cfg *worker.Config) {
					throttle := newEvenly(time.Second)
					cfg.Rates = func(string, campaign.Rate) worker.Throttle { return throttle }
					cfg.Crowded = func(context.Context) bool { return test.crowded }
				})
				var other sync.WaitGroup
				if test.other {
					w.relay.script[address(100)] = []step{first(func() { <-time.After(5 * time.Minute) }, accept)}
					m := submission(100, 101)
					if _, err := w.db.Submit(w.t.Context(), []campaign.Submission{m}, nil, time.Now()); err != nil {
						w.t.Fatal(err)
					}
					other.Go(func() { w.run(k, m.JobID()) })
				}
				began := time.Now()
				var mu sync.Mutex
				var ended []time.Duration
				var running sync.WaitGroup
				for _, job := range jobs {
					running.Go(func() {
						w.run(k, job)
						mu.Lock()
						defer mu.Unlock()
						ended = append(ended, time.Since(began))
					})
				}
				running.Wait()
				about := 4 * time.Second
				if !test.crowded {
					about = 15 * time.Second // they share the turns, not quite evenly
				}
				for i, want := range test.after {
					if test.crowded && want == 100*time.Second {
						want = 38 * time.Second // alone with its job, of which the others left it 32 seconds' worth
					}
					if got := ended[i]; got < want-about || got > want+about {
						w.t.Errorf("run %d ended after %s, want %s", i, got, want)
					}
				}
				if sent, want := len(w.relay.accepted()), int(ended[2]/time.Second); sent < want-2 || sent > want+2 {
					w.t.Errorf("%d mails were sent in %s, want one a second", sent, ended[2])
				}
				other.Wait()
				w.runAll(k, jobs)()
				w.stop(k)
				w.expectNoJournal()
			})
		})
	}
}

// TestThrottledRunStops: a run that waits for its rate ends with the worker, and with its campaign's suspension.
func TestThrottledRunStops(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, k *worker.Worker){
		"stopped": func(w *world, k *worker.Worker) { w.stop(k) },
		"suspended": func(w *world, _ *worker.Worker) {
			if err := w.suspend(true); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				jobs := w.seedWith(campaign.Control{Policy: campaign.Policy{Rate: campaign.Rate{Messages: 1, Period: 10 * time.Minute, Burst: 1}}}, 10, 10)
				k := w.start(func(cfg *worker.Config) {
					throttle := newEvenly(10 * time.Minute)
					cfg.Rates = func(string, campaign.Rate) worker.Throttle { return throttle }
				})
				wait := w.runAll(k, jobs)
				w.pass(15 * time.Minute)
				began := time.Now()
				end(w, k)
				wait()
				if took := time.Since(began); took > effectiveWithin {
					w.t.Errorf("the run ended %s later", took)
				}
				w.stop(k)
				w.expect(append(each(0, 2, accepted), each(2, 10, waiting)...))
				w.expectNoJournal()
			})
		})
	}
}
