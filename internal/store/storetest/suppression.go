package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// newsletter is the list that the campaigns of these tests go to.
const newsletter = "news.example.com"

// entry is a suppression of an address.
func entry(address, scope string, reason campaign.SuppressionReason) campaign.Suppression {
	return campaign.Suppression{
		SuppressionKey: campaign.SuppressionKey{Address: address, Scope: scope}, Reason: reason, Source: "test", CreatedAt: epoch,
	}
}

// suppress puts entries on the list.
func (s *scene) suppress(entries ...campaign.Suppression) int {
	s.Helper()
	added, err := s.Suppress(s.ctx(), entries)
	s.must(err)
	return added
}

// suppressions returns the list, each entry as address, scope, reason and source.
func (s *scene) suppressions() []string {
	s.Helper()
	entries, err := s.Suppressions(s.ctx(), "", campaign.SuppressionKey{}, 1000)
	s.must(err)
	all := []string{}
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%s %q %s by %s", e.Address, e.Scope, e.Reason, e.Source))
	}
	return all
}

// respecting is a draft of a campaign that respects the suppression list.
func respecting() campaign.Draft {
	d := draft()
	d.Content.Suppress, d.Content.ListID = true, "News.Example.com"
	return d
}

// sealedAs writes and seals a campaign with one job of these recipients, and returns the id of the job.
func (s *scene) sealedWith(d campaign.Draft, recipients []campaign.Recipient) string {
	s.Helper()
	_, err := s.Open(s.ctx(), d)
	s.must(err)
	s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: d.Key, Recipients: recipients}))
	_, err = s.Seal(s.ctx(), d.Key, campaign.Totals{Recipients: int64(len(recipients)), Jobs: 1}, minute(1))
	s.must(err)
	return campaign.JobID(d.Key, 0)
}

const (
	waits = "PENDING/pending"
	out   = "FAILED/suppressed"
)

