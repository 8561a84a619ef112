package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
)

// behindAProxy is a migrated store behind a proxy.
func behindAProxy(t *testing.T) (*store.Store, *mysql.Proxy) {
	t.Helper()
	db := mysqlDatabase(t)
	p, url := mysql.Before(t, db.url)
	s := open(t, database{url: url, sql: db.sql})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, p
}

func submission(key string) campaign.Submission {
	return campaign.Submission{
		Key: key, Content: campaign.Content{From: mail.Address{Address: "news@example.com"}, Subject: "Hi", Text: "Hello"},
		Recipients: []campaign.Recipient{{Address: "ada@example.com"}}, CreatedAt: time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.UTC),
	}
}

// TestUncertainCommits: whoever hands something in is told that it may be written exactly if a commit went out and nothing was
// heard since.
func TestUncertainCommits(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	submit := func(ctx context.Context, s *store.Store) error {
		_, err := s.Submit(ctx, []campaign.Submission{submission("http/a")}, nil, time.Now())
		return err
	}
	seal := func(ctx context.Context, s *store.Store) error {
		_, err := s.Seal(ctx, "list", campaign.Totals{Recipients: 1, Jobs: 1}, time.Now())
		return err
	}
	for name, test := range map[string]struct {
		call      func(ctx context.Context, s *store.Store) error
		match     func(mysql.Request) bool
		do        proxy.Action
		away      bool
		uncertain bool
	}{
		"a mail's commit":                   {submit, mysql.CommitOf("^INSERT INTO `Campaign`"), proxy.Lose, true, true},
		"a mail's commit, cut":              {submit, mysql.CommitOf("^INSERT INTO `Campaign`"), proxy.Cut, true, true},
		"a mail's commit, and then it's ok": {submit, mysql.CommitOf("^INSERT INTO `Campaign`"), proxy.Lose, false, false},
		"a mail's statement":                {submit, mysql.Statement("^INSERT INTO `Recipient`"), proxy.Lose, true, false},
		"a seal's commit":                   {seal, mysql.CommitOf("`sealedAt`="), proxy.Lose, true, true},
		"a seal's commit, and then it's ok": {seal, mysql.CommitOf("`sealedAt`="), proxy.Lose, false, false},
		"a seal's statement":                {seal, mysql.Statement("^UPDATE `Campaign` .*`sealedAt`="), proxy.Lose, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := behindAProxy(t)
			list := campaign.Draft{Key: "list", Origin: campaign.OriginHTTP, Content: submission("").Content, JobSize: 9, CreatedAt: time.Now()}
			if _, err := s.Open(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			if err := s.WriteShard(t.Context(), campaign.Shard{Key: "list", Recipients: submission("").Recipients}); err != nil {
				t.Fatal(err)
			}
			var sprung atomic.Bool
			p.Arm(mysql.Rule{Match: func(r mysql.Request) bool { return test.match(r) && sprung.CompareAndSwap(false, true) }, Do: test.do})
			p.Arm(mysql.Rule{Match: func(mysql.Request) bool { return test.away && sprung.Load() }, Do: proxy.Cut, Times: proxy.Always})
			err := test.call(t.Context(), s)
			if !sprung.Load() {
				t.Fatal("nothing was lost")
			}
			if test.away != (err != nil) || err != nil && !store.IsUnavailable(err) {
				t.Errorf("error %v", err)
			}
			if got := errors.Is(err, campaign.ErrUncertain); got != test.uncertain {
				t.Errorf("uncertain: %t, error %v", got, err)
			}
			p.DisarmAll()
			if err := test.call(t.Context(), s); err != nil {
				t.Errorf("made again: %v", err)
			}
		})
	}
}

// TestWrittenBeforeByTheSameCall: a mail whose commit was not heard of is the call's own when it is found again, and nobody
// else's.
func TestWrittenBeforeByTheSameCall(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	s, p := behindAProxy(t)
	lost := p.Arm(mysql.Rule{Match: mysql.CommitOf("^INSERT INTO `Campaign`"), Do: proxy.Lose})
	a, b := submission("http/a"), submission("http/b")
	var got []bool
	for _, mails := range [][]campaign.Submission{{a, b, a}, {a}} {
		submitted, err := s.Submit(t.Context(), mails, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range submitted {
			got = append(got, one.Created)
		}
	}
	if diff := cmp.Diff([]bool{true, true, false, false}, got); diff != "" || lost.Hits() != 1 {
		t.Errorf("created, after %d lost replies (-want +got):\n%s", lost.Hits(), diff)
	}
}

// TestASilentCommit: a server that falls silent over a commit is waited for as long as the caller has said. The connection is
// not used again.
func TestASilentCommit(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	s, p := behindAProxy(t)
	silent := p.Arm(mysql.Rule{Match: mysql.CommitOf("^INSERT INTO `Campaign`"), Do: proxy.Swallow})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := s.Submit(ctx, []campaign.Submission{submission("http/a")}, nil, time.Now())
	if !errors.Is(err, campaign.ErrUncertain) || !store.IsUnavailable(err) || silent.Hits() != 1 {
		t.Errorf("after %d silent commits: %v", silent.Hits(), err)
	}
	submitted, err := s.Submit(t.Context(), []campaign.Submission{submission("http/a")}, nil, time.Now())
	if err != nil || !submitted[0].Created {
		t.Errorf("made again: %+v, %v", submitted, err)
	}
}
