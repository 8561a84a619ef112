package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Submit writes submissions in one transaction, each sealed from the start, and returns what became of them, in order. A
// key that is known, or that came twice, is left alone.
//
// Without a lease they count as rung at their creation: the caller rings them next, and if it does not live to, the outbox
// does. Born under a lease, their recipients are announced at now and their jobs started; the outbox leaves them alone
// until the lease ends. With campaign.ErrUncertain they may be there.
func (s *Store) Submit(
	ctx context.Context, mails []campaign.Submission, lease *campaign.Lease, now time.Time,
) ([]campaign.Submitted, error) {
	rows := make([]submissionRows, len(mails))
	for i, mail := range mails {
		var err error
		if rows[i], err = newSubmissionRows(mail, lease, now); err != nil {
			return nil, fmt.Errorf("writing mails: mail %d: %w", i, err)
		}
	}
	var submitted []campaign.Submitted
	before := map[string]bool{} // the keys that a try wrote, whose commit was not answered
	err := s.write(ctx, "writing mails", func(tx *gorm.DB) error {
		known, err := knownRecords(tx, mails)
		if err != nil {
			return err
		}
		ours, err := leasedBefore(tx, lease, len(known))
		if err != nil {
			return err
		}
		submitted = make([]campaign.Submitted, len(mails))
		var fresh []submissionRows
		for i, mail := range mails {
			record, ok := known[mail.Key]
			if !ok {
				fresh = append(fresh, rows[i])
				if record, err = rows[i].campaign.record(); err != nil {
					return err
				}
				known[mail.Key] = record
			}
			submitted[i].Record = record
			if !ok || ours[mail.JobID()] || before[mail.Key] && record.CreatedAt.Equal(at(mail.CreatedAt).Time) {
				submitted[i].Created, submitted[i].Claimed = true, rows[i].claimed
				delete(ours, mail.JobID())
				delete(before, mail.Key)
			}
		}
		if err := insertSubmissions(tx, fresh); err != nil {
			return err
		}
		for _, row := range fresh {
			before[row.campaign.Key] = lease == nil // with one, the lease tells
		}
		return nil
	})
	if err != nil {
		return nil, uncertain(err)
	}
	return submitted, nil
}

// knownRecords returns the records of those keys that are in the database.
func knownRecords(tx *gorm.DB, mails []campaign.Submission) (map[string]campaign.Record, error) {
	keys := make([]string, len(mails))
	for i, mail := range mails {
		keys[i] = mail.Key
	}
	known := map[string]campaign.Record{}
	err := eachChunk(keys, func(keys []string) error {
		var rows []campaignRow
		if err := tx.Select(recordColumns).Where("`key` IN ?", keys).Find(&rows).Error; err != nil {
			return fmt.Errorf("looking for known keys: %w", err)
		}
		for _, row := range rows {
			record, err := row.record()
			if err != nil {
				return err
			}
			known[row.Key] = record
		}
		return nil
	})
	return known, err
}

// leasedBefore returns the jobs that an earlier try of the same call wrote, whose commit was carried out and its reply
// lost: they hold the call's own lease.
func leasedBefore(tx *gorm.DB, lease *campaign.Lease, known int) (map[string]bool, error) {
	if lease == nil || known == 0 {
		return nil, nil //nolint:nilnil // an empty set
	}
	var jobs []string
	if err := tx.Model(&leaseRow{}).Where("`token` = ?", lease.Token).Pluck("jobId", &jobs).Error; err != nil {
		return nil, fmt.Errorf("looking for leased jobs: %w", err)
	}
	ours := make(map[string]bool, len(jobs))
	for _, job := range jobs {
		ours[job] = true
	}
	return ours, nil
}

// submissionRows are what one submission is written as.
type submissionRows struct {
	campaign   campaignRow
	job        jobRow
	recipients []recipientRow
	lease      *leaseRow
	claimed    []campaign.Claimed
}

