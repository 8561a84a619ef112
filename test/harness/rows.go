package harness

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// Recipient is a row of the table Recipient, as a legacy reader and as Cartero see it.
type Recipient struct {
	ID, Email string
	// Status and Sent are the legacy columns status and sentAt.
	Status string
	Sent   bool
	// State is Cartero's column.
	State string
}

// Recipients returns all rows of Recipient.
func (s Services) Recipients(tb testing.TB) []Recipient {
	tb.Helper()
	return query(tb, s.DB, "SELECT `id`, `email`, `status`, `sentAt` IS NOT NULL, COALESCE(`state`, '') FROM `Recipient` ORDER BY `id`",
		func(rows *sql.Rows) (r Recipient, err error) {
			err = rows.Scan(&r.ID, &r.Email, &r.Status, &r.Sent, &r.State)
			return r, err
		})
}

// Job is a row of the table EmailJob with the truth about its recipients.
type Job struct {
	ID, Status          string
	Total, Sent, Failed int64
	// Completed says that completedAt is set.
	Completed bool
}

// Jobs returns all rows of EmailJob.
func (s Services) Jobs(tb testing.TB) []Job {
	tb.Helper()
	return query(tb, s.DB, "SELECT `id`, `status`, `totalEmails`, `sentEmails`, `failedEmails`, `completedAt` IS NOT NULL FROM `EmailJob` ORDER BY `id`",
		func(rows *sql.Rows) (j Job, err error) {
			err = rows.Scan(&j.ID, &j.Status, &j.Total, &j.Sent, &j.Failed, &j.Completed)
			return j, err
		})
}

// AwaitJobs waits until each job's row says what those of its recipients do. A campaign is complete when nobody is left to try;
// the row of its last job follows a moment later. Of the jobs in empty, which have no recipients, it knows no more than told.
func (s Services) AwaitJobs(tb testing.TB, empty ...Job) {
	tb.Helper()
	byID := func(a, b Job) int { return cmp.Compare(a.ID, b.ID) }
	var want, jobs []Job
	same := func() bool {
		want, jobs = append(s.countedJobs(tb), empty...), s.Jobs(tb)
		slices.SortFunc(want, byID)
		slices.SortFunc(jobs, byID)
		return slices.Equal(want, jobs)
	}
	if !eventually(same) {
		tb.Errorf("EmailJob (-counted from Recipient +as it is):\n%s", gocmp.Diff(want, jobs))
	}
}

// countedJobs is what Jobs is to become: each job counted from its recipients' legacy columns.
func (s Services) countedJobs(tb testing.TB) []Job {
	tb.Helper()
	return query(tb, s.DB, "SELECT `jobId`, CASE WHEN SUM(`status` = 'SENT') = 0 THEN 'FAILED' ELSE 'COMPLETED' END, COUNT(*), "+
		"SUM(`status` = 'SENT'), SUM(`status` = 'FAILED') FROM `Recipient` GROUP BY `jobId` ORDER BY `jobId`",
		func(rows *sql.Rows) (j Job, err error) {
			j.Completed = true
			err = rows.Scan(&j.ID, &j.Status, &j.Total, &j.Sent, &j.Failed)
			return j, err
		})
}

// Claimed counts the recipients that some worker holds.
func (s Services) Claimed(tb testing.TB) int64 {
	tb.Helper()
	counts := query(tb, s.DB, "SELECT COUNT(*) FROM `Recipient` WHERE `state` = 'active'", func(rows *sql.Rows) (n int64, err error) {
		err = rows.Scan(&n)
		return n, err
	})
	return counts[0]
}

func query[T any](tb testing.TB, db *sql.DB, statement string, scan func(*sql.Rows) (T, error)) []T {
	tb.Helper()
	rows, err := db.QueryContext(context.Background(), statement)
	if err != nil {
		tb.Fatalf("Reading the database: %v", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			tb.Fatalf("Reading the database: %v", err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		tb.Fatalf("Reading the database: %v", err)
	}
	return all
}
