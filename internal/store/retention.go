package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/retention"
)

var _ retention.Store = (*Store)(nil)

const (
	// sealIndex is the index that old and abandoned campaigns are found by.
	sealIndex = "Campaign_origin_sealedAt_idx"
	// expireCampaigns bounds the campaigns that one transaction of Expire looks at. The recipients that it removes are
	// bounded by endBatch.
	expireCampaigns = 200
)

// Expire implements retention.Store. It locks the jobs of the campaigns that it looks at: a doubt that is resolved at the
// same time, and has its recipient tried again, is not lost.
func (s *Store) Expire(ctx context.Context, before time.Time, after retention.Position) (retention.Expired, error) {
	var expired retention.Expired
	err := s.write(ctx, "removing old campaigns", func(tx *gorm.DB) error {
		expired = retention.Expired{}
		candidates, err := oldCampaigns(tx, before, after)
		if err != nil || len(candidates) == 0 {
			return err
		}
		jobs, ended, err := lockEnded(tx, candidates, before)
		if err != nil {
			return err
		}
		last := candidates[len(candidates)-1]
		expired.Next = retention.Position{SealedAt: last.SealedAt.Time, Key: last.Key}
		if len(ended) == 0 {
			return nil
		}
		ids, err := someRecipients(tx, jobs)
		if err != nil {
			return err
		}
		expired.Recipients = len(ids)
		if err := removeRecipients(tx, ids); err != nil {
			return err
		}
		if len(ids) == endBatch { // perhaps not all: the next call goes on with the same campaigns
			expired.Next = after
			expired.More = true
			return nil
		}
		expired.Campaigns = len(ended)
		return removeCampaigns(tx, jobs, ended)
	})
	if err != nil {
		return retention.Expired{}, err
	}
	return expired, nil
}

// oldCampaigns returns the next campaigns that may be removed: as many as have endBatch recipients together, at least one.
func oldCampaigns(tx *gorm.DB, before time.Time, after retention.Position) ([]campaignRow, error) {
	var rows []campaignRow
	table := "`Campaign`"
	if tx.Name() == string(engineMySQL) {
		table += " FORCE INDEX (`" + sealIndex + "`)"
	}
	err := tx.Table(table).Select("key", "sealedAt", "totalRecipients").
		Where("`origin` = ? AND `sealedAt` < ?", campaign.OriginHTTP, at(before)).
		Where("`sealedAt` >= ? AND (`sealedAt` > ? OR `key` > ?)", orEpoch(after.SealedAt), orEpoch(after.SealedAt), after.Key).
		Order("`sealedAt`, `key`").Limit(expireCampaigns).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("looking for them: %w", err)
	}
	n, sum := 0, int64(0)
	for n < len(rows) && (n == 0 || sum+rows[n].TotalRecipients < endBatch) {
		sum += rows[n].TotalRecipients
		n++
	}
	return rows[:n], nil
}

// orEpoch is the stamp of t, or of a time before all others: NULL compares with nothing.
func orEpoch(t time.Time) stamp {
	if t.IsZero() {
		return at(time.Unix(0, 0))
	}
	return at(t)
}

// lockEnded locks the jobs of the campaigns, and returns those of the campaigns that have ended before the time with all
// their jobs, and their keys.
func lockEnded(tx *gorm.DB, candidates []campaignRow, before time.Time) (jobs, ended []string, err error) {
	keys := make([]string, len(candidates))
	for i, row := range candidates {
		keys[i] = row.Key
	}
	var locked []campaignRow
	if err := forUpdate(tx).Select("key").Where("`key` IN ?", keys).Order("`key`").Find(&locked).Error; err != nil {
		return nil, nil, fmt.Errorf("locking the campaigns: %w", err)
	}
	var rows []jobRow
	err = forUpdate(tx).Select("id", "status", "completedAt", "campaignKey").Where("`campaignKey` IN ?", keys).
		Order("`id`").Find(&rows).Error
	if err != nil {
		return nil, nil, fmt.Errorf("locking the jobs: %w", err)
	}
	kept := map[string]bool{}
	for _, row := range rows {
		if !row.finished() || row.CompletedAt.IsZero() || !row.CompletedAt.Before(before) {
			kept[*row.CampaignKey] = true
		}
	}
	for _, row := range rows {
		if !kept[*row.CampaignKey] {
			jobs = append(jobs, row.ID)
		}
	}
	for _, row := range locked {
		if !kept[row.Key] {
			ended = append(ended, row.Key)
		}
	}
	return jobs, ended, nil
}

// someRecipients returns at most endBatch recipients of the jobs.
func someRecipients(tx *gorm.DB, jobs []string) ([]string, error) {
	var ids []string
	for some := range slices.Chunk(jobs, idChunk) {
		var found []string
		err := tx.Model(&recipientRow{}).Where("`jobId` IN ?", some).Limit(endBatch-len(ids)).Pluck("id", &found).Error
		if err != nil {
			return nil, fmt.Errorf("looking for their recipients: %w", err)
		}
		if ids = append(ids, found...); len(ids) == endBatch {
			break
		}
	}
	return ids, nil
}

func removeRecipients(tx *gorm.DB, ids []string) error {
	return eachChunk(ids, func(ids []string) error {
		if err := tx.Where("`id` IN ?", ids).Delete(&recipientRow{}).Error; err != nil {
			return fmt.Errorf("removing recipients: %w", err)
		}
		return nil
	})
}

// removeCampaigns removes campaigns whose recipients are gone.
func removeCampaigns(tx *gorm.DB, jobs, keys []string) error {
	err := eachChunk(jobs, func(ids []string) error {
		if err := tx.Where("`jobId` IN ?", ids).Delete(&leaseRow{}).Error; err != nil {
			return fmt.Errorf("removing leases: %w", err)
		}
		if err := tx.Where("`id` IN ?", ids).Delete(&jobRow{}).Error; err != nil {
			return fmt.Errorf("removing jobs: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return eachChunk(keys, func(keys []string) error {
		if err := tx.Where("`key` IN ?", keys).Delete(&campaignRow{}).Error; err != nil {
			return fmt.Errorf("removing campaigns: %w", err)
		}
		return nil
	})
}

// Abandoned implements retention.Store.
func (s *Store) Abandoned(ctx context.Context, before time.Time, limit int) ([]string, error) {
	var keys []string
	err := s.query(ctx, "looking for abandoned campaigns", func(db *gorm.DB) error {
		return db.Model(&campaignRow{}).
			Where("`origin` = ? AND `sealedAt` IS NULL AND `createdAt` < ?", campaign.OriginHTTP, at(before)).
			Order("`key`").Limit(limit).Pluck("key", &keys).Error
	})
	return keys, err
}
