package storetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	sender "github.com/cartero-mail/cartero/internal/mail"
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

// recordSubmitted records results of submitted mails under one token.
func (s *scene) recordSubmitted(token string, now time.Time, results ...campaign.Result) {
	s.Helper()
	var all []campaign.SubmittedResult
	for _, result := range results {
		all = append(all, campaign.SubmittedResult{Token: token, Result: result})
	}
	s.must(s.RecordSubmitted(s.ctx(), all, now))
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

	"a mail's content is read as it was handed in": func(s *scene) {
		contents := map[string]campaign.Content{
			"html":    {Subject: "Your code", HTML: "<p>It is \u2028 <b>4711</b> & \"true\".</p>"},
			"text":    {Subject: "Your code", Text: "It is\n4711."},
			"both":    {Subject: "Your code", Text: "It is 4711.", HTML: "<p>It is 4711.</p>"},
			"subject": {Subject: strings.Repeat("\u00fc", 500), Text: "It is 4711.", ReplyTo: []string{"ada@example.com"}},
			"headers": {Headers: map[string]string{"X-A": "b"}, From: sender.Address{Name: "Ada", Address: "ada@example.com"}},
		}
		for name, content := range contents {
			m := mail("http/"+name, 1)
			m.Content = content
			s.submit(nil, m)
			read, err := s.Job(s.ctx(), m.JobID())
			s.must(err)
			s.equal("content of "+name, read.Content, content)
			record, err := s.Campaign(s.ctx(), m.Key)
			s.must(err)
			s.equal("hash of "+name, record.ContentHash, content.Hash())
		}
	},

	"a content that was written whole, beside the job's body, is read": func(s *scene) {
		m := mail("http/a", 1)
		s.submit(nil, m)
		s.exec("UPDATE `Campaign` SET `content` = ? WHERE `key` = ?",
			`{"from":{"Name":"","Address":""},"subject":"Your code","text":"It is 4712.","html":"<p>4712</p>"}`, m.Key)
		read, err := s.Job(s.ctx(), m.JobID())
		s.must(err)
		s.equal("content", read.Content, campaign.Content{Subject: "Your code", Text: "It is 4712.", HTML: "<p>4712</p>"})
	},

	"many mails of all kinds are written in one call": func(s *scene) {
		var mails []campaign.Submission
		var want []bool
		for i := range 150 {
			m := mail(fmt.Sprintf("http/%d", i), 1+i%3)
			if i%7 == 0 {
				m.Recipients[0] = campaign.Recipient{Address: strings.Repeat("a", 200) + "@example.com"}
			}
			if i%50 == 0 {
				m.Content.Text = strings.Repeat("It is 4711. ", 30_000) // longer than one statement is meant to be
			}
			mails, want = append(mails, m), append(want, true)
		}
		s.equal("created", s.submit(nil, mails...), want)
		for _, m := range mails {
			read, err := s.Job(s.ctx(), m.JobID())
			s.must(err)
			s.equal("content", read.Content, m.Content)
			s.must(s.StartJob(s.ctx(), m.JobID(), minute(2)))
			claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: m.JobID(), Token: m.Key, Limit: 9, Now: minute(2), LeaseUntil: minute(9)})
			s.must(err)
			var all []campaign.Recipient
			for _, recipient := range claimed {
				all = append(all, recipient.Recipient)
			}
			s.equal("recipients", all, m.Recipients)
		}
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

		s.recordSubmitted("t", minute(3), accepted(submitted[0].Claimed[0].ID, minute(2)),
			deferred(submitted[0].Claimed[1].ID, minute(2), minute(4)))
		s.equal("unfinished", s.counters(m.JobID()), []string{"PROCESSING", "0", "0", ""})
		s.equal("leases", s.leases(), []string{})
		s.recordSubmitted("u", minute(5), accepted(s.claim(m.JobID(), "u", 9, minute(4))[0], minute(5)))
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

	"results of many mails, under many tokens, are recorded at once; others' recipients are left alone": func(s *scene) {
		var ids []string
		for _, token := range []string{"t", "u", "v"} {
			submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail(token, 1)}, &campaign.Lease{Token: token, Until: minute(11)}, minute(1))
			s.must(err)
			ids = append(ids, submitted[0].Claimed[0].ID)
		}
		s.must(s.RecordSubmitted(s.ctx(), []campaign.SubmittedResult{
			{Token: "t", Result: accepted(ids[0], minute(2))},
			{Token: "u", Result: campaign.Result{RecipientID: ids[1], State: campaign.StateInDoubt, At: minute(2)}},
			{Token: "t", Result: accepted(ids[2], minute(2))},
		}, minute(3)))
		for i, want := range []string{"SENT/accepted", "FAILED/inDoubt", "FAILED/active"} {
			s.equal("state", s.states(campaign.JobID([]string{"t", "u", "v"}[i], 0)), []string{want})
		}
		s.equal("leases", s.leases(), []string{"u until ", "v until " + text(minute(11))})
		s.recordSubmitted("u", minute(4), accepted(ids[1], minute(2))) // a certain result replaces the doubt
		s.equal("job", s.counters(campaign.JobID("u", 0)), []string{"COMPLETED", "1", "0", text(minute(3))})
		s.equal("leases", s.leases(), []string{"v until " + text(minute(11))})
	},

	"jobs are finished by what became of their recipients": func(s *scene) {
		var ids []string
		for _, k := range []string{"accepted", "bounced", "doubtful", "waiting"} {
			submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail(k, 1)}, &campaign.Lease{Token: k, Until: minute(11)}, minute(1))
			s.must(err)
			ids = append(ids, campaign.JobID(k, 0))
			id := submitted[0].Claimed[0].ID
			results := map[string]campaign.Result{
				"accepted": accepted(id, minute(2)),
				"bounced":  {RecipientID: id, State: campaign.StateBounced, At: minute(2)},
				"doubtful": {RecipientID: id, State: campaign.StateInDoubt, At: minute(2)},
				"waiting":  deferred(id, minute(2), minute(9)),
			}
			for _, now := range []int{3, 4} { // the second time changes nothing
				s.recordSubmitted(k, minute(now), results[k])
			}
		}
		for i, want := range [][]string{
			{"COMPLETED", "1", "0", text(minute(3))},
			{"FAILED", "0", "1", text(minute(3))},
			{"FAILED", "0", "1", text(minute(3))},
			{"PROCESSING", "0", "0", ""},
		} {
			s.equal("job", s.counters(ids[i]), want)
		}
	},

	"a job is finished when the last of its recipients is accepted, whether in one call or in several": func(s *scene) {
		var all [][]campaign.Claimed
		for _, k := range []string{"once", "twice", "never"} {
			submitted, err := s.Submit(s.ctx(), []campaign.Submission{mail(k, 2)}, &campaign.Lease{Token: "t", Until: minute(11)}, minute(1))
			s.must(err)
			all = append(all, submitted[0].Claimed)
		}
		s.recordSubmitted("t", minute(3), accepted(all[0][0].ID, minute(2)), accepted(all[0][1].ID, minute(2)),
			accepted(all[1][0].ID, minute(2)), accepted(all[2][0].ID, minute(2)))
		s.recordSubmitted("t", minute(4), accepted(all[1][1].ID, minute(2)))
		for i, want := range [][]string{
			{"COMPLETED", "2", "0", text(minute(3))}, {"COMPLETED", "2", "0", text(minute(4))}, {"PROCESSING", "0", "0", ""},
		} {
			s.equal("job", s.counters(campaign.JobID([]string{"once", "twice", "never"}[i], 0)), want)
		}
		s.equal("leases", s.leases(), []string{"t until " + text(minute(11))})
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
