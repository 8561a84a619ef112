package store

import (
	"context"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// listPage bounds the recipients that are read at a time.
const listPage = 1000

// EachRecipient calls visit for every recipient of the campaign, job by job in the order of the shards, in id order
// within a job. It reads in pages: a recipient that changes meanwhile is visited once, as it was or as it is. An error of
// visit ends it and is returned.
func (s *Store) EachRecipient(
	ctx context.Context, key string, visit func(jobID, address string, state campaign.State) error,
) error {
	var jobs []string
	err := s.query(ctx, "listing the jobs of the campaign", func(db *gorm.DB) error {
		return db.Model(&jobRow{}).Where("`campaignKey` = ?", key).Order("`shard`").Pluck("id", &jobs).Error
	})
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := s.eachOfJob(ctx, job, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachOfJob(
	ctx context.Context, job string, visit func(jobID, address string, state campaign.State) error,
) error {
	for last := ""; ; {
		var rows []recipientRow
		err := s.query(ctx, "listing the recipients of a job", func(db *gorm.DB) error {
			return db.Select("id", "email", "address", "status", "state", "announcedAt").
				Where("`jobId` = ? AND `id` > ?", job, last).Order("`id`").Limit(listPage).Find(&rows).Error
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			recipient, err := row.recipient()
			if err != nil {
				return err
			}
			if err := visit(job, recipient.Address, row.effective()); err != nil {
				return err
			}
		}
		last = rows[len(rows)-1].ID
	}
}