func newSubmissionRows(mail campaign.Submission, lease *campaign.Lease, now time.Time) (submissionRows, error) {
	hash, content, err := submittedContent(mail.Content)
	if err != nil {
		return submissionRows{}, err
	}
	count, created, shard := int64(len(mail.Recipients)), at(mail.CreatedAt), 0
	rows := submissionRows{
		campaign: campaignRow{
			Key: mail.Key, Origin: string(campaign.OriginHTTP), Category: mail.Category, Priority: mail.Priority,
			ContentHash: hash, ListHash: mail.ListHash(), Content: content,
			JobSize: campaign.MaxSubmission, TotalRecipients: count, TotalJobs: 1, InvalidLines: "[]",
			CreatedAt: created, SealedAt: at(now),
		},
		job: jobRow{
			ID: mail.JobID(), Subject: cut(mail.Content.Subject, legacyWidth), Body: mail.Content.LegacyBody(),
			Status: string(campaign.JobPending), TotalEmails: count, CreatedAt: created,
			CampaignKey: &mail.Key, Shard: &shard, Rings: 1, RungAt: at(now),
		},
		recipients: make([]recipientRow, len(mail.Recipients)),
	}
	for i, recipient := range mail.Recipients {
		row, err := newRecipientRow(rows.job.ID, i, recipient)
		if err != nil {
			return submissionRows{}, fmt.Errorf("recipient %d: %w", i, err)
		}
		rows.recipients[i] = row
	}
	if lease != nil {
		rows.claim(mail, *lease, now)
	}
	return rows, nil
}

// claim has the rows written as after StartJob, Claim and Announce.
func (r *submissionRows) claim(mail campaign.Submission, lease campaign.Lease, now time.Time) {
	r.campaign.StartedAt = at(now)
	r.job.Status, r.job.StartedAt = string(campaign.JobProcessing), at(now)
	r.job.RungAt = at(lease.Until)
	r.lease = &leaseRow{Token: lease.Token, JobID: r.job.ID, Until: at(lease.Until)}
	active, doubt := string(campaign.StateActive), announcedError
	for i := range r.recipients {
		row := &r.recipients[i]
		row.State, row.Status, row.Error = &active, string(campaign.LegacyFailed), &doubt
		row.LeaseToken, row.AnnouncedAt = &lease.Token, at(now)
		r.claimed = append(r.claimed, campaign.Claimed{ID: row.ID, Recipient: mail.Recipients[i]})
	}
}

// How submissions are written. What is the same for all of them is in the text.
var (
	submittedCampaigns = newBulk("Campaign", "key", "origin='"+string(campaign.OriginHTTP)+"'", "contentHash", "listHash", "content",
		"jobSize", "totalRecipients", "totalJobs=1", "invalidLines='[]'", "holdMessage=''", "createdAt", "sealedAt", "startedAt",
		"category", "priority")
	submittedJobs = newBulk("EmailJob", "id", "subject", "body", "status", "totalEmails", "createdAt", "startedAt",
		"campaignKey", "shard=0", "rings=1", "rungAt")
	submittedRecipients = newBulk("Recipient", "id", "jobId", "email", "status", "state", "error", "leaseToken", "announcedAt",
		"name", "variables", "address")
	// waitingRecipients have no lease, and nothing but an address.
	waitingRecipients = newBulk("Recipient", "id", "jobId", "email", "status='PENDING'", "state='pending'")
	submittedLeases   = newBulk("Lease", "token", "jobId", "until")
)

func (r campaignRow) submitted(to []any) []any {
	return append(to, r.Key, r.ContentHash, r.ListHash, r.Content, r.JobSize, r.TotalRecipients, r.CreatedAt, r.SealedAt,
		r.StartedAt, r.Category, r.Priority)
}

func (r jobRow) submitted(to []any) []any {
	return append(to, r.ID, r.Subject, r.Body, r.Status, r.TotalEmails, r.CreatedAt, r.StartedAt, *r.CampaignKey, r.RungAt)
}

func (r recipientRow) submitted(to []any) []any {
	return append(to, r.ID, r.JobID, r.Email, r.Status, *r.State, r.Error, r.LeaseToken, r.AnnouncedAt, r.Name, r.Variables, r.Address)
}

