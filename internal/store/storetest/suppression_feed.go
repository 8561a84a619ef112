package storetest

import (
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	verdict "github.com/cartero-mail/cartero/internal/mail"
)

// refusal is a result with this end.
func refusal(id string, state campaign.State, category string, code int, enhanced, detail string, now time.Time) campaign.Result {
	r := campaign.Result{
		RecipientID: id, State: state, CountAttempt: true, Code: code, EnhancedCode: enhanced, Category: category, Detail: detail, At: now,
	}
	if state == campaign.StateDeferred {
		next := now.Add(time.Minute)
		r.NextAttemptAt = &next
	}
	return r
}

// refused has the first recipient of a new campaign refused, and returns the id of the job.
func (s *scene) refused(d campaign.Draft, result campaign.Result) string {
	s.Helper()
	job := s.sealedWith(d, people(1))
	ids := s.claim(job, "t", 1, result.At)
	s.equal("claimed", len(ids), 1)
	s.announce("t", ids, result.At)
	result.RecipientID = ids[0]
	s.equal("changed", s.record("t", result), 1)
	return job
}

// full has ada0's mailbox be full on this day, in a campaign of its own.
func (s *scene) full(day int, state campaign.State) {
	s.Helper()
	d := respecting()
	d.Key = fmt.Sprintf("growth/day-%d", day)
	code, enhanced := 452, "4.2.2"
	if state == campaign.StateBounced {
		code, enhanced = 552, "5.2.2"
	}
	s.refused(d, refusal("", state, verdict.CategoryMailboxFull, code, enhanced, "quota", days(day)))
}

