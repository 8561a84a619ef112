package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// system is a database and a queue of one measurement, as the operator and a worker share them.
type system struct {
	name, url, prefix string

	db     *store.Store
	queue  *bull.Queue
	outbox *outbox.Outbox
	undo   []func() error
}

// queueName is the default of QUEUE_NAME_EMAIL.
const queueName = "email-queue"

// campaignKey is that of the one campaign in a system.
const campaignKey = "bench/campaign"

func (b *bench) newSystem(ctx context.Context) (s *system, err error) {
	s = &system{prefix: "bench-" + uuid.NewString()[:8]}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	var drop func() error
	if s.name, s.url, drop, err = b.Servers.NewDatabase(ctx); err != nil {
		return nil, err
	}
	s.undo = append(s.undo, drop, func() error {
		return measure.Forget(context.WithoutCancel(ctx), b.Servers.Redis, s.prefix)
	})
	if s.db, err = store.Open(ctx, s.url); err != nil {
		return nil, err
	}
	s.undo = append(s.undo, s.db.Close)
	if err := s.db.Migrate(ctx); err != nil {
		return nil, err
	}
	if s.queue, err = bull.New(b.Servers.Redis, bull.Config{Prefix: s.prefix, Queue: queueName}); err != nil {
		return nil, err
	}
	s.outbox, err = outbox.New(outbox.Config{Store: s.db, Queue: s.queue})
	return s, err
}

func (s *system) close() (err error) {
	for _, undo := range slices.Backward(s.undo) {
		err = errors.Join(err, undo())
	}
	return err
}

// write writes the campaign as the operator does, calls ready before it seals it, and puts its jobs into the queue.
func (s *system) write(ctx context.Context, mails, size, jobSize int, ready func()) error {
	c, err := content(size)
	if err != nil {
		return err
	}
	draft := campaign.Draft{
		Key: campaignKey, Origin: campaign.OriginKubernetes, ListHash: "bench", Content: c, JobSize: jobSize, CreatedAt: time.Now(),
	}
	ledger := &sealedLedger{Ledger: s.db, before: ready}
	record, err := campaign.NewLoader(ledger, nil).Load(ctx, draft, &people{end: mails})
	if err != nil {
		return fmt.Errorf("writing the campaign: %w", err)
	}
	if !record.Sealed() || record.Totals.Recipients != int64(mails) {
		return errors.New("the campaign is not sealed, or not whole")
	}
	return s.outbox.RingCampaign(ctx, campaignKey)
}

// sealedLedger tells when all rows are written, and the campaign is about to be sealed: nobody could send before.
type sealedLedger struct {
	campaign.Ledger

	before func()
}

// Seal implements campaign.Ledger.
func (l *sealedLedger) Seal(ctx context.Context, key string, totals campaign.Totals, now time.Time) (campaign.Record, error) {
	l.before()
	return l.Ledger.Seal(ctx, key, totals, now)
}

// rows counts the recipients by how they are.
type rows struct{ sent, inDoubt, all int }

// await waits until no job is to be worked off, and counts the recipients.
func (b *bench) await(ctx context.Context, s *system) error {
	return measure.Poll(ctx, "all jobs are over", 5*time.Millisecond, patience, func(ctx context.Context) (bool, error) {
		var left int
		err := b.Servers.Admin.QueryRowContext(ctx,
			"SELECT COUNT(*) FROM `"+s.name+"`.`EmailJob` WHERE `status` NOT IN ('COMPLETED', 'FAILED')").Scan(&left)
		return left == 0, err
	})
}

func (b *bench) count(ctx context.Context, s *system) (r rows, err error) {
	err = b.Servers.Admin.QueryRowContext(ctx, "SELECT COALESCE(SUM(`status` = 'SENT'), 0), COALESCE(SUM(`state` = 'inDoubt'), 0), COUNT(*) FROM `"+
		s.name+"`.`Recipient`").Scan(&r.sent, &r.inDoubt, &r.all)
	return r, err
}

// endToEnd measures a worker that waits already: from the moment when all rows are written, before the seal, until every
// row says SENT and every job is over.
func (b *bench) endToEnd(ctx context.Context, s *system, l load, jobSize, pid int) (sample, error) {
	if err := b.Sink.Expect(0, l.mails, l.roundTrip); err != nil {
		return sample{}, err
	}
	var w *watch
	if err := s.write(ctx, l.mails, b.settings.size, jobSize, func() { w = b.watch(pid) }); err != nil {
		return sample{}, err
	}
	if err := b.awaitMails(ctx, l.mails); err != nil {
		return sample{}, err
	}
	if err := b.await(ctx, s); err != nil {
		return sample{}, err
	}
	result, err := w.end(l.mails)
	if err != nil {
		return result, err
	}
	found, err := b.count(ctx, s)
	if err == nil && found != (rows{sent: l.mails, all: l.mails}) {
		err = fmt.Errorf("of %d recipients, %d are SENT and %d in doubt", found.all, found.sent, found.inDoubt)
	}
	return result, err
}
