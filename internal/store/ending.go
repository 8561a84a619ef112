package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// cancelledDetail is the legacy error of a recipient that was cancelled.
const cancelledDetail = "cancelled: the campaign was cancelled before this mail was sent"

// waiting is the condition of the recipients that have not ended and whose mail is not on the wire.
const waiting = "`status` = 'PENDING' AND (`state` IS NULL OR `state` IN ('pending', 'deferred', 'active'))"

// endBatch bounds the recipients that one transaction cancels or removes.
const endBatch = 1000

// Discard implements campaign.Ledger.
func (s *Store) Discard(ctx context.Context, key string) error {
	for {
		done := false
		err := s.write(ctx, "discarding the campaign", func(tx *gorm.DB) error {
			var err error
			done, err = discardBatch(tx, key)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// discardBatch removes one batch of recipients, else one job, else the campaign, which is the end. Each batch checks
// anew that the campaign is not sealed.
func discardBatch(tx *gorm.DB, key string) (done bool, err error) {
	var owners []campaignRow
	if err := forUpdate(tx).Select("key", "sealedAt").Where("`key` = ?", key).Find(&owners).Error; err != nil {
		return false, err
	}
	if len(owners) == 0 {
		return true, nil
	}
	if !owners[0].SealedAt.IsZero() {
		return false, campaign.ErrSealed
	}

	var jobs []string
	err = tx.Model(&jobRow{}).Where("`campaignKey` = ?", key).Order("`shard`").Limit(1).Pluck("id", &jobs).Error
	if err != nil {
		return false, fmt.Errorf("looking for its jobs: %w", err)
	}
	if len(jobs) == 0 {
		return true, tx.Where("`key` = ?", key).Delete(&campaignRow{}).Error
	}
	var ids []string
	err = tx.Model(&recipientRow{}).Where("`jobId` = ?", jobs[0]).Limit(endBatch).Pluck("id", &ids).Error
	if err != nil {
		return false, fmt.Errorf("looking for its recipients: %w", err)
	}
	if len(ids) == 0 {
		return false, tx.Where("`id` = ?", jobs[0]).Delete(&jobRow{}).Error
	}
	return false, eachChunk(ids, func(ids []string) error {
		return tx.Where("`id` IN ?", ids).Delete(&recipientRow{}).Error
	})
}

// Cancel implements campaign.Ledger. From its first commit on no worker is granted a recipient of the campaign; then the
// recipients that wait are ended job by job, those that are claimed but not announced among them.
func (s *Store) Cancel(ctx context.Context, key, reason string, now time.Time) error {
	const what = "cancelling the campaign"
	err := s.write(ctx, what, func(tx *gorm.DB) error {
		if err := forUpdate(tx).Select("key").Where("`key` = ?", key).Take(&campaignRow{}).Error; err != nil {
			return orNotFound(err)
		}
		return tx.Model(&campaignRow{}).Where("`key` = ? AND `cancelledAt` IS NULL", key).Updates(map[string]any{
			"endReason": reason, "cancelledAt": at(now),
		}).Error
	})
	if err != nil {
		return err
	}

	var jobs []string
	err = s.query(ctx, what, func(db *gorm.DB) error {
		return db.Model(&jobRow{}).Where("`campaignKey` = ?", key).Where("`status` IN ?", unfinishedJobs).
			Order("`shard`").Pluck("id", &jobs).Error
	})
	if err != nil {
		return err
	}
	for _, id := range jobs {
		if err := s.cancelJob(ctx, id, now); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func (s *Store) cancelJob(ctx context.Context, id string, now time.Time) error {
	for {
		left := 0
		err := s.write(ctx, "ending the recipients of a job", func(tx *gorm.DB) error {
			var ids []string
			err := tx.Model(&recipientRow{}).Where("`jobId` = ?", id).Where(waiting).
				Limit(endBatch).Pluck("id", &ids).Error
			if err != nil {
				return err
			}
			if left = len(ids); left == 0 {
				_, err := finishJob(tx, id, now)
				return err
			}
			return eachChunk(ids, func(ids []string) error { return cancelRecipients(tx, ids, now) })
		})
		if err != nil || left == 0 {
			return err
		}
	}
}

// cancelRecipients ends those of the recipients that still wait.
func cancelRecipients(tx *gorm.DB, ids []string, now time.Time) error {
	return tx.Model(&recipientRow{}).Where("`id` IN ?", ids).Where(waiting).Updates(map[string]any{
		"status":        campaign.LegacyFailed,
		"state":         campaign.StateCancelled,
		"error":         cancelledDetail,
		"nextAttemptAt": nil,
		"leaseToken":    nil,
		"completedAt":   at(now),
	}).Error
}

// eachChunk calls do with the ids, at most idChunk at a time.
func eachChunk[T any](all []T, do func(some []T) error) error {
	for some := range slices.Chunk(all, idChunk) {
		if err := do(some); err != nil {
			return err
		}
	}
	return nil
}
