package worker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // rows are compared as they are in the file

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/worker"
)

const (
	testKey  = "shop/spring"
	testFrom = "news@shop.example"
)

var errAway = errors.New("the database is away")

func TestMain(m *testing.M) {
	if os.Getenv(crashChildVariable) != "" {
		crashChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// world is a database, a journal directory and a relay, which outlive the workers on them.
type world struct {
	t     testing.TB
	dir   string
	db    *store.Store
	store *hookedStore
	relay *scriptedRelay
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), relay: &scriptedRelay{script: map[string][]step{}}}
	w.db = openStore(t, w.dir)
	w.store = &hookedStore{Store: w.db}
	return w
}

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(dir, "cartero.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// close ends the database; inside a bubble that has to happen before the bubble ends.
func (w *world) close() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) journalDir() string { return filepath.Join(w.dir, "journal") }

func (w *world) config() worker.Config {
	return worker.Config{
		Store: w.store, Sender: w.relay, Compose: compose.Compose, JournalDir: w.journalDir(),
		From: mail.Address{Address: "default@shop.example"}, MaxConnections: 4,
		Random: func() float64 { return 0.5 }, Logger: slog.New(slog.NewTextHandler(testLog{w.t}, nil)),
	}
}

// testLog writes a log into the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	if strings.ContainsRune(string(line), '@') {
		l.t.Errorf("an address was logged: %s", line)
	}
	return len(line), nil
}

// start starts a worker on the world; change may be nil.
func (w *world) start(change func(*worker.Config)) *worker.Worker {
	w.t.Helper()
	cfg := w.config()
	if change != nil {
		change(&cfg)
	}
	k, err := worker.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := k.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) stop(k *worker.Worker) {
	w.t.Helper()
	if err := k.Stop(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

func address(i int) string { return fmt.Sprintf("r%04d@example.com", i) }

// seed writes and seals a campaign, and returns its jobs' ids.
func (w *world) seed(recipients, jobSize int) []string {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.db.Open(ctx, campaign.Draft{
		Key: testKey, Origin: campaign.OriginKubernetes, ListHash: "list", JobSize: jobSize, CreatedAt: time.Now(),
		Content: campaign.Content{From: mail.Address{Name: "Shop", Address: testFrom}, Subject: "Spring", Text: "Hello"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for first := 0; first < recipients; first += jobSize {
		shard := campaign.Shard{Key: testKey, Number: len(ids)}
		for i := first; i < min(recipients, first+jobSize); i++ {
			shard.Recipients = append(shard.Recipients, campaign.Recipient{Address: address(i)})
		}
		if err := w.db.WriteShard(ctx, shard); err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, campaign.JobID(testKey, shard.Number))
	}
	totals := campaign.Totals{Recipients: int64(recipients), Jobs: len(ids)}
	if _, err := w.db.Seal(ctx, testKey, totals, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// row is what the tests compare of a Recipient: every column that a worker writes, times as whether they are set.
type row struct {
	Email, Status, State string
	Attempts             int
	Category             string
	Code                 int
	Sent, Next, Leased   bool
}

// rows returns all recipients in the order of their addresses.
func (w *world) rows() []row {
	w.t.Helper()
	var found []row
	w.query("SELECT email, status, COALESCE(state,''), attempts, COALESCE(category,''), COALESCE(smtpCode,0),"+
		" sentAt IS NOT NULL, nextAttemptAt IS NOT NULL, leaseUntil IS NOT NULL FROM Recipient ORDER BY email",
		func(scan func(...any) error) error {
			var r row
			err := scan(&r.Email, &r.Status, &r.State, &r.Attempts, &r.Category, &r.Code, &r.Sent, &r.Next, &r.Leased)
			found = append(found, r)
			return err
		})
	return found
}

// job is a row of EmailJob.
type job struct {
	Status                string
	Total, Sent, Failed   int
	Started, CompletedSet bool
}

func (w *world) jobs() []job {
	w.t.Helper()
	var found []job
	w.query("SELECT status, totalEmails, sentEmails, failedEmails, startedAt IS NOT NULL, completedAt IS NOT NULL"+
		" FROM EmailJob ORDER BY COALESCE(shard, 0), id",
		func(scan func(...any) error) error {
			var j job
			err := scan(&j.Status, &j.Total, &j.Sent, &j.Failed, &j.Started, &j.CompletedSet)
			found = append(found, j)
			return err
		})
	return found
}

func (w *world) query(statement string, each func(scan func(...any) error) error) {
	w.t.Helper()
	db := w.raw()
	defer db.Close()
	rows, err := db.QueryContext(w.t.Context(), statement)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) raw() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "cartero.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	return db
}

// The rows that most tests end with.
func accepted(email string) row {
	return row{Email: email, Status: "SENT", State: "accepted", Attempts: 1, Code: 250, Sent: true}
}

func waiting(email string) row { return row{Email: email, Status: "PENDING", State: "pending"} }

func doubted(email string) row {
	return row{Email: email, Status: "FAILED", State: "inDoubt", Attempts: 1, Category: mail.CategoryInDoubt}
}

// each makes rows for the recipients from first up to but without end.
func each(first, end int, make func(email string) row) []row {
	var all []row
	for i := first; i < end; i++ {
		all = append(all, make(address(i)))
	}
	return all
}

func (w *world) expect(want []row) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.rows()); diff != "" {
		w.t.Errorf("recipients (-want +got):\n%s", diff)
	}
}

// expectButAttempts leaves open whether a doubt that was dispelled counts as an attempt.
func (w *world) expectButAttempts(want []row) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.rows(), cmpopts.IgnoreFields(row{}, "Attempts")); diff != "" {
		w.t.Errorf("recipients (-want +got):\n%s", diff)
	}
}

func (w *world) expectJobs(want ...job) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.jobs()); diff != "" {
		w.t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func done(total, sent int) job {
	j := job{Status: "COMPLETED", Total: total, Sent: sent, Failed: total - sent, Started: true, CompletedSet: true}
	if sent == 0 {
		j.Status = "FAILED"
	}
	return j
}

// expectLedger compares whom the relay accepted mails for, in the order of addresses.
func (w *world) expectLedger(want []string) {
	w.t.Helper()
	got := w.relay.accepted()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("mails accepted by the relay (-want +got):\n%s", diff)
	}
}

