package worker_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// heldRelay keeps one mail between final dot and reply until it is let go.
type heldRelay struct {
	ledgerFile

	sent   *atomic.Int32
	at     int32
	dotted chan<- struct{}
	letGo  <-chan struct{}
}

func (r heldRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	return r.ledgerFile.Send(ctx, envelope, raw, func() error {
		err := beforeDot()
		if err == nil && r.sent.Add(1) == r.at {
			close(r.dotted)
			<-r.letGo
		}
		return err
	})
}

// TestALeaseThatOthersHaveEnded: a worker is taken for dead, and its doubts are sent again. Once it hears of that it sends nobody any
// more who was claimed with them; only the one whose mail was on the wire has two.
func TestALeaseThatOthersHaveEnded(t *testing.T) {
	t.Parallel()
	const window, held = 8, 3
	w := newWorld(t)
	jobs := w.seed(20, 1000)
	dotted, recorded, letGo := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var results atomic.Int32
	first := w.start(func(cfg *worker.Config) {
		cfg.MaxConnections, cfg.Window = 1, window
		cfg.Hooks.OnResult = func(campaign.State, string) {
			if results.Add(1) == held-1 {
				close(recorded)
			}
		}
		cfg.Sender = heldRelay{ledgerFile(w.dir), new(atomic.Int32), held, dotted, letGo}
	})
	second := w.start(func(cfg *worker.Config) { cfg.Sender = ledgerFile(w.dir) })
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		w.run(first, jobs[0])
	}()
	<-dotted
	<-recorded
	if _, err := w.db.Rescue(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	retry := campaign.Resolution{Token: "retry", State: campaign.StatePending, Now: time.Now()}
	if n, err := w.db.ResolveInDoubt(t.Context(), testKey, retry); n != window-held+1 || err != nil {
		t.Errorf("%d were in doubt, want %d: %v", n, window-held+1, err)
	}
	if err := first.Renew(t.Context()); err != nil {
		t.Error(err)
	}
	w.run(second, jobs[0])
	close(letGo)
	<-ran
	w.stop(first)
	w.stop(second)
	w.expectFile(slices.Sorted(slices.Values(append(addresses(0, 20), address(held-1)))))
	w.expectNoJournal()
}

// skewedStore is a database whose clock is wrong.
type skewedStore struct {
	worker.Store

	ahead func() time.Duration
}

func (s skewedStore) Time(ctx context.Context) (time.Time, error) {
	now, err := s.Store.Time(ctx)
	return now.Add(s.ahead()), err
}

// TestWrongClocks: of two workers one has a clock that is ten minutes wrong, and a database that agrees, as when another one takes its
// place: from the start or from one moment to the next in the middle of a mail. The other takes its leases for expired, or it those of the other: doubts come and go, and in the end
// everybody has one mail.
func TestWrongClocks(t *testing.T) {
	t.Parallel()
	const wrong = 10 * time.Minute
	for _, test := range []struct {
		start, later, other time.Duration // what the clocks are ahead: of the first worker, of it in the middle of a mail, of the other
	}{
		{start: -wrong, later: -wrong},
		{start: wrong, later: wrong},
		{other: wrong},
		{other: -wrong},
		{later: wrong},
		{later: -wrong},
		{later: wrong, other: -wrong},
	} {
		t.Run(fmt.Sprintf("%s, then %s, the other's %s", test.start, test.later, test.other), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			jobs := w.seed(40, 1000)
			var ahead atomic.Int64
			ahead.Store(int64(test.start))
			dotted, letGo := make(chan struct{}), make(chan struct{})
			first := w.start(func(cfg *worker.Config) {
				cfg.MaxConnections, cfg.Window = 1, 8
				cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				cfg.Store = skewedStore{w.store, func() time.Duration { return time.Duration(ahead.Load()) }}
				cfg.Sender = heldRelay{ledgerFile(w.dir), new(atomic.Int32), 3, dotted, letGo}
			})
			second := w.start(func(cfg *worker.Config) {
				cfg.Now = func() time.Time { return time.Now().Add(test.other) }
				cfg.Store = skewedStore{w.store, func() time.Duration { return test.other }}
				cfg.Sender = ledgerFile(w.dir)
			})
			ran := make(chan struct{})
			go func() {
				defer close(ran)
				w.run(first, jobs[0])
			}()
			<-dotted
			ahead.Store(int64(test.later))
			for _, k := range []*worker.Worker{second, first} {
				if err := k.Rescue(t.Context()); err != nil {
					t.Error(err)
				}
			}
			w.run(second, jobs[0]) // whoever is free by its lights
			close(letGo)
			<-ran
			for _, k := range []*worker.Worker{second, first} {
				w.run(k, jobs[0])
			}
			w.stop(first)
			w.stop(second)
			w.expect(each(0, 40, accepted))
			w.expectFile(addresses(0, 40))
			w.expectJobs(done(40, 40))
			w.expectNoJournal()
		})
	}
}
