package check_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/test/faults/check"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// good is a run of one campaign to two people, of whom one has no mailbox, and of a single mail.
func good() check.Run {
	quiet := check.Status{
		Name: "news", UID: "u1", ResourceVersion: "9", Key: "ns/news", Generation: 1, ObservedGeneration: 1,
		Counts:     map[string]int64{"total": 2, "accepted": 1, "bounced": 1, "pending": 0},
		Conditions: map[string]string{"Complete": "True", "Ready": "True"}, Text: `{"progress":"2/2"}`,
	}
	early := quiet
	early.ResourceVersion, early.Counts = "5", map[string]int64{"total": 2, "accepted": 1, "active": 1}
	early.Conditions = map[string]string{"Reconciling": "True"}
	return check.Run{
		Campaigns: []check.Campaign{{Key: "ns/news", Sealed: true}, {Key: "http/1", Sealed: true}},
		Jobs: []check.Job{
			{ID: "job1", Campaign: "ns/news", Status: "COMPLETED", Total: 2, Sent: 1, Failed: 1},
			{ID: "job2", Campaign: "http/1", Status: "COMPLETED", Total: 1, Sent: 1},
		},
		Rows: []check.Row{
			{ID: "ada", JobID: "job1", Campaign: "ns/news", Key: "ka", MessageID: "ma@x", Body: "ba", Status: "SENT", Dated: true, State: campaign.StateAccepted},
			{ID: "bob", JobID: "job1", Campaign: "ns/news", Key: "kb", MessageID: "mb@x", Body: "bb", Status: "FAILED", State: campaign.StateBounced},
			{ID: "eve", JobID: "job2", Campaign: "http/1", Key: "ke", MessageID: "me@x", Body: "be", Status: "SENT", Dated: true, State: campaign.StateAccepted},
		},
		Ledger: []ledger.Entry{
			{Number: 1, Key: "ka", Mails: 1, MessageID: "ma@x", Body: "ba", Accepted: true, Replied: true, Read: true},
			{Number: 2, Key: "ke", Mails: 1, MessageID: "me@x", Body: "be", Accepted: true, Replied: true, Read: true},
		},
		History: []check.Event{
			{Kind: check.KindPlanned, Planned: &check.Planned{Key: "ns/news", Recipients: 2}},
			{Kind: check.KindAnswered, Answered: &check.Answered{IdempotencyKey: "i1", JobID: "job2"}},
			{Kind: check.KindStatus, Status: &early},
			{Kind: check.KindTold, Note: "Sending to 2 recipients"},
			{Kind: check.KindQuiet},
			{Kind: check.KindStatus, Status: &quiet},
			{Kind: check.KindStatus, Status: &quiet},
		},
		Outputs: map[string]string{"worker.log": "Taking jobs\nRan the job\n"},
		Queue:   []check.QueueKey{{Name: "bull:email-queue:id", Type: "string", Values: []string{"2"}}},
		Secrets: []string{"canary7f3a"},
	}
}

// status changes the status that is event i of the history.
func status(r *check.Run, i int, change func(*check.Status)) {
	s := *r.History[i].Status
	s.Counts = maps.Clone(s.Counts)
	change(&s)
	r.History[i].Status = &s
}

// accept adds another accepted mail.
func accept(r *check.Run, like int, change func(*ledger.Entry)) {
	e := r.Ledger[like]
	e.Number = len(r.Ledger) + 1
	change(&e)
	r.Ledger = append(r.Ledger, e)
}

// doubt is a lost reply to ada's mail.
func doubt(r *check.Run) {
	r.Ledger[0].Replied, r.Ledger[0].Read = false, false
	r.Rows[0].State, r.Rows[0].Status, r.Rows[0].Dated = campaign.StateInDoubt, "FAILED", false
	r.Jobs[0].Sent, r.Jobs[0].Failed, r.Jobs[0].Status = 0, 2, "FAILED"
	r.History = r.History[:2]
}

type violation struct{ Invariant, Subject string }

