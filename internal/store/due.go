package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// The parts of the query for due jobs. Each subquery is one probe of the index by state; with LIMIT it stays one, where
// EXISTS would be turned into a join.
const (
	notRung = "(j.`rungAt` IS NULL OR j.`rungAt` < @rungBefore)"

	jobToDo = "j.`status` IN ('PENDING', 'PROCESSING') AND ((SELECT 1 FROM `Recipient` r " + byState + " WHERE r.`jobId` = j.`id` AND r.`state` = 'active' LIMIT 1) IS NULL" +
		" OR (SELECT 1 FROM `Lease` l WHERE l.`jobId` = j.`id` AND l.`until` >= @now LIMIT 1) IS NULL)"

	hasDeferredDue = "(SELECT 1 FROM `Recipient` r " + byState + " WHERE r.`jobId` = j.`id` AND r.`status` = 'PENDING'" +
		" AND r.`state` IN ('pending', 'deferred') AND r.`nextAttemptAt` <= @now LIMIT 1) IS NOT NULL"

	hasUntried = "(SELECT 1 FROM `Recipient` r " + byState + " WHERE r.`jobId` = j.`id` AND r.`status` = 'PENDING'" +
		" AND r.`state` = 'pending' AND r.`nextAttemptAt` IS NULL LIMIT 1) IS NOT NULL"

	campaignRuns = "c.`sealedAt` IS NOT NULL AND c.`cancelledAt` IS NULL AND c.`suspended` = FALSE" +
		" AND (c.`holdUntil` IS NULL OR c.`holdUntil` <= @now) AND (c.`opensAt` IS NULL OR c.`opensAt` <= @now)" +
		" AND (c.`closesAt` IS NULL OR c.`closesAt` > @now)" +
		" AND (c.`startedAt` IS NOT NULL OR c.`startBefore` IS NULL OR c.`startBefore` > @now)"

	ofCampaigns = " FROM `EmailJob` j JOIN `Campaign` c ON c.`key` = j.`campaignKey` WHERE " + campaignRuns + " AND " + jobToDo +
		" AND (" + hasUntried + " OR " + hasDeferredDue + ")"

	isFirst = "(CASE WHEN j.`shard` = 0 AND j.`rings` = 0 THEN TRUE ELSE FALSE END) AS `first`"

	dueOfCampaigns = "SELECT j.`id`, j.`rings`, c.`priority`, FALSE AS `first`" + ofCampaigns + " AND " + notRung

	dueOfLegacy = "SELECT j.`id`, j.`rings`, 0 AS priority, FALSE AS `first` FROM `EmailJob` j" +
		" WHERE j.`campaignKey` IS NULL AND " + jobToDo + " AND " + hasDeferredDue + " AND " + notRung

	// Of one campaign the first due jobs are found without looking at the others.
	firstOfCampaign = "SELECT f.* FROM (SELECT j.`id`, j.`rings`, c.`priority`, j.`rungAt`, " + isFirst + ofCampaigns +
		" AND c.`key` = @key ORDER BY j.`shard` LIMIT @window) f WHERE (f.`rungAt` IS NULL OR f.`rungAt` < @rungBefore)"

	firstOfCampaigns = "SELECT f.`id`, f.`rings`, f.`priority`, f.`first` FROM (SELECT j.`id`, j.`rings`, c.`priority`, j.`rungAt`, " + isFirst +
		", ROW_NUMBER() OVER (PARTITION BY j.`campaignKey` ORDER BY j.`shard`) AS `place`" + ofCampaigns +
		") f WHERE f.`place` <= @window AND (f.`rungAt` IS NULL OR f.`rungAt` < @rungBefore)"
)

