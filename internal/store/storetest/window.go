package storetest

import (
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// mayRun are what opens and closes a campaign, with moments on both sides of each boundary.
var mayRun = []struct {
	name    string
	control campaign.Control
	hold    time.Time
	started bool
	// open has the first millisecond before minute 10, and minute 10.
	open [2]bool
}{
	{name: "nothing set", open: [2]bool{true, true}},
	{name: "suspended", control: campaign.Control{Suspended: true}},
	{name: "opens", control: campaign.Control{OpensAt: minute(10)}, open: [2]bool{false, true}},
	{name: "closes", control: campaign.Control{ClosesAt: minute(10)}, open: [2]bool{true, false}},
	{name: "a window", control: campaign.Control{OpensAt: minute(9), ClosesAt: minute(11)}, open: [2]bool{true, true}},
	{name: "a window that is over", control: campaign.Control{OpensAt: minute(5), ClosesAt: minute(9)}},
	{name: "a window to come", control: campaign.Control{OpensAt: minute(11), ClosesAt: minute(12)}},
	{name: "suspended in a window", control: campaign.Control{Suspended: true, OpensAt: minute(9), ClosesAt: minute(11)}},
	{name: "starts before", control: campaign.Control{StartBefore: minute(10)}, open: [2]bool{true, false}},
	{name: "started before", control: campaign.Control{StartBefore: minute(10)}, started: true, open: [2]bool{true, true}},
	{name: "held", hold: minute(10), open: [2]bool{false, true}},
	{name: "held for ever", hold: campaign.Forever},
	{name: "held in a window", control: campaign.Control{OpensAt: minute(9), ClosesAt: minute(10)}, hold: minute(10)},
}

var windowTests = map[string]func(s *scene){
	"claims, announcements, rings and runs keep to the same bounds": func(s *scene) {
		for _, test := range mayRun {
			jobs := s.sealedAs(test.name, 2, 6) // one to claim of, one to be rung
			if test.started {
				s.must(s.StartJob(s.ctx(), jobs[0], minute(2)))
			}
			held := s.claim(jobs[0], test.name, 2, minute(2))
			_, err := s.Steer(s.ctx(), test.name, campaign.Steered{Control: test.control, Now: minute(3)})
			s.must(err)
			if !test.hold.IsZero() {
				s.must(s.HoldCampaign(s.ctx(), test.name, campaign.Hold{Reason: "SenderRefused", Until: test.hold}))
			}
			revision := s.campaign(test.name).Revision
			for i, now := range []time.Time{minute(10).Add(-time.Millisecond), minute(10)} {
				type found struct {
					Runnable                map[string]int
					Due                     []string
					Claimed, Announced, Job bool
				}
				want := found{Runnable: map[string]int{}, Due: []string{}}
				if test.open[i] {
					want = found{map[string]int{jobs[0]: revision, jobs[1]: revision}, jobs[1:], true, true, true}
				}
				runnable, err := s.Runnable(s.ctx(), append(jobs, "unknown"), now)
				s.must(err)
				job, err := s.Job(s.ctx(), jobs[0])
				s.must(err)
				s.equal(fmt.Sprintf("%s, moment %d", test.name, i), found{
					Runnable: runnable, Due: s.due(test.name, now, now), Job: job.Runnable(now),
					Announced: len(s.announce(test.name, held[i:i+1], now)) == 1,
					Claimed:   len(s.claim(jobs[0], fmt.Sprint(test.name, i), 1, now)) == 1,
				}, want)
			}
		}
	},

	"what a legacy program wrote always runs": func(s *scene) {
		id := s.legacyJob(1)
		runnable, err := s.Runnable(s.ctx(), []string{id}, minute(2))
		s.must(err)
		s.equal("runnable", runnable, map[string]int{id: 0})
	},
}
