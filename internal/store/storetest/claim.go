package storetest

import (
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var claimTests = map[string]func(s *scene){
	"claims go in id order, and never return a recipient twice": func(s *scene) {
		id := s.sealed(5)
		first := s.claim(id, "t", 2, minute(2))
		second := s.claim(id, "t", 2, minute(2)) // the same token again
		third := s.claim(id, "other", 9, minute(2))
		var want []string
		for i, p := range people(5) {
			want = append(want, campaign.RecipientID(id, i, p.Address))
		}
		s.equal("claimed", append(append(first, second...), third...), want)
		s.equal("sizes", []int{len(first), len(second), len(third)}, []int{2, 2, 1})
		s.equal("nothing left", s.claim(id, "t", 9, minute(2)), []string{})
		s.equal("a claimed row", s.rows(id)[0], row{
			Email: "ada0@example.com", Status: "PENDING", State: "active", Attempts: "0",
			LeaseToken: "t",
		})
		s.equal("leases", s.leases(), []string{"other until " + text(minute(12)), "t until " + text(minute(12))})
	},

	"a claim returns the whole recipient": func(s *scene) {
		_, err := s.Open(s.ctx(), draft())
		s.must(err)
		want := campaign.Recipient{Address: "zoe@example.com", Name: "Zoë", Variables: map[string]string{"a": "1", "b": ""}}
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: []campaign.Recipient{want}}))
		_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: 1, Jobs: 1}, minute(1))
		s.must(err)
		id := campaign.JobID(key, 0)
		ids := s.claim(id, "t", 1, minute(2))
		s.announce("t", ids, minute(3))
		s.record("t", deferred(ids[0], minute(4), minute(10)))

		got, err := s.Claim(s.ctx(), campaign.Claim{JobID: id, Token: "u", Limit: 1, Now: minute(10), LeaseUntil: minute(20)})
		s.must(err)
		began := minute(3)
		s.equal("claimed", got, []campaign.Claimed{{ID: ids[0], Recipient: want, Attempts: 1, FirstAttemptAt: &began, Again: true, Position: 1}})
	},

	"a recipient that was set aside is due at its time, and was not tried": func(s *scene) {
		id := s.sealed(1)
		ids := s.claim(id, "t", 1, minute(2))
		aside := deferred(ids[0], minute(3), minute(10))
		aside.CountAttempt, aside.Code, aside.Category = false, 0, ""
		s.record("t", aside) // which was not announced
		s.equal("too early", s.claim(id, "u", 1, minute(9)), []string{})
		s.equal("not due", s.due("", minute(9), minute(9)), []string{})
		s.equal("due", s.due("", minute(10), minute(10)), []string{id})
		got, err := s.Claim(s.ctx(), campaign.Claim{JobID: id, Token: "v", Limit: 1, Now: minute(10), LeaseUntil: minute(20)})
		s.must(err)
		s.equal("attempts", []any{len(got), got[0].Attempts, got[0].FirstAttemptAt == nil, got[0].Again}, []any{1, 0, true, true})
	},

	"deferred recipients are due at their time": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.record("t", deferred(ids[0], minute(3), minute(10)), accepted(ids[1], minute(3)))
		s.equal("before", s.claim(id, "u", 9, minute(10).Add(-time.Millisecond)), []string{})
		s.equal("at its time", s.claim(id, "u", 9, minute(10)), ids[:1])
	},

	"untried and deferred recipients come in id order together": func(s *scene) {
		id := s.sealed(4)
		ids := s.claim(id, "t", 3, minute(2))
		s.record("t", deferred(ids[1], minute(3), minute(4)),
			campaign.Result{RecipientID: ids[0], State: campaign.StatePending, At: minute(3)}, accepted(ids[2], minute(3)))
		s.equal("claimed", s.claim(id, "u", 2, minute(5)), ids[:2])
		s.equal("the rest", len(s.claim(id, "u", 9, minute(5))), 1)
	},

	"a campaign that may not run": func(s *scene) {
		id := s.unsealed(2)
		s.equal("unsealed", s.claim(id, "t", 9, minute(2)), []string{})
		_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 2, Jobs: 1}, minute(2))
		s.must(err)
		ids := s.claim(id, "t", 1, minute(2))

		s.must(s.suspend(key, true))
		s.equal("claimed while suspended", s.claim(id, "t", 9, minute(3)), []string{})
		s.equal("granted while suspended", s.announce("t", ids, minute(3)), []string{})
		s.must(s.suspend(key, false))

		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: "SenderRefused", Until: minute(10)}))
		s.equal("claimed while held", s.claim(id, "t", 9, minute(4)), []string{})
		s.equal("granted while held", s.announce("t", ids, minute(4)), []string{})
		s.equal("granted after the hold", s.announce("t", ids, minute(10)), ids)
		s.equal("claimed after the hold", len(s.claim(id, "t", 9, minute(10))), 1)
	},

	"an unknown job has nobody to claim": func(s *scene) {
		s.equal("claimed", s.claim("no-such-job", "t", 9, minute(2)), []string{})
	},

	"announcing writes the doubt ahead": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.equal("granted", s.announce("t", []string{ids[1], ids[0]}, minute(3)), []string{ids[1], ids[0]})
		s.equal("row", s.rows(id)[0], row{
			Email: "ada0@example.com", Status: "FAILED", State: "active", Attempts: "0",
			LeaseToken: "t", AnnouncedAt: text(minute(3)),
			Error: "in doubt: the mail was being sent, and its outcome is not recorded yet",
		})
		s.equal("the same call again", s.announce("t", ids, minute(3)), ids)
		s.equal("another call", s.announce("t", ids, minute(4)), []string{})
	},

	"announcing grants only what is held": func(s *scene) {
		id := s.sealed(4)
		mine, theirs := s.claim(id, "t", 3, minute(2)), s.claim(id, "u", 1, minute(2))
		s.record("t", campaign.Result{RecipientID: mine[1], State: campaign.StateFailed, At: minute(2)})
		asked := []string{theirs[0], mine[0], mine[1], "no-such-id", mine[2]}
		s.equal("granted", s.announce("t", asked, minute(3)), []string{mine[0], mine[2]})
		s.equal("nobody", s.announce("t", nil, minute(3)), []string{})
	},

	"what a legacy worker ended is neither claimed nor granted": func(s *scene) {
		id := s.sealed(4)
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `email` = 'ada0@example.com'", text(minute(2)))
		ids := s.claim(id, "t", 9, minute(3))
		s.equal("claimed", len(ids), 3)
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `id` = ?", text(minute(4)), ids[0])
		s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `error` = 'boom' WHERE `id` = ?", ids[1])
		s.equal("granted", s.announce("t", ids, minute(5)), ids[2:])
	},

	"a legacy job is worked off like any other": func(s *scene) {
		id := s.legacyJob(3)
		job, err := s.Job(s.ctx(), id)
		s.must(err)
		s.equal("job", job, campaign.Job{
			ID: id, Status: campaign.JobPending, CreatedAt: epoch, Sealed: true, Started: true,
			Content: campaign.Content{Subject: "Hi", HTML: "<b>Hi</b>"},
		})
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		ids := s.claim(id, "t", 2, minute(2))
		s.equal("claimed", ids, []string{"legacy-0", "legacy-1"})
		s.equal("granted", s.announce("t", ids, minute(3)), ids)
		s.record("t", accepted(ids[0], minute(4)), campaign.Result{
			RecipientID: ids[1], State: campaign.StateBounced, CountAttempt: true, Code: 550, EnhancedCode: "5.1.1",
			Category: "BadMailbox", Detail: "550 5.1.1 no such user", At: minute(4),
		})
		s.equal("rows", s.rows(id), []row{
			{
				Email: "ada0@example.com", Name: "Ada", Status: "SENT", State: "accepted", SentAt: text(minute(4)), Attempts: "1",
				FirstAttemptAt: text(minute(3)), CompletedAt: text(minute(4)), SMTPCode: "250", EnhancedCode: "2.0.0",
			},
			{
				Email: "ada1@example.com", Name: "Ada", Status: "FAILED", State: "bounced", Error: "550 5.1.1 no such user",
				Attempts: "1", FirstAttemptAt: text(minute(3)), CompletedAt: text(minute(4)), SMTPCode: "550",
				EnhancedCode: "5.1.1", Category: "BadMailbox",
			},
			{Email: "ada2@example.com", Name: "Ada", Status: "PENDING", Attempts: "0"},
		})
	},
}
