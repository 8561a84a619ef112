package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// readList reads a list from a file to its end.
func readList(ctx context.Context, o order) (outcome, error) {
	file, err := os.Open(o.File)
	if err != nil {
		return outcome{}, err
	}
	defer file.Close()
	before := baseline()
	begin := time.Now()
	rows, err := drain(ctx, recipients.New(file, recipients.CSV))
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		Seconds: map[string]float64{"read": time.Since(begin).Seconds()}, Grown: peak() - before, Rows: rows,
	}, nil
}

// baseline is the memory that the process has before it does anything of interest.
func baseline() float64 {
	debug.FreeOSMemory()
	now, _ := measure.Memory(os.Getpid())
	return now
}

func drain(ctx context.Context, list *recipients.List) (int64, error) {
	for {
		if _, err := list.Next(ctx); errors.Is(err, io.EOF) {
			return list.Summary().Accepted, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// loadList does what the operator does with a campaign that is new, on an empty database.
func loadList(ctx context.Context, o order) (result outcome, err error) {
	op, err := connect(ctx, o)
	if err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, op.close()) }()
	before := baseline()
	clock := newClock()

	file, err := op.client.Get(ctx, fetch.Request{URL: o.URL, Gunzip: true})
	if err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	clock.done("fetch")
	if _, err := drain(ctx, recipients.New(file.Open(), recipients.CSV)); err != nil {
		return outcome{}, err
	}
	clock.done("check")
	draft := campaign.Draft{
		Key: "bench/list", Origin: campaign.OriginKubernetes, ListHash: file.ContentSHA256(),
		Content: campaign.Content{Subject: "News", Text: "Hello {{name}}"},
		JobSize: campaign.DefaultJobSize, CreatedAt: time.Now(),
	}
	ledger := &timedLedger{Ledger: op.db}
	record, err := campaign.NewLoader(ledger, nil).Load(ctx, draft, recipients.New(file.Open(), recipients.CSV))
	if err != nil {
		return outcome{}, err
	}
	if !record.Sealed() {
		return outcome{}, errors.New("the campaign is not sealed")
	}
	clock.done("write")
	if err := op.outbox.RingCampaign(ctx, draft.Key); err != nil {
		return outcome{}, err
	}
	clock.done("ring")
	clock.seconds["seal"] = ledger.seal.Seconds()
	clock.seconds["write"] -= ledger.seal.Seconds()
	return outcome{Seconds: clock.seconds, Rows: record.Totals.Recipients, Grown: peak() - before, CPU: measure.CPU(os.Getpid())}, nil
}

// clock measures steps that come one after another.
type clock struct {
	seconds map[string]float64
	last    time.Time
}

func newClock() *clock { return &clock{map[string]float64{}, time.Now()} }

func (c *clock) done(step string) {
	c.seconds[step] = time.Since(c.last).Seconds()
	c.last = time.Now()
}

// timedLedger measures the seal apart from the rest.
type timedLedger struct {
	campaign.Ledger
	seal time.Duration
}

// Seal implements campaign.Ledger.
func (l *timedLedger) Seal(ctx context.Context, key string, totals campaign.Totals, now time.Time) (campaign.Record, error) {
	begin := time.Now()
	defer func() { l.seal = time.Since(begin) }()
	return l.Ledger.Seal(ctx, key, totals, now)
}

// operator is what of an operator writes campaigns.
type operator struct {
	client *fetch.Client
	db     *store.Store
	redis  *redis.Client
	outbox *outbox.Outbox
}

func connect(ctx context.Context, o order) (_ *operator, err error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, err
	}
	var op operator
	op.client, err = fetch.New(fetch.Config{AllowPrivate: []string{u.Hostname()}, Ports: []int{port}, CA: []byte(o.CA)})
	if err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(o.Redis)
	if err != nil {
		return nil, err
	}
	if op.db, err = store.Open(ctx, o.Database); err != nil {
		return nil, err
	}
	op.redis = redis.NewClient(options)
	queue, err := bull.New(op.redis, bull.Config{Queue: o.Queue})
	if err == nil {
		op.outbox, err = outbox.New(outbox.Config{Store: op.db, Queue: queue})
	}
	if err == nil {
		err = errors.Join(op.db.Ping(ctx), queue.Ping(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, op.close())
	}
	return &op, nil
}

func (o *operator) close() error { return errors.Join(o.redis.Close(), o.db.Close()) }
