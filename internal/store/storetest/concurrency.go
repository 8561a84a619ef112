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
				ended, err := s.RenewLeases(s.ctx(), []string{token}, minute(10))
				s.noError(err)
				_, err = s.Rescue(s.ctx(), minute(4))
				s.noError(err)
				n, err := s.Record(s.ctx(), token, results)
				s.noError(err)
				if len(granted) != len(ids) || n != len(ids) || len(ended) > 0 {
					s.Errorf("%d claimed, %d granted, %d recorded, ended: %q", len(ids), len(granted), n, ended)
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

	"retrying and resolving while workers send": func(s *scene) {
		id := s.sealed(300)
		s.must(s.StartJob(s.ctx(), id, minute(1)))
		var sending sync.WaitGroup
		over := make(chan struct{})
		refused := make([]map[string]int, 3)
		for i := range refused {
			refused[i] = map[string]int{}
			sending.Go(func() { s.sendAll(id, fmt.Sprint("w", i), refused[i]) })
		}
		go func() { sending.Wait(); close(over) }()
		for n, sent := 0, false; !sent; n++ {
			select {
			case <-over:
				sent = true
			default:
			}
			_, err := s.RetryFailed(s.ctx(), key, campaign.RetryRequest{Token: fmt.Sprint("r", n), Now: minute(9)})
			s.noError(err)
			_, err = s.ResolveInDoubt(s.ctx(), key, campaign.Resolution{State: campaign.StatePending, Now: minute(9)})
			s.noError(err)
		}
		s.sendAll(id, "last", refused[0]) // whom the last verbs gave back
		_, err := s.RetryFailed(s.ctx(), key, campaign.RetryRequest{Token: "end", Now: minute(9)})
		s.must(err)
		_, err = s.ResolveInDoubt(s.ctx(), key, campaign.Resolution{State: campaign.StatePending, Now: minute(9)})
		s.must(err)
		s.sendAll(id, "end", nil)
		s.equal("job", s.counters(id)[:3], []string{"COMPLETED", "300", "0"})
		s.equal("accepted", s.count("SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'accepted' AND `attempts` = 1 AND `leaseToken` IS NULL"), 300)
		_, err = s.Rescue(s.ctx(), minute(60))
		s.must(err)
		s.equal("leases", s.leases(), []string{})
	},

	"reopening while workers begin": func(s *scene) {
		for round := range 20 {
			name := fmt.Sprint("round-", round)
			job := s.sealedAs(name, 1, 4)[0]
			var reopened error
			granted := 0
			together(3, func(i int) {
				if i == 0 {
					reopened = s.Reopen(s.ctx(), name)
					return
				}
				token := fmt.Sprint(name, i)
				if round%2 == 0 {
					s.noError(s.StartJob(s.ctx(), job, minute(2)))
				}
				claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: job, Token: token, Limit: 1, Now: minute(2), LeaseUntil: minute(9)})
				s.noError(err)
				if len(claimed) > 0 {
					ids, err := s.Announce(s.ctx(), token, []string{claimed[0].ID}, minute(2))
					s.noError(err)
					if i == 1 {
						granted += len(ids)
					}
				}
			})
			record := s.campaign(name)
			switch {
			case reopened == nil:
				s.equal("reopened", []any{record.Sealed(), record.StartedAt == nil, granted}, []any{false, true, 0})
				s.equal("recipients", s.states(job), []string{"PENDING/pending", "PENDING/pending", "PENDING/pending", "PENDING/pending"})
			case errors.Is(reopened, campaign.ErrStarted):
				s.equal("begun", record.Sealed(), true)
			default:
				s.Error(reopened)
			}
		}
	},

	"two objects that want to own": func(s *scene) {
		s.sealed(1)
		got := make([]campaign.Owner, 6)
		together(len(got), func(i int) {
			var err error
			got[i], err = s.Own(s.ctx(), key, fmt.Sprint("uid-", i%2), minute(2))
			s.noError(err)
		})
		for _, owner := range got {
			s.equal("owner", owner, s.campaign(key).Owner)
		}
	},

	"steering while it is cancelled": func(s *scene) {
		id := s.sealed(50)
		before := s.campaign(key)
		together(4, func(i int) {
			switch i {
			case 0:
				s.noError(s.Cancel(s.ctx(), key, campaign.EndDeleted, minute(3)))
			case 1:
				_, err := s.RetryFailed(s.ctx(), key, campaign.RetryRequest{Token: "t", Now: minute(9)})
				s.noError(err)
			case 2:
				s.noError(s.NoteTest(s.ctx(), key, "test"))
			default:
				_, err := s.Steer(s.ctx(), key, campaign.Steered{Control: campaign.Control{Suspended: true}, Now: minute(4)})
				s.noError(err)
			}
		})
		s.equal("record", s.campaign(key), changed(before, func(r *campaign.Record) {
			r.CancelledAt, r.EndReason, r.Control.Suspended, r.Revision = new(minute(3)), campaign.EndDeleted, true, before.Revision+1
			r.SteeredAt, r.SuspendedAt = new(minute(4)), new(minute(4))
			r.Verbs = campaign.Verbs{RetriedAt: "t", RetryTime: minute(9), RetryDone: true, TestedAt: "test"}
		}))
		s.equal("job", s.counters(id), []string{"FAILED", "0", "50", text(minute(3))})
	},

	"a failed job is retried while it is cancelled": func(s *scene) {
		for round := range 10 {
			name := fmt.Sprint("round-", round)
			job := s.sealedAs(name, 1, 20)[0]
			s.must(s.StartJob(s.ctx(), job, minute(2)))
			s.exec("UPDATE `Recipient` SET `status` = 'FAILED', `state` = 'failed', `completedAt` = ? WHERE `jobId` = ?", text(minute(3)), job)
			_, err := s.FinishJob(s.ctx(), job, minute(3))
			s.must(err)
			together(2, func(i int) {
				if i == 0 {
					s.noError(s.Cancel(s.ctx(), name, campaign.EndCancelled, minute(4)))
					return
				}
				_, err := s.RetryFailed(s.ctx(), name, campaign.RetryRequest{Token: "t", Now: minute(9)})
				s.noError(err)
			})
			tally, err := s.Tally(s.ctx(), name)
			s.must(err)
			s.equal("failed or cancelled", []any{tally.Failed + tally.Cancelled, tally.Done(), s.counters(job)[0]}, []any{int64(20), true, "FAILED"})
		}
	},
}