func (r recipientRow) waiting(to []any) []any { return append(to, r.ID, r.JobID, r.Email) }

func (r leaseRow) submitted(to []any) []any { return append(to, r.Token, r.JobID, r.Until) }

func insertSubmissions(tx *gorm.DB, rows []submissionRows) error {
	var (
		campaigns      = make([]campaignRow, len(rows))
		jobs           = make([]jobRow, len(rows))
		waiting, other []recipientRow
		leases         []leaseRow
	)
	for i, row := range rows {
		campaigns[i], jobs[i] = row.campaign, row.job
		for _, recipient := range row.recipients {
			if recipient.LeaseToken == nil && recipient.Name == nil && recipient.Variables == nil && recipient.Address == nil {
				waiting = append(waiting, recipient)
			} else {
				other = append(other, recipient)
			}
		}
		if row.lease != nil {
			leases = append(leases, *row.lease)
		}
	}
	for _, insert := range []func() error{
		func() error {
			return insertBulk(tx, submittedCampaigns, campaigns, campaignRow.size, campaignRow.submitted)
		},
		func() error { return insertBulk(tx, submittedJobs, jobs, jobRow.size, jobRow.submitted) },
		func() error {
			return insertBulk(tx, waitingRecipients, waiting, recipientRow.size, recipientRow.waiting)
		},
		func() error {
			return insertBulk(tx, submittedRecipients, other, recipientRow.size, recipientRow.submitted)
		},
		func() error { return insertBulk(tx, submittedLeases, leases, leaseRow.size, leaseRow.submitted) },
	} {
		err := insert()
		if isDuplicate(err) { // somebody else wrote the same key since we looked: the next try finds it
			return errRaced
		}
		if err != nil {
			return fmt.Errorf("inserting: %w", err)
		}
	}
	return nil
}

// RecordSubmitted implements worker.Submissions.
func (s *Store) RecordSubmitted(ctx context.Context, results []campaign.SubmittedResult, now time.Time) error {
	byID := make(map[string]*campaign.Result, len(results))
	tokenOf := make(map[string]string, len(results))
	var ids []string
	for i := range results {
		result := &results[i]
		if !recordable(result.State) {
			return fmt.Errorf("recording results: %q is no state of a result", result.State)
		}
		if _, ok := byID[result.RecipientID]; !ok {
			ids = append(ids, result.RecipientID)
		}
		byID[result.RecipientID], tokenOf[result.RecipientID] = &result.Result, result.Token
	}
	return s.write(ctx, "recording results", func(tx *gorm.DB) error {
		return eachChunk(ids, func(ids []string) error { return recordSubmitted(tx, ids, byID, tokenOf, now) })
	})
}

func recordSubmitted(
	tx *gorm.DB, ids []string, results map[string]*campaign.Result, tokenOf map[string]string, now time.Time,
) error {
	rows, err := lockLeased(tx, ids, "`leaseToken` IS NOT NULL")
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(row recipientRow) bool { return deref(row.LeaseToken) != tokenOf[row.ID] })
	if len(rows) == 0 {
		return nil
	}
	if _, err := applyResults(tx, rows, results); err != nil {
		return err
	}
	tokens := map[string]bool{}
	for _, row := range rows {
		tokens[tokenOf[row.ID]] = true
	}
	values := map[string]any{"tokens": slices.Sorted(maps.Keys(tokens)), "now": at(now)}
	left, err := finishAccepted(tx, rows, results, values)
	if err != nil || len(left) == 0 {
		return err
	}
	values["jobs"] = left
	return execAll(tx, values, finishJobs, endLeasesOfNobody, keepLeasesOfDoubts)
}

func execAll(tx *gorm.DB, values map[string]any, statements ...string) error {
	for _, statement := range statements {
		if err := tx.Exec(hinted(tx, statement), values).Error; err != nil {
			return fmt.Errorf("finishing jobs: %w", err)
		}
	}
	return nil
}

