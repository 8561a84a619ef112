package storetest

import (
	"github.com/cartero-mail/cartero/internal/campaign"
)

var endingTests = map[string]func(s *scene){
	"discarding removes every row, and may be repeated": func(s *scene) {
		s.unsealed(1200)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: 1, Recipients: people(3)}))
		legacy := s.legacyJob(1)
		s.must(s.Discard(s.ctx(), key))
		s.must(s.Discard(s.ctx(), key))
		s.equal("campaigns", s.count("SELECT COUNT(*) FROM `Campaign`"), 0)
		s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), 1)
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient` WHERE `jobId` <> ?", legacy), 0)
		s.sealed(2) // the key is free again
	},

	"cancelling ends what waits and leaves what is on the wire": func(s *scene) {
		id := s.sealed(5)
		ids := s.claim(id, "t", 4, minute(2))
		s.announce("t", ids[:2], minute(3))
		s.record("t", accepted(ids[0], minute(4)))
		s.record("t", campaign.Result{RecipientID: ids[2], State: campaign.StateDeferred, At: minute(4)})

		for range 2 {
			s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(5)))
			s.equal("states", s.states(id), []string{
				"SENT/accepted", "FAILED/active", "FAILED/cancelled", "FAILED/cancelled", "FAILED/cancelled",
			})
		}
		s.equal("the claimed one", s.rows(id)[3], row{
			Email: "ada3@example.com", Status: "FAILED", State: "cancelled", Attempts: "0", CompletedAt: text(minute(5)),
			Error: "cancelled: the campaign was cancelled before this mail was sent",
		})
		s.equal("granted", s.announce("t", ids, minute(6)), []string{})
		s.equal("status", s.job(id).Status, "PENDING")

		s.record("t", deferred(ids[1], minute(7), minute(9)))
		s.equal("after its end on the wire", s.states(id)[1], "FAILED/cancelled")
		progress, err := s.FinishJob(s.ctx(), id, minute(8))
		s.must(err)
		s.equal("finished", progress.Finished, true)
		record, err := s.Campaign(s.ctx(), key)
		s.must(err)
		at := minute(5)
		s.equal("cancelledAt", record.CancelledAt, &at)
	},

	"cancelling finishes jobs, and keeps the first time": func(s *scene) {
		id := s.sealed(2)
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(5)))
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(6)))
		got := s.job(id)
		s.equal("job", []string{got.Status, got.Sent, got.Failed, got.CompletedAt}, []string{"FAILED", "0", "2", text(minute(5))})
		tally, err := s.Tally(s.ctx(), key)
		s.must(err)
		at := minute(5)
		s.equal("tally", tally, campaign.Tally{Total: 2, Cancelled: 2, LastCompletedAt: &at})
		s.equal("claimed", s.claim(id, "t", 9, minute(7)), []string{})
	},

	"an interrupted cancellation is continued": func(s *scene) {
		id := s.sealed(3)
		s.exec("UPDATE `Campaign` SET `cancelledAt` = ?", text(minute(2)))
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(5)))
		s.equal("states", s.states(id), []string{"FAILED/cancelled", "FAILED/cancelled", "FAILED/cancelled"})
	},

	"what comes back to a cancelled campaign is cancelled": func(s *scene) {
		id := s.sealed(4)
		ids := s.claim(id, "t", 4, minute(2))
		s.announce("t", ids[:2], minute(2))
		s.exec("UPDATE `Campaign` SET `cancelledAt` = ?", text(minute(3))) // the moment after Cancel's first commit
		s.record("t", campaign.Result{RecipientID: ids[0], State: campaign.StatePending, At: minute(4)})
		s.record("t", accepted(ids[1], minute(4)))
		_, err := s.Release(s.ctx(), "t")
		s.must(err)
		s.equal("states", s.states(id), []string{
			"FAILED/cancelled", "SENT/accepted", "FAILED/cancelled", "FAILED/cancelled",
		})
	},

	"an unsealed campaign that is cancelled stays unsealed": func(s *scene) {
		id := s.unsealed(1)
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(2)))
		s.isError(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: 1, Recipients: people(1)}), campaign.ErrSealed)
		_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 1, Jobs: 1}, minute(3))
		s.isError(err, campaign.ErrSealed)
		s.equal("states", s.states(id), []string{"FAILED/cancelled"})
	},
}
