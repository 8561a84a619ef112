package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// shardLedger takes one campaign's shards.
type shardLedger struct {
	campaign.Ledger // what is not asked

	write func(ctx context.Context, shard campaign.Shard) error

	mu        sync.Mutex
	shards    map[int][]campaign.Recipient
	busy      atomic.Int32
	busiest   atomic.Int32
	discarded bool
	sealed    campaign.Totals
}

func (l *shardLedger) Open(_ context.Context, draft campaign.Draft) (campaign.Record, error) {
	return campaign.Record{
		Key: draft.Key, ContentHash: draft.Content.Hash(), ListHash: draft.ListHash, JobSize: draft.JobSize, Control: draft.Control,
	}, nil
}

func (l *shardLedger) Steer(context.Context, string, campaign.Steered) (campaign.Record, error) {
	return campaign.Record{}, nil
}

func (l *shardLedger) WriteShard(ctx context.Context, shard campaign.Shard) error {
	busy := l.busy.Add(1)
	defer l.busy.Add(-1)
	l.busiest.Store(max(l.busiest.Load(), busy))
	if l.write != nil {
		if err := l.write(ctx, shard); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shards == nil {
		l.shards = map[int][]campaign.Recipient{}
	}
	l.shards[shard.Number] = slices.Clone(shard.Recipients)
	return nil
}

func (l *shardLedger) Seal(_ context.Context, _ string, totals campaign.Totals, now time.Time) (campaign.Record, error) {
	l.sealed = totals
	return campaign.Record{Totals: totals, SealedAt: &now}, nil
}

func (l *shardLedger) Campaign(context.Context, string) (campaign.Record, error) {
	return campaign.Record{Key: "sealed by another"}, nil
}

func (l *shardLedger) Discard(context.Context, string) error {
	l.discarded = true
	return nil
}

// people is a list of n, which ends with an error if there is one.
type people struct {
	n, at int
	err   error
	text  string
}

func (p *people) Next(ctx context.Context) (campaign.Recipient, error) {
	if err := ctx.Err(); err != nil {
		return campaign.Recipient{}, err
	}
	if p.at == p.n {
		if p.err != nil {
			return campaign.Recipient{}, p.err
		}
		return campaign.Recipient{}, io.EOF
	}
	p.at++
	return campaign.Recipient{Address: fmt.Sprintf("user%d@example.com", p.at-1), Variables: map[string]string{"text": p.text}}, nil
}

func (p *people) Totals() campaign.Totals { return campaign.Totals{Duplicates: 3} }

// panicking is a list that panics behind its end.
type panicking struct{ people }

func (p *panicking) Next(ctx context.Context) (campaign.Recipient, error) {
	if p.at == p.n {
		panic("the list")
	}
	return p.people.Next(ctx)
}

func load(t *testing.T, ledger *shardLedger, size int, list *people) (campaign.Record, error) {
	t.Helper()
	record, err := campaign.NewLoader(ledger, nil).Load(t.Context(), campaign.Draft{Key: "k", JobSize: size}, list)
	if ledger.busy.Load() != 0 {
		t.Error("something is still being written")
	}
	return record, err
}

func TestLoadWritesEachShardOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, size, jobs int }{{1, 10, 1}, {10, 10, 1}, {11, 10, 2}, {95, 10, 10}, {5, 1, 5}, {3, 0, 1}} {
		ledger := &shardLedger{}
		if _, err := load(t, ledger, test.size, &people{n: test.n}); err != nil {
			t.Fatal(err)
		}
		var all []string
		for number := range test.jobs {
			for _, r := range ledger.shards[number] {
				all = append(all, r.Address)
			}
			if test.size > 0 && number < test.jobs-1 && len(ledger.shards[number]) != test.size {
				t.Errorf("%+v: shard %d has %d", test, number, len(ledger.shards[number]))
			}
		}
		want := make([]string, test.n)
		for i := range want {
			want[i] = fmt.Sprintf("user%d@example.com", i)
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", test, diff)
		}
		totals := campaign.Totals{Recipients: int64(test.n), Jobs: test.jobs, Duplicates: 3}
		if diff := cmp.Diff(totals, ledger.sealed); diff != "" || len(ledger.shards) != test.jobs {
			t.Errorf("%+v: %d shards, totals (-want +got)\n%s", test, len(ledger.shards), diff)
		}
	}
}

func TestLoadOfNobody(t *testing.T) {
	t.Parallel()
	ledger := &shardLedger{}
	record, err := load(t, ledger, 10, &people{})
	if !errors.Is(err, campaign.ErrNoRecipients) || !ledger.discarded || record.Totals.Duplicates != 3 {
		t.Errorf("%v, discarded %v, %+v", err, ledger.discarded, record)
	}
}

