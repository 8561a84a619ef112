package store

import (
	"context"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// JobReport says how the job stands, and since when; it changes nothing. It fails with campaign.ErrNotFound if there is
// no such job.
func (s *Store) JobReport(ctx context.Context, id string) (campaign.JobReport, error) {
	var report campaign.JobReport
	err := s.read(ctx, "reading the report of the job", func(tx *gorm.DB) error {
		var job jobRow
		err := tx.Select("id", "status", "campaignKey", "createdAt", "startedAt", "completedAt").
			Where("`id` = ?", id).Take(&job).Error
		if err != nil {
			return orNotFound(err)
		}
		tally, err := count(tx, jobScope(id))
		report = campaign.JobReport{
			ID:          job.ID,
			Key:         deref(job.CampaignKey),
			Status:      campaign.JobStatus(job.Status),
			Tally:       tally,
			CreatedAt:   job.CreatedAt.Time,
			StartedAt:   job.StartedAt.pointer(),
			CompletedAt: job.CompletedAt.pointer(),
		}
		return err
	})
	return report, err
}

// reportColumns are the columns of a recipientRow that a campaign.RecipientReport is made of.
var reportColumns = []string{
	"id", "email", "address", "name", "status", "error", "sentAt", "state", "attempts", "nextAttemptAt", "announcedAt",
	"completedAt", "smtpCode", "enhancedCode", "category",
}

// RecipientReports says how recipients of the job stand, in id order, which is that of the list they came from: at most
// limit of those behind after, which is empty for the first. A job that is not there has none.
func (s *Store) RecipientReports(ctx context.Context, jobID, after string, limit int) ([]campaign.RecipientReport, error) {
	var rows []recipientRow
	err := s.query(ctx, "listing the recipients of the job", func(db *gorm.DB) error {
		return db.Select(reportColumns).Where("`jobId` = ? AND `id` > ?", jobID, after).Order("`id`").Limit(limit).Find(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	reports := make([]campaign.RecipientReport, len(rows))
	for i, row := range rows {
		reports[i] = row.report()
	}
	return reports, nil
}

func (r recipientRow) report() campaign.RecipientReport {
	state := r.effective()
	report := campaign.RecipientReport{
		ID: r.ID, Address: r.Email, Name: deref(r.Name), State: state, Attempts: r.Attempts, Code: deref(r.SMTPCode),
		EnhancedCode: deref(r.EnhancedCode), Category: deref(r.Category), Detail: deref(r.Error),
		NextAttemptAt: r.NextAttemptAt.pointer(), CompletedAt: r.CompletedAt.pointer(),
	}
	if r.Address != nil {
		report.Address = *r.Address
	}
	if state == campaign.StateActive {
		report.Detail = "" // what it says is for the case that the worker dies
	}
	if report.CompletedAt == nil && state == campaign.StateAccepted { // a legacy worker's
		report.CompletedAt = r.SentAt.pointer()
	}
	return report
}