func addresses(first, end int) []string {
	var all []string
	for i := first; i < end; i++ {
		all = append(all, address(i))
	}
	return all
}

func (w *world) expectNoJournal() {
	w.t.Helper()
	entries, err := os.ReadDir(w.journalDir())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		w.t.Errorf("the journal still has %s", e.Name())
	}
}

// run handles the job and fails the test on an error.
func (w *world) run(k *worker.Worker, jobID string) campaign.JobProgress {
	w.t.Helper()
	progress, err := k.HandleJob(w.t.Context(), jobID)
	if err != nil {
		w.t.Errorf("HandleJob: %v", err)
	}
	return progress
}

// step is how the relay treats one transaction.
type step func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict

// scriptedRelay is a mail.Sender with a ledger. Who is not in the script is accepted.
type scriptedRelay struct {
	mu     sync.Mutex
	script map[string][]step
	// fallback treats whom the script does not name; nil accepts.
	fallback step
	ledger   []string
	raw      map[string][]string
}

func (r *scriptedRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	r.mu.Lock()
	do := r.fallback
	if steps := r.script[envelope.To]; len(steps) > 0 {
		do, r.script[envelope.To] = steps[0], steps[1:]
	}
	if r.raw == nil {
		r.raw = map[string][]string{}
	}
	r.raw[envelope.To] = append(r.raw[envelope.To], envelope.From+"\n"+string(raw))
	r.mu.Unlock()
	if do == nil {
		do = accept
	}
	return do(ctx, r, envelope.To, beforeDot)
}

func (r *scriptedRelay) Close() error { return nil }

func (r *scriptedRelay) accept(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = append(r.ledger, to)
}

func (r *scriptedRelay) accepted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ledger)
}

// vetoed is the verdict where beforeDot refused.
func vetoed() mail.Verdict {
	return mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseData, Scope: mail.ScopeRecipient, Category: mail.CategoryOther}
}

