package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

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
	paused    func(context.Context) (bool, error)
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
		QueuePaused: w.paused,
		Now:         clock,
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