var suppressionFeedTests = map[string]func(s *scene){
	"only what the mailbox is to blame for": func(s *scene) {
		const bad = `ada0@example.com "" BadMailbox by `
		for i, c := range []struct {
			result campaign.Result
			want   string
		}{
			{refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.1", "550 5.1.1 no", minute(2)), bad},
			{refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.10", "null MX", minute(2)), bad},
			{refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "", "550 No such user here", minute(2)), bad},
			{refusal("", campaign.StateBounced, verdict.CategoryDisabled, 550, "5.2.1", "disabled", minute(2)), `ada0@example.com "" Disabled by `},
			// Once is not enough.
			{refusal("", campaign.StateBounced, verdict.CategoryMailboxFull, 552, "5.2.2", "full", minute(2)), ""},
			{refusal("", campaign.StateDeferred, verdict.CategoryMailboxFull, 452, "4.2.2", "full", minute(2)), ""},
			// Our own fault, somebody else's, or nobody's.
			{refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "", "550 Service refused, your host is on a blocklist", minute(2)), ""},
			{refusal("", campaign.StateDeferred, verdict.CategoryDisabled, 450, "4.2.1", "disabled for now", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryDisabled, 450, "4.2.1", "disabled for too long", minute(2)), ""},
			{refusal("", campaign.StateBounced, verdict.CategoryDisabled, 450, "4.2.1", "a rule calls it a bounce", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryContent, 552, "5.3.4", "too large", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryContent, 554, "5.6.0", "content", minute(2)), ""},
			{refusal("", campaign.StateDeferred, verdict.CategoryRateLimited, 421, "4.7.0", "slow down", minute(2)), ""},
			{refusal("", campaign.StateDeferred, verdict.CategoryRateLimited, 451, "4.7.1", "greylisted", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryRateLimited, 450, "4.7.28", "given up", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryPolicy, 550, "5.7.1", "spam", minute(2)), ""},
			{refusal("", campaign.StateBounced, verdict.CategoryPolicy, 554, "5.7.1", "spam, at RCPT", minute(2)), ""},
			{refusal("", campaign.StateBounced, verdict.CategoryPolicy, 550, "5.7.28", "spam rate", minute(2)), ""},
			{refusal("", campaign.StatePending, verdict.CategorySenderRefused, 550, "5.7.26", "DMARC", minute(2)), ""},
			{refusal("", campaign.StateBounced, verdict.CategorySenderRefused, 550, "5.7.515", "a rule calls it a bounce", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryRelayAuth, 535, "5.7.8", "credentials", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryNetwork, 0, "", "connection lost", minute(2)), ""},
			{refusal("", campaign.StateInDoubt, verdict.CategoryInDoubt, 0, "", "no reply", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryInvalid, 0, "", "no address", minute(2)), ""},
			{refusal("", campaign.StateFailed, verdict.CategoryInvalid, 553, "5.6.7", "needs SMTPUTF8", minute(2)), ""},
			{refusal("", campaign.StateBounced, verdict.CategoryOther, 571, "", "who knows", minute(2)), ""},
			{accepted("", minute(2)), ""},
		} {
			d := respecting()
			d.Key = fmt.Sprintf("growth/case-%d", i)
			s.refused(d, c.result)
			want := []string{}
			if c.want != "" {
				want = append(want, c.want+d.Key)
			}
			s.equal(fmt.Sprintf("list after %d %s %s (%s)", c.result.Code, c.result.EnhancedCode, c.result.Category, c.result.Detail), s.suppressions(), want)
			s.exec("DELETE FROM `Suppression`")
			s.exec("DELETE FROM `FullMailbox`")
		}
	},

	"not from campaigns that do not respect the list": func(s *scene) {
		d := draft()
		s.refused(d, refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.1", "550 5.1.1 no", minute(2)))
		s.equal("list", s.suppressions(), []string{})
	},

	"not from mails that programs hand in": func(s *scene) {
		sent := campaign.Submission{
			Key: "http/one", Content: campaign.Content{Subject: "Hi", Text: "Hi", Suppress: true}, Recipients: people(1), CreatedAt: epoch,
		}
		s.suppress(entry("ada1@example.com", "", campaign.SuppressedManual))
		got, err := s.Submit(s.ctx(), []campaign.Submission{sent}, &campaign.Lease{Token: "t", Until: minute(10)}, epoch)
		s.must(err)
		bounced := refusal(got[0].Claimed[0].ID, campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.1", "550 5.1.1 no", minute(2))
		s.must(s.RecordSubmitted(s.ctx(), []campaign.SubmittedResult{{Token: "t", Result: bounced}}, minute(2)))
		s.equal("list", s.suppressions(), []string{`ada1@example.com "" Manual by test`})
	},

	"a result and its suppression are one": func(s *scene) {
		job := s.sealedWith(respecting(), people(2))
		ids := s.claim(job, "t", 2, minute(2))
		s.announce("t", ids, minute(2))
		before := s.rows(job)
		s.exec("ALTER TABLE `Suppression` RENAME TO `Elsewhere`")
		results := []campaign.Result{
			accepted(ids[0], minute(3)), refusal(ids[1], campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.1", "550 5.1.1 no", minute(3)),
		}
		if _, err := s.Record(s.ctx(), "t", results); err == nil {
			s.Fatal("the results were recorded without the suppression")
		}
		s.equal("rows", s.rows(job), before)
		s.exec("ALTER TABLE `Elsewhere` RENAME TO `Suppression`")
		s.equal("changed", s.record("t", results...), 2)
		s.equal("changed again", s.record("t", results...), 0)
		s.equal("states", s.states(job), []string{"SENT/accepted", "FAILED/bounced"})
		s.equal("list", s.suppressions(), []string{`ada1@example.com "" BadMailbox by ` + key})
	},

	"who bounced is left out of the next campaign, and of another try": func(s *scene) {
		job := s.refused(respecting(), refusal("", campaign.StateBounced, verdict.CategoryBadMailbox, 550, "5.1.1", "550 5.1.1 no", minute(2)))
		d := respecting()
		d.Key = "growth/next"
		s.equal("states", s.states(s.sealedWith(d, people(2))), []string{out, waits})
		_, err := s.RetryFailed(s.ctx(), key, campaign.RetryRequest{Token: "r", Categories: []string{verdict.CategoryBadMailbox}, Now: minute(9)})
		s.must(err)
		s.equal("states", s.states(job), []string{waits})
		s.equal("claimed", len(s.claim(job, "u", 1, minute(10))), 0)
		s.equal("states", s.states(job), []string{out})
	},

	"a mailbox that is full for two weeks": func(s *scene) {
		for _, day := range []int{0, 1, 5, 13} {
			s.full(day, campaign.StateBounced)
			s.equal("list", s.suppressions(), []string{})
		}
		s.full(14, campaign.StateDeferred)
		s.equal("list", s.suppressions(), []string{`ada0@example.com "" MailboxFull by growth/day-14`})
		s.equal("remembered", s.count("SELECT COUNT(*) FROM `FullMailbox`"), 0)
		// Its next attempt does not come.
		s.equal("claimed", len(s.claim(campaign.JobID("growth/day-14", 0), "u", 1, days(15))), 0)
	},

	"a mailbox that is full for long, but not often": func(s *scene) {
		for _, day := range []int{0, 20, 40, 60} {
			s.full(day, campaign.StateBounced)
		}
		s.equal("list", s.suppressions(), []string{})
	},

	"a mailbox that is full often, but not for long": func(s *scene) {
		job := s.sealedWith(respecting(), people(1))
		for i := range 20 {
			now := epoch.Add(time.Duration(i) * 16 * time.Hour) // 13 days
			ids := s.claim(job, "t", 1, now)
			s.announce("t", ids, now)
			s.equal("changed", s.record("t", refusal(ids[0], campaign.StateDeferred, verdict.CategoryMailboxFull, 452, "4.2.2", "full", now)), 1)
		}
		s.equal("list", s.suppressions(), []string{})
		s.equal("refusals", s.count("SELECT `refusals` FROM `FullMailbox`"), 20)
	},

	"a mailbox that took a mail in between": func(s *scene) {
		for _, day := range []int{0, 1, 5, 13} {
			s.full(day, campaign.StateBounced)
		}
		d := respecting()
		d.Key = "growth/fine"
		s.refused(d, accepted("", days(13).Add(time.Hour)))
		s.full(14, campaign.StateBounced)
		s.full(15, campaign.StateBounced)
		s.equal("list", s.suppressions(), []string{})
		s.equal("refusals", s.count("SELECT `refusals` FROM `FullMailbox`"), 2)
	},

	"a mailbox that was full long ago": func(s *scene) {
		for _, day := range []int{0, 1, 2, 3} {
			s.full(day, campaign.StateBounced)
		}
		s.full(300, campaign.StateBounced)
		s.equal("list", s.suppressions(), []string{})
		s.equal("refusals", s.count("SELECT `refusals` FROM `FullMailbox`"), 1)
	},

	"what is remembered of a full mailbox goes after half a year": func(s *scene) {
		s.full(0, campaign.StateBounced)
		d := respecting()
		d.Key = "growth/later"
		job := s.sealedWith(d, people(2))
		ids := s.claim(job, "t", 2, days(200))
		s.announce("t", ids, days(200))
		s.record("t", refusal(ids[1], campaign.StateBounced, verdict.CategoryMailboxFull, 552, "5.2.2", "full", days(200)))
		s.equal("remembered", s.count("SELECT COUNT(*) FROM `FullMailbox` WHERE `address` = 'ada0@example.com'"), 0)
		s.equal("remembered", s.count("SELECT COUNT(*) FROM `FullMailbox`"), 1)
	},

	"who is let in again begins anew": func(s *scene) {
		for _, day := range []int{0, 1, 5, 13} {
			s.full(day, campaign.StateBounced)
		}
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual))
		_, err := s.Unsuppress(s.ctx(), []campaign.SuppressionKey{{Address: "ada0@example.com"}})
		s.must(err)
		s.full(14, campaign.StateBounced)
		s.equal("list", s.suppressions(), []string{})
	},
}