func accept(_ context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
	if err := beforeDot(); err != nil {
		return vetoed()
	}
	r.accept(to)
	return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
}

// refuse ends the transaction with this verdict; after the dot if that is its phase.
func refuse(v mail.Verdict) step {
	return func(_ context.Context, _ *scriptedRelay, _ string, beforeDot func() error) mail.Verdict {
		if v.Phase == mail.PhaseDot {
			if err := beforeDot(); err != nil {
				return vetoed()
			}
		}
		return v
	}
}

var away = refuse(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Category: mail.CategoryNetwork})

// first does something before the transaction.
func first(do func(), then step) step {
	return func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		do()
		return then(ctx, r, to, beforeDot)
	}
}

// heldAtDot stops between the final dot, with which the relay accepts, and the reply: it closes reached, and goes on
// once release is closed, or breaks off with ctx.
func heldAtDot(reached, release chan struct{}) step {
	return func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		if err := beforeDot(); err != nil {
			return vetoed()
		}
		r.accept(to)
		close(reached)
		select {
		case <-release:
			return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
		case <-ctx.Done():
			return mail.Verdict{Outcome: mail.Uncertain, Phase: mail.PhaseDot, Category: mail.CategoryInDoubt}
		}
	}
}

// hookedStore is the real store, with something happening before or after its calls.
type hookedStore struct {
	worker.Store
	mu     sync.Mutex
	before func(method string) error
	after  func(method string) error
}

func (s *hookedStore) hook(before, after func(method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func call[T any](s *hookedStore, method string, do func() (T, error)) (T, error) {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	var zero T
	if before != nil {
		if err := before(method); err != nil {
			return zero, err
		}
	}
	value, err := do()
	if err == nil && after != nil {
		if err := after(method); err != nil {
			return zero, err
		}
	}
	return value, err
}

func none(do func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, do() }
}

func (s *hookedStore) Job(ctx context.Context, id string) (campaign.Job, error) {
	return call(s, "Job", func() (campaign.Job, error) { return s.Store.Job(ctx, id) })
}

func (s *hookedStore) StartJob(ctx context.Context, id string, now time.Time) error {
	_, err := call(s, "StartJob", none(func() error { return s.Store.StartJob(ctx, id, now) }))
	return err
}

func (s *hookedStore) Claim(ctx context.Context, c campaign.Claim) ([]campaign.Claimed, error) {
	return call(s, "Claim", func() ([]campaign.Claimed, error) { return s.Store.Claim(ctx, c) })
}

func (s *hookedStore) Announce(ctx context.Context, token string, ids []string, now time.Time) ([]string, error) {
	return call(s, "Announce", func() ([]string, error) { return s.Store.Announce(ctx, token, ids, now) })
}

func (s *hookedStore) Record(ctx context.Context, token string, results []campaign.Result) (int, error) {
	return call(s, "Record", func() (int, error) { return s.Store.Record(ctx, token, results) })
}

func (s *hookedStore) RenewLeases(ctx context.Context, tokens []string, until time.Time) error {
	_, err := call(s, "RenewLeases", none(func() error { return s.Store.RenewLeases(ctx, tokens, until) }))
	return err
}

func (s *hookedStore) Release(ctx context.Context, token string) (int, error) {
	return call(s, "Release", func() (int, error) { return s.Store.Release(ctx, token) })
}

func (s *hookedStore) Held(ctx context.Context, token string) (map[string]bool, error) {
	return call(s, "Held", func() (map[string]bool, error) { return s.Store.Held(ctx, token) })
}

func (s *hookedStore) Rescue(ctx context.Context, now time.Time) (worker.Rescued, error) {
	return call(s, "Rescue", func() (worker.Rescued, error) { return s.Store.Rescue(ctx, now) })
}

func (s *hookedStore) FinishJob(ctx context.Context, id string, now time.Time) (campaign.JobProgress, error) {
	return call(s, "FinishJob", func() (campaign.JobProgress, error) { return s.Store.FinishJob(ctx, id, now) })
}

func (s *hookedStore) HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error {
	_, err := call(s, "HoldCampaign", none(func() error { return s.Store.HoldCampaign(ctx, key, hold) }))
	return err
}
