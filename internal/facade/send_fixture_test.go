package facade_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite" // a column is read that no call tells

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/worker"
)

// step is how the relay treats one transaction.
type step func(ctx context.Context, beforeDot func() error) mail.Verdict

// relay is a mail.Sender that goes by a script, address by address. Whom it does not name is accepted.
type relay struct {
	mu     sync.Mutex
	script map[string][]step
	// sent has a line for each mail that was accepted: to whom, and the mail.
	sent []string
}

func (r *relay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	r.mu.Lock()
	do := step(accept)
	if steps := r.script[envelope.To]; len(steps) > 0 {
		do = steps[0]
		if len(steps) > 1 { // the last one is kept up
			r.script[envelope.To] = steps[1:]
		}
	}
	r.mu.Unlock()
	v := do(ctx, beforeDot)
	if v.Outcome == mail.Sent {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent = append(r.sent, envelope.To+"\n"+string(raw))
	}
	return v
}

func (r *relay) Close() error { return nil }

// addressees are those whose mails were accepted, in order.
func (r *relay) addressees() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, mail := range r.sent {
		to, _, _ := strings.Cut(mail, "\n")
		all = append(all, to)
	}
	return all
}

// vetoed is the verdict where beforeDot refused.
var vetoed = mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseData, Scope: mail.ScopeRecipient, Category: mail.CategoryOther}

func accept(_ context.Context, beforeDot func() error) mail.Verdict {
	if err := beforeDot(); err != nil {
		return vetoed
	}
	return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
}

// says ends a transaction with this verdict.
func says(v mail.Verdict) step {
	return func(_ context.Context, beforeDot func() error) mail.Verdict {
		if v.Phase == mail.PhaseDot {
			if err := beforeDot(); err != nil {
				return vetoed
			}
		}
		return v
	}
}

var (
	unknownMailbox = says(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, EnhancedCode: "5.1.1", Category: mail.CategoryBadMailbox, Detail: "550 5.1.1 no such mailbox"})
	spam           = says(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Code: 554, Category: mail.CategoryPolicy, Detail: "554 looks like spam"})
	later          = says(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 452, Category: mail.CategoryMailboxFull, Detail: "452 the mailbox is full"})
	silence        = says(mail.Verdict{Outcome: mail.Uncertain, Phase: mail.PhaseDot, Scope: mail.ScopeRecipient, Category: mail.CategoryInDoubt, Detail: "the connection was lost"})
	nobodyThere    = says(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Category: mail.CategoryNetwork, Detail: "connecting to the relay failed"})
	badLogin       = says(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Code: 535, Category: mail.CategoryRelayAuth, Detail: "535 no"})
	badSender      = says(mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseMail, Scope: mail.ScopeSender, Code: 553, Category: mail.CategorySenderRefused, Detail: "553 no"})
)

// database is the store, which may be away.
type database struct {
	*store.Store
	away atomic.Bool
}

func (d *database) Submit(ctx context.Context, mails []campaign.Submission, lease *campaign.Lease, now time.Time) ([]campaign.Submitted, error) {
	if d.away.Load() {
		return nil, errAway
	}
	return d.Store.Submit(ctx, mails, lease, now)
}

// ringer is a queue that remembers.
type ringer struct {
	mu    sync.Mutex
	err   error
	rings []outbox.Ring
}

func (q *ringer) Ring(_ context.Context, rings []outbox.Ring) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	q.rings = append(q.rings, rings...)
	return nil
}

// stage is a facade that sends: a database, a worker's engine and a relay, in time that passes by itself.
type stage struct {
	*fixture
	db    *database
	relay *relay
	queue *ringer
}

// option changes what a stage is made of.
type option struct {
	noRelay bool
	facade  func(*facade.Config)
}

// play runs a test on a stage in a bubble.
func play(t *testing.T, o option, test func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{relay: &relay{script: map[string][]step{}}, queue: &ringer{}}
		path := filepath.Join(t.TempDir(), "test.sqlite")
		db, err := store.Open(t.Context(), "sqlite://"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.db = &database{Store: db}
		cfg := submit.Config{Store: s.db, Queue: s.queue}
		if !o.noRelay {
			engine := s.engine(t)
			defer func() {
				if err := engine.Stop(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			cfg.Sender = engine
		}
		service, err := submit.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- service.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		s.fixture = s.again(t, service, o.facade)
		s.path = path
		test(s)
	})
}

// again is a facade on the stage.
func (s *stage) again(t *testing.T, service *submit.Service, change func(*facade.Config)) *fixture {
	t.Helper()
	return newFixtureOn(t, s.db.Store, func(cfg *facade.Config) {
		cfg.Submission, cfg.Now = service, time.Now
		cfg.Unavailable = func(err error) bool { return errors.Is(err, errAway) || store.IsUnavailable(err) }
		if change != nil {
			change(cfg)
		}
	})
}

func (s *stage) engine(t *testing.T) *worker.Worker {
	t.Helper()
	engine, err := worker.New(worker.Config{
		Store: s.db, Sender: s.relay, JournalDir: filepath.Join(t.TempDir(), "journal"),
		Random: func() float64 { return 0.5 },
		Retry: worker.RetryPolicy{
			MaxAttempts: 3, InitialBackoff: 2 * time.Second, MaxBackoff: 8 * time.Second, MaxAge: time.Minute, GreylistDelay: time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return engine
}

// to posts a mail to /send or /send_async; more are headers: name, value.
func to(path, body string, more ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	return r
}

var placeholder = regexp.MustCompile(`\{(job|mid:[^}]*)\}`)

// fill puts the ids of the campaign with this key where a wanted answer has {job} or {mid:address}.
func fill(text, campaignKey string) string {
	job := campaign.JobID(campaignKey, 0)
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if address, ok := strings.CutPrefix(p, "{mid:"); ok {
			return "<" + campaign.MessageID(job, strings.TrimSuffix(address, "}"), "news@example.com") + ">"
		}
		return job
	})
}

// answered is a whole answer about the mail with this key.
func answered(status int, campaignKey, body string, more ...string) reply {
	return reply{status, headers(append([]string{"Location", "/jobs/" + campaign.JobID(campaignKey, 0)}, more...)...), fill(body, campaignKey)}
}

// rows says how the recipients of the mail with this key stand.
func (s *stage) rows(campaignKey string) []string {
	s.t.Helper()
	reports, err := s.store.RecipientReports(context.WithoutCancel(s.t.Context()), campaign.JobID(campaignKey, 0), "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, r := range reports {
		all = append(all, fmt.Sprintf("%s %s after %d, %d %s", r.Address, r.State, r.Attempts, r.Code, r.Category))
	}
	return all
}

// count counts what a condition selects.
func (s *stage) count(query string, values ...any) int {
	s.t.Helper()
	db, err := sql.Open("sqlite", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	n := 0
	if err := db.QueryRowContext(s.t.Context(), "SELECT COUNT(*) FROM "+query, values...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}