var suppressionTests = map[string]func(s *scene){
	"entries are there once, and the first stays": func(s *scene) {
		s.equal("added", s.suppress(entry("Ada@Example.com", "", campaign.SuppressedManual), entry("bob@example.com", "News.example.com", campaign.SuppressedUnsubscribed),
			entry("ada@example.com", "", campaign.SuppressedComplaint)), 2)
		s.equal("added again", s.suppress(entry("ada@example.com", "", campaign.SuppressedComplaint), entry("ada@example.com", "other.example", campaign.SuppressedComplaint)), 1)
		s.equal("list", s.suppressions(), []string{
			`ada@example.com "" Manual by test`, `ada@example.com "other.example" Complaint by test`,
			`bob@example.com "news.example.com" Unsubscribed by test`,
		})
		keys := []campaign.SuppressionKey{{Address: "ADA@example.com"}, {Address: "bob@example.com"}, {Address: "bob@example.com"}}
		unknown, err := s.UnknownSuppressions(s.ctx(), keys)
		s.must(err)
		s.equal("unknown", unknown, 1)
		removed, err := s.Unsuppress(s.ctx(), keys)
		s.must(err)
		s.equal("removed", removed, 1)
		s.equal("list", s.suppressions(), []string{
			`ada@example.com "other.example" Complaint by test`, `bob@example.com "news.example.com" Unsubscribed by test`,
		})
	},

	"the list comes in pages, and by address": func(s *scene) {
		var entries []campaign.Suppression
		for i := range 1201 { // more than one statement
			entries = append(entries, entry(fmt.Sprintf("ada%04d@example.com", i/2), []string{"", "b.example"}[i%2], campaign.SuppressedManual))
		}
		s.equal("added", s.suppress(entries...), 1201)
		var after campaign.SuppressionKey
		n := 0
		for {
			page, err := s.Suppressions(s.ctx(), "", after, 100)
			s.must(err)
			for i, e := range page {
				s.equal("entry", e, entries[n+i])
			}
			if n += len(page); len(page) < 100 {
				break
			}
			after = page[len(page)-1].SuppressionKey
		}
		s.equal("entries", n, 1201)
		one, err := s.Suppressions(s.ctx(), "ADA0007@Example.com", campaign.SuppressionKey{}, 10)
		s.must(err)
		s.equal("of one address", one, entries[14:16])
	},

	"what is no entry is refused": func(s *scene) {
		for _, e := range []campaign.Suppression{entry("", "", campaign.SuppressedManual), entry("ada", "", campaign.SuppressedManual), entry("ada@example.com", "", "Whim")} {
			if _, err := s.Suppress(s.ctx(), []campaign.Suppression{e}); err == nil {
				s.Errorf("entry %+v was taken", e)
			}
		}
	},

	"sealing leaves out who is on the list": func(s *scene) {
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedBadMailbox), entry("ada1@example.com", newsletter, campaign.SuppressedUnsubscribed),
			entry("ada2@example.com", "other.example", campaign.SuppressedUnsubscribed), entry("zoë@xn--bcher-kva.example", "", campaign.SuppressedManual))
		recipients := append(people(4), campaign.Recipient{Address: "Ada0@example.com"}, campaign.Recipient{Address: "zoë@xn--bcher-kva.example"},
			campaign.Recipient{Address: "zoe@xn--bcher-kva.example"}, campaign.Recipient{Address: "zoË@xn--bcher-kva.example"})
		id := s.sealedWith(respecting(), recipients)
		s.equal("states", s.states(id), []string{out, out, waits, waits, out, out, waits, waits})
		rows := s.rows(id)
		s.equal("row", rows[1], row{
			Email: "ada1@example.com", Status: "FAILED", State: "suppressed", Attempts: "0", CompletedAt: text(minute(1)),
			Error: "suppressed: the address is on the suppression list, as Unsubscribed",
		})
		tally, err := s.Tally(s.ctx(), key)
		s.must(err)
		last := minute(1)
		s.equal("tally", tally, campaign.Tally{Total: 8, Pending: 4, Suppressed: 4, LastCompletedAt: &last})
		s.equal("job", s.job(id).Status, "PENDING")
		s.equal("claimed", len(s.claim(id, "t", 10, minute(2))), 4)
	},

	"a campaign that does not respect the list mails everybody": func(s *scene) {
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedBadMailbox))
		d := respecting()
		d.Content.Suppress = false
		id := s.sealedWith(d, people(2))
		s.equal("states", s.states(id), []string{waits, waits})
		s.equal("claimed", len(s.claim(id, "t", 10, minute(2))), 2)
	},

	"nor do jobs of other programs": func(s *scene) {
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedBadMailbox))
		s.equal("claimed", len(s.claim(s.legacyJob(2), "t", 10, minute(2))), 2)
	},

	"a campaign of which nobody is left ends with its seal": func(s *scene) {
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual), entry("ada1@example.com", newsletter, campaign.SuppressedManual))
		id := s.sealedWith(respecting(), people(2))
		j := s.job(id)
		s.equal("job", []string{j.Status, j.Sent, j.Failed, j.StartedAt, j.CompletedAt}, []string{"FAILED", "0", "2", "", text(minute(1))})
		tally, err := s.Tally(s.ctx(), key)
		s.must(err)
		s.equal("done", tally.Done(), true)
		due, err := s.DueJobs(s.ctx(), "", minute(5), minute(5), 10)
		s.must(err)
		s.equal("due jobs", len(due), 0)

		s.must(s.Reopen(s.ctx(), key)) // nobody took it up
		s.must(s.Discard(s.ctx(), key))
	},

	"sealing that was cut short goes on": func(s *scene) {
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual))
		_, err := s.Open(s.ctx(), respecting())
		s.must(err)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: people(2)}))
		_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: 3, Jobs: 1}, minute(1))
		s.isError(err, campaign.ErrSourceChanged)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: people(2)}))
		_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: 2, Jobs: 1}, minute(2))
		s.must(err)
		s.equal("states", s.states(campaign.JobID(key, 0)), []string{out, waits})
	},

	"claiming leaves out who came onto the list since": func(s *scene) {
		id := s.sealedWith(respecting(), people(6))
		first := s.claim(id, "t", 2, minute(2))
		s.announce("t", first, minute(2))
		s.record("t", accepted(first[0], minute(3)), deferred(first[1], minute(3), minute(9)))
		for i := range 5 {
			s.suppress(entry(fmt.Sprintf("ada%d@example.com", i), []string{"", newsletter}[i%2], campaign.SuppressedComplaint))
		}
		// Two at a time: whom it finds first is on the list.
		s.equal("claimed", len(s.claim(id, "u", 2, minute(20))), 1)
		s.equal("states", s.states(id), []string{"SENT/accepted", out, out, out, out, "PENDING/active"})
		rows := s.rows(id)
		s.equal("the deferred one", rows[1], row{
			Email: "ada1@example.com", Status: "FAILED", State: "suppressed", Attempts: "1", FirstAttemptAt: text(minute(2)),
			Error: "suppressed: the address is on the suppression list, as Complaint", SMTPCode: "451", EnhancedCode: "4.7.1",
			Category: "RateLimited", CompletedAt: text(minute(20)),
		})
		s.equal("claimed", len(s.claim(id, "v", 2, minute(20))), 0)
	},

	"whoever is on the wire is not suppressed any more": func(s *scene) {
		id := s.sealedWith(respecting(), people(2))
		ids := s.claim(id, "t", 2, minute(2))
		s.announce("t", ids, minute(2))
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual), entry("ada1@example.com", "", campaign.SuppressedManual))
		_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 2, Jobs: 1}, minute(3))
		s.must(err)
		s.equal("claimed", len(s.claim(id, "u", 2, minute(3))), 0)
		s.record("t", accepted(ids[0], minute(4)), campaign.Result{RecipientID: ids[1], State: campaign.StateInDoubt, CountAttempt: true, At: minute(4)})
		s.equal("states", s.states(id), []string{"SENT/accepted", "FAILED/inDoubt"})
	},

	"a job ends with whom claiming left out": func(s *scene) {
		id := s.sealedWith(respecting(), people(1))
		s.must(s.StartJob(s.ctx(), id, minute(2)))
		s.suppress(entry("ada0@example.com", "", campaign.SuppressedManual))
		s.equal("claimed", len(s.claim(id, "t", 1, minute(2))), 0)
		progress, err := s.FinishJob(s.ctx(), id, minute(3))
		s.must(err)
		s.equal("finished", progress.Finished, true)
		s.equal("status", progress.Status, campaign.JobFailed)
	},

	"claims at once while the list grows": claimWhileSuppressing,

	"unsubscribing is from the campaign's list": func(s *scene) {
		id := s.sealedWith(respecting(), []campaign.Recipient{{Address: "Ada@example.com"}})
		person := s.claim(id, "t", 1, minute(2))[0]
		s.must(s.Unsubscribe(s.ctx(), person, minute(3)))
		s.must(s.Unsubscribe(s.ctx(), person, minute(4)))
		want := entry("ada@example.com", newsletter, campaign.SuppressedUnsubscribed)
		want.Source, want.CreatedAt = key, minute(3)
		got, err := s.Suppressions(s.ctx(), "", campaign.SuppressionKey{}, 10)
		s.must(err)
		s.equal("list", got, []campaign.Suppression{want})
	},

	"unsubscribing without a list is from everything": func(s *scene) {
		d := respecting()
		d.Content.ListID, d.Content.Suppress = "", false
		id := s.sealedWith(d, people(1))
		s.must(s.Unsubscribe(s.ctx(), s.claim(id, "t", 1, minute(2))[0], minute(3)))
		s.equal("list", s.suppressions(), []string{`ada0@example.com "" Unsubscribed by ` + key})
	},

	"nobody unsubscribes who is not there": func(s *scene) {
		id := s.sealedWith(respecting(), people(1))
		person := s.claim(id, "t", 1, minute(2))[0]
		s.legacyJob(1)
		s.exec("UPDATE `Recipient` SET `email` = '' WHERE `id` = ?", person)
		for _, id := range []string{person, "legacy-0", "no-such-id"} {
			s.isError(s.Unsubscribe(s.ctx(), id, minute(3)), campaign.ErrNotFound)
		}
		s.equal("list", s.suppressions(), []string{})
	},
}

