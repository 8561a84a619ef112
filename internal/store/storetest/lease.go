package storetest

import (
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/worker"
)

var leaseTests = map[string]func(s *scene){
	"releasing gives back what was not announced, as it was": func(s *scene) {
		id := s.sealed(4)
		first := s.claim(id, "s", 1, minute(2))
		s.record("s", deferred(first[0], minute(2), minute(3)))
		deferredBefore := s.rows(id)[0]
		ids := s.claim(id, "t", 4, minute(4))
		s.announce("t", ids[3:], minute(5))
		for _, want := range []int{3, 0} {
			n, err := s.Release(s.ctx(), "t")
			s.must(err)
			s.equal("released", n, want)
		}
		s.equal("states", s.states(id), []string{"PENDING/deferred", "PENDING/pending", "PENDING/pending", "FAILED/active"})
		deferredBefore.Error = "" // the legacy error is not kept through a claim
		s.equal("deferred row", s.rows(id)[0], deferredBefore)
		s.equal("leases", s.leases(), []string{
			"s until " + text(minute(12)), // it was never released, and holds nothing: it goes when it runs out
			"t until " + text(minute(14)), // one is still on the wire
		})
		s.equal("claimed again", s.claim(id, "u", 9, minute(6)), ids[:3])
	},

	"held are the active and the doubtful under the token": func(s *scene) {
		id := s.sealed(5)
		ids := s.claim(id, "t", 4, minute(2))
		s.claim(id, "u", 1, minute(2))
		s.announce("t", ids[1:], minute(3))
		s.record("t", accepted(ids[2], minute(4)), campaign.Result{RecipientID: ids[3], State: campaign.StateInDoubt, At: minute(4)})
		held, err := s.Held(s.ctx(), "t")
		s.must(err)
		s.equal("held", held, map[string]bool{ids[0]: false, ids[1]: true, ids[3]: true})
		held, err = s.Held(s.ctx(), "nobody")
		s.must(err)
		s.equal("held by nobody", held, map[string]bool{})
	},

	"of a claim that was lost, who was accepted ends if nobody has claimed them since": func(s *scene) {
		id := s.sealed(4)
		ids := s.claim(id, "t", 4, minute(20)) // a claim that a failover has lost leaves rows that were never claimed
		s.announce("t", ids[3:], minute(2))
		_, err := s.Unclaim(s.ctx(), "t", id)
		s.must(err)
		s.claim(id, "u", 1, minute(20))
		n, err := s.RecordLost(s.ctx(), []campaign.Result{
			accepted(ids[0], minute(3)), accepted(ids[1], minute(3)),
			{RecipientID: ids[2], State: campaign.StateDeferred, CountAttempt: true, At: minute(3)},
			accepted(ids[3], minute(3)),
		})
		s.must(err)
		s.equal("recorded", n, 2)
		s.equal("states", s.states(id), []string{"PENDING/active", "SENT/accepted", "PENDING/pending", "SENT/accepted"})
	},

	"a renewed lease is not rescued": func(s *scene) {
		id := s.sealed(3)
		s.claim(id, "t", 1, minute(2))
		s.claim(id, "u", 1, minute(2))
		s.claim(id, "v", 1, minute(2))
		s.equal("ended", s.renew(minute(30), "t", "v", "gone"), []string{"gone"})
		s.equal("ended of none", s.renew(minute(30)), []string(nil))
		rescued, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		s.equal("rescued", rescued, worker.Rescued{Released: 1, JobIDs: []string{id}})
		s.equal("states", s.states(id), []string{"PENDING/active", "PENDING/pending", "PENDING/active"})
		s.equal("leases", s.leases(), []string{"t until " + text(minute(30)), "v until " + text(minute(30))})
	},

	"a lost lease: not announced is given back, announced is in doubt": func(s *scene) {
		id := s.sealed(3)
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids[:1], minute(3))
		rescued, err := s.Rescue(s.ctx(), minute(12)) // it lasts until minute 12
		s.must(err)
		s.equal("too early", rescued, worker.Rescued{})
		for _, want := range []worker.Rescued{{Released: 1, InDoubt: 1, JobIDs: []string{id}}, {}} {
			rescued, err := s.Rescue(s.ctx(), minute(13))
			s.must(err)
			s.equal("rescued", rescued, want)
		}
		s.equal("rows", s.rows(id), []row{
			{
				Email: "ada0@example.com", Status: "FAILED", State: "inDoubt", Attempts: "1", FirstAttemptAt: text(minute(3)),
				Error: "in doubt: the worker was lost while it sent this mail", LeaseToken: "t",
				AnnouncedAt: text(minute(3)), CompletedAt: text(minute(13)), Category: "InDoubt",
			},
			{Email: "ada1@example.com", Status: "PENDING", State: "pending", Attempts: "0"},
			{Email: "ada2@example.com", Status: "PENDING", State: "pending", Attempts: "0"},
		})
	},

	"a lease ends with the last that it holds": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(3))
		s.record("t", accepted(ids[0], minute(4)))
		_, err := s.Rescue(s.ctx(), minute(13))
		s.must(err)
		s.equal("one in doubt", s.leases(), []string{"t until "})
		s.equal("ended", s.renew(minute(90), "t"), []string{"t"})
		s.equal("a late renewal", s.leases(), []string{"t until "})
		s.record("t", accepted(ids[1], minute(4)))
		s.equal("nothing", s.leases(), []string{})

		s.sealedAgain(2)
		other := campaign.JobID("again", 0)
		ids = s.claim(other, "t", 2, minute(20))
		s.record("t", accepted(ids[0], minute(21)), accepted(ids[1], minute(21)))
		_, err = s.Release(s.ctx(), "t")
		s.must(err)
		s.equal("after the release", s.leases(), []string{})
	},

	"a rescue names the jobs that nobody finished": func(s *scene) {
		id := s.sealed(1)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 1, minute(2))
		s.record("t", accepted(ids[0], minute(3))) // and then the worker was lost
		rescued, err := s.Rescue(s.ctx(), minute(4))
		s.must(err)
		s.equal("rescued", rescued, worker.Rescued{JobIDs: []string{id}})
		_, err = s.FinishJob(s.ctx(), id, minute(4))
		s.must(err)
		rescued, err = s.Rescue(s.ctx(), minute(5))
		s.must(err)
		s.equal("rescued", rescued, worker.Rescued{})
	},

	"a legacy job's recipient comes back due at once": func(s *scene) {
		id := s.legacyJob(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.record("t", campaign.Result{RecipientID: ids[0], State: campaign.StatePending, At: minute(3)})
		_, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		s.equal("states", s.states(id), []string{"PENDING/deferred", "PENDING/deferred"})
		s.equal("due", s.rows(id)[0].NextAttemptAt, text(minute(3)))
		due, err := s.DueJobs(s.ctx(), "", minute(20), minute(20), 9)
		s.must(err)
		s.equal("due", due, []campaign.DueJob{{ID: id}})
	},
}

// sealedAgain writes and seals another campaign, with the key "again" and one job of n recipients.
func (s *scene) sealedAgain(n int) {
	s.Helper()
	d := draft()
	d.Key = "again"
	_, err := s.Open(s.ctx(), d)
	s.must(err)
	s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: d.Key, Recipients: people(n)}))
	_, err = s.Seal(s.ctx(), d.Key, campaign.Totals{Recipients: int64(n), Jobs: 1}, minute(1))
	s.must(err)
}