// finishAccepted finishes the jobs of which these rows, all accepted now, are everybody: nearly all jobs of single mails.
// It returns the others, which finishJobs has to look at.
func finishAccepted(
	tx *gorm.DB, rows []recipientRow, results map[string]*campaign.Result, values map[string]any,
) (left []string, err error) {
	accepted, other := map[string]int{}, map[string]bool{}
	for _, row := range rows {
		if row.effective() == campaign.StateActive && results[row.ID].State == campaign.StateAccepted {
			accepted[row.JobID]++
		} else {
			other[row.JobID] = true
		}
	}
	byCount := map[int][]string{}
	for _, id := range jobsOf(rows) {
		if other[id] {
			left = append(left, id)
			continue
		}
		byCount[accepted[id]] = append(byCount[accepted[id]], id)
	}
	for _, count := range slices.Sorted(maps.Keys(byCount)) {
		values["jobs"], values["count"] = byCount[count], count
		finished := tx.Exec(finishWhole, values)
		if finished.Error != nil {
			return nil, fmt.Errorf("finishing jobs: %w", finished.Error)
		}
		if finished.RowsAffected < int64(len(byCount[count])) { // not everybody, or somebody else finished it
			left = append(left, byCount[count]...)
			continue
		}
		if err := execAll(tx, values, endWholeLeases); err != nil {
			return nil, err
		}
	}
	return left, nil
}

const (
	// finishWhole is finishJobs for jobs of which @count recipients are accepted.
	finishWhole = "UPDATE `EmailJob` SET `status` = 'COMPLETED', `sentEmails` = @count, `failedEmails` = 0," +
		" `completedAt` = COALESCE(`completedAt`, @now)" +
		" WHERE `id` IN @jobs AND `totalEmails` = @count AND `status` IN ('PENDING', 'PROCESSING')"

	// endWholeLeases is endLeasesOfNobody for jobs that nobody is left of.
	endWholeLeases = "DELETE FROM `Lease` WHERE `token` IN @tokens AND `jobId` IN @jobs"

	// finishJobs counts by the legacy status, which says SENT or FAILED of every recipient that has ended. An active one
	// may say FAILED as well, but then the job is not finished.
	finishJobs = "UPDATE `EmailJob` SET" +
		" `status` = CASE WHEN (SELECT 1 FROM `Recipient` r WHERE r.`jobId` = `EmailJob`.`id` AND r.`status` = 'SENT' LIMIT 1)" +
		" IS NULL AND `totalEmails` > 0 THEN 'FAILED' ELSE 'COMPLETED' END," +
		" `sentEmails` = (SELECT COUNT(*) FROM `Recipient` r WHERE r.`jobId` = `EmailJob`.`id` AND r.`status` = 'SENT')," +
		" `failedEmails` = (SELECT COUNT(*) FROM `Recipient` r WHERE r.`jobId` = `EmailJob`.`id` AND r.`status` = 'FAILED')," +
		" `completedAt` = COALESCE(`completedAt`, @now)" +
		" WHERE `id` IN @jobs AND `status` IN ('PENDING', 'PROCESSING') AND (SELECT 1 FROM `Recipient` r " + byState +
		" WHERE r.`jobId` = `EmailJob`.`id` AND (r.`state` IN ('pending', 'deferred') AND r.`status` = 'PENDING'" +
		" OR r.`state` = 'active' OR r.`state` IS NULL AND r.`status` = 'PENDING') LIMIT 1) IS NULL"

	leaseHolds = "(SELECT 1 FROM `Recipient` r " + byState + " WHERE r.`jobId` = `Lease`.`jobId`" +
		" AND r.`leaseToken` = `Lease`.`token` AND r.`state` IN "

	endLeasesOfNobody = "DELETE FROM `Lease` WHERE `token` IN @tokens AND `jobId` IN @jobs" +
		" AND " + leaseHolds + "('active', 'inDoubt') LIMIT 1) IS NULL"

	keepLeasesOfDoubts = "UPDATE `Lease` SET `until` = NULL WHERE `token` IN @tokens AND `jobId` IN @jobs" +
		" AND " + leaseHolds + "('active') LIMIT 1) IS NULL"
)