// claimWhileSuppressing has claims and new entries meet: everybody is either claimed or suppressed, and once.
func claimWhileSuppressing(s *scene) {
	id := s.sealedWith(respecting(), people(60))
	var wait sync.WaitGroup
	var mu sync.Mutex
	claimed := map[string]int{}
	fail := func(err error) {
		if err != nil {
			s.Error(err)
		}
	}
	for worker := range 3 {
		wait.Go(func() {
			for {
				got, err := s.Claim(s.ctx(), campaign.Claim{
					JobID: id, Token: fmt.Sprintf("t%d", worker), Limit: 7, Now: minute(2), LeaseUntil: minute(9),
				})
				fail(err)
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, c := range got {
					claimed[c.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wait.Go(func() {
		for i := 59; i >= 0; i -= 2 {
			_, err := s.Suppress(s.ctx(), []campaign.Suppression{entry(fmt.Sprintf("ada%d@example.com", i), "", campaign.SuppressedManual)})
			fail(err)
		}
	})
	wait.Wait()
	for id, n := range claimed {
		if n != 1 {
			s.Errorf("%s was claimed %d times", id, n)
		}
	}
	left := s.count("SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'suppressed'")
	s.equal("claimed or suppressed", len(claimed)+left, 60)
}

// days are n days later.
func days(n int) time.Time { return epoch.Add(time.Duration(n) * 24 * time.Hour) }
