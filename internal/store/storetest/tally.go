package storetest

import (
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var tallyTests = map[string]func(s *scene){
	"a campaign is worked off when its last job has ended": func(s *scene) {
		unsealed := draft()
		unsealed.Key = "ns/open" // and without jobs
		_, err := s.Open(s.ctx(), unsealed)
		s.must(err)
		finish := func(job string, now time.Time) {
			_, err := s.FinishJob(s.ctx(), job, now)
			s.must(err)
		}
		id := s.sealed(2)
		workedOff := func() []string {
			keys, err := s.WorkedOff(s.ctx(), []string{"ns/open", key, "ns/unknown"})
			s.must(err)
			return keys
		}
		s.equal("while it waits", workedOff(), []string(nil))
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(3))
		s.record("t", accepted(ids[0], minute(4)), deferred(ids[1], minute(4), minute(40)))
		finish(id, minute(5))
		s.equal("while one is deferred", workedOff(), []string(nil))
		s.claim(id, "u", 1, minute(41))
		s.announce("u", ids[1:], minute(41))
		s.record("u", accepted(ids[1], minute(42)))
		finish(id, minute(42))
		s.equal("when all have ended", workedOff(), []string{key})
		none, err := s.WorkedOff(s.ctx(), nil)
		s.must(err)
		s.equal("of none", none, []string(nil))
	},

	"every state is counted once": func(s *scene) {
		id := s.sealed(9)
		ids := s.claim(id, "t", 8, minute(2))
		s.announce("t", ids[:5], minute(3))
		s.record("t",
			accepted(ids[0], minute(4)), deferred(ids[1], minute(4), minute(50)), deferred(ids[2], minute(4), minute(40)),
			campaign.Result{RecipientID: ids[3], State: campaign.StateBounced, Category: "BadMailbox", EnhancedCode: "5.1.1", At: minute(6)},
			campaign.Result{RecipientID: ids[5], State: campaign.StateFailed, Category: "Invalid", At: minute(5)},
			campaign.Result{RecipientID: ids[6], State: campaign.StateSuppressed, At: minute(5)})
		next, until, last := minute(40), minute(50), minute(6)
		got, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("tally", got, campaign.Tally{
			Total: 9, Pending: 1, Active: 2, Deferred: 2, Accepted: 1, Bounced: 1, Failed: 1, Suppressed: 1,
			NextAttemptAt: &next, AttemptsUntil: &until, LastCompletedAt: &last,
			Failures: []campaign.FailureCount{
				{Category: "BadMailbox", EnhancedCode: "5.1.1", Count: 1}, {Category: "Invalid", Count: 1},
			},
		})
	},

	"the most frequent failure comes first": func(s *scene) {
		id := s.sealed(4)
		ids := s.claim(id, "t", 4, minute(2))
		for i, category := range []string{"Policy", "BadMailbox", "Policy", ""} {
			s.record("t", campaign.Result{RecipientID: ids[i], State: campaign.StateBounced, Category: category, At: minute(3)})
		}
		got, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("failures", got.Failures, []campaign.FailureCount{
			{Category: "Policy", Count: 2}, {Category: "BadMailbox", Count: 1}, {Category: "Other", Count: 1},
		})
	},

	"what legacy workers wrote counts": func(s *scene) {
		id := s.sealed(6)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 3, minute(2))
		s.announce("t", ids[:1], minute(3))
		s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `error` = 'boom' WHERE `id` = ?", ids[1])
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `id` = ?", text(minute(7)), ids[2])
		s.exec("UPDATE `Recipient` SET `status` = 'FAILED' WHERE `email` = 'ada3@example.com'")
		s.record("u", campaign.Result{RecipientID: s.claim(id, "u", 1, minute(2))[0], State: campaign.StateCancelled, At: minute(2)})
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `state` = 'cancelled'", text(minute(8)))
		last := minute(8)
		got, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("tally", got, campaign.Tally{
			Total: 6, Pending: 1, Active: 1, Accepted: 2, Failed: 2, LastCompletedAt: &last,
			Failures: []campaign.FailureCount{{Category: "Other", Count: 2}},
		})
	},

	"a campaign that a legacy worker began is started": func(s *scene) {
		id := s.sealed(2)
		record, err := s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("start before", record.StartedAt, (*time.Time)(nil))
		s.exec("UPDATE `EmailJob` SET `status` = 'PROCESSING', `startedAt` = ? WHERE `id` = ?", text(minute(7)), id)
		record, err = s.Campaign(s.ctx(), key)
		s.must(err)
		s.equal("start", record.StartedAt, new(minute(7)))
	},

	"a campaign is counted over its jobs, and no other's": func(s *scene) {
		s.unsealed(2)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: 1, Recipients: people(3)}))
		s.legacyJob(2)
		other := draft()
		other.Key = "other"
		_, err := s.Open(s.ctx(), other)
		s.must(err)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: "other", Recipients: people(4)}))
		got, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("tally", got, campaign.Tally{Total: 5, Pending: 5})
	},
}
