package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// together runs do n times at once, and waits for all.
func together(n int, do func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { do(i) })
	}
	group.Wait()
}

var concurrencyTests = map[string]func(s *scene){
	"claimers at once share the recipients": func(s *scene) {
		id := s.sealed(200)
		got := make([][]string, 4)
		together(len(got), func(i int) {
			token := fmt.Sprintf("t%d", i/2) // two of them under the same token
			for {
				claimed, err := s.Claim(s.ctx(), campaign.Claim{
					JobID: id, Token: token, Limit: 7, Now: minute(2), LeaseUntil: minute(9),
				})
				if err != nil {
					s.Error(err)
				}
				if len(claimed) == 0 {
					return
				}
				for _, c := range claimed {
					got[i] = append(got[i], c.ID)
				}
			}
		})
		all := slices.Concat(got...)
		slices.Sort(all)
		s.equal("claims", len(all), 200)
		s.equal("recipients claimed", len(slices.Compact(all)), 200)
	},

	"workers and rescuers at once": func(s *scene) {
		id := s.sealed(120)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		together(4, func(i int) {
			for round := 0; ; round++ {
				token := fmt.Sprintf("t%d-%d", i, round)
				claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: id, Token: token, Limit: 9, Now: minute(2), LeaseUntil: minute(9)})
				if err != nil || len(claimed) == 0 {
					s.noError(err)
					return
				}
				ids := make([]string, len(claimed))
				results := make([]campaign.Result, len(claimed))
				for k, c := range claimed {
					ids[k], results[k] = c.ID, accepted(c.ID, minute(3))
				}
				granted, err := s.Announce(s.ctx(), token, ids, minute(3))
				s.noError(err)
				s.noError(s.RenewLeases(s.ctx(), []string{token}, minute(10)))
				_, err = s.Rescue(s.ctx(), minute(4))
				s.noError(err)
				n, err := s.Record(s.ctx(), token, results)
				s.noError(err)
				if len(granted) != len(ids) || n != len(ids) {
					s.Errorf("%d claimed, %d granted, %d recorded", len(ids), len(granted), n)
				}
				_, err = s.FinishJob(s.ctx(), id, minute(5))
				s.noError(err)
			}
		})
		s.equal("job", s.counters(id), []string{"COMPLETED", "120", "0", text(minute(5))})
	},

	"loaders of the same list at once": func(s *scene) {
		together(3, func(int) {
			_, err := s.Open(s.ctx(), draft())
			s.noError(err)
			for number := range 4 {
				if err := s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: number, Recipients: people(50)}); err != nil {
					s.isSealed(err) // another one was faster
					return
				}
			}
			_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: 200, Jobs: 4}, minute(1))
			s.noError(err)
		})
		s.equal("recipients", s.count("SELECT COUNT(*) FROM `Recipient`"), 200)
		s.equal("jobs", s.count("SELECT COUNT(*) FROM `EmailJob`"), 4)
	},

	"cancelling while workers send": func(s *scene) {
		id := s.sealed(300)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		granted := make([]int, 3)
		started := make(chan struct{}, len(granted))
		together(len(granted)+1, func(i int) {
			if i == len(granted) {
				<-started
				s.noError(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(4)))
				return
			}
			for round := 0; ; round++ {
				token := fmt.Sprintf("t%d-%d", i, round)
				claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: id, Token: token, Limit: 5, Now: minute(2), LeaseUntil: minute(9)})
				s.noError(err)
				select {
				case started <- struct{}{}:
				default:
				}
				if len(claimed) == 0 {
					return
				}
				ids := make([]string, len(claimed))
				for k, c := range claimed {
					ids[k] = c.ID
				}
				ids, err = s.Announce(s.ctx(), token, ids, minute(3))
				s.noError(err)
				granted[i] += len(ids)
				results := make([]campaign.Result, len(ids))
				for k, recipient := range ids {
					results[k] = accepted(recipient, minute(3))
				}
				_, err = s.Record(s.ctx(), token, results)
				s.noError(err)
				_, err = s.Release(s.ctx(), token)
				s.noError(err)
			}
		})
		_, err := s.FinishJob(s.ctx(), id, minute(5))
		s.must(err)
		tally, err := s.Tally(s.ctx(), key)
		s.must(err)
		sent := int64(granted[0] + granted[1] + granted[2])
		s.equal("accepted and cancelled", []int64{tally.Accepted, tally.Cancelled}, []int64{sent, 300 - sent})
	},
}

// noError reports an error; unlike must it may be called by any goroutine.
func (s *scene) noError(err error) {
	s.Helper()
	if err != nil {
		s.Error(err)
	}
}

// isSealed reports any error but campaign.ErrSealed.
func (s *scene) isSealed(err error) {
	s.Helper()
	if !errors.Is(err, campaign.ErrSealed) {
		s.Error(err)
	}
}
