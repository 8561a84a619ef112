package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/worker"
)

// rescuedDetail is the legacy error of a recipient whose lease ran out while its mail was on the wire.
const rescuedDetail = "the worker was lost while it sent this mail"

// lease notes that the claim's token holds recipients of its job. Whoever ends the lease locks the same row first, so
// that no active recipient is without one.
func lease(tx *gorm.DB, claim campaign.Claim) error {
	row := leaseRow{Token: claim.Token, JobID: claim.JobID, Until: at(claim.LeaseUntil)}
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "token"}, {Name: "jobId"}},
		DoUpdates: clause.AssignmentColumns([]string{"until"}),
	}).Create(&row).Error
}

// RenewLeases implements worker.Store. It costs one row for each token and job, however many recipients they hold.
func (s *Store) RenewLeases(ctx context.Context, tokens []string, until time.Time) (ended []string, err error) {
	err = eachChunk(tokens, func(tokens []string) error {
		var running []string
		err := s.write(ctx, "renewing leases", func(tx *gorm.DB) error {
			renewed := tx.Model(&leaseRow{}).Where("`token` IN ? AND `until` IS NOT NULL", tokens).Update("until", at(until))
			if renewed.Error != nil {
				return renewed.Error
			}
			return tx.Model(&leaseRow{}).Where("`token` IN ? AND `until` IS NOT NULL", tokens).Distinct().Pluck("token", &running).Error
		})
		for _, token := range tokens {
			if err == nil && !slices.Contains(running, token) {
				ended = append(ended, token)
			}
		}
		return err
	})
	return ended, err
}

// Release implements worker.Store. What a cancelled campaign gets back becomes cancelled.
func (s *Store) Release(ctx context.Context, token string) (int, error) {
	const what = "releasing recipients"
	leases, err := s.leases(ctx, what, "`token` = ?", token)
	if err != nil {
		return 0, err
	}
	released := 0
	for _, l := range leases {
		n := 0
		err := s.write(ctx, what, func(tx *gorm.DB) error {
			rows, err := lockLease(tx, l, "`announcedAt` IS NULL")
			if err != nil {
				return err
			}
			n = len(rows)
			if err := endLeases(tx, rows, s.Now()); err != nil {
				return err
			}
			return settleLease(tx, l.Token, l.JobID)
		})
		if err != nil {
			return released, err
		}
		released += n
	}
	return released, nil
}

