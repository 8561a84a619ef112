package storetest

import (
	"fmt"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var jobTests = map[string]func(s *scene){
	"an unknown job is not found": func(s *scene) {
		_, err := s.Job(s.ctx(), "no-such-job")
		s.isError(err, campaign.ErrNotFound)
		_, err = s.JobReport(s.ctx(), "no-such-job")
		s.isError(err, campaign.ErrNotFound)
		_, err = s.FinishJob(s.ctx(), "no-such-job", epoch)
		s.isError(err, campaign.ErrNotFound)
		s.isError(s.StartJob(s.ctx(), "no-such-job", epoch), campaign.ErrNotFound)
	},

	"starting sets PROCESSING and the times, once": func(s *scene) {
		id := s.sealed(1)
		s.must(s.StartJob(s.ctx(), id, minute(2)))
		s.must(s.StartJob(s.ctx(), id, minute(3)))
		got := s.job(id)
		s.equal("job", []string{got.Status, got.StartedAt}, []string{"PROCESSING", text(minute(2))})
		record, err := s.Campaign(s.ctx(), key)
		s.must(err)
		at := minute(2)
		s.equal("startedAt", record.StartedAt, &at)
		report, err := s.JobReport(s.ctx(), id)
		s.must(err)
		s.equal("report", report, campaign.JobReport{
			ID: id, Key: key, Status: campaign.JobProcessing, Tally: campaign.Tally{Total: 1, Pending: 1},
			CreatedAt: epoch, StartedAt: &at,
		})
	},

	"a job of an unsealed campaign does not start": func(s *scene) {
		id := s.unsealed(1)
		s.must(s.StartJob(s.ctx(), id, minute(2)))
		s.equal("status", s.job(id).Status, "PENDING")
	},

	"a job with recipients left is not finished": func(s *scene) {
		id := s.sealed(3)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids[:1], minute(3))
		for _, left := range []func(){
			func() {}, // pending, claimed, announced
			func() { s.record("t", accepted(ids[0], minute(4)), deferred(ids[1], minute(4), minute(60))) },
			func() { s.record("u", accepted(s.claim(id, "u", 9, minute(5))[0], minute(6))) }, // one is deferred
		} {
			left()
			progress, err := s.FinishJob(s.ctx(), id, minute(7))
			s.must(err)
			s.equal("finished", progress.Finished, false)
			s.equal("status", progress.Status, campaign.JobProcessing)
			s.equal("job", s.counters(id), []string{"PROCESSING", "0", "0", ""})
		}
	},

	"finishing sets status and counters once": func(s *scene) {
		id := s.sealed(3)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 3, minute(2))
		s.announce("t", ids, minute(3))
		s.record("t", accepted(ids[0], minute(4)),
			campaign.Result{RecipientID: ids[1], State: campaign.StateInDoubt, At: minute(5)},
			campaign.Result{RecipientID: ids[2], State: campaign.StateBounced, EnhancedCode: "5.1.1", Category: "BadMailbox", At: minute(4)})
		last := minute(5)
		want := campaign.JobProgress{Status: campaign.JobCompleted, Finished: true, Tally: campaign.Tally{
			Total: 3, Accepted: 1, Bounced: 1, InDoubt: 1, LastCompletedAt: &last,
			Failures: []campaign.FailureCount{
				{Category: "BadMailbox", EnhancedCode: "5.1.1", Count: 1}, {Category: "InDoubt", Count: 1},
			},
		}}
		for _, now := range []int{6, 7} {
			progress, err := s.FinishJob(s.ctx(), id, minute(now))
			s.must(err)
			s.equal("progress", progress, want)
			s.equal("job", s.counters(id), []string{"COMPLETED", "1", "2", text(minute(6))})
		}
	},

	"a job fails only if everybody failed": func(s *scene) {
		for sent, want := range map[int][]string{0: {"FAILED", "0", "2"}, 1: {"COMPLETED", "1", "1"}, 2: {"COMPLETED", "2", "0"}} {
			id := fmt.Sprintf("job-%d", sent)
			s.exec("INSERT INTO `EmailJob` (`id`, `subject`, `body`, `totalEmails`) VALUES (?, 's', 'b', 2)", id)
			for i, status := range []string{"FAILED", "FAILED"} {
				if i < sent {
					status = "SENT"
				}
				s.exec("INSERT INTO `Recipient` (`id`, `jobId`, `email`, `status`) VALUES (?, ?, 'a@example.com', ?)",
					fmt.Sprintf("%s-%d", id, i), id, status)
			}
			progress, err := s.FinishJob(s.ctx(), id, minute(1))
			s.must(err)
			s.equal("finished", progress.Finished, true)
			s.equal("job", s.counters(id)[:3], want)
		}
		s.exec("INSERT INTO `EmailJob` (`id`, `subject`, `body`) VALUES ('empty', 's', 'b')")
		_, err := s.FinishJob(s.ctx(), "empty", minute(1))
		s.must(err)
		s.equal("empty job", s.counters("empty"), []string{"COMPLETED", "0", "0", text(minute(1))})
	},

	"recipients are listed with their states": func(s *scene) {
		id := s.sealed(3)
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(3))
		s.record("t", accepted(ids[0], minute(4)))
		got := []string{}
		s.must(s.EachRecipient(s.ctx(), key, func(jobID, address string, state campaign.State) error {
			s.equal("job", jobID, id)
			got = append(got, address+" "+string(state))
			return nil
		}))
		s.equal("recipients", got, []string{"ada0@example.com accepted", "ada1@example.com active", "ada2@example.com pending"})
	},
}
