package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// attempted hands in a mail and has each of its recipients tried at the minute, with these states as results.
func (s *scene) attempted(m campaign.Submission, at int, states ...campaign.State) {
	s.Helper()
	lease := campaign.Lease{Token: m.Key, Until: minute(at + 10)}
	submitted, err := s.Submit(s.ctx(), []campaign.Submission{m}, &lease, minute(at))
	s.must(err)
	var results []campaign.Result
	for i, state := range states {
		id := submitted[0].Claimed[i].ID
		switch state {
		case campaign.StateAccepted:
			results = append(results, accepted(id, minute(at)))
		case campaign.StateDeferred:
			results = append(results, deferred(id, minute(at), minute(at+5)))
		case campaign.StatePending:
			results = append(results, campaign.Result{RecipientID: id, State: state, At: minute(at)})
		default:
			results = append(results, campaign.Result{
				RecipientID: id, State: state, CountAttempt: true, Code: 550, EnhancedCode: "5.1.1", Category: "Mailbox",
				Detail: "550 5.1.1 no such user", At: minute(at),
			})
		}
	}
	s.recordSubmitted(m.Key, minute(at), results...)
}

// messages asks, and returns the answers as "address state minute".
func (s *scene) messages(query campaign.MessageQuery) []string {
	s.Helper()
	if query.Limit == 0 {
		query.Limit = 100
	}
	found, err := s.Messages(s.ctx(), query)
	s.must(err)
	lines := []string{}
	for _, m := range found {
		lines = append(lines, fmt.Sprintf("%s %s %v", m.Report.Address, m.Report.State, m.At.Sub(epoch).Minutes()))
	}
	return lines
}

var yes, no = true, false

