package storetest

import (
	"fmt"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// retry retries failed recipients at this minute, and returns how many.
func (s *scene) retry(token string, now int, categories ...string) int64 {
	s.Helper()
	n, err := s.RetryFailed(s.ctx(), key, campaign.RetryRequest{Token: token, Categories: categories, Now: minute(now)})
	s.must(err)
	return n
}

// resolve resolves doubts at this minute, and returns how many.
func (s *scene) resolve(token string, state campaign.State, now int) int64 {
	s.Helper()
	n, err := s.ResolveInDoubt(s.ctx(), key, campaign.Resolution{Token: token, State: state, Now: minute(now)})
	s.must(err)
	return n
}

// untouched is the row of a recipient that was never tried.
func untouched(n int) row {
	return row{Email: fmt.Sprintf("ada%d@example.com", n), Status: "PENDING", State: "pending", Attempts: "0"}
}

// mixed writes a job in which the recipients ended in every way, rings, finishes and returns it: accepted, failed, failed
// with another category, bounced, in doubt, failed and accepted by a legacy program, cancelled.
func (s *scene) mixed() string {
	s.Helper()
	id := s.sealed(8)
	jobs, err := s.DueJobs(s.ctx(), key, minute(1), minute(1), 9)
	s.must(err)
	s.must(s.MarkRung(s.ctx(), jobs, minute(1)))
	s.must(s.StartJob(s.ctx(), id, minute(2)))
	ids := s.claim(id, "t", 5, minute(2))
	s.announce("t", ids, minute(2))
	s.record("t", accepted(ids[0], minute(3)), ended(ids[1], campaign.StateFailed, "Other", minute(3)),
		ended(ids[2], campaign.StateFailed, "RateLimited", minute(4)),
		ended(ids[3], campaign.StateBounced, "BadMailbox", minute(3)),
		campaign.Result{RecipientID: ids[4], State: campaign.StateInDoubt, CountAttempt: true, At: minute(3)})
	s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `error` = 'smtp' WHERE `email` = 'ada5@example.com'")
	s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `email` = 'ada6@example.com'", text(minute(3)))
	s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `state` = 'cancelled', `completedAt` = ? WHERE `email` = 'ada7@example.com'", text(minute(3)))
	progress, err := s.FinishJob(s.ctx(), id, minute(5))
	s.must(err)
	s.equal("finished", progress.Finished, true)
	return id
}

var againTests = map[string]func(s *scene){
	"who failed is tried again": func(s *scene) {
		id := s.mixed()
		rows, before := s.rows(id), s.campaign(key)
		s.equal("retried", s.retry("one", 6), int64(3))
		for _, i := range []int{1, 2, 5} {
			rows[i] = untouched(i)
		}
		check := func() {
			s.Helper()
			s.equal("rows", s.rows(id), rows)
			got := s.job(id)
			s.equal("job", []string{got.Status, got.CompletedAt, got.Rings, got.RungAt}, []string{"PROCESSING", "", "1", ""})
			s.equal("record", s.campaign(key), changed(before, func(r *campaign.Record) {
				r.Verbs = campaign.Verbs{RetriedAt: "one", RetryTime: minute(6), RetryDone: true}
			}))
		}
		check()
		s.equal("again", s.retry("one", 9), int64(0))
		check()

		jobs, err := s.DueJobs(s.ctx(), key, minute(6), minute(6), 9)
		s.must(err)
		s.equal("rung at once, under a new id", jobs, []campaign.DueJob{{ID: id, Rings: 1}})
		again := s.claim(id, "u", 9, minute(7))
		s.announce("u", again, minute(7))
		s.equal("tried", len(again), 3)
		s.record("u", accepted(again[0], minute(8)), accepted(again[1], minute(8)),
			ended(again[2], campaign.StateFailed, "Other", minute(8)))
		_, err = s.FinishJob(s.ctx(), id, minute(9))
		s.must(err)
		s.equal("counters", s.counters(id), []string{"COMPLETED", "4", "4", text(minute(9))})
		s.equal("with another token", s.retry("two", 10), int64(1))
	},

	"a retry is of some categories": func(s *scene) {
		for name, test := range map[string]struct {
			categories []string
			want       []int
		}{
			"one":                                  {[]string{"RateLimited"}, []int{2}},
			"a bounce's":                           {[]string{"BadMailbox", "Nonsense"}, []int{3}},
			"no failure":                           {[]string{"InDoubt"}, nil},
			"what legacy programs failed has none": {[]string{"Other"}, []int{1, 5}},
		} {
			id := s.mixed()
			rows := s.rows(id)
			s.equal(name, s.retry("t", 6, test.categories...), int64(len(test.want)))
			for _, i := range test.want {
				rows[i] = untouched(i)
			}
			s.equal(name, s.rows(id), rows)
			s.exec("DELETE FROM `Lease`")
			s.exec("DELETE FROM `EmailJob`")
			s.exec("DELETE FROM `Campaign`")
		}
	},

	"a retry that was cut short goes on with its own time": func(s *scene) {
		id := s.mixed()
		s.equal("of those before minute 4", s.retry("one", 4), int64(2))
		s.exec("UPDATE `Campaign` SET `steering` = REPLACE(`steering`, '\"retryDone\":true', '\"retryDone\":false')")
		again := s.claim(id, "u", 1, minute(5))
		s.announce("u", again, minute(5))
		s.record("u", ended(again[0], campaign.StateFailed, "Other", minute(5)))
		s.equal("who failed later stays", s.retry("one", 9), int64(0))
		s.equal("states", s.states(id)[:3], []string{"SENT/accepted", "FAILED/failed", "FAILED/failed"})
		verbs := campaign.Verbs{RetriedAt: "one", RetryTime: minute(4), RetryDone: true}
		s.equal("verbs", s.campaign(key).Verbs, verbs)
	},

	"a job that runs is not rung for a retry": func(s *scene) {
		id := s.sealed(3)
		jobs, err := s.DueJobs(s.ctx(), key, minute(1), minute(1), 9)
		s.must(err)
		s.must(s.MarkRung(s.ctx(), jobs, minute(1)))
		s.must(s.StartJob(s.ctx(), id, minute(2)))
		ids := s.claim(id, "t", 2, minute(2))
		s.record("t", ended(ids[0], campaign.StateFailed, "Other", minute(3)))
		s.equal("retried", s.retry("one", 4), int64(1))
		got := s.job(id)
		s.equal("job", []string{got.Status, got.RungAt}, []string{"PROCESSING", text(minute(1))})
		s.equal("states", s.states(id), []string{"PENDING/pending", "PENDING/active", "PENDING/pending"})
	},

	"a cancelled campaign stays as it is": func(s *scene) {
		id := s.mixed()
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(5)))
		rows, was := s.rows(id), s.job(id)
		s.equal("retried", s.retry("one", 6), int64(0))
		s.equal("rows", s.rows(id), rows)
		s.equal("job", s.job(id), was)
		s.equal("done", s.campaign(key).Verbs.RetryDone, true)
	},

	"a retry keeps the base of the abort policy below what has ended": func(s *scene) {
		s.mixed()
		s.must(s.Resume(s.ctx(), key, "r"))
		s.equal("resumed", s.campaign(key).AbortBase, campaign.Ended{Accepted: 2, Bounced: 1, Failed: 3})
		s.retry("one", 6)
		s.equal("retried", s.campaign(key).AbortBase, campaign.Ended{Accepted: 2, Bounced: 1})
	},

	"doubts are resolved, and a lost worker has no more say": func(s *scene) {
		for name, test := range map[string]struct {
			state    campaign.State
			cancel   bool
			want     row
			counters []string
			base     campaign.Ended
		}{
			"accepted": {
				state: campaign.StateAccepted,
				want: row{
					Status: "SENT", State: "accepted", SentAt: text(minute(7)), Attempts: "1", FirstAttemptAt: text(minute(2)),
					CompletedAt: text(minute(7)),
				},
				counters: []string{"COMPLETED", "3", "5", text(minute(5))}, base: campaign.Ended{Accepted: 1},
			},
			"failed": {
				state: campaign.StateFailed,
				want: row{
					Status: "FAILED", State: "failed", Error: "in doubt: ", Attempts: "1", FirstAttemptAt: text(minute(2)),
					CompletedAt: text(minute(7)), Category: "InDoubt",
				},
				counters: []string{"COMPLETED", "2", "6", text(minute(5))}, base: campaign.Ended{Failed: 1},
			},
			"tried again": {
				state: campaign.StatePending, want: row{Status: "PENDING", State: "pending", Attempts: "0"},
				counters: []string{"PROCESSING", "2", "6", ""},
			},
			"tried again, cancelled": {
				state: campaign.StatePending, cancel: true,
				want: row{
					Status: "FAILED", State: "cancelled", Error: "cancelled: the campaign was cancelled before this mail was sent",
					Attempts: "1", FirstAttemptAt: text(minute(2)), CompletedAt: text(minute(7)),
				},
				counters: []string{"COMPLETED", "2", "6", text(minute(5))},
			},
		} {
			id := s.mixed()
			s.equal("counters before", s.counters(id), []string{"COMPLETED", "2", "6", text(minute(5))})
			if test.cancel {
				s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(6)))
			}
			rows, before := s.rows(id), s.campaign(key)
			doubtful := s.claimedBy("t")
			s.equal(name, s.resolve("one", test.state, 7), int64(1))
			test.want.Email = "ada4@example.com"
			rows[4] = test.want
			for range 2 {
				s.equal(name, s.rows(id), rows)
				s.equal(name, s.counters(id), test.counters)
				s.equal(name, s.leases(), []string{})
				s.equal(name, s.campaign(key), changed(before, func(r *campaign.Record) {
					r.Verbs.Resolved, r.AbortBase = "one", test.base
				}))
				s.equal(name+", late result", s.record("t", accepted(doubtful[0], minute(8))), 0)
				s.equal(name+", again", s.resolve("one", campaign.StateFailed, 9), int64(0))
				s.equal(name+", by policy", s.resolve("", campaign.StatePending, 9), int64(0))
			}
			due := []string{}
			if test.state == campaign.StatePending && !test.cancel {
				due = []string{id}
			}
			s.equal(name+", due", s.due(key, minute(9), minute(1)), due)
			s.exec("DELETE FROM `EmailJob`")
			s.exec("DELETE FROM `Campaign`")
		}
	},

	"a doubt that a legacy program ended is none": func(s *scene) {
		id := s.mixed()
		s.exec("UPDATE `Recipient` SET `status` = 'SENT' WHERE `state` = 'inDoubt'")
		rows := s.rows(id)
		s.equal("resolved", s.resolve("", campaign.StatePending, 7), int64(0))
		s.equal("rows", s.rows(id), rows)
		_, err := s.ResolveInDoubt(s.ctx(), key, campaign.Resolution{State: campaign.StateBounced, Now: minute(7)})
		s.equal("no state for that", err != nil, true)
	},

	"a lease that still holds others goes on": func(s *scene) {
		id := s.sealed(2)
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(2))
		s.record("t", campaign.Result{RecipientID: ids[0], State: campaign.StateInDoubt, At: minute(3)})
		s.equal("resolved", s.resolve("", campaign.StatePending, 4), int64(1))
		s.equal("leases", s.leases(), []string{"t until " + text(minute(12))})
		s.equal("states", s.states(id), []string{"PENDING/pending", "FAILED/active"})
		held, err := s.Held(s.ctx(), "t")
		s.must(err)
		s.equal("held", held, map[string]bool{ids[1]: true})
		s.equal("recorded", s.record("t", accepted(ids[1], minute(5))), 1)
	},

	"more than one transaction's worth, in several jobs": func(s *scene) {
		jobs := s.sealedAs(key, 2, 1200)
		for _, id := range jobs {
			s.must(s.StartJob(s.ctx(), id, minute(2)))
		}
		s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `state` = 'failed', `completedAt` = ?, `attempts` = 3", text(minute(3)))
		for _, id := range jobs {
			_, err := s.FinishJob(s.ctx(), id, minute(4))
			s.must(err)
		}
		s.equal("retried", s.retry("one", 5), int64(2400))
		tally, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("tally", tally, campaign.Tally{Total: 2400, Pending: 2400})
		s.equal("due", len(s.due(key, minute(5), minute(5))), 2)
	},
}

// claimedBy returns the ids of the recipients that are under the token.
func (s *scene) claimedBy(token string) []string {
	s.Helper()
	held, err := s.Held(s.ctx(), token)
	s.must(err)
	ids := []string{}
	for id := range held {
		ids = append(ids, id)
	}
	return ids
}
