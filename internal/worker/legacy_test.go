package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

const legacyJob = "7a1f6f0e-3c55-4f3e-9d0f-5b6f3d1c2b10"

// seedLegacy writes a job as the Node backend does: the old columns, nothing else.
func (w *world) seedLegacy(recipients int) {
	w.t.Helper()
	db := w.raw()
	defer db.Close()
	at := time.Now().UTC().Format("2006-01-02 15:04:05.000")
	if _, err := db.ExecContext(w.t.Context(), "INSERT INTO EmailJob (id, subject, body, totalEmails, createdAt) VALUES (?, ?, ?, ?, ?)",
		legacyJob, "Hola", "<p>Hola</p>", recipients, at); err != nil {
		w.t.Fatal(err)
	}
	for i := range recipients {
		if _, err := db.ExecContext(w.t.Context(), "INSERT INTO Recipient (id, jobId, email) VALUES (?, ?, ?)",
			"legacy "+address(i), legacyJob, address(i)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// rings returns the jobs that the outbox would ring.
func (w *world) rings() []string {
	w.t.Helper()
	due, err := w.db.DueJobs(w.t.Context(), "", time.Now(), time.Now(), 10)
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, job := range due {
		ids = append(ids, job.ID)
	}
	return ids
}

func TestLegacyJob(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		w.seedLegacy(5)
		k := w.start(nil)
		progress := w.run(k, legacyJob)
		w.stop(k)
		if progress.Status != campaign.JobCompleted || !progress.ResumeAt.IsZero() {
			w.t.Errorf("progress = %+v", progress)
		}
		w.expect(each(0, 5, accepted))
		w.expectJobs(done(5, 5))
		w.expectLedger(addresses(0, 5))
		raw := w.relay.raw[address(0)][0]
		if !strings.HasPrefix(raw, "default@shop.example\n") || !strings.Contains(raw, "<p>Hola</p>") {
			w.t.Errorf("the mail is not the job's, from the default sender:\n%s", raw)
		}
	})
}

// TestLegacyJobIsRungAgain: the outbox rings a legacy job only for recipients that are deferred, and nobody else does.
func TestLegacyJobIsRungAgain(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]step{
		"the relay is away":       away,
		"the sender is refused":   refuse(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseMail, Scope: mail.ScopeSender, Code: 550}),
		"the account is refused":  refuse(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Code: 535, Category: mail.CategoryRelayAuth}),
		"the recipient may retry": refuse(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 452}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				w.seedLegacy(30)
				w.relay.fallback = then
				k := w.start(nil)
				w.run(k, legacyJob)
				n := len(w.relay.raw)
				before := time.Now()
				progress := w.run(k, legacyJob)
				if resume := progress.ResumeAt; progress.Finished || resume.Before(before.Add(time.Second)) || resume.After(before.Add(10*time.Minute)) {
					w.t.Errorf("progress = %+v at %s, want the queue to run the job again in some minutes at most", progress, before)
				}
				if got := w.rings(); len(got) > 0 {
					w.t.Errorf("the outbox would ring %v, which the queue has", got)
				}
				if name != "the relay is away" && len(w.relay.raw) != n {
					w.t.Errorf("%d mails were tried during the hold", len(w.relay.raw)-n)
				}
				w.pass(10 * time.Minute)
				if diff := cmp.Diff([]string{legacyJob}, w.rings()); diff != "" {
					w.t.Errorf("jobs to ring (-want +got):\n%s", diff)
				}
				w.relay.mu.Lock()
				w.relay.fallback = nil
				w.relay.mu.Unlock()
				w.run(k, legacyJob)
				w.stop(k)
				w.expectLedger(addresses(0, 30))
				w.expectJobs(done(30, 30))
			})
		})
	}
}

func TestWithoutASenderNobodyIsTried(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		w.seedLegacy(3)
		k := w.start(func(cfg *worker.Config) { cfg.From = mail.Address{} })
		w.run(k, legacyJob)
		w.stop(k)
		w.expectLedger(nil)
		legacy := func(email string) row { return row{Email: email, Status: "PENDING"} }
		w.expect(each(0, 3, legacy))
	})
}