// Held implements worker.Store.
func (s *Store) Held(ctx context.Context, token string) (map[string]bool, error) {
	held := map[string]bool{}
	err := s.read(ctx, "listing held recipients", func(tx *gorm.DB) error {
		var rows []recipientRow
		err := tx.Raw(hinted(tx, "SELECT r.`id`, r.`status`, r.`state`, r.`announcedAt` FROM `Lease` l"+
			" JOIN `Recipient` r "+byState+" ON r.`jobId` = l.`jobId` AND r.`state` IN ('active', 'inDoubt')"+
			" AND r.`leaseToken` = l.`token` WHERE l.`token` = ?"), token).Scan(&rows).Error
		for _, row := range rows {
			switch row.effective() {
			case campaign.StateActive:
				held[row.ID] = !row.AnnouncedAt.IsZero()
			case campaign.StateInDoubt:
				held[row.ID] = true
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return held, nil
}

// Rescue implements worker.Store. Among the jobs that it returns are those of campaigns that are started and have no
// recipient left to try, such as those of a worker that was lost before it finished them.
func (s *Store) Rescue(ctx context.Context, now time.Time) (worker.Rescued, error) {
	const what = "rescuing recipients"
	var rescued worker.Rescued
	leases, err := s.leases(ctx, what, "`until` < ?", at(now))
	if err != nil {
		return rescued, err
	}
	for _, l := range leases {
		var some worker.Rescued
		err := s.write(ctx, what, func(tx *gorm.DB) error {
			var err error
			some, err = rescueLease(tx, l, now)
			return err
		})
		if err != nil {
			return rescued, err
		}
		rescued.Released += some.Released
		rescued.InDoubt += some.InDoubt
		rescued.JobIDs = append(rescued.JobIDs, some.JobIDs...)
	}
	abandoned, err := s.abandonedJobs(ctx)
	rescued.JobIDs = append(rescued.JobIDs, abandoned...)
	slices.Sort(rescued.JobIDs)
	rescued.JobIDs = slices.Compact(rescued.JobIDs)
	return rescued, err
}

func rescueLease(tx *gorm.DB, l leaseRow, now time.Time) (worker.Rescued, error) {
	var rescued worker.Rescued
	rows, err := lockLease(tx, l, "1 = 1")
	if err != nil {
		return rescued, err
	}
	var current []leaseRow // locked by now: was it renewed since it was found?
	err = tx.Where("`token` = ? AND `jobId` = ? AND `until` < ?", l.Token, l.JobID, at(now)).Find(&current).Error
	if err != nil || len(current) == 0 {
		return rescued, err
	}
	for _, row := range rows {
		if row.effective() == campaign.StateActive && !row.AnnouncedAt.IsZero() {
			rescued.InDoubt++
		} else {
			rescued.Released++
		}
	}
	rescued.JobIDs = jobsOf(rows)
	if err := endLeases(tx, rows, now); err != nil {
		return worker.Rescued{}, err
	}
	return rescued, settleLease(tx, l.Token, l.JobID)
}

// leases returns the leases that meet the condition.
func (s *Store) leases(ctx context.Context, what, condition string, value any) ([]leaseRow, error) {
	var leases []leaseRow
	err := s.query(ctx, what, func(db *gorm.DB) error {
		return db.Where(condition, value).Order("`token`, `jobId`").Find(&leases).Error
	})
	return leases, err
}

// lockLease locks the lease, and then those of its active recipients that meet the condition.
func lockLease(tx *gorm.DB, l leaseRow, condition string) ([]recipientRow, error) {
	var locked []leaseRow
	if err := forUpdate(tx).Where("`token` = ? AND `jobId` = ?", l.Token, l.JobID).Find(&locked).Error; err != nil {
		return nil, fmt.Errorf("locking the lease: %w", err)
	}
	var ids []string
	err := tx.Raw(hinted(tx, "SELECT `id` FROM `Recipient` "+byState+" WHERE `jobId` = ? AND `state` = 'active'"+
		" AND `leaseToken` = ? ORDER BY `id`"), l.JobID, l.Token).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("looking for leased recipients: %w", err)
	}
	var rows []recipientRow
	err = eachChunk(ids, func(ids []string) error {
		some, err := lockLeased(tx, ids, "`state` = 'active' AND `leaseToken` = ? AND "+condition, l.Token)
		rows = append(rows, some...)
		return err
	})
	return rows, err
}

// settleLease removes the lease if it holds nothing any more. One under which recipients are in doubt stays, without
// end, for the certain results that may still come.
func settleLease(tx *gorm.DB, token, jobID string) error {
	var states []string
	err := tx.Raw(hinted(tx, "SELECT DISTINCT `state` FROM `Recipient` "+byState+" WHERE `jobId` = ?"+
		" AND `state` IN ('active', 'inDoubt') AND `leaseToken` = ?"), jobID, token).Scan(&states).Error
	if err != nil {
		return fmt.Errorf("looking for leased recipients: %w", err)
	}
	held := tx.Where("`token` = ? AND `jobId` = ?", token, jobID)
	switch {
	case slices.Contains(states, string(campaign.StateActive)):
		return nil
	case len(states) > 0:
		err = held.Model(&leaseRow{}).Update("until", nil).Error
	default:
		err = held.Delete(&leaseRow{}).Error
	}
	if err != nil {
		return fmt.Errorf("ending the lease: %w", err)
	}
	return nil
}

// abandonedBatch bounds the jobs that one Rescue finds unfinished without a recipient left to try.
const abandonedBatch = 100

// abandonedJobs returns started jobs of campaigns that nobody finished though no recipient is left to try.
func (s *Store) abandonedJobs(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.query(ctx, "looking for abandoned jobs", func(db *gorm.DB) error {
		return db.Raw(hinted(db, "SELECT j.`id` FROM `EmailJob` j WHERE j.`status` = 'PROCESSING'"+
			" AND j.`campaignKey` IS NOT NULL AND (SELECT 1 FROM `Recipient` r "+byState+" WHERE r.`jobId` = j.`id`"+
			" AND r.`state` IN ('pending', 'deferred', 'active') AND (r.`status` = 'PENDING' OR r.`state` = 'active')"+
			" LIMIT 1) IS NULL ORDER BY j.`id` LIMIT ?"), abandonedBatch).Scan(&ids).Error
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
			row.LeaseToken = nil
		case !row.AnnouncedAt.IsZero():
			row.apply(campaign.Result{
				State: campaign.StateInDoubt, CountAttempt: true, Detail: rescuedDetail, At: now,
			}, returnWaiting)
		default:
			row.giveBack(returning[row.JobID], now)
		}
	}
	return eachChunk(rows, func(rows []recipientRow) error { return saveRows(tx, rows) })
}