var messageTests = map[string]func(s *scene){
	"a message says what was sent to whom, when and with what end": func(s *scene) {
		m := mail("http/a", 1)
		m.Content.From.Address = "news@example.com"
		m.Content.Subject = "<ñ> & " + strings.Repeat("long ", 60)
		s.attempted(m, 1, campaign.StateBounced)
		found, err := s.Messages(s.ctx(), campaign.MessageQuery{Limit: 9})
		s.must(err)
		end := minute(1)
		s.equal("messages", found, []campaign.Message{{
			Report: campaign.RecipientReport{
				ID: campaign.RecipientID(m.JobID(), 0, "ada0@example.com"), Address: "ada0@example.com", State: campaign.StateBounced,
				Attempts: 1, Code: 550, EnhancedCode: "5.1.1", Category: "Mailbox", Detail: "550 5.1.1 no such user", CompletedAt: &end,
			},
			At: minute(1), JobID: m.JobID(), Subject: m.Content.Subject, Campaign: "http/a", Origin: campaign.OriginHTTP,
			Category: "otp", From: "news@example.com",
		}})
	},

	"only what was handed to the relay is a message": func(s *scene) {
		s.attempted(mail("http/a", 4), 1,
			campaign.StateAccepted, campaign.StateDeferred, campaign.StateInDoubt, campaign.StatePending)
		s.submit(nil, mail("http/waiting", 2))
		s.submit(&campaign.Lease{Token: "u", Until: minute(11)}, mail("http/active", 2))
		s.submit(nil, mail("http/cancelled", 2))
		s.must(s.Cancel(s.ctx(), "http/cancelled", campaign.EndCancelled, minute(2)))
		want := []string{"ada0@example.com accepted 1", "ada1@example.com deferred 1", "ada2@example.com inDoubt 1"}
		got := s.messages(campaign.MessageQuery{})
		slices.Sort(got)
		s.equal("by time", got, want)
		got = nil
		for i := range 4 {
			got = append(got, s.messages(campaign.MessageQuery{Recipient: fmt.Sprintf("ada%d@example.com", i)})...)
		}
		s.equal("by recipient", got, want)
		s.equal("successes", s.messages(campaign.MessageQuery{Success: &yes}), want[:1])
		s.equal("failures", s.messages(campaign.MessageQuery{Success: &no}), want[2:])
	},

	"a recipient is found however the address is written, and nobody else": func(s *scene) {
		long := strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 3) + "example"
		other := strings.Repeat("a", 59) + "c@" + strings.Repeat(strings.Repeat("b", 60)+".", 3) + "example"
		for i, address := range []string{"Ada@example.com", "ada@example.com", "adá@example.com", "ada@xn--bcher-kva.example", long, other} {
			m := mail(fmt.Sprintf("http/%d", i), 1)
			m.Recipients[0].Address = address
			s.attempted(m, i, campaign.StateAccepted)
		}
		for query, want := range map[string][]string{
			" ADA@Example.COM ":  {"ada@example.com accepted 1", "Ada@example.com accepted 0"},
			"adá@example.com":    {"adá@example.com accepted 2"},
			"ada@bücher.example": {"ada@xn--bcher-kva.example accepted 3"},
			long:                 {long + " accepted 4"},
			"ada@example.org":    {},
			"' OR 1=1 --":        {},
		} {
			s.equal(query, s.messages(campaign.MessageQuery{Recipient: query}), want)
			s.equal(query+", page by page", s.paged(campaign.MessageQuery{Recipient: query, Limit: 1}), want)
		}
	},

	"messages come page by page, the newest first, also those of one moment": func(s *scene) {
		s.attempted(mail("http/a", 5), 1, repeated(campaign.StateAccepted, 5)...)
		s.attempted(mail("http/b", 5), 2, repeated(campaign.StateBounced, 5)...)
		all := s.messages(campaign.MessageQuery{})
		s.equal("number", len(all), 10)
		s.equal("newest", strings.HasSuffix(all[4], " bounced 2") && strings.HasSuffix(all[5], " accepted 1"), true)
		for limit := 1; limit < 11; limit += 3 {
			s.equal("pages", s.paged(campaign.MessageQuery{Limit: limit}), all)
		}
		s.equal("failures", s.paged(campaign.MessageQuery{Limit: 2, Success: &no}), all[:5])
		one := s.messages(campaign.MessageQuery{Recipient: "ada3@example.com"})
		s.equal("one", one, []string{"ada3@example.com bounced 2", "ada3@example.com accepted 1"})
		s.equal("pages of one", s.paged(campaign.MessageQuery{Recipient: "ada3@example.com", Limit: 1}), one)
	},

	"since is in, until is out": func(s *scene) {
		for i := range 4 {
			s.attempted(mail(fmt.Sprintf("http/%d", i), 1), i, campaign.StateAccepted)
		}
		want := []string{"ada0@example.com accepted 2", "ada0@example.com accepted 1"}
		query := campaign.MessageQuery{Since: minute(1), Until: minute(3)}
		s.equal("by time", s.messages(query), want)
		query.Recipient = "ada0@example.com"
		s.equal("by recipient", s.messages(query), want)
		query.Since = minute(1).Add(time.Millisecond)
		s.equal("later", s.messages(query), want[:1])
	},

	"a legacy worker's mails are found by recipient": func(s *scene) {
		job := s.legacyJob(4)
		s.exec("UPDATE `EmailJob` SET `status` = 'PROCESSING', `startedAt` = ? WHERE `id` = ?", text(minute(1)), job)
		s.exec("UPDATE `Recipient` SET `status` = 'SENT', `sentAt` = ? WHERE `id` = 'legacy-0'", text(minute(2)))
		s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `error` = 'refused' WHERE `id` = 'legacy-1'")
		s.equal("sent", s.messages(campaign.MessageQuery{Recipient: "ada0@example.com"}), []string{"ada0@example.com accepted 2"})
		found, err := s.Messages(s.ctx(), campaign.MessageQuery{Recipient: "Ada1@example.com", Success: &no, Limit: 9})
		s.must(err)
		s.equal("failed", found, []campaign.Message{{
			Report: campaign.RecipientReport{
				ID: "legacy-1", Address: "ada1@example.com", Name: "Ada", State: campaign.StateFailed, Detail: "refused",
			},
			At: minute(1), JobID: job, Subject: "Hi",
		}})
		s.equal("waiting", s.messages(campaign.MessageQuery{Recipient: "ada2@example.com"}), []string{})
		s.equal("by time", s.messages(campaign.MessageQuery{}), []string{})
	},

	"a page needs a limit": func(s *scene) {
		if _, err := s.Messages(s.ctx(), campaign.MessageQuery{}); err == nil {
			s.Error("got no error")
		}
	},
}

// paged is messages, read page by page.
func (s *scene) paged(query campaign.MessageQuery) []string {
	s.Helper()
	lines := []string{}
	for {
		page := s.messages(query)
		lines = append(lines, page...)
		if len(page) < query.Limit {
			return lines
		}
		found, err := s.Messages(s.ctx(), query)
		s.must(err)
		query.After = found[len(found)-1].Cursor()
	}
}
