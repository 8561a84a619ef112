package storetest

import (
	"slices"
	"strings"
	"sync"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// mail is a submission to n recipients under a key.
func mail(key string, n int) campaign.Submission {
	return campaign.Submission{
		Key:        key,
		Content:    campaign.Content{Subject: "Your code", Text: "It is 4711."},
		Category:   "otp",
		Recipients: people(n),
		Priority:   1,
		CreatedAt:  epoch,
	}
}

// submit hands mails in, and returns which of them were created.
func (s *scene) submit(lease *campaign.Lease, mails ...campaign.Submission) []bool {
	s.Helper()
	submitted, err := s.Submit(s.ctx(), mails, lease, minute(1))
	s.must(err)
	var created []bool
	for _, m := range submitted {
		created = append(created, m.Created)
	}
	return created
}

var submitTests = map[string]func(s *scene){
	"a mail is a sealed campaign of one job, rung as it is written": func(s *scene) {
		m := mail("http/a", 2)
		submitted, err := s.Submit(s.ctx(), []campaign.Submission{m}, nil, minute(1))
		s.must(err)
		sealed := minute(1)
		want := campaign.Record{
			Key: m.Key, Origin: campaign.OriginHTTP, ContentHash: m.Content.Hash(), ListHash: m.ListHash(),
			JobSize: campaign.MaxSubmission, Totals: campaign.Totals{Recipients: 2, Jobs: 1, InvalidLines: []int{}},
			CreatedAt: epoch, SealedAt: &sealed,
		}
		s.equal("submitted", submitted, []campaign.Submitted{{Created: true, Record: want}})
		record, err := s.Campaign(s.ctx(), m.Key)
		s.must(err)
		s.equal("record", record, want)
		s.equal("job", s.job(m.JobID()), job{
			Subject: "Your code", Body: "It is 4711.", Status: "PENDING", Total: "2", Sent: "0", Failed: "0",
			CreatedAt: text(epoch), Key: m.Key, Shard: "0", Rings: "1", RungAt: text(minute(1)),
		})
		s.equal("recipients", s.states(m.JobID()), []string{"PENDING/pending", "PENDING/pending"})
	},

	"a mail whose ring was lost is due again, with its priority": func(s *scene) {
		s.submit(nil, mail("http/a", 1))
		due, err := s.DueJobs(s.ctx(), "", minute(2), minute(2), 9)
		s.must(err)
		s.equal("due", due, []campaign.DueJob{{ID: campaign.JobID("http/a", 0), Rings: 1, Priority: 1}})
		s.equal("rung just now", s.due("", minute(1), minute(1)), []string{})
	},

	"a key is one mail, however often it is handed in": func(s *scene) {
		s.equal("created", s.submit(nil, mail("http/a", 1), mail("http/b", 1), mail("http/a", 1)), []bool{true, true, false})
		other := mail("http/a", 1)
		other.Content.Text = "It is 1147."
		submitted, err := s.Submit(s.ctx(), []campaign.Submission{other, mail("http/c", 1)}, nil, minute(3))
		s.must(err)
		s.equal("created", []bool{submitted[0].Created, submitted[1].Created}, []bool{false, true})
		s.equal("matches", []bool{other.Matches(submitted[0].Record), mail("http/a", 1).Matches(submitted[0].Record)}, []bool{false, true})
		s.equal("campaigns", s.count("SELECT COUNT(*) FROM `Campaign`"), 3)
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 3)
	},

	"a mail that is born under a lease is announced, and nobody else's": func(s *scene) {
		m := mail("http/a", 2)
		lease := &campaign.Lease{Token: "t", Until: minute(11)}
		submitted, err := s.Submit(s.ctx(), []campaign.Submission{m}, lease, minute(1))
		s.must(err)
		var claimed []string
		for _, c := range submitted[0].Claimed {
			claimed = append(claimed, c.Address)
		}
		s.equal("claimed", claimed, []string{"ada0@example.com", "ada1@example.com"})
		s.equal("recipients", s.states(m.JobID()), []string{"FAILED/active", "FAILED/active"})
		s.equal("in doubt until it is recorded", strings.HasPrefix(s.rows(m.JobID())[0].Error, "in doubt: "), true)
		s.equal("job", s.job(m.JobID()).Status, "PROCESSING")
		s.equal("leases", s.leases(), []string{"t until " + text(minute(11))})
		s.equal("claim", s.claim(m.JobID(), "u", 9, minute(2)), []string{})
		s.equal("due", s.due("", minute(9), minute(9)), []string{})

		s.record("t", accepted(submitted[0].Claimed[0].ID, minute(2)), deferred(submitted[0].Claimed[1].ID, minute(2), minute(4)))
		s.must(s.FinishJobs(s.ctx(), []string{m.JobID()}, minute(3)))
		s.equal("unfinished", s.counters(m.JobID()), []string{"PROCESSING", "0", "0", ""})
		s.record("u", accepted(s.claim(m.JobID(), "u", 9, minute(4))[0], minute(5)))
		s.must(s.FinishJobs(s.ctx(), []string{m.JobID()}, minute(5)))
		s.equal("finished", s.counters(m.JobID()), []string{"COMPLETED", "2", "0", text(minute(5))})
	},

	"a call that is made again after its reply was lost grants the same mails": func(s *scene) {
		lease := &campaign.Lease{Token: "t", Until: minute(11)}
		first, err := s.Submit(s.ctx(), []campaign.Submission{mail("http/a", 1)}, lease, minute(1))
		s.must(err)
		again, err := s.Submit(s.ctx(), []campaign.Submission{mail("http/a", 1), mail("http/a", 1)}, lease, minute(1))
		s.must(err)
		s.equal("granted", again[0].Claimed, first[0].Claimed)
		s.equal("created", []bool{again[0].Created, again[1].Created}, []bool{true, false})
		s.equal("another caller", s.submit(&campaign.Lease{Token: "u", Until: minute(11)}, mail("http/a", 1)), []bool{false})
	},

	"a lease that runs out leaves a doubt": func(s *scene) {
		s.submit(&campaign.Lease{Token: "t", Until: minute(11)}, mail("http/a", 1))
		_, err := s.Rescue(s.ctx(), minute(12))
		s.must(err)
		s.equal("recipients", s.states(campaign.JobID("http/a", 0)), []string{"FAILED/inDoubt"})
	},

	"leases end when they hold nobody; one for a doubt stays without end": func(s *scene) {
		lease := &campaign.Lease{Token: "t", Until: minute(11)}
		submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail("a", 1), mail("b", 1), mail("c", 1)}, lease, minute(1))
		s.must(err)
		s.record("t", accepted(submitted[0].Claimed[0].ID, minute(2)),
			campaign.Result{RecipientID: submitted[1].Claimed[0].ID, State: campaign.StateInDoubt, At: minute(2)})
		s.must(s.SettleLeases(s.ctx(), "t"))
		got := s.leases()
		slices.Sort(got)
		s.equal("leases", got, []string{"t until ", "t until " + text(minute(11))})
	},

	"jobs are finished by what became of their recipients": func(s *scene) {
		var ids []string
		for _, k := range []string{"accepted", "bounced", "doubtful", "waiting"} {
			submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail(k, 1)}, &campaign.Lease{Token: k, Until: minute(11)}, minute(1))
			s.must(err)
			ids = append(ids, campaign.JobID(k, 0))
			id := submitted[0].Claimed[0].ID
			switch k {
			case "accepted":
				s.record(k, accepted(id, minute(2)))
			case "bounced":
				s.record(k, campaign.Result{RecipientID: id, State: campaign.StateBounced, At: minute(2)})
			case "doubtful":
				s.record(k, campaign.Result{RecipientID: id, State: campaign.StateInDoubt, At: minute(2)})
			}
		}
		for _, now := range []int{3, 4} { // the second time changes nothing
			s.must(s.FinishJobs(s.ctx(), ids, minute(now)))
			for i, want := range [][]string{
				{"COMPLETED", "1", "0", text(minute(3))},
				{"FAILED", "0", "1", text(minute(3))},
				{"FAILED", "0", "1", text(minute(3))},
				{"PROCESSING", "0", "0", ""},
			} {
				s.equal("job", s.counters(ids[i]), want)
			}
		}
	},

	"the same key from many at once is written once": func(s *scene) {
		var group sync.WaitGroup
		created := make(chan bool, 40)
		for range 8 {
			group.Go(func() {
				for _, k := range []string{"a", "b", "c", "d", "e"} {
					submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail(k, 1)}, nil, minute(1))
					s.noError(err)
					created <- err == nil && submitted[0].Created
				}
			})
		}
		group.Wait()
		close(created)
		n := 0
		for c := range created {
			if c {
				n++
			}
		}
		s.equal("created", n, 5)
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 5)
	},
}
