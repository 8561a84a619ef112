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
