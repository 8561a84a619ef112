package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/devstack"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// world is the real API server, a store on SQLite and the embedded Redis, with a reconciler that the test drives loop
// by loop: nothing happens between two lines of a test.
type world struct {
	cluster   *kubetest.Cluster
	namespace string
	store     *store.Store
	queue     *bull.Queue
	effects   *effects
	recorder  *events.FakeRecorder
	now       time.Time
	from      mail.Address
	testers   []string
	mailed    mailed
	fetcher   Fetcher
	links     bool // the engine has an address for unsubscribing
	// quiet is how long nobody may end before a campaign makes no progress; 0 is the default.
	quiet time.Duration
}

// mailed remembers test mails.
type mailed struct{ mails []campaign.Submission }

func (m *mailed) Enqueue(_ context.Context, mail campaign.Submission) error {
	m.mails = append(m.mails, mail)
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cluster := kubetest.Start(t)
	w := newBackend(t)
	w.cluster, w.namespace = cluster, cluster.Namespace(t)
	return w
}

// newBackend is a world without API server.
func newBackend(t *testing.T) *world {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "cartero.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	url, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	connection, err := conn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	queue, err := bull.New(connection, bull.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		store: db, queue: queue, effects: &effects{}, recorder: events.NewFakeRecorder(1000),
		now: time.Now().UTC().Truncate(time.Millisecond).Add(time.Second),
	}
}

