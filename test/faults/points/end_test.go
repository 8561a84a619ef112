package points

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/failpoint"
)

// recipient is a row of the table Recipient, and how many mails the relay took for it.
type recipient struct {
	// Status, Sent and Explained are the legacy columns: status, sentAt and error.
	Status          string
	Sent, Explained bool
	State           string
	Attempts, Code  int
	Category        string
	// Leased, Due and Completed say that there is a token, a next attempt, an end.
	Leased, Due, Completed bool
	Accepts                int

	id string
}

// job is a row of the table EmailJob.
type job struct {
	Status              string
	Total, Sent, Failed int
	Completed           bool
}

// end is how a play ended.
type end struct {
	Recipients map[string]recipient
	// Jobs are those of the campaign, in order.
	Jobs []job
	// Conditions are "type: status reason"; nil where the object is gone.
	Conditions []string
	// Counts are total, accepted, bounced, cancelled and in doubt of the status.
	Counts [5]int64
	// Answers are those that the program got.
	Answers map[string]int
	// Queue is what is left in the queue's lists.
	Queue map[string]int64
}

func scan[T any](t *testing.T, db *sql.DB, read func(*sql.Rows) (T, error), query string, args ...any) []T {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query, args...)
	if err != nil {
		t.Fatalf("Reading the database: %v", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		row, err := read(rows)
		if err != nil {
			t.Fatalf("Reading the database: %v", err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("Reading the database: %v", err)
	}
	return all
}

// recipients are everybody's rows, by name. An address with two rows is an error.
func (s *scene) recipients() map[string]recipient {
	s.t.Helper()
	accepts := s.relay.Accepts()
	all := map[string]recipient{}
	type row struct {
		email string
		recipient
	}
	for _, r := range scan(s.t, s.world.DB, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.email, &r.Status, &r.Sent, &r.Explained, &r.State, &r.Attempts, &r.Code, &r.Category, &r.Leased,
			&r.Due, &r.Completed)
		return r, err
	}, "SELECT `id`, `email`, `status`, `sentAt` IS NOT NULL, `error` IS NOT NULL, COALESCE(`state`, ''), `attempts`, "+
		"COALESCE(`smtpCode`, 0), COALESCE(`category`, ''), `leaseToken` IS NOT NULL, `nextAttemptAt` IS NOT NULL, "+
		"`completedAt` IS NOT NULL FROM `Recipient` WHERE `email` LIKE ?", s.tag+".%") {
		local, _, _ := strings.Cut(r.email, "@")
		name := strings.TrimPrefix(local, s.tag+".")
		if _, twice := all[name]; twice {
			s.t.Errorf("%s has two rows", name)
		}
		r.Accepts = accepts[r.email]
		delete(accepts, r.email)
		all[name] = r.recipient
	}
	for address := range accepts {
		if strings.HasPrefix(address, s.tag+".") {
			s.t.Errorf("a mail to a recipient without a row")
		}
	}
	return all
}

func (s *scene) end() end {
	s.t.Helper()
	e := end{Recipients: s.recipients(), Queue: map[string]int64{}}
	e.Jobs = scan(s.t, s.world.DB, func(rows *sql.Rows) (j job, err error) {
		err = rows.Scan(&j.Status, &j.Total, &j.Sent, &j.Failed, &j.Completed)
		return j, err
	}, "SELECT `status`, `totalEmails`, `sentEmails`, `failedEmails`, `completedAt` IS NOT NULL FROM `EmailJob` "+
		"WHERE `campaignKey` = ? ORDER BY `shard`", s.world.Key(s.tag))
	if object := s.object(); object != nil {
		for _, c := range object.Status.Conditions {
			e.Conditions = append(e.Conditions, fmt.Sprintf("%s: %s %s", c.Type, c.Status, c.Reason))
		}
		slices.Sort(e.Conditions)
		if r := object.Status.Recipients; r != nil {
			e.Counts = [5]int64{r.Total, r.Accepted, r.Bounced, r.Cancelled, r.InDoubt}
		}
	}
	if s.mails != nil {
		e.Answers = s.mails.all()
	}
	return e
}

// mailsEnded reports whether nobody of the play waits any more, those of the queued mails among them.
func (s *scene) mailsEnded() bool {
	s.t.Helper()
	waiting := scan(s.t, s.world.DB, func(rows *sql.Rows) (n int, err error) {
		err = rows.Scan(&n)
		return n, err
	}, "SELECT COUNT(*) FROM `Recipient` WHERE `email` LIKE ? AND `completedAt` IS NULL", s.tag+".%")
	return waiting[0] == 0
}