// TestCheck breaks each invariant, in each way, and nothing else.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(*check.Run)
		want  []violation
	}{
		{"nothing is wrong", func(*check.Run) {}, nil},
		{"a doubt is right", doubt, nil},
		{"a doubt that was sent again is right where the campaign says so", func(r *check.Run) {
			doubt(r)
			r.Rows[0].Retry = true
			accept(r, 0, func(e *ledger.Entry) { e.Replied = true })
			r.Rows[0].State, r.Rows[0].Status, r.Rows[0].Dated = campaign.StateAccepted, "SENT", true
			r.Jobs[0] = good().Jobs[0]
		}, nil},
		{"a reply that was sent may be lost", func(r *check.Run) {
			doubt(r)
			r.Ledger[0].Replied, r.Lossy = true, true
		}, nil},
		{"a list that was ended at once may have no rows", func(r *check.Run) {
			r.History = append(r.History, check.Event{Kind: check.KindPlanned, Planned: &check.Planned{Key: "ns/gone", Recipients: 3, MayVanish: true}})
		}, nil},
		{"an object that went is not waited for", func(r *check.Run) {
			status(r, 2, func(s *check.Status) { s.UID, s.Deleting = "u0", true })
			r.History = slices.Insert(r.History, 3, check.Event{Kind: check.KindGone, Note: "u0"})
		}, nil},

		{"I1: somebody waits", func(r *check.Run) {
			r.Rows[1].State, r.Rows[1].Status = campaign.StateDeferred, "PENDING"
			r.History = r.History[:2]
		}, []violation{{"I1", "bob"}}},
		{"I1: sent without a mail", func(r *check.Run) { r.Ledger = r.Ledger[1:] }, []violation{{"I1", "ada"}}},
		{"I1: a row is missing", func(r *check.Run) {
			r.Rows = slices.Delete(r.Rows, 1, 2)
			r.Jobs[0].Total, r.Jobs[0].Failed = 1, 0
			r.History = r.History[:2]
		}, []violation{{"I1", "ns/news"}}},
		{"I1: a request is lost", func(r *check.Run) { r.History[1].Answered.JobID = "job3" }, []violation{{"I1", "job3"}}},
		{"I1: never sealed", func(r *check.Run) { r.Campaigns[0].Sealed = false }, []violation{{"I1", "ns/news"}}},

		{"I2: two mails", func(r *check.Run) { accept(r, 0, func(*ledger.Entry) {}) }, []violation{{"I2", "ada"}}},
		{"I2: two mails after a lost reply, against the campaign's wish", func(r *check.Run) {
			accept(r, 0, func(e *ledger.Entry) { e.Replied, e.Read = false, false })
		}, []violation{{"I2", "ada"}}},
		{"I2: one more than lost replies", func(r *check.Run) {
			r.Rows[0].Retry = true
			accept(r, 0, func(e *ledger.Entry) { e.Replied, e.Read = false, false })
			accept(r, 0, func(*ledger.Entry) {})
		}, []violation{{"I2", "ada"}}},
		{"I2: another Message-ID", func(r *check.Run) {
			accept(r, 0, func(e *ledger.Entry) { e.MessageID = "random@x" })
		}, []violation{{"I2", "random@x"}}},
		{"I2: to somebody else", func(r *check.Run) { r.Ledger[0].Key = "kb" }, []violation{{"I2", "ada"}}},
		{"I2: two jobs for one Idempotency-Key", func(r *check.Run) {
			r.History = append(r.History, check.Event{Kind: check.KindAnswered, Answered: &check.Answered{IdempotencyKey: "i1", JobID: "job1"}})
		}, []violation{{"I2", "job1"}}},

		{"I3: accepted, and failed", func(r *check.Run) {
			accept(r, 0, func(e *ledger.Entry) { e.MessageID, e.Key, e.Body = "mb@x", "kb", "bb" })
		}, []violation{{"I3", "bob"}}},
		{"I3: accepted with a lost reply, and failed", func(r *check.Run) {
			accept(r, 0, func(e *ledger.Entry) {
				e.MessageID, e.Key, e.Body, e.Read, e.Replied = "mb@x", "kb", "bb", false, false
			})
		}, []violation{{"I3", "bob"}}},
		{"I3: in doubt, although the reply arrived", func(r *check.Run) {
			doubt(r)
			r.Ledger[0].Replied = true
		}, []violation{{"I3", "ada"}}},
		{"I3: the legacy column says otherwise", func(r *check.Run) { r.Rows[1].Status = "PENDING" }, []violation{{"I3", "bob"}}},
		{"I3: sent, and nobody knows when", func(r *check.Run) { r.Rows[0].Dated = false }, []violation{{"I3", "ada"}}},

		{"I4: cut off", func(r *check.Run) { r.Ledger[0].Body = "half" }, []violation{{"I4", "ada"}}},

		{"I5: still changing", func(r *check.Run) {
			status(r, 6, func(s *check.Status) { s.ResourceVersion = "10" })
		}, []violation{{"I5", "news"}}},
		{"I5: not ended", func(r *check.Run) {
			status(r, 6, func(s *check.Status) { s.Conditions = map[string]string{"Reconciling": "True"} })
		}, []violation{{"I5", "news"}}},
		{"I5: about an old generation", func(r *check.Run) {
			status(r, 6, func(s *check.Status) { s.Generation = 2 })
		}, []violation{{"I5", "news"}}},
		{"I5: not looked at", func(r *check.Run) { r.History = r.History[:6] }, []violation{{"I5", "news"}}},

		{"I6: states that do not add up", func(r *check.Run) {
			status(r, 2, func(s *check.Status) { s.Counts["active"] = 2 })
		}, []violation{{"I6", "news"}}},
		{"I6: an end taken back", func(r *check.Run) {
			status(r, 2, func(s *check.Status) { s.Counts["accepted"], s.Counts["active"] = 2, 0 })
		}, []violation{{"I6", "news"}}},
		{"I6: a status that is not the rows'", func(r *check.Run) {
			for _, i := range []int{5, 6} {
				status(r, i, func(s *check.Status) { s.Counts["bounced"], s.Counts["failed"] = 0, 1 })
			}
		}, []violation{{"I6", "news"}}},
		{"I6: a job that counts otherwise", func(r *check.Run) { r.Jobs[0].Sent = 2 }, []violation{{"I6", "job1"}}},
		{"I6: a job that has not ended", func(r *check.Run) { r.Jobs[1].Status = "PROCESSING" }, []violation{{"I6", "job2"}}},

		{"I7: in an output", func(r *check.Run) { r.Outputs["worker.log"] += "to CANARY7F3A@x\n" }, []violation{{"I7", "worker.log:3"}}},
		{"I7: in the queue", func(r *check.Run) { r.Queue[0].Values[0] = "to canary7f3a" }, []violation{{"I7", "bull:email-queue:id"}}},
		{"I7: in an event", func(r *check.Run) { r.History[3].Note = "canary7f3a refused" }, []violation{{"I7", "history:4"}}},
		{"I7: in a status", func(r *check.Run) {
			status(r, 2, func(s *check.Status) { s.Text = "canary7f3a" })
		}, []violation{{"I7", "history:3"}}},

		{"I8: a job waits", func(r *check.Run) {
			r.Queue = append(r.Queue, check.QueueKey{Name: "bull:email-queue:wait", Type: "list", Values: []string{"job1"}})
		}, []violation{{"I8", "bull:email-queue:wait"}}},
		{"I8: a lock", func(r *check.Run) {
			r.Queue = append(r.Queue, check.QueueKey{Name: "bull:email-queue:job1:lock", Type: "string", Values: []string{"t"}})
		}, []violation{{"I8", "bull:email-queue:job1:lock"}}},
		{"I8: a job that is nowhere", func(r *check.Run) {
			r.Queue = append(r.Queue, check.QueueKey{Name: "bull:email-queue:a-b-c-d-e-r1", Type: "hash", Values: []string{"name=x"}})
		}, []violation{{"I8", "bull:email-queue:a-b-c-d-e-r1"}}},
		{"I8: a lease", func(r *check.Run) { r.Leases = []string{"t of job job1"} }, []violation{{"I8", "t of job job1"}}},
		{"I8: a journal", func(r *check.Run) { r.Journals = []string{"t.journal"} }, []violation{{"I8", "t.journal"}}},
		{"I8: an object that does not go", func(r *check.Run) {
			for _, i := range []int{5, 6} {
				status(r, i, func(s *check.Status) { s.Deleting = true })
			}
		}, []violation{{"I8", "news"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			run := good()
			test.spoil(&run)
			var got []violation
			for _, v := range check.Check(run).Violations {
				got = append(got, violation{v.Invariant, v.Subject})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s%v", diff, check.Check(run).Violations)
			}
		})
	}
}
