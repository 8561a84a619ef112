package worker_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/worker"
)

// nullRelay accepts everything at once.
type nullRelay struct{}

func (nullRelay) Send(_ context.Context, _ mail.Envelope, _ []byte, beforeDot func() error) mail.Verdict {
	if err := beforeDot(); err != nil {
		return vetoed()
	}
	return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
}

func (nullRelay) Close() error { return nil }

// atHand composes the same mail for everybody.
type atHand struct{ from string }

func (c atHand) Append(dst []byte, to compose.Recipient) (compose.Mail, error) {
	return compose.Mail{
		Raw: append(dst, "Subject: Spring\r\n\r\nHello\r\n"...), Envelope: mail.Envelope{From: c.from, To: to.Address},
	}, nil
}

// BenchmarkJob runs jobs of a thousand recipients on SQLite with a relay that costs nothing: what the worker itself
// costs per mail, with and without composing it.
func BenchmarkJob(b *testing.B) {
	plain := func(content mail.Content) (worker.Composer, error) { return atHand{content.From.Address}, nil }
	for _, bench := range []struct {
		name   string
		change func(*worker.Config)
	}{
		{"composed", func(*worker.Config) {}},
		{"bytes at hand", func(cfg *worker.Config) { cfg.Compile = plain }},
		{"synced journal", func(cfg *worker.Config) { cfg.Compile, cfg.JournalSync = plain, true }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const perJob = 1000
			w := newWorld(b)
			jobs := w.seed(b.N*perJob, perJob)
			k := w.start(func(cfg *worker.Config) {
				cfg.Store, cfg.Sender, cfg.Logger = w.db, nullRelay{}, slog.New(slog.NewTextHandler(io.Discard, nil))
				cfg.MaxConnections = worker.DefaultMaxConnections
				bench.change(cfg)
			})
			b.ResetTimer()
			for _, id := range jobs {
				w.run(k, id)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N*perJob)/b.Elapsed().Seconds(), "recipients/s")
			w.stop(k)
		})
	}
}
