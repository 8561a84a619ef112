package facade_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/submit"
)

const key = "a-key-of-the-test"

// at is the time of every request.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a facade over a SQLite database, with a doorbell and a queue that the test controls.
type fixture struct {
	t       *testing.T
	handler http.Handler
	cfg     facade.Config
	store   *store.Store
	path    string // of the database; not on that of another
	ledger  *ledger
	bell    *bell
	// waiting and queueErr are what the queue says of its length.
	waiting  int64
	queueErr error
}

// bell remembers what was rung.
type bell struct {
	keys []string
	err  error
}

func (b *bell) RingCampaign(_ context.Context, key string) error {
	b.keys = append(b.keys, key)
	return b.err
}

// ledger is the store, with hooks at the steps where things go wrong. A hook that is nil changes nothing.
type ledger struct {
	campaign.Ledger
	opened     atomic.Int64
	beforeOpen func()
	writeShard func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error
	seal       func(campaign.Record, error) (campaign.Record, error)
}

func (l *ledger) Open(ctx context.Context, draft campaign.Draft) (campaign.Record, error) {
	l.opened.Add(1)
	if l.beforeOpen != nil {
		l.beforeOpen()
	}
	return l.Ledger.Open(ctx, draft)
}

func (l *ledger) WriteShard(ctx context.Context, shard campaign.Shard) error {
	if l.writeShard != nil {
		return l.writeShard(l.Ledger.WriteShard, ctx, shard)
	}
	return l.Ledger.WriteShard(ctx, shard)
}

func (l *ledger) Seal(ctx context.Context, key string, totals campaign.Totals, now time.Time) (campaign.Record, error) {
	record, err := l.Ledger.Seal(ctx, key, totals, now)
	if l.seal != nil {
		return l.seal(record, err)
	}
	return record, err
}

func newFixture(t *testing.T, changes ...func(*facade.Config)) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.sqlite")
	db, err := store.Open(t.Context(), "sqlite://"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFixtureOn(t, db, changes...)
	f.path = path
	return f
}

// newFixtureOn is a facade of its own, with its own ids, on a database that others may be on, too.
func newFixtureOn(t *testing.T, db *store.Store, changes ...func(*facade.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, store: db, ledger: &ledger{Ledger: db}, bell: &bell{}}
	var ids atomic.Int64
	mails := newMails(t, db)
	f.cfg = facade.Config{
		Submission:  mails,
		Ledger:      f.ledger,
		Jobs:        db,
		Doorbell:    f.bell,
		QueueLength: func(context.Context) (int64, error) { return f.waiting, f.queueErr },
		Keys:        []string{"another-key", key},
		MaxQueue:    100,
		JobSize:     3,
		DefaultFrom: mail.Address{Name: "News", Address: "news@example.com"},
		Unavailable: func(err error) bool { return errors.Is(err, errAway) },
		Now:         func() time.Time { return at },
		NewID:       func() string { return fmt.Sprintf("id-%d", ids.Add(1)) },
	}
	for _, change := range changes {
		change(&f.cfg)
	}
	var err error
	if f.handler, err = facade.New(f.cfg); err != nil {
		t.Fatal(err)
	}
	return f
}

// errAway is what an outage looks like.
var errAway = errors.New("connection refused")

// reply is a whole answer.
type reply struct {
	Status int
	Header map[string]string
	Body   string
}

// headers are those of every answer with these added: name, value, name, value.
func headers(more ...string) map[string]string {
	all := map[string]string{
		"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
		"X-Request-Id": "id-1",
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// problemReply is a whole answer with problem details (RFC 9457).
func problemReply(status int, text string, more ...string) reply {
	header := headers(more...)
	header["Content-Type"] = "application/problem+json"
	return reply{status, header, fmt.Sprintf(
		`{"ok":false,"error":%q,"title":%q,"status":%d,"detail":%[1]q}`, text, http.StatusText(status), status)}
}

func (f *fixture) do(r *http.Request) reply {
	f.t.Helper()
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, r)
	got := reply{Status: recorder.Code, Header: map[string]string{}, Body: strings.TrimSuffix(recorder.Body.String(), "\n")}
	for name, values := range recorder.Header() {
		got.Header[name] = strings.Join(values, ", ")
	}
	return got
}

func get(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("X-API-Key", key)
	return r
}

func post(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/send-campaign", body)
	r.Header.Set("X-API-Key", key)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// send posts a campaign.
func (f *fixture) send(body string) reply {
	f.t.Helper()
	return f.do(post(strings.NewReader(body)))
}

// campaignKey is the key of the first campaign of a fixture: the first id is the request's.
const campaignKey = "http/id-2"

// nothingLeft fails the test unless the first campaign left no row and no ring.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	if _, err := f.store.Campaign(context.WithoutCancel(f.t.Context()), campaignKey); !errors.Is(err, campaign.ErrNotFound) {
		f.t.Errorf("the campaign is in the database: %v", err)
	}
	if len(f.bell.keys) > 0 {
		f.t.Errorf("rung: %q", f.bell.keys)
	}
}

// recipients claims everybody in the campaign's first job.
func (f *fixture) recipients() []campaign.Recipient {
	f.t.Helper()
	claimed, err := f.store.Claim(f.t.Context(), campaign.Claim{
		JobID: campaign.JobID(campaignKey, 0), Token: "t", Limit: 100, Now: at, LeaseUntil: at.Add(time.Minute),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	all := make([]campaign.Recipient, len(claimed))
	for i, c := range claimed {
		all[i] = c.Recipient
	}
	return all
}

// newMails is a service on the database that sends nothing.
func newMails(t *testing.T, db *store.Store) *submit.Service {
	t.Helper()
	service, err := submit.New(submit.Config{Store: db, Queue: noQueue{}, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return service
}

// noQueue is away.
type noQueue struct{}

func (noQueue) Ring(context.Context, []outbox.Ring) error { return errAway }