// Two shards are written while the third is read: each waits here for the other.
func TestLoadWritesTwoAtATime(t *testing.T) {
	t.Parallel()
	both := make(chan struct{}, 2)
	ledger := &shardLedger{}
	ledger.write = func(ctx context.Context, shard campaign.Shard) error {
		if shard.Number > 1 {
			return nil
		}
		both <- struct{}{}
		for len(both) < 2 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		return nil
	}
	if _, err := load(t, ledger, 2, &people{n: 20}); err != nil {
		t.Fatal(err)
	}
	if got := ledger.busiest.Load(); got != 2 {
		t.Errorf("%d at a time", got)
	}
}

// A shard that takes much memory is written before the list is read on.
func TestLoadReadsNothingAheadOfBigShards(t *testing.T) {
	t.Parallel()
	list := &people{n: 6, text: strings.Repeat("x", 5<<20)}
	ledger := &shardLedger{}
	ledger.write = func(_ context.Context, shard campaign.Shard) error {
		if want := 2 * (shard.Number + 1); list.at != want {
			t.Errorf("shard %d: %d were read, want %d", shard.Number, list.at, want)
		}
		return nil
	}
	if _, err := load(t, ledger, 2, list); err != nil {
		t.Fatal(err)
	}
	if len(ledger.shards) != 3 || ledger.busiest.Load() != 1 {
		t.Errorf("%d shards, %d at a time", len(ledger.shards), ledger.busiest.Load())
	}
}

func TestLoadStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	away, broken := errors.New("away"), errors.New("broken")
	t.Run("of the ledger", func(t *testing.T) {
		t.Parallel()
		ledger := &shardLedger{}
		ledger.write = func(ctx context.Context, shard campaign.Shard) error {
			switch shard.Number {
			case 3:
				return away
			case 4: // fails only because of the other
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		_, err := load(t, ledger, 1, &people{n: 1000})
		if !errors.Is(err, away) || err.Error() != "writing job 3 of the campaign: away" {
			t.Errorf("got %v", err)
		}
		if len(ledger.shards) > 10 || ledger.discarded || ledger.sealed.Jobs > 0 {
			t.Errorf("%d shards, discarded %v, sealed %+v", len(ledger.shards), ledger.discarded, ledger.sealed)
		}
	})
	t.Run("of the list", func(t *testing.T) {
		t.Parallel()
		ledger := &shardLedger{}
		_, err := load(t, ledger, 2, &people{n: 7, err: broken})
		if !errors.Is(err, broken) || len(ledger.shards) != 3 || ledger.sealed.Jobs > 0 {
			t.Errorf("got %v, %d shards", err, len(ledger.shards))
		}
	})
	t.Run("sealed by another", func(t *testing.T) {
		t.Parallel()
		ledger := &shardLedger{write: func(context.Context, campaign.Shard) error { return campaign.ErrSealed }}
		record, err := load(t, ledger, 2, &people{n: 7})
		if err != nil || record.Key != "sealed by another" {
			t.Errorf("got %+v, %v", record, err)
		}
	})
	t.Run("a panic of the ledger is the caller's", func(t *testing.T) {
		t.Parallel()
		ledger := &shardLedger{write: func(context.Context, campaign.Shard) error { panic(broken) }}
		defer func() {
			if cause := recover(); cause != broken || ledger.busy.Load() != 0 { //nolint:errorlint // the value itself
				t.Errorf("recovered %v", cause)
			}
		}()
		_, err := load(t, ledger, 2, &people{n: 7})
		t.Errorf("no panic, %v", err)
	})
	t.Run("a panic of the list leaves nobody writing", func(t *testing.T) {
		t.Parallel()
		ledger := &shardLedger{write: func(ctx context.Context, _ campaign.Shard) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		defer func() {
			if recover() == nil || ledger.busy.Load() != 0 {
				t.Error("not recovered, or still writing")
			}
		}()
		_, err := campaign.NewLoader(ledger, nil).Load(t.Context(), campaign.Draft{Key: "k", JobSize: 1}, &panicking{people{n: 1}})
		t.Errorf("no panic, %v", err)
	})
	t.Run("of the caller", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		ledger := &shardLedger{write: func(context.Context, campaign.Shard) error { cancel(); return nil }}
		_, err := campaign.NewLoader(ledger, nil).Load(ctx, campaign.Draft{Key: "k", JobSize: 1}, &people{n: 1000})
		if !errors.Is(err, context.Canceled) || len(ledger.shards) > 10 {
			t.Errorf("got %v, %d shards", err, len(ledger.shards))
		}
	})
}
