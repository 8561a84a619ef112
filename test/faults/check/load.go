package check

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

// Load reads the tables into the run. from is the SMTP_FROM of the workers, for mails whose campaign names no sender. Mails
// with unsubscribe links of Cartero's own can't be composed anew and are refused.
func (r *Run) Load(ctx context.Context, databaseURL string, from mail.Address) error {
	db, err := openSQL(databaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	cartero, err := store.Open(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = cartero.Close() }()
	l := loader{run: r, store: cartero, from: from, jobs: map[string]*loadedJob{}}
	return errors.Join(
		each(ctx, db, "SELECT `key`, `sealedAt` IS NOT NULL, COALESCE(`steering`, '') FROM `Campaign`", l.campaign),
		each(ctx, db, "SELECT `id`, COALESCE(`campaignKey`, ''), `status`, `totalEmails`, `sentEmails`, `failedEmails` FROM `EmailJob`", l.job),
		each(ctx, db, "SELECT `token`, `jobId` FROM `Lease` WHERE `until` IS NOT NULL", l.lease),
		each(ctx, db, "SELECT `id`, `jobId`, COALESCE(`address`, `email`), COALESCE(`name`, ''), COALESCE(`variables`, ''), `status`, "+
			"COALESCE(`state`, ''), `announcedAt` IS NOT NULL, `sentAt` IS NOT NULL FROM `Recipient`",
			func(rows *sql.Rows) error { return l.recipient(ctx, rows) }),
	)
}

// openSQL opens the database past the store.
func openSQL(databaseURL string) (*sql.DB, error) {
	target, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errors.New("the database's URL is not one")
	}
	if file, ok := strings.CutPrefix(databaseURL, "sqlite://"); ok {
		return sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(60000)")
	}
	config := mysql.NewConfig()
	config.User = target.User.Username()
	config.Passwd, _ = target.User.Password()
	config.Net, config.Addr, config.DBName = "tcp", target.Host, strings.TrimPrefix(target.Path, "/")
	return sql.Open("mysql", config.FormatDSN())
}

func each(ctx context.Context, db *sql.DB, statement string, scan func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("reading the database: %w", err)
		}
	}
	return rows.Err()
}

type loader struct {
	run   *Run
	store *store.Store
	from  mail.Address
	jobs  map[string]*loadedJob
}

// loadedJob is what all mails of a job have in common.
type loadedJob struct {
	campaign.Job

	from     mail.Address
	template *compose.Template
}

func (l *loader) campaign(rows *sql.Rows) error {
	var c Campaign
	var steering string
	if err := rows.Scan(&c.Key, &c.Sealed, &steering); err != nil {
		return err
	}
	if steering != "" {
		var s struct {
			Policy campaign.Policy `json:"policy"`
		}
		if err := json.Unmarshal([]byte(steering), &s); err != nil {
			return fmt.Errorf("the steering of %s: %w", c.Key, err)
		}
		c.Retry = s.Policy.Retry.InDoubt
	}
	l.run.Campaigns = append(l.run.Campaigns, c)
	return nil
}

func (l *loader) job(rows *sql.Rows) error {
	var j Job
	err := rows.Scan(&j.ID, &j.Campaign, &j.Status, &j.Total, &j.Sent, &j.Failed)
	l.run.Jobs = append(l.run.Jobs, j)
	return err
}

func (l *loader) lease(rows *sql.Rows) error {
	var token, job string
	err := rows.Scan(&token, &job)
	l.run.Leases = append(l.run.Leases, token+" of job "+job)
	return err
}

func (l *loader) recipient(ctx context.Context, rows *sql.Rows) error {
	var row Row
	var address, name, variables, status, state string
	var announced bool
	if err := rows.Scan(&row.ID, &row.JobID, &address, &name, &variables, &status, &state, &announced, &row.Dated); err != nil {
		return err
	}
	job, err := l.lookUp(ctx, row.JobID)
	if err != nil {
		return err
	}
	row.Campaign, row.Retry = job.Key, job.Control.Policy.Retry.InDoubt
	row.Status = campaign.LegacyStatus(status)
	row.State = campaign.EffectiveState(row.Status, campaign.State(state), announced)
	row.MessageID = campaign.MessageID(row.JobID, address, job.from.Address)
	row.Key = ledger.Key(address)
	to := compose.Recipient{Address: address, Name: name, MessageID: row.MessageID, Date: job.CreatedAt}
	if variables != "" {
		if err := json.Unmarshal([]byte(variables), &to.Variables); err != nil {
			return fmt.Errorf("the variables of recipient %s: %w", row.ID, err)
		}
	}
	unsubscribe := job.Content.Unsubscribe
	to.UnsubscribeMailto = unsubscribe.MailtoURI()
	if unsubscribe.URLVariable != "" {
		to.UnsubscribeURL = strings.TrimSpace(to.Variables[unsubscribe.URLVariable])
	}
	if composed, err := job.template.Append(nil, to); err == nil { // one that can't be composed has no accepted mail to compare
		sum := sha256.Sum256(composed.Raw)
		row.Body = hex.EncodeToString(sum[:])
	}
	l.run.Rows = append(l.run.Rows, row)
	return nil
}

func (l *loader) lookUp(ctx context.Context, id string) (*loadedJob, error) {
	if j := l.jobs[id]; j != nil {
		return j, nil
	}
	job, err := l.store.Job(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading job %s: %w", id, err)
	}
	if job.Content.Unsubscribe.Managed {
		return nil, fmt.Errorf("job %s has unsubscribe links that can't be made here", id)
	}
	j := &loadedJob{Job: job, from: job.Content.From}
	if j.from.Address == "" {
		j.from = l.from
	}
	content := job.Content.Mail()
	content.From = j.from
	if j.template, err = compose.NewTemplate(content); err != nil {
		return nil, fmt.Errorf("compiling the message of job %s: %w", id, err)
	}
	l.jobs[id] = j
	return j, nil
}
