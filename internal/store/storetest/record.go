package storetest

import (
	"strings"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var recordTests = map[string]func(s *scene){
	"each outcome has its row": func(s *scene) {
		id := s.sealed(7)
		ids := s.claim(id, "t", 7, minute(2))
		s.announce("t", ids[:6], minute(3))
		next := minute(60)
		changed := s.record("t",
			accepted(ids[0], minute(4)),
			campaign.Result{
				RecipientID: ids[1], State: campaign.StateDeferred, CountAttempt: true, NextAttemptAt: &next,
				Code: 451, EnhancedCode: "4.7.1", Category: "RateLimited", Detail: "451 greylisted", At: minute(4),
			},
			campaign.Result{
				RecipientID: ids[2], State: campaign.StateBounced, CountAttempt: true,
				Code: 550, EnhancedCode: "5.1.1", Category: "BadMailbox", Detail: "550 unknown", At: minute(4),
			},
			campaign.Result{
				RecipientID: ids[3], State: campaign.StateInDoubt, CountAttempt: true,
				Category: "InDoubt", Detail: "no reply after the final dot", At: minute(4),
			},
			campaign.Result{RecipientID: ids[4], State: campaign.StatePending, At: minute(4)},
			campaign.Result{RecipientID: ids[5], State: campaign.StateDeferred, NextAttemptAt: &next, Category: "Network", At: minute(4)},
			campaign.Result{RecipientID: ids[6], State: campaign.StateFailed, Category: "Invalid", Detail: strings.Repeat("é", 3000), At: minute(4)},
		)
		s.equal("changed", changed, 7)
		want := []row{
			{
				Status: "SENT", State: "accepted", SentAt: text(minute(4)), Attempts: "1", FirstAttemptAt: text(minute(3)),
				CompletedAt: text(minute(4)), SMTPCode: "250", EnhancedCode: "2.0.0",
			},
			{
				Status: "PENDING", State: "deferred", Error: "451 greylisted", Attempts: "1", FirstAttemptAt: text(minute(3)),
				NextAttemptAt: text(next), SMTPCode: "451", EnhancedCode: "4.7.1", Category: "RateLimited",
			},
			{
				Status: "FAILED", State: "bounced", Error: "550 unknown", Attempts: "1", FirstAttemptAt: text(minute(3)),
				CompletedAt: text(minute(4)), SMTPCode: "550", EnhancedCode: "5.1.1", Category: "BadMailbox",
			},
			{
				Status: "FAILED", State: "inDoubt", Error: "in doubt: no reply after the final dot", Attempts: "1",
				FirstAttemptAt: text(minute(3)), LeaseToken: "t", AnnouncedAt: text(minute(3)), CompletedAt: text(minute(4)),
				Category: "InDoubt",
			},
			{Status: "PENDING", State: "pending", Attempts: "0"},
			{Status: "PENDING", State: "deferred", Attempts: "0", NextAttemptAt: text(next), Category: "Network"},
			{
				Status: "FAILED", State: "failed", Error: strings.Repeat("é", 1000), Attempts: "0",
				CompletedAt: text(minute(4)), Category: "Invalid",
			},
		}
		for i, p := range people(7) {
			want[i].Email = p.Address
		}
		s.equal("rows", s.rows(id), want)
	},

	"the same results again change nothing": func(s *scene) {
		id := s.sealed(3)
		ids := s.claim(id, "t", 3, minute(2))
		s.announce("t", ids, minute(3))
		results := []campaign.Result{
			accepted(ids[0], minute(4)), deferred(ids[1], minute(4), minute(9)),
			{RecipientID: ids[2], State: campaign.StateInDoubt, CountAttempt: true, At: minute(4)},
		}
		s.equal("changed", s.record("t", results...), 3)
		before := s.rows(id)
		s.equal("changed again", s.record("t", results...), 0)
		s.equal("rows", s.rows(id), before)
		s.equal("nothing", s.record("t"), 0)
	},

	"only the holder records": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "lost", 2, minute(2))
		_, err := s.Rescue(s.ctx(), minute(13))
		s.must(err)
		s.equal("claimed anew", s.claim(id, "new", 2, minute(13)), ids)
		s.equal("changed by the loser", s.record("lost", accepted(ids[0], minute(14))), 0)
		s.equal("granted to the loser", s.announce("lost", ids, minute(14)), []string{})
		s.equal("changed by the holder", s.record("new", accepted(ids[0], minute(14))), 1)
		s.equal("an unknown id", s.record("new", accepted("no-such-id", minute(14))), 0)
	},

	"an end is an end": func(s *scene) {
		for i, end := range []campaign.State{
			campaign.StateAccepted, campaign.StateBounced, campaign.StateFailed, campaign.StateSuppressed,
			campaign.StateCancelled,
		} {
			if i == 0 {
				s.sealed(5)
			}
			id := campaign.JobID(key, 0)
			ids := s.claim(id, "t", 1, minute(2))
			s.equal("changed", s.record("t", campaign.Result{RecipientID: ids[0], State: end, At: minute(3)}), 1)
			before := s.rows(id)[i]
			s.record("t", accepted(ids[0], minute(4)), deferred(ids[0], minute(4), minute(5)))
			s.equal(string(end), s.rows(id)[i], before)
		}
	},

	"a certain result replaces a doubt, and the finished job follows": func(s *scene) {
		id := s.sealed(2)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(3))
		_, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		_, err = s.FinishJob(s.ctx(), id, minute(21))
		s.must(err)
		s.equal("states", s.states(id), []string{"FAILED/inDoubt", "FAILED/inDoubt"})
		s.equal("job", s.counters(id), []string{"FAILED", "0", "2", text(minute(21))})

		s.equal("under another token", s.record("u", accepted(ids[0], minute(4))), 0)
		s.equal("under its token", s.record("t", accepted(ids[0], minute(4))), 1)
		s.equal("row", s.rows(id)[0], row{
			Email: "ada0@example.com", Status: "SENT", State: "accepted", SentAt: text(minute(4)), Attempts: "1",
			FirstAttemptAt: text(minute(3)), CompletedAt: text(minute(4)), SMTPCode: "250", EnhancedCode: "2.0.0",
		})
		s.equal("job", s.counters(id), []string{"COMPLETED", "1", "1", text(minute(21))})
	},

	"a doubt that turns out unsent opens the job again": func(s *scene) {
		id := s.sealed(1)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 1, minute(2))
		s.announce("t", ids, minute(3))
		_, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		_, err = s.FinishJob(s.ctx(), id, minute(21))
		s.must(err)
		s.equal("changed", s.record("t", deferred(ids[0], minute(4), minute(30))), 1)
		s.equal("states", s.states(id), []string{"PENDING/deferred"})
		s.equal("attempts", s.rows(id)[0].Attempts, "1")
		got := s.job(id)
		s.equal("job", []string{got.Status, got.CompletedAt}, []string{"PROCESSING", ""})
		due, err := s.DueJobs(s.ctx(), "", minute(30), minute(30), 9)
		s.must(err)
		s.equal("due", due, []campaign.DueJob{{ID: id}})
	},

	"a doubt about a mail that never left is no attempt": func(s *scene) {
		id := s.sealed(1)
		ids := s.claim(id, "t", 1, minute(2))
		fresh := s.rows(id)[0]
		fresh.State, fresh.LeaseToken = "pending", ""
		s.announce("t", ids, minute(3))
		_, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		unsent := campaign.Result{RecipientID: ids[0], State: campaign.StatePending, At: minute(4)}
		s.equal("changed", s.record("t", unsent), 1)
		s.equal("row", s.rows(id)[0], fresh)
	},

	"what a legacy worker wrote stands": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids[1:], minute(3))
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ?", text(minute(4)))
		s.equal("changed", s.record("t", deferred(ids[0], minute(5), minute(9)), deferred(ids[1], minute(5), minute(9))), 0)
		_, err := s.Rescue(s.ctx(), minute(20))
		s.must(err)
		s.equal("states", s.states(id), []string{"SENT/accepted", "SENT/accepted"})
		s.equal("sentAt", s.rows(id)[0].SentAt, text(minute(4)))
	},

	"many results at once": func(s *scene) {
		id := s.sealed(1300)
		ids := s.claim(id, "t", 1300, minute(2))
		s.equal("granted", len(s.announce("t", ids, minute(3))), 1300)
		results := make([]campaign.Result, len(ids))
		for i, recipient := range ids {
			results[i] = accepted(recipient, minute(i))
		}
		s.equal("changed", s.record("t", results...), 1300)
		s.equal("sent at its own time", s.rows(id)[700].SentAt, text(minute(700)))
	},

	"a state that is no result is refused": func(s *scene) {
		for _, state := range []campaign.State{campaign.StateActive, "", "sent"} {
			if _, err := s.Record(s.ctx(), "t", []campaign.Result{{RecipientID: "r", State: state}}); err == nil {
				s.Errorf("state %q was taken", state)
			}
		}
	},
}

// counters are the job's status, sentEmails, failedEmails and completedAt.
func (s *scene) counters(id string) []string {
	s.Helper()
	j := s.job(id)
	return []string{j.Status, j.Sent, j.Failed, j.CompletedAt}
}
