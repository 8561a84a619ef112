package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// submission is a mail to the recipients from first up to but without end; its key tells the first.
func submission(first, end int) campaign.Submission {
	m := campaign.Submission{
		Key: fmt.Sprintf("http/%04d", first), CreatedAt: time.Now(),
		Content: campaign.Content{From: mail.Address{Address: testFrom}, Subject: "Your code", Text: "4711"},
	}
	for i := first; i < end; i++ {
		m.Recipients = append(m.Recipients, campaign.Recipient{Address: address(i)})
	}
	return m
}

// ended is what the tests compare of a mail: whether it was created, and its results' states.
type ended struct {
	Created bool
	States  []campaign.State
}

// submit hands mails in, and waits until done was called for each.
func (w *world) submit(k *worker.Worker, mails ...campaign.Submission) []ended {
	w.t.Helper()
	all := make([]ended, len(mails))
	done := make(chan int, len(mails))
	err := k.Submit(w.t.Context(), mails, func(i int, d worker.Delivery) {
		all[i].Created = d.Created
		for _, result := range d.Results {
			all[i].States = append(all[i].States, result.State)
		}
		done <- i
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for range mails {
		<-done
	}
	return all
}

func (w *world) expectEnded(got []ended, want ...ended) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("mails (-want +got):\n%s", diff)
	}
}

func TestSubmitSendsAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		k := w.start(nil)
		yes := campaign.StateAccepted
		w.expectEnded(w.submit(k, submission(0, 2), submission(2, 3)), ended{true, []campaign.State{yes, yes}}, ended{true, []campaign.State{yes}})
		w.expect(each(0, 3, accepted))
		w.expectLedger(addresses(0, 3))
		w.pass(time.Second)
		w.expectLeases(0, 0)
		w.expectNoJournal()
		w.stop(k)
		w.query("SELECT COUNT(*) FROM EmailJob WHERE status = 'COMPLETED' AND sentEmails = totalEmails AND completedAt IS NOT NULL",
			func(scan func(...any) error) error {
				n := 0
				err := scan(&n)
				if n != 2 {
					w.t.Errorf("%d jobs are complete, want 2", n)
				}
				return err
			})
	})
}

func TestSubmitKnowsKeys(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		k := w.start(nil)
		w.submit(k, submission(0, 1))
		yes := campaign.StateAccepted
		w.expectEnded(w.submit(k, submission(0, 1), submission(1, 2)), ended{}, ended{true, []campaign.State{yes}})
		w.expectEnded(w.submit(k, submission(0, 1)), ended{})
		w.stop(k)
		w.expectLedger(addresses(0, 2))
		w.expectNoJournal()
	})
}

// TestSubmitLeavesTheRestToTheJob: whoever is not sent at once waits in an ordinary job.
func TestSubmitLeavesTheRestToTheJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then step
		want campaign.State
	}{
		"put off":           {refuse(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 452}), campaign.StateDeferred},
		"the relay is away": {away, campaign.StatePending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				w.relay.fallback = test.then
				k := w.start(nil)
				m := submission(0, 2)
				w.expectEnded(w.submit(k, m), ended{true, []campaign.State{test.want, test.want}})
				if got := w.rings(); len(got) > 0 {
					w.t.Errorf("the outbox rings %v, which whoever submitted it sees to", got)
				}
				w.pass(10 * time.Minute)
				if diff := cmp.Diff([]string{m.JobID()}, w.rings()); diff != "" {
					w.t.Errorf("jobs to ring when nobody did (-want +got):\n%s", diff)
				}
				w.relay.mu.Lock()
				w.relay.fallback = nil
				w.relay.mu.Unlock()
				w.run(k, m.JobID())
				w.stop(k)
				w.expectLedger(addresses(0, 2))
				w.expectJobs(done(2, 2))
			})
		})
	}
}