// sendAll claims and sends until nothing is left. Of those in refused's first time a third fails, and a third is in doubt;
// nil refuses nobody.
func (s *scene) sendAll(job, token string, refused map[string]int) {
	for round := 0; ; round++ {
		token := fmt.Sprintf("%s-%d", token, round)
		claimed, err := s.Claim(s.ctx(), campaign.Claim{JobID: job, Token: token, Limit: 9, Now: minute(2), LeaseUntil: minute(30)})
		s.noError(err)
		if len(claimed) == 0 {
			_, err := s.FinishJob(s.ctx(), job, minute(3))
			s.noError(err)
			return
		}
		ids := make([]string, len(claimed))
		for k, c := range claimed {
			ids[k] = c.ID
		}
		ids, err = s.Announce(s.ctx(), token, ids, minute(2))
		s.noError(err)
		results := make([]campaign.Result, len(ids))
		for k, recipient := range ids {
			results[k] = accepted(recipient, minute(3))
			if refused != nil && refused[recipient] == 0 && k%3 > 0 {
				results[k] = ended(recipient, []campaign.State{"", campaign.StateFailed, campaign.StateInDoubt}[k%3], "Other", minute(3))
				refused[recipient]++
			}
		}
		_, err = s.Record(s.ctx(), token, results)
		s.noError(err)
		_, err = s.Release(s.ctx(), token)
		s.noError(err)
	}
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
