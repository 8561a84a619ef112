package store

import (
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/worker"
)

// rescuedDetail is the legacy error of a recipient whose lease ran out while its mail was on the wire.
const rescuedDetail = "the worker was lost while it sent this mail"

// RenewLeases implements worker.Store.
func (s *Store) RenewLeases(ctx context.Context, tokens []string, until time.Time) error {
	const what = "renewing leases"
	ids, err := s.leasedIDs(ctx, what, "`leaseToken` IN ? AND `state` = ?", tokens, campaign.StateActive)
	if err != nil || len(ids) == 0 {
		return err
	}
	// By primary key, in its order, as every other writer does: walking the index of tokens would deadlock with them.
	return eachChunk(ids, func(ids []string) error {
		return s.write(ctx, what, func(tx *gorm.DB) error {
			return tx.Model(&recipientRow{}).
				Where("`id` IN ? AND `leaseToken` IN ? AND `state` = ?", ids, tokens, campaign.StateActive).
				Update("leaseUntil", at(until)).Error
		})
	})
}

// leasedIDs returns the ids of the recipients that meet the condition, in order.
func (s *Store) leasedIDs(ctx context.Context, what, condition string, values ...any) ([]string, error) {
	var ids []string
	err := s.query(ctx, what, func(db *gorm.DB) error {
		return db.Model(&recipientRow{}).Where(condition, values...).Pluck("id", &ids).Error
	})
	slices.Sort(ids)
	return ids, err
}

// Release implements worker.Store. What a cancelled campaign gets back becomes cancelled.
func (s *Store) Release(ctx context.Context, token string) (int, error) {
	const what = "releasing recipients"
	ids, err := s.leasedIDs(ctx, what, "`leaseToken` = ? AND `state` = ? AND `announcedAt` IS NULL",
		token, campaign.StateActive)
	if err != nil {
		return 0, err
	}
	released := 0
	err = eachChunk(ids, func(ids []string) error {
		n := 0
		err := s.write(ctx, what, func(tx *gorm.DB) error {
			rows, err := lockLeased(tx, ids, "`leaseToken` = ? AND `state` = ? AND `announcedAt` IS NULL",
				token, campaign.StateActive)
			if err != nil {
				return err
			}
			n = len(rows)
			return endLeases(tx, rows, s.now())
		})
		released += n
		return err
	})
	return released, err
}

// Held implements worker.Store.
func (s *Store) Held(ctx context.Context, token string) (map[string]bool, error) {
	var rows []recipientRow
	err := s.query(ctx, "listing held recipients", func(db *gorm.DB) error {
		return db.Select("id", "status", "state", "announcedAt").Where("`leaseToken` = ?", token).Find(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	held := make(map[string]bool, len(rows))
	for _, row := range rows {
		switch row.effective() {
		case campaign.StateActive:
			held[row.ID] = !row.AnnouncedAt.IsZero()
		case campaign.StateInDoubt:
			held[row.ID] = true
		}
	}
	return held, nil
}

// Rescue implements worker.Store. Among the jobs that it returns are those of campaigns that are started and have no
// recipient left to try, such as those of a worker that was lost before it finished them.
func (s *Store) Rescue(ctx context.Context, now time.Time) (worker.Rescued, error) {
	const what = "rescuing recipients"
	const expired = "`leaseToken` IS NOT NULL AND `leaseUntil` < ?"
	var rescued worker.Rescued
	ids, err := s.leasedIDs(ctx, what, expired, at(now))
	if err != nil {
		return rescued, err
	}
	err = eachChunk(ids, func(ids []string) error {
		var some worker.Rescued
		err := s.write(ctx, what, func(tx *gorm.DB) error {
			rows, err := lockLeased(tx, ids, expired, at(now)) // again: a lease may have been renewed
			if err != nil {
				return err
			}
			some = worker.Rescued{JobIDs: jobsOf(rows)}
			for _, row := range rows {
				if row.effective() == campaign.StateActive && !row.AnnouncedAt.IsZero() {
					some.InDoubt++
				} else {
					some.Released++
				}
			}
			return endLeases(tx, rows, now)
		})
		if err != nil {
			return err
		}
		rescued.Released += some.Released
		rescued.InDoubt += some.InDoubt
		rescued.JobIDs = append(rescued.JobIDs, some.JobIDs...)
		return nil
	})
	if err != nil {
		return rescued, err
	}
	abandoned, err := s.abandonedJobs(ctx)
	rescued.JobIDs = append(rescued.JobIDs, abandoned...)
	slices.Sort(rescued.JobIDs)
	rescued.JobIDs = slices.Compact(rescued.JobIDs)
	return rescued, err
}

// abandonedBatch bounds the jobs that one Rescue finds unfinished without a recipient left to try.
const abandonedBatch = 100

// abandonedJobs returns started jobs of campaigns that nobody finished though no recipient is left to try.
func (s *Store) abandonedJobs(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.query(ctx, "looking for abandoned jobs", func(db *gorm.DB) error {
		return db.Raw("SELECT j.`id` FROM `EmailJob` j WHERE j.`status` = 'PROCESSING' AND j.`campaignKey` IS NOT NULL"+
			" AND NOT EXISTS (SELECT 1 FROM `Recipient` r WHERE r.`jobId` = j.`id` AND r.`status` = 'PENDING')"+
			" AND NOT EXISTS (SELECT 1 FROM `Recipient` r WHERE r.`jobId` = j.`id` AND r.`status` = 'FAILED'"+
			" AND r.`state` = 'active') ORDER BY j.`id` LIMIT ?", abandonedBatch).Scan(&ids).Error
	})
	return ids, err
}

// endLeases ends the leases of these locked rows: what is on the wire becomes inDoubt, the rest is given back, or is
// cancelled with its campaign. Where a legacy program ended a recipient meanwhile, its word stands.
func endLeases(tx *gorm.DB, rows []recipientRow, now time.Time) error {
	returning, err := readReturning(tx, rows, func(row recipientRow) bool {
		return row.effective() == campaign.StateActive && row.AnnouncedAt.IsZero()
	})
	if err != nil {
		return err
	}
	for i := range rows {
		row := &rows[i]
		state := row.effective()
		switch {
		case state.Terminal():
			row.State = orNull(string(state))
			row.CompletedAt = at(now)
			row.LeaseToken, row.LeaseUntil = nil, stamp{}
		case !row.AnnouncedAt.IsZero():
			row.apply(campaign.Result{
				State: campaign.StateInDoubt, CountAttempt: true, Detail: rescuedDetail, At: now,
			}, returnWaiting)
		default:
			row.giveBack(returning[row.JobID], now)
		}
	}
	return saveRows(tx, rows)
}
