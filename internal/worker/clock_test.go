package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

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

// TestWrongClocks: of two workers one has a clock that is ten minutes wrong, from the start or from one moment to the next in the
// middle of a mail. The other takes its leases for expired, or it those of the other: doubts come and go, and in the end
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
				cfg.Sender = heldRelay{ledgerFile(w.dir), new(atomic.Int32), 3, dotted, letGo}
			})
			second := w.start(func(cfg *worker.Config) {
				cfg.Now = func() time.Time { return time.Now().Add(test.other) }
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
