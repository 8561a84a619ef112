package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// unfinishedJobs are the statuses of jobs that have not ended.
var unfinishedJobs = []campaign.JobStatus{campaign.JobPending, campaign.JobProcessing}

// Job implements worker.Store. The content of a job that a legacy program wrote is its subject and body, without a
// sender.
func (s *Store) Job(ctx context.Context, id string) (campaign.Job, error) {
	var job campaign.Job
	err := s.read(ctx, "reading the job", func(tx *gorm.DB) error {
		var row jobRow
		if err := tx.Where("`id` = ?", id).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		job = campaign.Job{
			ID:        row.ID,
			Status:    campaign.JobStatus(row.Status),
			CreatedAt: row.CreatedAt.Time,
		}
		if row.CampaignKey == nil {
			job.Sealed, job.Started = true, true
			job.Content = legacyContent(row.Subject, row.Body)
			return nil
		}

		var owner campaignRow
		if err := tx.Where("`key` = ?", *row.CampaignKey).Take(&owner).Error; err != nil {
			return orNotFound(err)
		}
		owner.lend(&job)
		steering, err := owner.steering()
		if err != nil {
			return err
		}
		job.Control.Policy = steering.Policy
		job.Content, err = owner.content(row.Body)
		return err
	})
	return job, err
}

// lend sets the job's fields that are its campaign's.
func (r campaignRow) lend(job *campaign.Job) {
	job.Key = r.Key
	job.Sealed = !r.SealedAt.IsZero()
	job.Started = !r.StartedAt.IsZero()
	job.Control = r.control()
	job.Revision = r.Revision
	job.Cancelled = !r.CancelledAt.IsZero()
	job.Hold = r.hold()
	job.Priority = r.Priority
}

func legacyContent(subject, body string) campaign.Content {
	if campaign.LooksLikeHTML(body) {
		return campaign.Content{Subject: subject, HTML: body}
	}
	return campaign.Content{Subject: subject, Text: body}
}

// runnableRow is what decides whether a job may run.
type runnableRow struct {
	ID          string  `gorm:"column:id"`
	CampaignKey *string `gorm:"column:campaignKey"`
	SealedAt    stamp   `gorm:"column:sealedAt"`
	StartedAt   stamp   `gorm:"column:startedAt"`
	Suspended   bool    `gorm:"column:suspended"`
	OpensAt     stamp   `gorm:"column:opensAt"`
	ClosesAt    stamp   `gorm:"column:closesAt"`
	StartBefore stamp   `gorm:"column:startBefore"`
	CancelledAt stamp   `gorm:"column:cancelledAt"`
	HoldUntil   stamp   `gorm:"column:holdUntil"`
	Revision    int     `gorm:"column:revision"`
	Suppress    bool    `gorm:"column:suppress"`
	ListID      string  `gorm:"column:listId"`
}

func (r runnableRow) runnable(now time.Time) bool {
	job := campaign.Job{Sealed: r.CampaignKey == nil, Started: true}
	if r.CampaignKey != nil {
		campaignRow{
			SealedAt: r.SealedAt, StartedAt: r.StartedAt, Suspended: r.Suspended, OpensAt: r.OpensAt, ClosesAt: r.ClosesAt,
			StartBefore: r.StartBefore, CancelledAt: r.CancelledAt, HoldUntil: r.HoldUntil,
		}.lend(&job)
	}
	return job.Runnable(now)
}

// runnableJobs returns those of the jobs whose recipients may be claimed and sent at this time, by id.
func runnableJobs(tx *gorm.DB, ids []string, now time.Time) (map[string]runnableRow, error) {
	var rows []runnableRow
	err := tx.Raw("SELECT j.`id`, j.`campaignKey`, c.`sealedAt`, c.`startedAt`, COALESCE(c.`suspended`, FALSE) AS suspended,"+
		" c.`opensAt`, c.`closesAt`, c.`startBefore`, c.`cancelledAt`, c.`holdUntil`, COALESCE(c.`revision`, 0) AS revision,"+
		" COALESCE(c.`suppress`, FALSE) AS suppress, COALESCE(c.`listId`, '') AS listId"+
		" FROM `EmailJob` j LEFT JOIN `Campaign` c ON c.`key` = j.`campaignKey` WHERE j.`id` IN ?", ids).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the state of the campaign: %w", err)
	}
	runnable := make(map[string]runnableRow, len(rows))
	for _, row := range rows {
		if row.runnable(now) {
			runnable[row.ID] = row
		}
	}
	return runnable, nil
}