// TestSubmitUnconfirmed: a mail whose writing was not confirmed is never sent, written or not.
func TestSubmitUnconfirmed(t *testing.T) {
	t.Parallel()
	lost := errors.New("the reply was lost")
	for name, hook := range map[string]func(w *world, fail func(string) error){
		"not written": func(w *world, fail func(string) error) { w.store.hook(fail, nil) },
		"written":     func(w *world, fail func(string) error) { w.store.hook(nil, fail) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				hook(w, func(method string) error {
					if method == "Submit" {
						return lost
					}
					return nil
				})
				k := w.start(nil)
				err := k.Submit(w.t.Context(), []campaign.Submission{submission(0, 2)}, func(int, worker.Delivery) {
					w.t.Error("done was called")
				})
				if !errors.Is(err, lost) {
					w.t.Errorf("got %v", err)
				}
				w.pass(10 * time.Minute)
				w.stop(k)
				w.expectLedger(nil)
				if name == "written" {
					never := func(email string) row {
						return row{Email: email, Status: "FAILED", State: "failed", Category: mail.CategoryOther}
					}
					w.expect(each(0, 2, never))
					w.expectJobs(job{Status: "FAILED", Total: 2, Failed: 2, Started: true, CompletedSet: true})
				}
				w.expectNoJournal()
			})
		})
	}
}

func TestSubmitAfterStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		k := w.start(nil)
		w.stop(k)
		err := k.Submit(w.t.Context(), []campaign.Submission{submission(0, 1)}, nil)
		if !errors.Is(err, worker.ErrStopped) {
			w.t.Errorf("got %v", err)
		}
	})
}

// TestSubmitAndStop: Stop waits for what is on its way, and gives back what is not.
func TestSubmitAndStop(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		sending, release := make(chan struct{}), make(chan struct{})
		w.relay.script[address(0)] = []step{first(func() { close(sending); <-release }, accept)}
		k := w.start(func(cfg *worker.Config) { cfg.MaxConnections = 1 })
		results := make(chan worker.Delivery, 2)
		err := k.Submit(w.t.Context(), []campaign.Submission{submission(0, 1), submission(1, 2)},
			func(_ int, d worker.Delivery) { results <- d })
		if err != nil {
			w.t.Fatal(err)
		}
		<-sending
		stopped := make(chan error, 1)
		go func() { stopped <- k.Stop(context.WithoutCancel(w.t.Context())) }()
		w.pass(time.Second)
		close(release)
		if err := <-stopped; err != nil {
			w.t.Error(err)
		}
		if n := len(results); n != 2 {
			w.t.Errorf("done was called %d times", n)
		}
		w.expect([]row{accepted(address(0)), waiting(address(1))})
	})
}

// TestSubmitKilled kills a worker with SIGKILL while it sends what was submitted, and starts another on what it left.
func TestSubmitKilled(t *testing.T) {
	t.Parallel()
	everybody := addresses(0, crashRecipients)
	for _, point := range []string{beforeSubmit, afterSubmit, inData, inDot, inDotAccepted, beforeRecord, afterRecord} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.killAt(point, crashSubmitVariable+"=1")
			k := w.start(func(cfg *worker.Config) { cfg.Sender = ledgerFile(w.dir) })
			if err := k.Rescue(t.Context()); err != nil {
				t.Error(err)
			}
			if point == beforeSubmit {
				w.stop(k)
				w.expect(nil)
				return
			}
			for i := range crashRecipients {
				w.run(k, submission(i, i+1).JobID())
			}
			if err := k.Rescue(t.Context()); err != nil {
				t.Error(err)
			}
			w.stop(k)
			want, ledger := each(0, crashRecipients, accepted), everybody
			if point == inDot || point == inDotAccepted {
				want[crashVictim] = doubted(address(crashVictim))
			}
			if point == inDot {
				ledger = append(addresses(0, crashVictim), addresses(crashVictim+1, crashRecipients)...)
			}
			w.expect(want)
			w.expectFile(ledger)
			w.expectNoJournal()
			for _, j := range w.jobs() {
				if j.Status == "PROCESSING" || j.Sent+j.Failed != j.Total {
					t.Errorf("a job is unfinished: %+v", j)
				}
			}
		})
	}
}

// TestSubmitHeld: whoever asks for another try of a mail whose sender is refused learns until when there is none.
func TestSubmitHeld(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		w.relay.fallback = refuse(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseMail, Scope: mail.ScopeSender, Code: 550})
		k := w.start(nil)
		m := submission(0, 1)
		w.expectEnded(w.submit(k, m), ended{true, []campaign.State{campaign.StatePending}})
		w.pass(time.Second)
		progress := w.run(k, m.JobID())
		if left := time.Until(progress.HeldUntil); progress.Finished || left <= 0 || left > 5*time.Minute {
			w.t.Errorf("progress = %+v, held for another %s", progress, left)
		}
		w.stop(k)
		w.expectLedger(nil)
	})
}
