package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
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

// Get reads as from the operator's cache: what that does not keep, nobody may need.
func (c *countedClient) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, object, opts...); err != nil {
		return err
	}
	_, err := Slim(object)
	return err
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
