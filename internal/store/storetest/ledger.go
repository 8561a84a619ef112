package storetest

import (
	"errors"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var ledgerTests = map[string]func(s *scene){
	"opening creates the campaign unsealed": func(s *scene) {
		got, err := s.Open(s.ctx(), draft())
		s.must(err)
		want := campaign.Record{
			Key: key, Origin: campaign.OriginKubernetes, ContentHash: draft().Content.Hash(), ListHash: draft().ListHash,
			JobSize: 2, Totals: campaign.Totals{InvalidLines: []int{}}, CreatedAt: epoch,
		}
		s.equal("record", got, want)
		read, err := s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("record read again", read, want)
	},

	"opening notes who does": func(s *scene) {
		d := draft()
		d.Owner = "some-uid"
		first, err := s.Open(s.ctx(), d)
		s.must(err)
		d.Owner = "other-uid"
		second, err := s.Open(s.ctx(), d)
		s.must(err)
		s.equal("opened by", []string{first.CreatedBy, second.CreatedBy}, []string{"some-uid", "some-uid"})
	},

	"opening a key that exists returns what is there": func(s *scene) {
		first, err := s.Open(s.ctx(), draft())
		s.must(err)
		other := draft()
		other.Content.Subject, other.ListHash, other.JobSize, other.CreatedAt = "Other", "cd", 7, minute(9)
		second, err := s.Open(s.ctx(), other)
		s.must(err)
		s.equal("record", second, first)
	},

	"keys differ by case and accent": func(s *scene) {
		for _, k := range []string{"ns/launch", "ns/Launch", "ns/láunch"} {
			d := draft()
			d.Key, d.ListHash = k, "list of "+k
			got, err := s.Open(s.ctx(), d)
			s.must(err)
			s.equal("list", got.ListHash, d.ListHash)
		}
	},

	"an unknown campaign is not found": func(s *scene) {
		_, err := s.Campaign(s.ctx(), key)
		s.isError(err, campaign.ErrNotFound)
		_, err = s.Seal(s.ctx(), key, campaign.Totals{}, epoch)
		s.isError(err, campaign.ErrNotFound)
		_, err = s.Tally(s.ctx(), key)
		s.isError(err, campaign.ErrNotFound)
		s.isError(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: people(1)}), campaign.ErrNotFound)
		s.isError(s.suspend(key, true), campaign.ErrNotFound)
		s.isError(s.Cancel(s.ctx(), key, campaign.EndCancelled, epoch), campaign.ErrNotFound)
		s.isError(s.HoldCampaign(s.ctx(), key, campaign.Hold{Until: epoch}), campaign.ErrNotFound)
		s.must(s.Discard(s.ctx(), key))
	},

	"a shard written twice is there once": func(s *scene) {
		_, err := s.Open(s.ctx(), draft())
		s.must(err)
		shard := campaign.Shard{Key: key, Number: 3, Recipients: []campaign.Recipient{
			{Address: "zoë@xn--bcher-kva.example", Name: "Zoë 🎉 O'Neil \\ \"?\"", Variables: map[string]string{"city": "Łódź", "q": "a?b"}},
			{Address: "bob@example.com"},
		}}
		s.must(s.WriteShard(s.ctx(), shard))
		s.must(s.WriteShard(s.ctx(), shard))

		id := campaign.JobID(key, 3)
		s.equal("job", s.job(id), job{
			Subject: "Spring news", Body: "<p>Hello</p>", Status: "PENDING", Total: "2", Sent: "0", Failed: "0",
			CreatedAt: text(epoch), Key: key, Shard: "3", Rings: "0",
		})
		s.equal("recipients", s.rows(id), []row{
			{
				Email: "zoë@xn--bcher-kva.example", Name: "Zoë 🎉 O'Neil \\ \"?\"", Status: "PENDING", State: "pending",
				Attempts: "0", Variables: `{"city":"Łódź","q":"a?b"}`,
			},
			{Email: "bob@example.com", Status: "PENDING", State: "pending", Attempts: "0"},
		})
	},

	"addresses are never cut, other texts fit": func(s *scene) {
		long := strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 90) + "example"
		d := draft()
		d.Content.Subject = strings.Repeat("é", 300)
		_, err := s.Open(s.ctx(), d)
		s.must(err)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: []campaign.Recipient{
			{Address: long, Name: strings.Repeat("名", 200)},
		}}))
		_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: 1, Jobs: 1}, epoch)
		s.must(err)

		id := campaign.JobID(key, 0)
		s.equal("subject", s.job(id).Subject, strings.Repeat("é", 191))
		s.equal("recipients", s.rows(id), []row{{
			Name: strings.Repeat("名", 191), Status: "PENDING", State: "pending", Attempts: "0", Address: long,
		}})
		claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: id, Token: "t", Limit: 1, Now: minute(1), LeaseUntil: minute(2)})
		s.must(err)
		s.equal("address", claimed[0].Address, long)
		job, err := s.Job(s.ctx(), id)
		s.must(err)
		s.equal("content", job.Content, d.Content)
	},

	"a load that is cut short is completed by the next": cutShort,

	"loads of the same list at once": loadTogether,

	"a shard larger than one statement": func(s *scene) {
		_, err := s.Open(s.ctx(), draft())
		s.must(err)
		recipients := people(2500)
		for i := range recipients {
			recipients[i].Variables = map[string]string{"text": strings.Repeat("x", 400)}
		}
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: recipients}))
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 2500)
	},

	"an address that is no text is refused": func(s *scene) {
		_, err := s.Open(s.ctx(), draft())
		s.must(err)
		for _, address := range []string{"", "a\xff@example.com"} {
			shard := campaign.Shard{Key: key, Recipients: []campaign.Recipient{{Address: "ok@example.com"}, {Address: address}}}
			if err := s.WriteShard(s.ctx(), shard); err == nil || strings.Contains(err.Error(), "example.com") {
				s.Errorf("address %q: got error %v, want one without an address", address, err)
			}
		}
		s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), 0)
	},

	"sealing sets the totals once": func(s *scene) {
		s.unsealed(2)
		totals := campaign.Totals{
			Recipients: 2, Jobs: 1, Duplicates: 3, Invalid: 2, InvalidLines: []int{4, 17},
			Dropped: []campaign.Dropped{{Reason: "Duplicate", Count: 3, Lines: []int{5, 6, 9}}, {Reason: "NoAt", Count: 2, Lines: []int{4, 17}}},
		}
		first, err := s.Seal(s.ctx(), key, totals, minute(1))
		s.must(err)
		at := minute(1)
		want := campaign.Record{
			Key: key, Origin: campaign.OriginKubernetes, ContentHash: draft().Content.Hash(), ListHash: draft().ListHash,
			JobSize: 2, Totals: totals, CreatedAt: epoch, SealedAt: &at,
		}
		s.equal("record", first, want)
		second, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 9, Jobs: 9}, minute(2))
		s.must(err)
		s.equal("record sealed again", second, want)
	},

	"sealing refuses totals that the rows don't have": func(s *scene) {
		s.unsealed(2)
		for _, totals := range []campaign.Totals{{Recipients: 3, Jobs: 1}, {Recipients: 2, Jobs: 2}, {}} {
			_, err := s.Seal(s.ctx(), key, totals, minute(1))
			s.isError(err, campaign.ErrSourceChanged)
		}
		record, err := s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("sealed", record.Sealed(), false)
	},

	"a sealed campaign takes no shard and is not discarded": func(s *scene) {
		id := s.sealed(2)
		s.isError(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: 1, Recipients: people(1)}), campaign.ErrSealed)
		s.isError(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: people(2)}), campaign.ErrSealed)
		s.isError(s.Discard(s.ctx(), key), campaign.ErrSealed)
		s.equal("states", s.states(id), []string{"PENDING/pending", "PENDING/pending"})
	},

	"suspending and holding show in the record and the job": func(s *scene) {
		id := s.sealed(1)
		s.must(s.suspend(key, true))
		s.must(s.suspend(key, true))
		hold := campaign.Hold{Reason: "AuthenticationFailed", Message: "check the credentials", Until: minute(30)}
		s.must(s.HoldCampaign(s.ctx(), key, hold))
		s.must(s.HoldCampaign(s.ctx(), "", hold)) // a legacy job has no campaign
		record, err := s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("suspended", record.Control.Suspended, true)
		s.equal("hold", record.Hold, &hold)
		job, err := s.Job(s.ctx(), id)
		s.must(err)
		s.equal("job", job, campaign.Job{
			ID: id, Key: key, Status: campaign.JobPending, Content: draft().Content, CreatedAt: epoch,
			Sealed: true, Control: campaign.Control{Suspended: true}, Hold: &hold, Revision: 1,
		})
		s.must(s.suspend(key, false))
		record, err = s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("suspended", record.Control.Suspended, false)
	},

	"a note stops nobody, is cleared, and leaves a hold in force alone": func(s *scene) {
		id := s.sealed(1)
		now := time.Now().UTC().Truncate(time.Second)
		held := func() *campaign.Hold {
			record, err := s.Campaign(s.ctx(), key)
			s.must(err)
			return record.Hold
		}
		note := campaign.Hold{Reason: "RelayUnavailable", Message: "connecting failed", Until: now.Add(-time.Minute)}
		s.must(s.HoldCampaign(s.ctx(), key, note))
		s.equal("noted", held(), &note)
		s.equal("claimed", len(s.claim(id, "t", 1, now)), 1)
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{}))
		s.equal("cleared", held(), (*campaign.Hold)(nil))

		hold := campaign.Hold{Reason: "SenderRefused", Message: "check the sender", Until: now.Add(time.Hour)}
		s.must(s.HoldCampaign(s.ctx(), key, note))
		s.must(s.HoldCampaign(s.ctx(), key, hold))
		s.must(s.HoldCampaign(s.ctx(), key, note))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{}))
		s.equal("in force", held(), &hold)
	},
}

// isError fails the test if err is not want.
func (s *scene) isError(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("got error %v, want %v", err, want)
	}
}
