// Package storetest is the specification of the database as the rest of Cartero sees it: campaign.Ledger, worker.Store
// and outbox.Store, in tests that every dialect passes. Legacy programs speak in it too: in raw SQL, as they would.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/retention"
	"github.com/cartero-mail/cartero/internal/worker"
)

// Store is what is specified.
type Store interface {
	campaign.Ledger
	worker.Store
	outbox.Store
	// JobReport says how the job stands.
	JobReport(ctx context.Context, id string) (campaign.JobReport, error)
	retention.Store
	campaign.Suppressions
	// Messages lists what was handed to a relay.
	Messages(ctx context.Context, query campaign.MessageQuery) ([]campaign.Message, error)
	// EachRecipient visits the recipients of a campaign.
	EachRecipient(ctx context.Context, key string, visit func(jobID, address string, state campaign.State) error) error
}

// Backend is a store on an empty, migrated database of its own.
type Backend struct {
	Store Store
	// SQL is another connection to the same database, which legacy programs and assertions use.
	SQL *sql.DB
}

// Run runs the specification. open makes a backend, and removes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	groups := []struct {
		name  string
		tests map[string]func(s *scene)
	}{
		{"Ledger", ledgerTests},
		{"Ending", endingTests},
		{"Steering", steeringTests},
		{"Window", windowTests},
		{"Again", againTests},
		{"Claim", claimTests},
		{"Announced claim", announcedTests},
		{"Record", recordTests},
		{"Lease", leaseTests},
		{"Job", jobTests},
		{"Tally", tallyTests},
		{"Outbox", outboxTests},
		{"Submit", submitTests},
		{"Messages", messageTests},
		{"Retention", retentionTests},
		{"Suppression", suppressionTests},
		{"Suppression from results", suppressionFeedTests},
		{"Concurrency", concurrencyTests},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					backend := open(t)
					test(&scene{T: t, Store: backend.Store, sql: backend.SQL})
				})
			}
		})
	}
}

// key is the campaign of most tests.
const key = "growth/launch"

// epoch is when tests begin; minute(n) is n minutes later.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)

func minute(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }

// text is a time as the dump of a row shows it.
func text(t time.Time) string { return t.Format("2006-01-02 15:04:05.000") }

// scene is one test on one backend.
type scene struct {
	*testing.T
	Store
	sql *sql.DB
}

func (s *scene) ctx() context.Context { return s.Context() }

// suspend steers the campaign to being suspended, or not.
func (s *scene) suspend(key string, suspended bool) error {
	_, err := s.Steer(s.ctx(), key, campaign.Steered{Control: campaign.Control{Suspended: suspended}, Now: epoch})
	return err
}

