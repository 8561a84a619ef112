package facade_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/telemetry"
	"github.com/cartero-mail/cartero/internal/worker"
)

// wire is everything from the HTTP request to the relay: facade, database, worker and SMTP, with nothing left out.
type wire struct {
	t        testing.TB
	handler  http.Handler
	queue    *ringer
	bell     *bell
	log      *journal
	registry *prometheus.Registry

	mu   sync.Mutex
	sent []smtptest.Entry
}

// journal is a log that many write to.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newWire starts one. logger makes the logger of all parts, which writes to the wire's log.
func newWire(tb testing.TB, script smtptest.Script, logger func(io.Writer) *slog.Logger, change func(*facade.Config)) *wire {
	tb.Helper()
	w := &wire{t: tb, queue: &ringer{}, bell: &bell{}, log: &journal{}, registry: prometheus.NewRegistry()}
	script.OnEntry = func(e smtptest.Entry) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, e)
	}
	relay := smtptest.Start(tb, script)
	pool, err := smtp.NewPool(smtp.Config{Host: relay.Host(), Port: relay.Port()})
	if err != nil {
		tb.Fatal(err)
	}
	db, err := store.Open(tb.Context(), "sqlite://"+filepath.Join(tb.TempDir(), "test.sqlite"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	log := logger(w.log)
	metrics := telemetry.NewWorkerMetrics(w.registry)
	engine, err := worker.New(worker.Config{
		Store: db, Sender: pool, JournalDir: filepath.Join(tb.TempDir(), "journal"), Logger: log,
		Retry: worker.RetryPolicy{MaxAttempts: 1, InitialBackoff: time.Second, MaxBackoff: time.Second, MaxAge: time.Minute, GreylistDelay: time.Second},
		Hooks: worker.Hooks{OnSend: func(took time.Duration, _ mail.Outcome) { metrics.Phase("send", took) }, OnRescue: metrics.Recovered},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := engine.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	service, err := submit.New(submit.Config{Store: db, Queue: w.queue, Sender: engine, Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- service.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		for _, err := range []error{<-ended, engine.Stop(context.Background()), pool.Close(), db.Close()} {
			if err != nil {
				tb.Error(err)
			}
		}
	})
	cfg := facade.Config{
		Ledger: &ledger{Ledger: db}, Jobs: db, Submission: service, Doorbell: w.bell, Keys: []string{key},
		QueueLength: func(context.Context) (int64, error) { return 0, nil },
		DefaultFrom: mail.Address{Name: "News", Address: "news@example.com"},
		Unavailable: store.IsUnavailable, Logger: log, Metrics: telemetry.NewHTTPMetrics(w.registry),
	}
	if change != nil {
		change(&cfg)
	}
	if w.handler, err = facade.New(cfg); err != nil {
		tb.Fatal(err)
	}
	return w
}

// quiet is a logger that writes nothing.
func quiet(io.Writer) *slog.Logger { return slog.New(slog.DiscardHandler) }

// post posts a body, and returns the answer's status and body. more are headers: name, value.
func (w *wire) post(path, body string, more ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	return w.do(r)
}

func (w *wire) do(r *http.Request) (int, string) {
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	return recorder.Code, recorder.Body.String()
}

// taken returns what the relay has got since it was last asked.
func (w *wire) taken() []smtptest.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.sent
	w.sent = nil
	return taken
}
