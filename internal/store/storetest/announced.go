package storetest

import (
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// window claims up to limit recipients, announced.
func (s *scene) window(job, token string, limit int, now time.Time) []campaign.Claimed {
	s.Helper()
	claimed, err := s.Claim(s.ctx(), campaign.Claim{
		JobID: job, Token: token, Limit: limit, Now: now, LeaseUntil: now.Add(10 * time.Minute), Announce: true,
	})
	s.must(err)
	return claimed
}

func idsOf(claimed []campaign.Claimed) []string {
	ids := []string{}
	for _, c := range claimed {
		ids = append(ids, c.ID)
	}
	return ids
}

// acceptedOf are the results of those of the claimed at these places, as a worker reports them.
func acceptedOf(claimed []campaign.Claimed, now time.Time, places ...int) []campaign.Result {
	var results []campaign.Result
	for _, i := range places {
		result := accepted(claimed[i].ID, now)
		result.Position = claimed[i].Position
		results = append(results, result)
	}
	return results
}

// rescue ends leases that ran out, and returns how many recipients were released and how many are in doubt.
func (s *scene) rescue(now time.Time) []int {
	s.Helper()
	rescued, err := s.Rescue(s.ctx(), now)
	s.must(err)
	return []int{rescued.Released, rescued.InDoubt}
}

var announcedTests = map[string]func(s *scene){
	"a window is claimed and announced at once": func(s *scene) {
		id := s.sealed(3)
		claimed := s.window(id, "t", 2, minute(2))
		var want []campaign.Claimed
		for i, p := range people(2) {
			want = append(want, campaign.Claimed{ID: campaign.RecipientID(id, i, p.Address), Recipient: p, Position: i + 1})
		}
		s.equal("claimed", claimed, want)
		s.equal("row", s.rows(id)[1], row{
			Email: "ada1@example.com", Status: "FAILED", State: "active", Attempts: "0",
			LeaseToken: "t", AnnouncedAt: text(minute(2)),
			Error: "in doubt: the mail was being sent, and its outcome is not recorded yet",
		})
		s.equal("leases", s.leases(), []string{"t until " + text(minute(12))})
		s.equal("the rest", len(s.window(id, "u", 2, minute(2))), 1)
		s.equal("nobody", idsOf(s.window(id, "v", 2, minute(2))), []string{})
		s.equal("leases", s.leases(), []string{"t until " + text(minute(12)), "u until " + text(minute(12))})
		s.equal("doubts", s.rescue(minute(20)), []int{0, 3})
	},

	"a window has whoever is due, in id order": func(s *scene) {
		id := s.sealed(5)
		ids := s.claim(id, "t", 4, minute(2))
		s.announce("t", ids[:1], minute(2))
		s.record("t", deferred(ids[0], minute(3), minute(4)), deferred(ids[2], minute(3), minute(9)),
			campaign.Result{RecipientID: ids[1], State: campaign.StatePending, At: minute(3)}, accepted(ids[3], minute(3)))
		claimed := s.window(id, "u", 9, minute(5))
		last := campaign.RecipientID(id, 4, "ada4@example.com")
		s.equal("claimed", idsOf(claimed), []string{ids[0], ids[1], last})
		s.equal("attempts", []int{claimed[0].Attempts, claimed[1].Attempts, claimed[2].Position}, []int{1, 0, 3})
		s.equal("states", s.states(id), []string{"FAILED/active", "FAILED/active", "PENDING/deferred", "SENT/accepted", "FAILED/active"})
	},

	"a window of a legacy job": func(s *scene) {
		id := s.legacyJob(3)
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `id` = 'legacy-1'", text(minute(2)))
		s.equal("claimed", idsOf(s.window(id, "t", 9, minute(3))), []string{"legacy-0", "legacy-2"})
		s.equal("states", s.states(id), []string{"FAILED/active", "SENT/", "FAILED/active"})
	},

	"a window of a campaign that may not run": func(s *scene) {
		id := s.unsealed(2)
		s.equal("unsealed", idsOf(s.window(id, "t", 9, minute(2))), []string{})
		_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 2, Jobs: 1}, minute(2))
		s.must(err)
		s.must(s.suspend(key, true))
		s.equal("suspended", idsOf(s.window(id, "t", 9, minute(3))), []string{})
		s.must(s.suspend(key, false))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: "SenderRefused", Until: minute(10)}))
		s.equal("held", idsOf(s.window(id, "t", 9, minute(4))), []string{})
		s.equal("leases", s.leases(), []string{})
		s.equal("after the hold", len(s.window(id, "t", 9, minute(10))), 2)
	},

	"a window without those on the suppression list": func(s *scene) {
		id := s.sealedWith(respecting(), people(6))
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual), entry("ada1@example.com", "", campaign.SuppressedManual),
			entry("ada3@example.com", "", campaign.SuppressedManual))
		s.equal("behind the suppressed", idsOf(s.window(id, "t", 2, minute(2))), []string{
			campaign.RecipientID(id, 2, "ada2@example.com"),
		})
		claimed := s.window(id, "u", 9, minute(2))
		s.equal("states", s.states(id), []string{out, out, "FAILED/active", out, "FAILED/active", "FAILED/active"})
		s.equal("recorded", s.record("u", acceptedOf(claimed, minute(3), 0, 1)...), 2)
	},

	"windows at once share the recipients": func(s *scene) {
		id := s.sealed(200)
		got := make([]int, 4)
		together(len(got), func(i int) {
			for round := 0; ; round++ {
				token := fmt.Sprintf("t%d-%d", i, round)
				claimed, err := s.Claim(s.ctx(), campaign.Claim{
					JobID: id, Token: token, Limit: 7, Now: minute(2), LeaseUntil: minute(9), Announce: true,
				})
				s.noError(err)
				if len(claimed) == 0 {
					return
				}
				places := make([]int, len(claimed))
				for k := range places {
					places[k] = k
				}
				n, err := s.Record(s.ctx(), token, acceptedOf(claimed, minute(3), places...))
				s.noError(err)
				got[i] += n
			}
		})
		s.equal("recorded", got[0]+got[1]+got[2]+got[3], 200)
		s.equal("accepted", s.count("SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'accepted' AND `attempts` = 1"), 200)
	},

	"neighbours are recorded together": func(s *scene) {
		id := s.sealed(12)
		claimed := s.window(id, "t", 12, minute(2))
		early := acceptedOf(claimed, minute(3), 0, 1, 2, 3, 4)
		early[2].At = minute(3).Add(50 * time.Millisecond)
		late := acceptedOf(claimed, minute(5), 6, 7, 8, 9)
		for i := range late {
			late[i].EnhancedCode = "2.6.0"
		}
		s.equal("changed", s.record("t", append(early, append(late, deferred(claimed[11].ID, minute(4), minute(9)))...)...), 10)
		row := func(i int, when time.Time, enhanced string) row {
			return row{
				Email: fmt.Sprintf("ada%d@example.com", i), Status: "SENT", State: "accepted", SentAt: text(when), Attempts: "1",
				FirstAttemptAt: text(minute(2)), CompletedAt: text(when), SMTPCode: "250", EnhancedCode: enhanced,
			}
		}
		rows := s.rows(id)
		s.equal("the first", rows[0], row(0, early[2].At, "2.0.0"))
		s.equal("the last of them", rows[4], row(4, early[2].At, "2.0.0"))
		s.equal("another reply", rows[9], row(9, minute(5), "2.6.0"))
		s.equal("in flight", []string{rows[5].State, rows[5].LeaseToken, rows[10].State, rows[11].State}, []string{"active", "t", "active", "deferred"})
		s.equal("again", s.record("t", early...), 0)
	},

	"neighbours of whom some are no longer as they were": func(s *scene) {
		id := s.sealed(8)
		claimed := s.window(id, "t", 8, minute(2))
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `id` = ?", text(minute(2)), claimed[1].ID)
		s.renew(minute(3), "t")
		s.exec("UPDATE `Recipient` SET `leaseToken` = 'u' WHERE `id` = ?", claimed[4].ID)
		s.equal("doubts", s.rescue(minute(4)), []int{1, 6}) // released: whom the legacy program ended
		s.equal("changed", s.record("t", acceptedOf(claimed, minute(5), 0, 1, 2, 3, 4, 5, 6, 7)...), 6)
		s.equal("states", s.states(id), []string{
			"SENT/accepted", "SENT/accepted", "SENT/accepted", "SENT/accepted", "FAILED/active", "SENT/accepted", "SENT/accepted", "SENT/accepted",
		})
		s.equal("the first attempt of a former doubt", s.rows(id)[2].FirstAttemptAt, text(minute(2)))
	},

	"positions that are wrong": func(s *scene) {
		id := s.sealed(8)
		claimed := s.window(id, "t", 8, minute(2))
		results := acceptedOf(claimed, minute(3), 0, 1, 2, 7)
		results[3].Position = 4
		s.equal("changed", s.record("t", results...), 4)
		s.equal("in flight", s.count("SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'active' AND `leaseToken` = 't'"), 4)
	},

	"a claim of which nobody knows is given back": func(s *scene) {
		id := s.sealed(4)
		s.window(id, "t", 2, minute(2))
		s.claim(id, "u", 1, minute(2))
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `email` = 'ada1@example.com'", text(minute(2)))
		for _, test := range []struct {
			token string
			want  int
		}{{"t", 2}, {"u", 1}, {"t", 0}, {"never", 0}} {
			n, err := s.Unclaim(s.ctx(), test.token, id)
			s.must(err)
			s.equal("given back under "+test.token, n, test.want)
		}
		s.equal("states", s.states(id), []string{waits, "SENT/accepted", waits, waits})
		s.equal("attempts", s.rows(id)[0].Attempts, "0")
		s.equal("leases", s.leases(), []string{})
	},
}
