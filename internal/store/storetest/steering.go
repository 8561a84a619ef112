package storetest

import (
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// sealedAs writes and seals a campaign with jobs of n recipients each, and returns the ids of the jobs.
func (s *scene) sealedAs(key string, jobs, n int) []string {
	s.Helper()
	d := draft()
	d.Key, d.JobSize = key, n
	_, err := s.Open(s.ctx(), d)
	s.must(err)
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = campaign.JobID(key, i)
		s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Number: i, Recipients: people(n)}))
	}
	_, err = s.Seal(s.ctx(), key, campaign.Totals{Recipients: int64(jobs * n), Jobs: jobs}, minute(1))
	s.must(err)
	return ids
}

// campaign returns the record.
func (s *scene) campaign(key string) campaign.Record {
	s.Helper()
	record, err := s.Campaign(s.ctx(), key)
	s.must(err)
	return record
}

// changed is the record with changes.
func changed(record campaign.Record, change func(r *campaign.Record)) campaign.Record {
	change(&record)
	return record
}

var steeringTests = map[string]func(s *scene){
	"a control is set where it differs": func(s *scene) {
		s.sealed(1)
		before := s.campaign(key)
		control := campaign.Control{
			Suspended: true, OpensAt: minute(10), ClosesAt: minute(20), StartBefore: minute(30),
			Policy: campaign.Policy{
				Retry: campaign.Retry{MaxAttempts: 3, InitialBackoff: time.Second, InDoubt: true},
				Rate:  campaign.Rate{Messages: 9, Period: time.Minute, Burst: 2},
				Rules: []campaign.Rule{{Action: campaign.ActionPauseCampaign, Codes: []int{554}, Pattern: "blocked"}},
				Abort: campaign.Abort{MinSample: 100, MaxHardBouncePercent: 5, MaxFailedPercent: 10, Fail: true},
			},
		}
		want := changed(before, func(r *campaign.Record) {
			r.Control, r.Idle, r.Revision = control, time.Hour, before.Revision+1
			r.SteeredAt, r.SuspendedAt = new(minute(2)), new(minute(2))
		})
		for i := range 3 { // the second and third change nothing, though an empty list is not nil
			if i == 2 {
				control.Policy.Rules[0].Stages = []string{}
			}
			got, err := s.Steer(s.ctx(), key, campaign.Steered{Control: control, Idle: time.Hour, Now: minute(2 + i)})
			s.must(err)
			s.equal("record", got, changed(want, func(r *campaign.Record) { r.Control.Policy.Rules[0].Stages = nil }))
			control.Policy.Rules[0].Stages = nil
		}
		got, err := s.Steer(s.ctx(), key, campaign.Steered{Control: control, Idle: time.Minute, Now: minute(5)})
		s.must(err)
		want.Idle = time.Minute // which no worker needs to know
		s.equal("another idle time", got, want)

		control.Suspended = false
		got, err = s.Steer(s.ctx(), key, campaign.Steered{Control: control, Now: minute(6)})
		s.must(err)
		want = changed(want, func(r *campaign.Record) {
			r.Control.Suspended, r.Idle, r.Revision, r.SteeredAt, r.SuspendedAt = false, 0, r.Revision+1, new(minute(6)), nil
		})
		s.equal("no more suspended", got, want)
		got, err = s.Steer(s.ctx(), key, campaign.Steered{Now: minute(7)})
		s.must(err)
		s.equal("nothing set", got, changed(before, func(r *campaign.Record) {
			r.Revision, r.SteeredAt = want.Revision+1, new(minute(7))
		}))
	},

	"a draft brings control and owner": func(s *scene) {
		d := draft()
		d.Owner = "uid-1"
		d.Control = campaign.Control{
			Suspended: true, OpensAt: minute(1), ClosesAt: minute(2), StartBefore: minute(3),
			Policy: campaign.Policy{Rate: campaign.Rate{Messages: 1, Period: time.Second}},
		}
		record, err := s.Open(s.ctx(), d)
		s.must(err)
		s.equal("control", record.Control, d.Control)
		s.equal("owner", record.Owner.ID, "uid-1")
		s.equal("suspended", record.SuspendedAt != nil, true)
	},

	"one owns it, until nobody has seen it for long": func(s *scene) {
		s.sealed(1)
		for i, step := range []struct {
			id    string
			after time.Duration
			want  campaign.Owner
		}{
			{"a", 0, campaign.Owner{ID: "a", SeenAt: epoch}},
			{"b", 10 * time.Second, campaign.Owner{ID: "a", SeenAt: epoch}},
			{"a", 29 * time.Second, campaign.Owner{ID: "a", SeenAt: epoch}}, // noted now and then only
			{"a", 30 * time.Second, campaign.Owner{ID: "a", SeenAt: epoch.Add(30 * time.Second)}},
			{"b", 120*time.Second - time.Millisecond, campaign.Owner{ID: "a", SeenAt: epoch.Add(30 * time.Second)}},
			{"b", 120 * time.Second, campaign.Owner{ID: "b", SeenAt: epoch.Add(120 * time.Second)}},
			{"a", 121 * time.Second, campaign.Owner{ID: "b", SeenAt: epoch.Add(120 * time.Second)}},
			{"b", 100 * time.Second, campaign.Owner{ID: "b", SeenAt: epoch.Add(120 * time.Second)}}, // a clock that is late
		} {
			got, err := s.Own(s.ctx(), key, step.id, epoch.Add(step.after))
			s.must(err)
			if got != step.want {
				s.Errorf("step %d: the owner is %v, want %v", i, got, step.want)
			}
			s.equal("stored", s.campaign(key).Owner, step.want)
		}
		s.must(s.Disown(s.ctx(), key, "a"))
		s.equal("left by another", s.campaign(key).Owner.ID, "b")
		for range 2 {
			s.must(s.Disown(s.ctx(), key, "b"))
			s.equal("left", s.campaign(key).Owner, campaign.Owner{})
		}
		got, err := s.Own(s.ctx(), key, "a", epoch)
		s.must(err)
		s.equal("owner", got, campaign.Owner{ID: "a", SeenAt: epoch})
	},

	"a campaign that nobody began is reopened, discarded and written anew": func(s *scene) {
		id := s.sealed(3)
		_, err := s.Release(s.ctx(), s.tokenOf(s.claim(id, "t", 2, minute(2)), "t")) // given back: nobody has begun
		s.must(err)
		before := s.campaign(key)
		want := changed(before, func(r *campaign.Record) { r.SealedAt, r.Revision = nil, r.Revision+1 })
		for range 2 {
			s.must(s.Reopen(s.ctx(), key))
			s.equal("reopened", s.campaign(key), want)
		}
		s.equal("claimed", s.claim(id, "u", 9, minute(3)), []string{})
		s.must(s.StartJob(s.ctx(), id, minute(3)))
		s.equal("started", s.campaign(key), want)
		s.must(s.Discard(s.ctx(), key))
		s.equal("written anew", s.sealed(2), id)
		s.equal("claimed", len(s.claim(id, "u", 9, minute(3))), 2)
	},

	"a campaign that somebody began is not reopened": func(s *scene) {
		for name, begin := range map[string]func(job string){
			"started": func(job string) { s.must(s.StartJob(s.ctx(), job, minute(2))) },
			"claimed": func(job string) { s.claim(job, "t", 1, minute(2)) },
			"deferred": func(job string) {
				s.record("d", deferred(s.claim(job, "d", 1, minute(2))[0], minute(2), minute(9)))
				_, err := s.Release(s.ctx(), "d")
				s.must(err)
			},
			"begun by a legacy worker": func(job string) {
				s.exec("UPDATE `EmailJob` SET `status` = 'PROCESSING', `startedAt` = ? WHERE `id` = ?", text(minute(2)), job)
			},
			"begun by a legacy worker that notes no time": func(job string) {
				s.exec("UPDATE `EmailJob` SET `status` = 'PROCESSING' WHERE `id` = ?", job)
			},
			"cancelled": func(string) { s.must(s.Cancel(s.ctx(), "cancelled", campaign.EndCancelled, minute(2))) },
		} {
			begin(s.sealedAs(name, 2, 2)[1])
			before := s.campaign(name)
			s.isError(s.Reopen(s.ctx(), name), campaign.ErrStarted)
			s.equal(name, s.campaign(name), before)
		}
	},

	"resuming ends a hold of no end, and counts anew": func(s *scene) {
		id := s.sealed(4)
		ids := s.claim(id, "t", 4, minute(2))
		s.announce("t", ids, minute(2))
		s.record("t", accepted(ids[0], minute(3)), ended(ids[1], campaign.StateBounced, "UserUnknown", minute(3)),
			ended(ids[2], campaign.StateFailed, "Other", minute(3)))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: campaign.EndAbortThresholdExceeded, Message: "too many", Until: campaign.Forever}))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: "SenderRefused", Until: minute(9)}))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: campaign.EndFailurePolicyMatched, Until: campaign.Forever}))
		held := s.campaign(key)
		s.equal("hold", held.Hold, &campaign.Hold{Reason: campaign.EndAbortThresholdExceeded, Message: "too many", Until: campaign.Forever})
		want := changed(held, func(r *campaign.Record) {
			r.Hold, r.Revision, r.Verbs.ResumedAt = nil, r.Revision+1, "one"
			r.AbortBase = campaign.Ended{Accepted: 1, Bounced: 1, Failed: 1}
		})
		for range 2 {
			s.must(s.Resume(s.ctx(), key, "one"))
			s.equal("resumed", s.campaign(key), want)
		}
		s.record("t", accepted(ids[3], minute(4)))
		s.must(s.HoldCampaign(s.ctx(), key, campaign.Hold{Reason: "SenderRefused", Until: minute(9)}))
		s.must(s.Resume(s.ctx(), key, "two"))
		s.equal("a hold that ends by itself stays", s.campaign(key), changed(want, func(r *campaign.Record) {
			r.Hold, r.Revision, r.Verbs.ResumedAt = &campaign.Hold{Reason: "SenderRefused", Until: minute(9)}, r.Revision+1, "two"
			r.AbortBase.Accepted = 2
		}))
	},

	"tokens are remembered": func(s *scene) {
		s.sealed(1)
		before := s.campaign(key)
		for range 2 {
			s.must(s.NoteTest(s.ctx(), key, "test"))
			s.equal("noted", s.campaign(key), changed(before, func(r *campaign.Record) { r.Verbs.TestedAt = "test" }))
		}
	},

	"the first reason of an end stays": func(s *scene) {
		s.sealed(1)
		before := s.campaign(key)
		for _, reason := range []string{campaign.EndDeadlineExceeded, campaign.EndDeleted} {
			s.must(s.Cancel(s.ctx(), key, reason, minute(5)))
			s.equal("cancelled", s.campaign(key), changed(before, func(r *campaign.Record) {
				r.CancelledAt, r.EndReason = new(minute(5)), campaign.EndDeadlineExceeded
			}))
		}
		s.sealedAgain(1) // cancelled by a program that knows no reasons
		s.exec("UPDATE `Campaign` SET `cancelledAt` = ? WHERE `key` = 'again'", text(minute(2)))
		for range 2 {
			s.equal("reason", s.campaign("again").EndReason, campaign.EndCancelled)
			s.must(s.Cancel(s.ctx(), "again", campaign.EndDeleted, minute(5)))
		}
		s.equal("cancelledAt", s.campaign("again").CancelledAt, new(minute(2)))
	},

	"steering nothing": func(s *scene) {
		ctx := s.ctx()
		_, steer := s.Steer(ctx, key, campaign.Steered{Now: epoch})
		_, own := s.Own(ctx, key, "a", epoch)
		_, retry := s.RetryFailed(ctx, key, campaign.RetryRequest{Token: "t", Now: epoch})
		_, resolve := s.ResolveInDoubt(ctx, key, campaign.Resolution{State: campaign.StateFailed, Now: epoch})
		for _, err := range []error{
			steer, own, retry, resolve, s.Disown(ctx, key, "a"), s.Reopen(ctx, key), s.Resume(ctx, key, "t"), s.NoteTest(ctx, key, "t"),
			s.Cancel(ctx, key, campaign.EndDeleted, epoch),
		} {
			s.isError(err, campaign.ErrNotFound)
		}
	},

	"rung jobs are those that the queue may have": func(s *scene) {
		ids := s.sealedAs(key, 4, 1)
		jobs, err := s.DueJobs(s.ctx(), key, minute(2), minute(2), 9)
		s.must(err)
		rung := jobs[:3]
		s.must(s.MarkRung(s.ctx(), rung, minute(2)))
		want := []campaign.DueJob{{ID: rung[0].ID, Rings: 1}, {ID: rung[1].ID, Rings: 1}, {ID: rung[2].ID, Rings: 1}}
		got, err := s.RungJobs(s.ctx(), key, "", 2)
		s.must(err)
		s.equal("first", got, want[:2])
		got, err = s.RungJobs(s.ctx(), key, got[1].ID, 2)
		s.must(err)
		s.equal("rest", got, want[2:])

		s.must(s.MarkRung(s.ctx(), want[2:], minute(3))) // by another process, meanwhile
		for range 2 {
			s.must(s.ForgetRings(s.ctx(), want))
			got, err = s.RungJobs(s.ctx(), key, "", 9)
			s.must(err)
			s.equal("not forgotten", got, []campaign.DueJob{{ID: rung[2].ID, Rings: 2}})
		}
		s.equal("due at once", len(s.due(key, minute(3), minute(3))), len(ids)-1)
		s.must(s.Cancel(s.ctx(), key, campaign.EndCancelled, minute(4)))
		got, err = s.RungJobs(s.ctx(), key, "", 9)
		s.must(err)
		s.equal("of a finished campaign", len(got), 0)
	},
}

// tokenOf is the token under which something was claimed, which must be so.
func (s *scene) tokenOf(claimed []string, token string) string {
	s.Helper()
	if len(claimed) == 0 {
		s.Fatal("nothing was claimed")
	}
	return token
}

// ended is the result of a mail that the relay refused for good.
func ended(id string, state campaign.State, category string, now time.Time) campaign.Result {
	return campaign.Result{
		RecipientID: id, State: state, CountAttempt: true, Code: 550, EnhancedCode: "5.1.1", Category: category,
		Detail: "550 5.1.1 no", At: now,
	}
}
