package worker_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// losingRelay has something happen to the database while a mail is between final dot and reply.
type losingRelay struct {
	ledgerFile

	sent     *atomic.Int32
	at       int32
	lose     func()
	recorded <-chan struct{} // closed when the result of that mail is in the database
}

func (r losingRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	if r.sent.Load() == r.at { // the next mail is slow
		<-r.recorded
	}
	verdict := r.ledgerFile.Send(ctx, envelope, raw, beforeDot)
	if verdict.Outcome == mail.Sent && r.sent.Add(1) == r.at {
		r.lose()
	}
	return verdict
}

// TestAClaimThatTheDatabaseHasLost: a replica takes the database's place that does not know the claim. Who was sent under it is
// recorded, who was not is given back, and nobody is mailed twice.
func TestAClaimThatTheDatabaseHasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := w.seed(20, 1000)
	const at = 3
	var ended, results atomic.Int32
	recorded := make(chan struct{})
	raw := w.raw()
	defer raw.Close()
	k := w.start(func(cfg *worker.Config) {
		cfg.MaxConnections, cfg.Window = 1, 8
		cfg.Hooks.OnResult = func(campaign.State, string) {
			if results.Add(1) == at {
				close(recorded)
			}
		}
		cfg.Sender = losingRelay{ledgerFile(w.dir), new(atomic.Int32), at, func() {
			ended.Add(1)
			for _, statement := range []string{
				"UPDATE `Recipient` SET `state` = 'pending', `status` = 'PENDING', `error` = NULL, `leaseToken` = NULL, `announcedAt` = NULL" +
					" WHERE `state` = 'active'",
				"DELETE FROM `Lease`",
			} {
				if _, err := raw.ExecContext(t.Context(), statement); err != nil {
					t.Error(err)
				}
			}
		}, recorded}
	})
	for range 3 { // a run may find that who is left was given back behind it
		w.run(k, jobs[0])
	}
	w.stop(k)
	if ended.Load() != 1 {
		t.Error("nothing was lost")
	}
	w.expect(each(0, 20, accepted))
	w.expectFile(addresses(0, 20))
	w.expectJobs(done(20, 20))
	w.expectNoJournal()
}
