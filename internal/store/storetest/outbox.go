package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// due returns the ids of the due jobs, rung never or before this minute.
func (s *scene) due(k string, now, rungBefore time.Time) []string {
	s.Helper()
	jobs, err := s.DueJobs(s.ctx(), k, now, rungBefore, 100)
	s.must(err)
	ids := []string{}
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

var outboxTests = map[string]func(s *scene){
	"a job is due from the seal to its end": func(s *scene) {
		id := s.unsealed(2)
		s.equal("unsealed", s.due("", minute(1), minute(1)), []string{})
		_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: 2, Jobs: 1}, minute(1))
		s.must(err)
		s.equal("sealed", s.due("", minute(2), minute(2)), []string{id})

		s.must(s.StartJob(s.ctx(), id, minute(2)))
		ids := s.claim(id, "t", 1, minute(2))
		s.equal("leased", s.due("", minute(12), minute(12)), []string{})
		s.announce("t", ids, minute(3))
		s.equal("leased and announced", s.due("", minute(12), minute(12)), []string{})
		s.record("t", deferred(ids[0], minute(4), minute(30)))
		s.equal("one pending", s.due("", minute(5), minute(5)), []string{id})
		s.record("u", accepted(s.claim(id, "u", 1, minute(5))[0], minute(6)))
		s.equal("one deferred, too early", s.due("", minute(29), minute(29)), []string{})
		s.equal("one deferred, due", s.due("", minute(30), minute(30)), []string{id})
		s.record("v", accepted(s.claim(id, "v", 1, minute(30))[0], minute(31)))
		s.equal("nobody left", s.due("", minute(40), minute(40)), []string{})
	},

	"a campaign that may not run is not due": func(s *scene) {
		id := s.sealed(1)
		s.must(s.suspend(key, true))
		s.equal("suspended", s.due("", minute(2), minute(2)), []string{})
		s.must(s.suspend(key, false))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: "SenderRefused", Until: minute(9)}))
		s.equal("held", s.due("", minute(8), minute(8)), []string{})
		s.equal("no more held", s.due("", minute(9), minute(9)), []string{id})
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(10)))
		s.equal("cancelled", s.due("", minute(11), minute(11)), []string{})
	},

	"rings are counted once each": func(s *scene) {
		id := s.sealed(1)
		first := []campaign.DueJob{{ID: id, Rings: 0}}
		jobs, err := s.DueJobs(s.ctx(), "", minute(2), minute(2), 9)
		s.must(err)
		s.equal("due", jobs, first)
		s.must(s.MarkRung(s.ctx(), jobs, minute(3)))
		s.must(s.MarkRung(s.ctx(), jobs, minute(3))) // again, or by another process
		got := s.job(id)
		s.equal("job", []string{got.Rings, got.RungAt}, []string{"1", text(minute(3))})
		s.equal("rung just now", s.due("", minute(4), minute(3)), []string{})
		jobs, err = s.DueJobs(s.ctx(), "", minute(9), minute(4), 9)
		s.must(err)
		s.equal("rung long ago", jobs, []campaign.DueJob{{ID: id, Rings: 1}})
		s.must(s.PostponeRing(s.ctx(), jobs, minute(9)))
		got = s.job(id)
		s.equal("job", []string{got.Rings, got.RungAt}, []string{"1", text(minute(9))})
		s.equal("postponed", s.due("", minute(10), minute(9)), []string{})
	},

	"due jobs come in id order, as many as asked, of one campaign or all": func(s *scene) {
		want := map[string][]string{}
		for _, k := range []string{"a", "b"} {
			d := draft()
			d.Key = k
			_, err := s.Open(s.ctx(), d)
			s.must(err)
			for i := range 5 {
				s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: k, Number: i, Recipients: people(1)}))
				want[k] = append(want[k], campaign.JobID(k, i))
			}
			_, err = s.Seal(s.ctx(), k, campaign.Totals{Recipients: 5, Jobs: 5}, minute(1))
			s.must(err)
			slices.Sort(want[k])
		}
		s.equal("of one campaign", s.due("a", minute(2), minute(2)), want["a"])
		all := slices.Concat(want["a"], want["b"])
		slices.Sort(all)
		s.equal("of all", s.due("", minute(2), minute(2)), all)
		some, err := s.DueJobs(s.ctx(), "", minute(2), minute(2), 3)
		s.must(err)
		s.equal("at most three", fmt.Sprint(some), fmt.Sprintf("[{%s 0 0 false} {%s 0 0 false} {%s 0 0 false}]", all[0], all[1], all[2]))
	},

	"few due jobs of each campaign, the first of them first": func(s *scene) {
		jobs := map[string][]string{}
		for _, k := range []string{"a", "b"} {
			jobs[k] = s.sealedAs(k, 5, 1)
		}
		legacy := s.legacyJob(1)
		aside := s.claim(legacy, "t", 1, minute(2))
		s.record("t", deferred(aside[0], minute(2), minute(3)))
		first := func(k string, rungBefore time.Time, window, limit int) []campaign.DueJob {
			due, err := s.FirstDueJobs(s.ctx(), k, minute(9), rungBefore, window, limit)
			s.must(err)
			return due
		}
		byID := func(due ...campaign.DueJob) []campaign.DueJob {
			slices.SortFunc(due, func(a, b campaign.DueJob) int { return strings.Compare(a.ID, b.ID) })
			return due
		}
		a0, a1, a2 := campaign.DueJob{ID: jobs["a"][0], First: true}, campaign.DueJob{ID: jobs["a"][1]}, campaign.DueJob{ID: jobs["a"][2]}
		b0, b1 := campaign.DueJob{ID: jobs["b"][0], First: true}, campaign.DueJob{ID: jobs["b"][1]}
		s.equal("of one", first("a", minute(9), 2, 9), byID(a0, a1))
		s.equal("of all", first("", minute(9), 2, 9), byID(a0, a1, b0, b1, campaign.DueJob{ID: legacy}))
		s.equal("as many as asked", len(first("", minute(9), 2, 3)), 3)
		s.must(s.MarkRung(s.ctx(), []campaign.DueJob{a0}, minute(8)))
		s.equal("one waits", first("a", minute(8), 2, 9), byID(a1))
		s.equal("one waits, of all", first("", minute(8), 2, 9), byID(a1, b0, b1, campaign.DueJob{ID: legacy}))
		taken := s.claim(jobs["a"][0], "u", 1, minute(9))
		s.equal("it was taken", first("a", minute(8), 2, 9), byID(a1, a2))
		s.record("u", deferred(taken[0], minute(9), minute(9)))
		a0.First, a0.Rings = false, 1
		s.equal("it is due again", first("a", minute(9), 2, 9), byID(a0, a1))
	},

	"a legacy job is due only for what Cartero deferred": func(s *scene) {
		id := s.legacyJob(2)
		s.equal("untouched", s.due("", minute(2), minute(2)), []string{})
		ids := s.claim(id, "t", 1, minute(2))
		s.record("t", deferred(ids[0], minute(3), minute(9)))
		s.equal("too early", s.due("", minute(8), minute(8)), []string{})
		s.equal("due", s.due("", minute(9), minute(9)), []string{id})
		s.equal("of another campaign", s.due(key, minute(9), minute(9)), []string{})
	},
}