// must fails the test on an error.
func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// equal fails the test if got is not want.
func (s *scene) equal(what string, got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// exec runs raw SQL, as a legacy program would.
func (s *scene) exec(statement string, values ...any) {
	s.Helper()
	if _, err := s.sql.ExecContext(s.ctx(), statement, values...); err != nil {
		s.Fatalf("%s: %v", statement, err)
	}
}

// draft is a campaign with jobs of two recipients.
func draft() campaign.Draft {
	return campaign.Draft{
		Key:       key,
		Origin:    campaign.OriginKubernetes,
		Content:   campaign.Content{Subject: "Spring news", Text: "Hello", HTML: "<p>Hello</p>"},
		ListHash:  strings.Repeat("ab", 32),
		JobSize:   2,
		CreatedAt: epoch,
	}
}

// people are n recipients, from ada0@example.com on.
func people(n int) []campaign.Recipient {
	recipients := make([]campaign.Recipient, n)
	for i := range recipients {
		recipients[i] = campaign.Recipient{Address: fmt.Sprintf("ada%d@example.com", i)}
	}
	return recipients
}

// sealed writes and seals a campaign with one job of n recipients, and returns the id of the job.
func (s *scene) sealed(n int) string {
	s.Helper()
	s.unsealed(n)
	_, err := s.Seal(s.ctx(), key, campaign.Totals{Recipients: int64(n), Jobs: 1}, minute(1))
	s.must(err)
	return campaign.JobID(key, 0)
}

// unsealed writes a campaign with one job of n recipients.
func (s *scene) unsealed(n int) string {
	s.Helper()
	_, err := s.Open(s.ctx(), draft())
	s.must(err)
	s.must(s.WriteShard(s.ctx(), campaign.Shard{Key: key, Recipients: people(n)}))
	return campaign.JobID(key, 0)
}

// legacyJob writes a job as the Node backend does, and returns its id.
func (s *scene) legacyJob(n int) string {
	s.Helper()
	const id = "7d1f0c5e-4c57-4f0e-9a6e-0d3f2b1c4a59"
	s.exec("INSERT INTO `EmailJob` (`id`, `subject`, `body`, `status`, `totalEmails`, `createdAt`)"+
		" VALUES (?, 'Hi', '<b>Hi</b>', 'PENDING', ?, ?)", id, n, text(epoch))
	for i := range n {
		s.exec("INSERT INTO `Recipient` (`id`, `jobId`, `email`, `name`) VALUES (?, ?, ?, 'Ada')",
			fmt.Sprintf("legacy-%d", i), id, fmt.Sprintf("ada%d@example.com", i))
	}
	return id
}

// claim claims up to limit recipients of the job, for ten minutes.
func (s *scene) claim(job, token string, limit int, now time.Time) []string {
	s.Helper()
	claimed, err := s.Claim(s.ctx(), campaign.Claim{
		JobID: job, Token: token, Limit: limit, Now: now, LeaseUntil: now.Add(10 * time.Minute),
	})
	s.must(err)
	ids := []string{}
	for _, c := range claimed {
		ids = append(ids, c.ID)
	}
	return ids
}

// announce announces, and returns what was granted.
func (s *scene) announce(token string, ids []string, now time.Time) []string {
	s.Helper()
	granted, err := s.Announce(s.ctx(), token, ids, now)
	s.must(err)
	return granted
}

// renew extends the leases under these tokens, and returns those whose lease has ended.
func (s *scene) renew(until time.Time, tokens ...string) []string {
	s.Helper()
	ended, err := s.RenewLeases(s.ctx(), tokens, until)
	s.must(err)
	return ended
}

// record records one result, and returns how many rows it changed.
func (s *scene) record(token string, results ...campaign.Result) int {
	s.Helper()
	n, err := s.Record(s.ctx(), token, results)
	s.must(err)
	return n
}

// accepted is the result of a mail that the relay took.
func accepted(id string, now time.Time) campaign.Result {
	return campaign.Result{
		RecipientID: id, State: campaign.StateAccepted, CountAttempt: true, Code: 250, EnhancedCode: "2.0.0", At: now,
	}
}

// deferred is the result of a mail that the relay may take at next.
func deferred(id string, now, next time.Time) campaign.Result {
	return campaign.Result{
		RecipientID: id, State: campaign.StateDeferred, CountAttempt: true, NextAttemptAt: &next,
		Code: 451, EnhancedCode: "4.7.1", Category: "RateLimited", Detail: "451 4.7.1 greylisted", At: now,
	}
}

// row is a row of Recipient, each column as text, NULL as "".
type row struct {
	Email, Name, Status, State, Error, SentAt            string
	Attempts, FirstAttemptAt, NextAttemptAt              string
	LeaseToken, LeaseUntil, AnnouncedAt, CompletedAt     string
	SMTPCode, EnhancedCode, Category, Variables, Address string
}

// rows returns the recipients of the job, in id order.
func (s *scene) rows(job string) []row {
	s.Helper()
	columns := []string{
		"email", "name", "status", "state", "error", "sentAt", "attempts", "firstAttemptAt", "nextAttemptAt", "leaseToken",
		"announcedAt", "completedAt", "smtpCode", "enhancedCode", "category", "variables", "address",
	}
	result, err := s.sql.QueryContext(s.ctx(), "SELECT "+asText(columns)+" FROM `Recipient` WHERE `jobId` = ? ORDER BY `id`", job)
	s.must(err)
	defer result.Close()
	all := []row{}
	for result.Next() {
		var r row
		s.must(result.Scan(&r.Email, &r.Name, &r.Status, &r.State, &r.Error, &r.SentAt, &r.Attempts, &r.FirstAttemptAt,
			&r.NextAttemptAt, &r.LeaseToken, &r.AnnouncedAt, &r.CompletedAt, &r.SMTPCode, &r.EnhancedCode,
			&r.Category, &r.Variables, &r.Address))
		all = append(all, r)
	}
	s.must(result.Err())
	return all
}

// job is a row of EmailJob, each column as text, NULL as "".
type job struct {
	Subject, Body, Status, Total, Sent, Failed, CreatedAt, StartedAt, CompletedAt, Key, Shard, Rings, RungAt string
}

// job returns the row of the job.
func (s *scene) job(id string) job {
	s.Helper()
	columns := []string{
		"subject", "body", "status", "totalEmails", "sentEmails", "failedEmails", "createdAt", "startedAt", "completedAt",
		"campaignKey", "shard", "rings", "rungAt",
	}
	var j job
	s.must(s.sql.QueryRowContext(s.ctx(), "SELECT "+asText(columns)+" FROM `EmailJob` WHERE `id` = ?", id).Scan(
		&j.Subject, &j.Body, &j.Status, &j.Total, &j.Sent, &j.Failed, &j.CreatedAt, &j.StartedAt, &j.CompletedAt, &j.Key,
		&j.Shard, &j.Rings, &j.RungAt))
	return j
}

// asText lists the columns for SELECT, each as text.
func asText(columns []string) string {
	parts := make([]string, len(columns))
	for i, column := range columns {
		parts[i] = "COALESCE(CAST(`" + column + "` AS CHAR), '')"
	}
	return strings.Join(parts, ", ")
}

// states returns the status and state of each recipient of the job, such as "PENDING/pending", in id order.
func (s *scene) states(job string) []string {
	s.Helper()
	states := []string{}
	for _, r := range s.rows(job) {
		states = append(states, r.Status+"/"+r.State)
	}
	return states
}

// count returns the number that a query yields.
func (s *scene) count(statement string, values ...any) int {
	s.Helper()
	var n int
	s.must(s.sql.QueryRowContext(s.ctx(), statement, values...).Scan(&n))
	return n
}

// leases returns the rows of Lease as token and end, such as "t until 2026-03-04 05:06:07.890", in the order of tokens.
func (s *scene) leases() []string {
	s.Helper()
	result, err := s.sql.QueryContext(s.ctx(), "SELECT "+asText([]string{"token", "until"})+" FROM `Lease` ORDER BY `token`")
	s.must(err)
	defer result.Close()
	leases := []string{}
	for result.Next() {
		var token, until string
		s.must(result.Scan(&token, &until))
		leases = append(leases, token+" until "+until)
	}
	s.must(result.Err())
	return leases
}