// DueJobs implements outbox.Store.
func (s *Store) DueJobs(
	ctx context.Context, key string, now, rungBefore time.Time, limit int,
) ([]campaign.DueJob, error) {
	statement := dueOfCampaigns + " UNION ALL " + dueOfLegacy
	if key != "" {
		statement = dueOfCampaigns + " AND c.`key` = @key"
	}
	return s.dueJobs(ctx, statement, map[string]any{"key": key, "now": at(now), "rungBefore": at(rungBefore), "limit": limit})
}

// FirstDueJobs implements outbox.Store.
func (s *Store) FirstDueJobs(
	ctx context.Context, key string, now, rungBefore time.Time, window, limit int,
) ([]campaign.DueJob, error) {
	statement := firstOfCampaigns + " UNION ALL " + dueOfLegacy
	if key != "" {
		statement = firstOfCampaign
	}
	return s.dueJobs(ctx, statement, map[string]any{
		"key": key, "now": at(now), "rungBefore": at(rungBefore), "window": window, "limit": limit,
	})
}

func (s *Store) dueJobs(ctx context.Context, statement string, values map[string]any) ([]campaign.DueJob, error) {
	var due []campaign.DueJob
	err := s.query(ctx, "looking for due jobs", func(db *gorm.DB) error {
		return db.Raw(hinted(db, "SELECT d.`id`, d.`rings`, d.`priority`, d.`first` FROM ("+statement+") d ORDER BY d.`id` LIMIT @limit"), values).
			Scan(&due).Error
	})
	return due, err
}

// MarkRung implements outbox.Store.
func (s *Store) MarkRung(ctx context.Context, jobs []campaign.DueJob, now time.Time) error {
	return s.stampRings(ctx, "noting rings", jobs, func(tx *gorm.DB, rings int, ids []string) error {
		return tx.Model(&jobRow{}).Where("`id` IN ? AND `rings` = ?", ids, rings).Updates(map[string]any{
			"rings": rings + 1, "rungAt": at(now),
		}).Error
	})
}

// RungJobs implements outbox.Store.
func (s *Store) RungJobs(ctx context.Context, key, after string, limit int) ([]campaign.DueJob, error) {
	var jobs []campaign.DueJob
	err := s.query(ctx, "looking for jobs in the queue", func(db *gorm.DB) error {
		return db.Model(&jobRow{}).Select("id", "rings").
			Where("`campaignKey` = ? AND `id` > ? AND `rungAt` IS NOT NULL", key, after).Where("`status` IN ?", unfinishedJobs).
			Order("`id`").Limit(limit).Scan(&jobs).Error
	})
	return jobs, err
}

// ForgetRings implements outbox.Store. A job that was rung again meanwhile keeps its time.
func (s *Store) ForgetRings(ctx context.Context, jobs []campaign.DueJob) error {
	return s.stampRings(ctx, "forgetting rings", jobs, func(tx *gorm.DB, rings int, ids []string) error {
		return tx.Model(&jobRow{}).Where("`id` IN ? AND `rings` = ?", ids, rings).Update("rungAt", nil).Error
	})
}

// PostponeRing implements outbox.Store.
func (s *Store) PostponeRing(ctx context.Context, jobs []campaign.DueJob, now time.Time) error {
	return s.stampRings(ctx, "postponing rings", jobs, func(tx *gorm.DB, _ int, ids []string) error {
		return tx.Model(&jobRow{}).Where("`id` IN ?", ids).Update("rungAt", at(now)).Error
	})
}

// stampRings calls set, each time in a transaction of its own, with jobs that were rung equally often.
func (s *Store) stampRings(
	ctx context.Context, what string, jobs []campaign.DueJob, set func(tx *gorm.DB, rings int, ids []string) error,
) error {
	byRings := map[int][]string{}
	for _, job := range jobs {
		byRings[job.Rings] = append(byRings[job.Rings], job.ID)
	}
	for rings, ids := range byRings {
		err := eachChunk(ids, func(ids []string) error {
			return s.write(ctx, what, func(tx *gorm.DB) error { return set(tx, rings, ids) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}
