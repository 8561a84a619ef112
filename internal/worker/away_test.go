package worker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// noteBook is the real store, and keeps what the worker asked it to hold.
type noteBook struct {
	worker.Store
	mu    sync.Mutex
	holds []campaign.Hold
	// err is what the database answers to holds instead of taking them.
	err error
}

func (b *noteBook) HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = append(b.holds, hold)
	if b.err != nil {
		return b.err
	}
	return b.Store.HoldCampaign(ctx, key, hold)
}

// written returns the holds since it was last asked.
func (b *noteBook) written() []campaign.Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	written := b.holds
	b.holds = nil
	return written
}

func (w *world) expectHold(want *campaign.Hold) {
	w.t.Helper()
	record, err := w.db.Campaign(w.t.Context(), testKey)
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(want, record.Hold); diff != "" {
		w.t.Errorf("hold (-want +got):\n%s", diff)
	}
}

// treat has the relay treat everybody so from now on.
func (w *world) treat(fallback step) {
	w.relay.mu.Lock()
	defer w.relay.mu.Unlock()
	w.relay.fallback = fallback
}

func TestRelayAwayIsNotedAndCleared(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(20, 100)
		book := &noteBook{Store: w.db}
		w.treat(away)
		k := w.start(func(cfg *worker.Config) { cfg.Store = book })
		began := time.Now()
		w.run(k, jobs[0]) // gives up after a minute

		notes := book.written()
		if len(notes) < 2 || len(notes) > 4 {
			t.Fatalf("%d notes in a minute, want 2 to 4", len(notes))
		}
		for i, note := range notes {
			at := note.Until
			if i == 0 && !at.Equal(began) || at.After(time.Now()) || i > 0 && at.Sub(notes[i-1].Until) < 20*time.Second {
				t.Errorf("note %d is of %s, the run began at %s", i, at, began)
			}
			want := campaign.Hold{Reason: worker.HoldRelayUnavailable, Message: awayDetail, Until: at}
			if diff := cmp.Diff(want, note); diff != "" {
				t.Errorf("note (-want +got):\n%s", diff)
			}
		}
		last := notes[len(notes)-1]
		last.Until = last.Until.UTC().Truncate(time.Millisecond)
		w.expectHold(&last)

		w.treat(nil)
		w.run(k, jobs[0]) // the note did not keep it from claiming
		if written := book.written(); !slices.Contains(written, campaign.Hold{}) {
			t.Errorf("the run wrote %+v, and did not clear the note", written)
		}
		w.expectHold(nil)
		w.expect(each(0, 20, accepted))
		w.run(k, jobs[0])
		w.stop(k)
		if diff := cmp.Diff([]campaign.Hold(nil), book.written()); diff != "" {
			t.Errorf("holds after all that (-want +got):\n%s", diff)
		}
	})
}

func TestNotesThatTheDatabaseRefusesAreNoTrouble(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(20, 100)
		book := &noteBook{Store: w.db, err: errAway}
		w.relay.script[address(0)] = []step{away, away, away, away}
		k := w.start(func(cfg *worker.Config) { cfg.Store, cfg.MaxConnections = book, 1 })
		w.run(k, jobs[0])
		w.stop(k)
		if len(book.written()) == 0 {
			t.Error("nothing was noted")
		}
		w.expect(each(0, 20, accepted))
	})
}

func TestRefusedCredentialsAreNotNotedAsAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		jobs := w.seed(20, 10)
		book := &noteBook{Store: w.db}
		w.treat(refuse(mail.Verdict{
			Outcome: mail.Permanent, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Code: 535,
			Category: mail.CategoryRelayAuth, Detail: "the relay refuses the credentials",
		}))
		k := w.start(func(cfg *worker.Config) { cfg.Store = book })
		ended := make(chan struct{}, len(jobs))
		for _, id := range jobs {
			go func() {
				w.run(k, id)
				ended <- struct{}{}
			}()
		}
		for range jobs {
			<-ended
		}
		w.stop(k)
		for _, hold := range book.written() {
			if hold.Reason != worker.HoldAuthenticationFailed {
				t.Errorf("the worker wrote %+v", hold)
			}
		}
	})
}

func TestRelayAwayFromALegacyJobIsOnlyLogged(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		w.seedLegacy(5)
		book := &noteBook{Store: w.db}
		w.relay.script[address(0)] = []step{away, away}
		k := w.start(func(cfg *worker.Config) { cfg.Store, cfg.MaxConnections = book, 1 })
		w.run(k, legacyJob)
		w.pass(time.Minute)
		w.run(k, legacyJob)
		w.stop(k)
		if diff := cmp.Diff([]campaign.Hold(nil), book.written()); diff != "" {
			t.Errorf("holds (-want +got):\n%s", diff)
		}
		w.expect(each(0, 5, accepted))
	})
}
