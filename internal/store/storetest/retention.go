package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/retention"
)

// expire removes what ended before the minute, and returns how many campaigns and recipients that were.
func (s *scene) expire(before int) (campaigns, recipients int) {
	s.Helper()
	var at retention.Position
	for {
		expired, err := s.Expire(s.ctx(), minute(before), at)
		s.must(err)
		campaigns, recipients = campaigns+expired.Campaigns, recipients+expired.Recipients
		if at = expired.Next; at == (retention.Position{}) && !expired.More {
			return campaigns, recipients
		}
	}
}

// left are the keys of all campaigns.
func (s *scene) left() []string {
	s.Helper()
	result, err := s.sql.QueryContext(s.ctx(), "SELECT `key` FROM `Campaign` ORDER BY `key`")
	s.must(err)
	defer result.Close()
	keys := []string{}
	for result.Next() {
		var key string
		s.must(result.Scan(&key))
		keys = append(keys, key)
	}
	s.must(result.Err())
	return keys
}

// list writes a campaign that came over HTTP, in jobs of two thousand, opened at epoch.
func (s *scene) list(key string, jobs int) campaign.Totals {
	s.Helper()
	d := draft()
	d.Key, d.Origin = key, campaign.OriginHTTP
	_, err := s.Open(s.ctx(), d)
	s.must(err)
	totals := campaign.Totals{}
	for n := range jobs {
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: n, Recipients: people(2000)}))
		totals.Recipients, totals.Jobs = totals.Recipients+2000, totals.Jobs+1
	}
	return totals
}

