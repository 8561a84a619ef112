package worker_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// closing is a reply that closes the channel.
func closing(phase mail.Phase) step {
	return refuse(mail.Verdict{
		Outcome: mail.Temporary, Phase: phase, Scope: mail.ScopeRelay, Code: 421, Category: mail.CategoryRateLimited,
	})
}

// later is a refusal for now.
var later = refuse(mail.Verdict{
	Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 450, Category: mail.CategoryRateLimited,
})

// A mail over which the relay closes the channel each time is given up in the end, and costs nobody else an attempt.
func TestTheMailThatARelayClosesOver(t *testing.T) {
	t.Parallel()
	givenUp := row{Email: address(3), Status: "FAILED", State: "failed", Attempts: 2, Category: mail.CategoryRateLimited, Code: 421}
	for _, tc := range []struct {
		name  string
		relay []step // to one recipient, then it accepts
		tries int
		want  row
	}{
		{"twice, and then no more", []step{closing(mail.PhaseRcpt), closing(mail.PhaseRcpt)}, 3, accepted(address(3))},
		{
			"twice, refused otherwise, twice again",
			[]step{
				closing(mail.PhaseRcpt), closing(mail.PhaseRcpt), later, closing(mail.PhaseRcpt), closing(mail.PhaseRcpt),
			},
			6,
			row{Email: address(3), Status: "SENT", State: "accepted", Attempts: 2, Code: 250, Sent: true},
		},
		{"at RCPT, always", slices.Repeat([]step{closing(mail.PhaseRcpt)}, 6), 6, givenUp},
		{"after the dot, always", slices.Repeat([]step{closing(mail.PhaseDot)}, 6), 6, givenUp},
		{"where no recipient was named, it is the relay's trouble", slices.Repeat([]step{closing(mail.PhaseMail)}, 8), 9, accepted(address(3))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				jobs := w.seed(20, 100)
				w.relay.script[address(3)] = tc.relay
				k := w.start(func(cfg *worker.Config) { cfg.Retry.MaxAttempts = 2 })
				for !w.run(k, jobs[0]).Finished {
					<-time.After(10 * time.Minute) // of the bubble: longer than any wait
				}
				w.stop(k)
				want := each(0, 20, accepted)
				want[3] = tc.want
				w.expect(want)
				if got := len(w.relay.raw[address(3)]); got != tc.tries {
					t.Errorf("%d tries, want %d", got, tc.tries)
				}
			})
		})
	}
}