// Runnable implements worker.Store.
func (s *Store) Runnable(ctx context.Context, jobIDs []string, now time.Time) (map[string]int, error) {
	runnable := make(map[string]int, len(jobIDs))
	err := eachChunk(jobIDs, func(ids []string) error {
		return s.query(ctx, "looking whether jobs may run", func(db *gorm.DB) error {
			some, err := runnableJobs(db, ids, now)
			for id, row := range some {
				runnable[id] = row.Revision
			}
			return err
		})
	})
	return runnable, err
}

// StartJob implements worker.Store. It does nothing on a job of an unsealed campaign.
func (s *Store) StartJob(ctx context.Context, id string, now time.Time) error {
	return s.write(ctx, "starting the job", func(tx *gorm.DB) error {
		var job jobRow
		if err := tx.Select("id", "status", "campaignKey").Where("`id` = ?", id).Take(&job).Error; err != nil {
			return orNotFound(err)
		}
		if job.CampaignKey != nil {
			record, err := takeRecord(tx, *job.CampaignKey)
			if err != nil || !record.Sealed() {
				return err
			}
			if record.StartedAt == nil { // asked first: the row of the campaign is everybody's
				if sealed, err := startCampaign(tx, record.Key, now); err != nil || !sealed {
					return err
				}
			}
		}
		return tx.Model(&jobRow{}).Where("`id` = ? AND `status` = ?", id, campaign.JobPending).Updates(map[string]any{
			"status":    campaign.JobProcessing,
			"startedAt": gorm.Expr("COALESCE(`startedAt`, ?)", at(now)),
		}).Error
	})
}

// startCampaign notes when the campaign was taken up, unless it was reopened since it was read.
func startCampaign(tx *gorm.DB, key string, now time.Time) (sealed bool, err error) {
	record, err := takeRecord(forUpdate(tx), key)
	if err != nil || !record.Sealed() || record.StartedAt != nil {
		return record.Sealed(), err
	}
	return true, tx.Model(&campaignRow{}).Where("`key` = ?", key).Update("startedAt", at(now)).Error
}

// keepSealed keeps a campaign that nobody has taken up yet from being reopened until the transaction ends, and reports
// whether it is sealed. It costs nothing from the first StartJob on.
func keepSealed(tx *gorm.DB, row runnableRow) (bool, error) {
	if row.CampaignKey == nil || !row.StartedAt.IsZero() {
		return true, nil
	}
	record, err := takeRecord(forShare(tx), *row.CampaignKey)
	return err == nil && record.Sealed(), err
}

// FinishJob implements worker.Store.
func (s *Store) FinishJob(ctx context.Context, id string, now time.Time) (campaign.JobProgress, error) {
	var progress campaign.JobProgress
	err := s.write(ctx, "finishing the job", func(tx *gorm.DB) error {
		var err error
		progress, err = finishJob(tx, id, now)
		return err
	})
	return progress, err
}

func finishJob(tx *gorm.DB, id string, now time.Time) (campaign.JobProgress, error) {
	var job jobRow
	err := forUpdate(tx).Select("id", "status", "sentEmails", "failedEmails", "completedAt", "campaignKey").
		Where("`id` = ?", id).Take(&job).Error
	if err != nil {
		return campaign.JobProgress{}, orNotFound(err)
	}
	tally, err := count(tx, jobScope(id))
	if err != nil {
		return campaign.JobProgress{}, err
	}
	progress := campaign.JobProgress{Status: campaign.JobStatus(job.Status), Tally: tally, Finished: tally.Done()}
	if !progress.Finished {
		if job.finished() {
			progress.Status = campaign.JobProcessing
			return progress, reopenJob(tx, id)
		}
		return progress, nil
	}

	status := campaign.JobCompleted
	if tally.Total > 0 && tally.Accepted == 0 {
		status = campaign.JobFailed
	}
	progress.Status = status
	sent, failed := tally.Accepted, tally.Unsuccessful()
	if progress.Status == campaign.JobStatus(job.Status) && job.SentEmails == sent && job.FailedEmails == failed &&
		!job.CompletedAt.IsZero() {
		return progress, nil
	}
	return progress, tx.Model(&jobRow{}).Where("`id` = ?", id).Updates(map[string]any{
		"status":       status,
		"sentEmails":   sent,
		"failedEmails": failed,
		"completedAt":  gorm.Expr("COALESCE(`completedAt`, ?)", at(now)),
	}).Error
}

// reopenJob undoes the end of a job that has a recipient to try again.
func reopenJob(tx *gorm.DB, id string) error {
	return tx.Model(&jobRow{}).Where("`id` = ?", id).Updates(map[string]any{
		"status":      campaign.JobProcessing,
		"completedAt": nil,
	}).Error
}