var retentionTests = map[string]func(s *scene){
	"what came over HTTP and ended long ago is removed, with all of its rows": func(s *scene) {
		s.attempted(mail("http/old", 2), 1, campaign.StateAccepted, campaign.StateBounced)
		s.attempted(mail("http/doubt", 1), 1, campaign.StateInDoubt)
		s.attempted(mail("http/open", 2), 1, campaign.StateAccepted, campaign.StateDeferred)
		s.attempted(mail("http/recent", 1), 5, campaign.StateAccepted)
		campaigns, recipients := s.expire(5)
		s.equal("removed", []int{campaigns, recipients}, []int{2, 3})
		s.equal("campaigns", s.left(), []string{"http/open", "http/recent"})
		s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), 2)
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 3)
		s.equal("leases of the removed", s.count("SELECT COUNT(*) FROM `Lease` WHERE `token` IN ('http/old', 'http/doubt')"), 0)
		campaigns, recipients = s.expire(6)
		s.equal("removed later", []int{campaigns, recipients}, []int{1, 1})
	},

	"the end counts, not the beginning": func(s *scene) {
		m := mail("http/a", 1)
		s.submit(nil, m)
		s.announce("t", s.claim(m.JobID(), "t", 1, minute(100)), minute(100))
		s.recordSubmitted("t", minute(100), accepted(s.rowID(m), minute(100)))
		s.expire(100)
		s.equal("left", s.left(), []string{"http/a"})
		s.expire(101)
		s.equal("left", s.left(), []string{})
	},

	"what Kubernetes and legacy programs made stays": func(s *scene) {
		s.sealed(1)
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(2)))
		s.legacyJob(1)
		s.exec("UPDATE `EmailJob` SET `status` = 'COMPLETED', `completedAt` = ? WHERE `campaignKey` IS NULL", text(minute(2)))
		campaigns, recipients := s.expire(1000)
		s.equal("removed", []int{campaigns, recipients}, []int{0, 0})
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 2)
		s.equal("left", s.left(), []string{key})
	},

	"a removed mail may be handed in again": func(s *scene) {
		s.attempted(mail("http/a", 1), 1, campaign.StateAccepted)
		s.expire(5)
		s.equal("created", s.submit(nil, mail("http/a", 1)), []bool{true})
	},

	"a large campaign goes batch by batch": func(s *scene) {
		totals := s.list("http/large", 2)
		_, err := s.Seal(s.ctx(), "http/large", totals, minute(1))
		s.must(err)
		s.must(s.Cancel(s.ctx(), "http/large", campaign.EndCancelled, minute(2)))
		s.attempted(mail("http/small", 1), 3, campaign.StateAccepted)
		first, err := s.Expire(s.ctx(), minute(5), retention.Position{})
		s.must(err)
		s.equal("first batch", first, retention.Expired{Recipients: 1000, More: true})
		campaigns, recipients := s.expire(5)
		s.equal("removed", []int{campaigns, recipients}, []int{2, 3001})
		s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), 0)
	},

	"many campaigns go together, past those that have not ended": func(s *scene) {
		for i := range 5 {
			s.submit(nil, mail(fmt.Sprintf("http/waiting-%d", i), 1))
		}
		for i := range 10 {
			s.attempted(mail(fmt.Sprintf("http/%02d", i), 100), 2, repeated(campaign.StateAccepted, 100)...)
		}
		campaigns, recipients := s.expire(5)
		s.equal("removed", []int{campaigns, recipients}, []int{10, 1000})
		s.equal("left", len(s.left()), 5)
	},

	"several processes may remove at once": func(s *scene) {
		for i := range 40 {
			s.attempted(mail(fmt.Sprintf("http/%02d", i), 5), 1, repeated(campaign.StateBounced, 5)...)
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				_, err := s.Expire(s.ctx(), minute(5), retention.Position{})
				s.noError(err)
			})
		}
		group.Wait()
		s.equal("left", s.left(), []string{})
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 0)
	},

	"abandoned are the unsealed that came over HTTP and are old": func(s *scene) {
		s.list("http/abandoned", 1)
		s.unsealed(1)
		s.attempted(mail("http/sealed", 1), 1, campaign.StateAccepted)
		for before, want := range map[int][]string{0: nil, 1: {"http/abandoned"}} {
			keys, err := s.Abandoned(s.ctx(), minute(before), 9)
			s.must(err)
			s.equal("abandoned", append([]string(nil), keys...), want)
		}
		s.must(s.Discard(s.ctx(), "http/abandoned"))
		s.equal("left", s.left(), []string{key, "http/sealed"})
	},

	// Whoever resumes a list while it is discarded either completes it or learns that it is gone; nobody is mailed a part.
	"discarding against a writer leaves a whole campaign or none": func(s *scene) {
		totals := s.list("http/a", 1)
		var group sync.WaitGroup
		group.Go(func() {
			err := s.Discard(s.ctx(), "http/a")
			if err != nil && !errors.Is(err, campaign.ErrSealed) {
				s.Error(err)
			}
		})
		for n := 1; n < 4; n++ {
			err := s.WriteShard(s.ctx(), campaign.Shard{Key: "http/a", Number: n, Recipients: people(500)})
			if err != nil && !errors.Is(err, campaign.ErrNotFound) {
				s.Error(err)
			}
			totals.Recipients, totals.Jobs = totals.Recipients+500, totals.Jobs+1
		}
		_, err := s.Seal(s.ctx(), "http/a", totals, minute(1))
		if err != nil && !errors.Is(err, campaign.ErrSourceChanged) && !errors.Is(err, campaign.ErrNotFound) {
			s.Error(err)
		}
		group.Wait()
		want := 0
		if err == nil {
			want = int(totals.Recipients)
		}
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), want)
		s.equal("campaigns", strings.Join(s.left(), " ") == "http/a", err == nil)
	},
}

// rowID is the id of the mail's first recipient.
func (s *scene) rowID(m campaign.Submission) string {
	return campaign.RecipientID(m.JobID(), 0, m.Recipients[0].Address)
}

func repeated(state campaign.State, n int) []campaign.State {
	states := make([]campaign.State, n)
	for i := range states {
		states[i] = state
	}
	return states
}