// reconciler is a new one: it knows nothing of earlier loops, as after a restart.
func (w *world) reconciler(t *testing.T) *EmailCampaignReconciler {
	t.Helper()
	clock := func() time.Time { return w.now }
	box, err := outbox.New(outbox.Config{
		Store: &countedOutboxStore{Store: w.store, effects: w.effects},
		Queue: &countedQueue{Queue: w.queue, effects: w.effects},
		Now:   clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &EmailCampaignReconciler{
		Client:         &countedClient{Client: w.cluster.Client, effects: w.effects},
		Reader:         w.cluster.Client,
		Recorder:       w.recorder,
		Ledger:         &countedLedger{Ledger: w.store, effects: w.effects},
		Doorbell:       box,
		IsUnavailable:  func(err error) bool { return store.IsUnavailable(err) || errors.Is(err, errAway) },
		Redact:         telemetry.Redact,
		DefaultFrom:    w.from,
		TestRecipients: w.testers, NoProgressAfter: w.quiet,
		Mailer: &w.mailed, Fetcher: w.fetcher, Suppressed: w.store, ManagedUnsubscribe: w.links,
		Now: clock,
	}
	if err := r.validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) apply(t *testing.T, object *v1alpha1.EmailCampaign) client.ObjectKey {
	t.Helper()
	if err := w.cluster.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return client.ObjectKeyFromObject(object)
}

// applyLater applies until the API server's clock, which stamps whole seconds, has gone on.
func (w *world) applyLater(t *testing.T, manifest func() *v1alpha1.EmailCampaign, after metav1.Time) client.ObjectKey {
	t.Helper()
	for {
		object := manifest()
		key := w.apply(t, object)
		if object.CreationTimestamp.After(after.Time) {
			return key
		}
		if err := w.cluster.Client.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) get(t *testing.T, key client.ObjectKey) *v1alpha1.EmailCampaign {
	t.Helper()
	object := &v1alpha1.EmailCampaign{}
	if err := w.cluster.Client.Get(t.Context(), key, object); err != nil {
		t.Fatal(err)
	}
	return object
}

// update changes the object as a user does.
func (w *world) update(t *testing.T, key client.ObjectKey, mutate func(*v1alpha1.EmailCampaign)) {
	t.Helper()
	object := w.get(t, key)
	mutate(object)
	if err := w.cluster.Client.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// settle runs loops, each with a new reconciler, until one changes nothing, and returns the last one's outcome. A loop
// that fails ends it.
func (w *world) settle(t *testing.T, key client.ObjectKey) (ctrl.Result, error) {
	t.Helper()
	const enough = 20
	for range enough {
		before := w.effects.count()
		result, err := w.reconciler(t).Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
		if err != nil || w.effects.count() == before {
			return result, err
		}
	}
	t.Fatalf("still not settled after %d loops", enough)
	return ctrl.Result{}, nil
}

// mustSettle is settle for a story without an outage.
func (w *world) mustSettle(t *testing.T, key client.ObjectKey) *v1alpha1.EmailCampaign {
	t.Helper()
	if _, err := w.settle(t, key); err != nil {
		t.Fatal(err)
	}
	object := &v1alpha1.EmailCampaign{}
	if err := w.cluster.Client.Get(t.Context(), key, object); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return object
}

// deliver does what a worker does to every recipient that is due, with the given end.
func (w *world) deliver(t *testing.T, key string, end func(address string) campaign.Result) {
	t.Helper()
	w.deliverJobs(t, w.jobs(t, key), end)
}

func (w *world) deliverJobs(t *testing.T, jobs []string, end func(address string) campaign.Result) {
	t.Helper()
	ctx := t.Context()
	for _, job := range jobs {
		rung := []string{campaign.BullID(job, 0), campaign.BullID(job, 1), campaign.BullID(job, 2)}
		if err := w.queue.Unring(ctx, rung); err != nil { // it takes the job out of the queue
			t.Fatal(err)
		}
		if err := w.store.StartJob(ctx, job, w.now); err != nil {
			t.Fatal(err)
		}
		claimed, err := w.store.Claim(ctx, campaign.Claim{
			JobID: job, Token: "worker-1", Limit: 1000, Now: w.now,
			LeaseUntil: w.now.Add(time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		var results []campaign.Result
		for _, recipient := range claimed {
			result := end(recipient.Address)
			result.RecipientID, result.At, result.CountAttempt = recipient.ID, w.now, true
			ids, results = append(ids, recipient.ID), append(results, result)
		}
		if _, err := w.store.Announce(ctx, "worker-1", ids, w.now); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Record(ctx, "worker-1", results); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.FinishJob(ctx, job, w.now); err != nil {
			t.Fatal(err)
		}
	}
}

func accepted(string) campaign.Result {
	return campaign.Result{State: campaign.StateAccepted, Code: 250}
}

// jobs are the ids of the campaign's jobs, in the order of shards.
func (w *world) jobs(t *testing.T, key string) []string {
	t.Helper()
	record, err := w.store.Campaign(t.Context(), key)
	if errors.Is(err, campaign.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, record.Totals.Jobs)
	for shard := range ids {
		ids[shard] = campaign.JobID(key, shard)
	}
	return ids
}

// rows are the campaign's recipients as "job/address: state", and queued the Bull ids of its jobs that wait.
func (w *world) rows(t *testing.T, key string) []string {
	t.Helper()
	var rows []string
	err := w.store.EachRecipient(t.Context(), key, func(job, address string, state campaign.State) error {
		rows = append(rows, fmt.Sprintf("%s/%s: %s", job, address, state))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func (w *world) queued(t *testing.T, key string) []string {
	t.Helper()
	var ids []string
	for _, job := range w.jobs(t, key) {
		for ring := range 3 {
			ids = append(ids, campaign.BullID(job, ring))
		}
	}
	waiting, err := w.queue.Waiting(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var queued []string
	for _, id := range ids {
		if waiting[id] {
			queued = append(queued, id)
		}
	}
	return queued
}

// events drains what was told since the last call.
func (w *world) events() []string {
	var told []string
	for {
		select {
		case e := <-w.recorder.Events:
			told = append(told, e)
		default:
			return told
		}
	}
}

// errAway is what a dependency that is away answers; errCrash ends a loop as kill -9 would.
var (
	errAway  = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	errCrash = errors.New("killed")
)

// effects counts side effects and can cut a loop short before or after any of them.
type effects struct {
	mu sync.Mutex
	n  int
	// reads counts what was asked of database and queue.
	reads int
	// crashAt is the number of the effect at which every call fails from then on; 0 for never. With after, that one
	// still happens.
	crashAt int
	after   bool
	// away makes every call to this dependency fail: "database" or "queue".
	away string
}

func (e *effects) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n
}

// do runs one side effect, unless the process is dead or the dependency away.
func (e *effects) do(dependency string, effect func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away == dependency {
		return errAway
	}
	e.n++
	switch {
	case e.crashAt == 0 || e.n < e.crashAt:
		return effect()
	case e.n == e.crashAt && e.after:
		_ = effect() // it happened; nobody lived to see how
	}
	return errCrash
}

// read fails while the dependency is away or the process dead.
func (e *effects) read(dependency string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads++
	if e.away == dependency {
		return errAway
	}
	if e.crashAt != 0 && e.n >= e.crashAt {
		return errCrash
	}
	return nil
}

// restart lives again after a crash.
func (e *effects) restart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n, e.crashAt = 0, 0
}

type countedLedger struct {
	campaign.Ledger
	effects *effects
}

func (l *countedLedger) Open(ctx context.Context, draft campaign.Draft) (record campaign.Record, err error) {
	err = l.effects.do("database", func() (err error) { record, err = l.Ledger.Open(ctx, draft); return })
	return record, err
}

func (l *countedLedger) WriteShard(ctx context.Context, shard campaign.Shard) error {
	return l.effects.do("database", func() error { return l.Ledger.WriteShard(ctx, shard) })
}

func (l *countedLedger) Seal(ctx context.Context, key string, totals campaign.Totals, now time.Time) (record campaign.Record, err error) {
	err = l.effects.do("database", func() (err error) { record, err = l.Ledger.Seal(ctx, key, totals, now); return })
	return record, err
}

func (l *countedLedger) Steer(ctx context.Context, key string, to campaign.Steered) (record campaign.Record, err error) {
	err = l.effects.do("database", func() (err error) { record, err = l.Ledger.Steer(ctx, key, to); return })
	return record, err
}

func (l *countedLedger) Discard(ctx context.Context, key string) error {
	return l.effects.do("database", func() error { return l.Ledger.Discard(ctx, key) })
}

func (l *countedLedger) Cancel(ctx context.Context, key, reason string, now time.Time) error {
	return l.effects.do("database", func() error { return l.Ledger.Cancel(ctx, key, reason, now) })
}

func (l *countedLedger) Campaign(ctx context.Context, key string) (campaign.Record, error) {
	if err := l.effects.read("database"); err != nil {
		return campaign.Record{}, err
	}
	return l.Ledger.Campaign(ctx, key)
}

func (l *countedLedger) Tally(ctx context.Context, key string) (campaign.Tally, error) {
	if err := l.effects.read("database"); err != nil {
		return campaign.Tally{}, err
	}
	return l.Ledger.Tally(ctx, key)
}

func (l *countedLedger) Own(ctx context.Context, key, id string, now time.Time) (owner campaign.Owner, err error) {
	err = l.effects.do("database", func() (err error) { owner, err = l.Ledger.Own(ctx, key, id, now); return })
	return owner, err
}

func (l *countedLedger) Disown(ctx context.Context, key, id string) error {
	return l.effects.do("database", func() error { return l.Ledger.Disown(ctx, key, id) })
}

func (l *countedLedger) Reopen(ctx context.Context, key string) error {
	return l.effects.do("database", func() error { return l.Ledger.Reopen(ctx, key) })
}

func (l *countedLedger) Resume(ctx context.Context, key, token string) error {
	return l.effects.do("database", func() error { return l.Ledger.Resume(ctx, key, token) })
}

func (l *countedLedger) RetryFailed(ctx context.Context, key string, request campaign.RetryRequest) (n int64, err error) {
	err = l.effects.do("database", func() (err error) { n, err = l.Ledger.RetryFailed(ctx, key, request); return })
	return n, err
}

func (l *countedLedger) ResolveInDoubt(ctx context.Context, key string, resolution campaign.Resolution) (n int64, err error) {
	err = l.effects.do("database", func() (err error) { n, err = l.Ledger.ResolveInDoubt(ctx, key, resolution); return })
	return n, err
}

func (l *countedLedger) NoteTest(ctx context.Context, key, token string) error {
	return l.effects.do("database", func() error { return l.Ledger.NoteTest(ctx, key, token) })
}

func (l *countedLedger) HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error {
	return l.effects.do("database", func() error { return l.Ledger.HoldCampaign(ctx, key, hold) })
}

type countedOutboxStore struct {
	outbox.Store
	effects *effects
}

func (s *countedOutboxStore) DueJobs(ctx context.Context, key string, now, rungBefore time.Time, limit int) ([]campaign.DueJob, error) {
	if err := s.effects.read("database"); err != nil {
		return nil, err
	}
	return s.Store.DueJobs(ctx, key, now, rungBefore, limit)
}

func (s *countedOutboxStore) MarkRung(ctx context.Context, jobs []campaign.DueJob, now time.Time) error {
	return s.effects.do("database", func() error { return s.Store.MarkRung(ctx, jobs, now) })
}

func (s *countedOutboxStore) RungJobs(ctx context.Context, key, after string, limit int) ([]campaign.DueJob, error) {
	if err := s.effects.read("database"); err != nil {
		return nil, err
	}
	return s.Store.RungJobs(ctx, key, after, limit)
}

func (s *countedOutboxStore) ForgetRings(ctx context.Context, jobs []campaign.DueJob) error {
	return s.effects.do("database", func() error { return s.Store.ForgetRings(ctx, jobs) })
}

type countedQueue struct {
	outbox.Queue
	effects *effects
}

func (q *countedQueue) Ring(ctx context.Context, rings []outbox.Ring) error {
	return q.effects.do("queue", func() error { return q.Queue.Ring(ctx, rings) })
}

func (q *countedQueue) Unring(ctx context.Context, ids []string) error {
	return q.effects.do("queue", func() error { return q.Queue.Unring(ctx, ids) })
}

type countedClient struct {
	client.Client
	effects *effects
}

func (c *countedClient) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return c.effects.do("apiserver", func() error { return c.Client.Patch(ctx, obj, patch, opts...) })
}

func (c *countedClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.effects.do("apiserver", func() error { return c.Client.Delete(ctx, obj, opts...) })
}

func (c *countedClient) Status() client.SubResourceWriter {
	return &countedStatus{SubResourceWriter: c.Client.Status(), effects: c.effects}
}

func (c *countedClient) Scheme() *runtime.Scheme { return c.Client.Scheme() }

type countedStatus struct {
	client.SubResourceWriter
	effects *effects
}

func (s *countedStatus) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	return s.effects.do("apiserver", func() error { return s.SubResourceWriter.Patch(ctx, obj, patch, opts...) })
}
