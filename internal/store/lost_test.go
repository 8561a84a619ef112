package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/worker"
	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
)

// TestLostCommitOfAClaim: the claim is carried out and its reply lost. The next try returns the same recipients: nobody stays
// claimed or announced whom the worker doesn't know of.
func TestLostCommitOfAClaim(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	for _, announce := range []bool{true, false} {
		t.Run(fmt.Sprintf("announced: %t", announce), func(t *testing.T) {
			t.Parallel()
			loseCommitOfAClaim(t, announce)
		})
	}
}

func loseCommitOfAClaim(t *testing.T, announce bool) {
	t.Helper()
	db := mysqlDatabase(t)
	p, url := mysql.Before(t, db.url)
	s := open(t, database{url: url, sql: db.sql})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	draft := campaign.Draft{
		Key: "lost", Origin: campaign.OriginKubernetes, Content: campaign.Content{Subject: "Hi", Text: "Hello"}, JobSize: 9, CreatedAt: now,
	}
	shard := campaign.Shard{Key: draft.Key}
	for _, address := range []string{"ada@example.com", "bob@example.com", "cy@example.com", "di@example.com", "eve@example.com"} {
		shard.Recipients = append(shard.Recipients, campaign.Recipient{Address: address})
	}
	if _, err := s.Open(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteShard(t.Context(), shard); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(t.Context(), draft.Key, campaign.Totals{Recipients: 5, Jobs: 1}, now); err != nil {
		t.Fatal(err)
	}

	job := campaign.JobID(draft.Key, 0)
	claim := func(token string) []string {
		t.Helper()
		claimed, err := s.Claim(t.Context(), campaign.Claim{
			JobID: job, Token: token, Limit: 3, Now: now, LeaseUntil: now.Add(time.Minute), Announce: announce,
		})
		if err != nil {
			t.Fatal(err)
		}
		var addresses []string
		for _, c := range claimed {
			addresses = append(addresses, c.Address)
		}
		return addresses
	}
	lost := p.Arm(mysql.Rule{Match: mysql.CommitOf("Recipient"), Do: proxy.Lose})
	if diff := cmp.Diff([]string{"ada@example.com", "bob@example.com", "cy@example.com"}, claim("t")); diff != "" || lost.Hits() != 1 {
		t.Errorf("claimed, after %d lost replies (-want +got):\n%s", lost.Hits(), diff)
	}
	before := p.Arm(mysql.Rule{Match: mysql.CommitOf("Recipient"), Do: proxy.Cut})
	if diff := cmp.Diff([]string{"di@example.com", "eve@example.com"}, claim("u")); diff != "" || before.Hits() != 1 {
		t.Errorf("claimed, after %d cut commits (-want +got):\n%s", before.Hits(), diff)
	}
	if n := count(t, db, "SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'active' AND `status` = 'FAILED'"); n != 5 && announce || n > 0 && !announce {
		t.Errorf("%d recipients are announced, want all 5 or none", n)
	}
}

// TestRenewedWhileItIsRescued: a lease that had run out when it was looked for, and is renewed before it is ended, is not ended.
func TestRenewedWhileItIsRescued(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	s, p := behindAProxy(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	lease := &campaign.Lease{Token: "t", Until: now.Add(time.Minute)}
	if _, err := s.Submit(t.Context(), []campaign.Submission{submission("http/a")}, lease, now); err != nil {
		t.Fatal(err)
	}
	found := p.Arm(mysql.Rule{Match: mysql.Statement("FROM `Lease`.*FOR UPDATE"), Do: proxy.Hold})
	type rescue struct {
		rescued worker.Rescued
		err     error
	}
	ended := make(chan rescue, 1)
	go func() {
		rescued, err := s.Rescue(t.Context(), now.Add(2*time.Minute))
		ended <- rescue{rescued, err}
	}()
	found.Await(t, 1)
	if ended, err := s.RenewLeases(t.Context(), []string{"t"}, now.Add(3*time.Minute)); err != nil || len(ended) > 0 {
		t.Fatal(ended, err)
	}
	found.Release()
	got := <-ended
	if got.err != nil || got.rescued.InDoubt+got.rescued.Released > 0 {
		t.Errorf("rescued %+v, %v", got.rescued, got.err)
	}
	held, err := s.Held(t.Context(), "t")
	if err != nil || len(held) != 1 {
		t.Errorf("held: %v, %v", held, err)
	}
}
