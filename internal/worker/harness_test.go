package worker_test

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // rows are compared as they are in the file

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
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
	// workers are all that were started.
	workers []*worker.Worker
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{t: tb, dir: tb.TempDir(), relay: &scriptedRelay{script: map[string][]step{}}}
	w.db = openStore(tb, w.dir)
	tb.Cleanup(w.close) // inside a bubble it is run before the bubble ends
	w.store = &hookedStore{Store: w.db}
	return w
}

func openStore(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	db, err := store.Open(tb.Context(), "sqlite://"+filepath.Join(dir, "cartero.db"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return db
}

// close ends what a test that failed left running, and the database.
func (w *world) close() {
	w.t.Helper()
	if w.t.Failed() {
		for _, k := range w.workers {
			_ = k.Stop(w.t.Context()) // again, for most
		}
	}
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) journalDir() string { return filepath.Join(w.dir, "journal") }

func (w *world) config() worker.Config {
	return worker.Config{
		Store: w.store, Sender: w.relay, JournalDir: w.journalDir(),
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
	w.workers = append(w.workers, k)
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
	return w.seedWith(campaign.Control{}, recipients, jobSize)
}

// seedWith is seed for a campaign that is steered so.
func (w *world) seedWith(control campaign.Control, recipients, jobSize int) []string {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.db.Open(ctx, campaign.Draft{
		Control: control,
		Key:     testKey, Origin: campaign.OriginKubernetes, ListHash: "list", JobSize: jobSize, CreatedAt: time.Now(),
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
	Sent, Next, Token    bool
}

// rows returns all recipients in the order of their addresses.
func (w *world) rows() []row {
	w.t.Helper()
	var found []row
	w.query("SELECT email, status, COALESCE(state,''), attempts, COALESCE(category,''), COALESCE(smtpCode,0),"+
		" sentAt IS NOT NULL, nextAttemptAt IS NOT NULL, leaseToken IS NOT NULL FROM Recipient ORDER BY email",
		func(scan func(...any) error) error {
			var r row
			err := scan(&r.Email, &r.Status, &r.State, &r.Attempts, &r.Category, &r.Code, &r.Sent, &r.Next, &r.Token)
			found = append(found, r)
			return err
		})
	return found
}

// expectLeases compares how many leases run, and how many are kept for a doubt alone.
func (w *world) expectLeases(running, ended int) {
	w.t.Helper()
	w.query("SELECT COUNT(until), COUNT(*) - COUNT(until) FROM Lease", func(scan func(...any) error) error {
		var gotRunning, gotEnded int
		err := scan(&gotRunning, &gotEnded)
		if gotRunning != running || gotEnded != ended {
			w.t.Errorf("%d leases run and %d are kept for doubts, want %d and %d", gotRunning, gotEnded, running, ended)
		}
		return err
	})
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
	return row{Email: email, Status: "FAILED", State: "inDoubt", Attempts: 1, Category: mail.CategoryInDoubt, Token: true}
}

// each makes rows for the recipients from first up to but without end.
func each(first, end int, build func(email string) row) []row {
	var all []row
	for i := first; i < end; i++ {
		all = append(all, build(address(i)))
	}
	return all
}

func (w *world) expect(want []row) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.rows()); diff != "" {
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