// drained reports whether nothing waits in the queue or runs.
func (s *scene) drained() bool {
	s.t.Helper()
	for _, list := range []string{"wait", "active", "paused"} {
		n, err := s.world.Redis.LLen(context.Background(), s.world.Prefix+":email-queue:"+list).Result()
		if err != nil {
			s.t.Fatalf("Reading the queue: %v", err)
		}
		if n > 0 {
			return false
		}
	}
	n, err := s.world.Redis.ZCard(context.Background(), s.world.Prefix+":email-queue:delayed").Result()
	if err != nil {
		s.t.Fatalf("Reading the queue: %v", err)
	}
	return n == 0
}

// excuses is what a fault may have changed.
type excuses struct {
	// doubts is how many may be in doubt besides those that a journal knows of.
	doubts int
	// attempts is how many recipients may have one attempt more than without the fault.
	attempts int
	// unheard: the relay may have put somebody off without anybody reading it, who was not counted then.
	unheard bool
}

func excusesFor(step failpoint.Step) excuses {
	lost := step.Action == failpoint.Error
	e := excuses{unheard: step.Action == failpoint.Kill || step.Action == failpoint.Pause}
	switch {
	case lost && step.Point == failpoint.SMTPDotSent:
		e.doubts = 1
	case lost && (step.Point == failpoint.SMTPOpened || step.Point == failpoint.SMTPBodySent):
		e.attempts = 1
	}
	return e
}

// judge compares the end with what should have become of everybody, and with the run that nobody disturbed. Who is in doubt
// must have been between final dot and reply, and the other way round.
func (s *scene) judge(reference *end, allowed excuses) {
	s.t.Helper()
	got := s.end()
	want := end{Recipients: s.play.recipients(), Queue: map[string]int64{}}
	doubts := 0
	for name, r := range got.Recipients {
		ideal := want.Recipients[name]
		known := s.doubtful[r.id]
		switch {
		case known || r.State == "inDoubt" && allowed.doubts > 0:
			if !known {
				allowed.doubts--
			}
			doubts++
			ideal = recipient{
				Status: "FAILED", State: "inDoubt", Attempts: ideal.Attempts, Category: "InDoubt", Explained: true, Completed: true, Leased: true,
				Accepts: min(r.Accepts, 1),
			}
		case r.Attempts == ideal.Attempts+1 && allowed.attempts > 0:
			allowed.attempts--
			ideal.Attempts++
		}
		if allowed.unheard && strings.HasPrefix(name, "later") && ideal.Attempts > 0 {
			ideal.Attempts = min(max(r.Attempts, 1), 2)
		}
		ideal.id = r.id
		want.Recipients[name] = ideal
	}
	if diff := cmp.Diff(want.Recipients, got.Recipients, cmp.AllowUnexported(recipient{})); diff != "" {
		s.t.Errorf("recipients (-want +got):\n%s", diff)
	}
	s.judgeAnswers(got)
	if s.play.gone {
		return
	}
	s.judgeStatus(got)
	if reference == nil || doubts > 0 {
		return
	}
	got.Recipients, got.Answers = nil, nil
	undisturbed := *reference
	undisturbed.Recipients, undisturbed.Answers = nil, nil
	if diff := cmp.Diff(undisturbed, got); diff != "" {
		s.t.Errorf("end (-undisturbed +got):\n%s", diff)
	}
}

func (s *scene) judgeAnswers(got end) {
	s.t.Helper()
	if s.mails == nil {
		return
	}
	want := answered()
	maps.DeleteFunc(want, func(name string, _ int) bool {
		return s.doubtful[got.Recipients[name].id] || got.Recipients[name].State == "inDoubt"
	})
	for name := range got.Answers {
		if _, there := want[name]; !there {
			delete(got.Answers, name)
		}
	}
	if diff := cmp.Diff(want, got.Answers); diff != "" {
		s.t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// judgeStatus compares the status and the jobs with the rows.
func (s *scene) judgeStatus(got end) {
	s.t.Helper()
	var counts [5]int64
	for _, name := range names() {
		counts[0]++
		for i, state := range []string{"accepted", "bounced", "cancelled", "inDoubt"} {
			if got.Recipients[name].State == state {
				counts[i+1]++
			}
		}
	}
	if diff := cmp.Diff(counts, got.Counts); diff != "" {
		s.t.Errorf("total, accepted, bounced, cancelled and in doubt (-rows +status):\n%s", diff)
	}
	var sum, rows job
	for _, j := range got.Jobs {
		sum.Total, sum.Sent, sum.Failed = sum.Total+j.Total, sum.Sent+j.Sent, sum.Failed+j.Failed
		if j.Status != "COMPLETED" || !j.Completed {
			s.t.Errorf("a job is %+v", j)
		}
	}
	rows.Total, rows.Sent, rows.Failed = int(counts[0]), int(counts[1]), int(counts[0]-counts[1])
	if diff := cmp.Diff(rows, sum); diff != "" {
		s.t.Errorf("EmailJob's counts (-rows +jobs):\n%s", diff)
	}
}
