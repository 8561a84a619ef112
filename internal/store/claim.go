package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// announcedError is the legacy error of a recipient whose mail is on the wire: what a reader finds if the worker dies.
const announcedError = "in doubt: the mail was being sent, and its outcome is not recorded yet"

// dueIDs selects the recipients of a job that may be claimed, in id order. Each part is one range of the index by state,
// in the order of the ids already except for the last, so that a claim costs the same in a job of any size.
const dueIDs = "SELECT d.`id` FROM (" +
	"SELECT * FROM (SELECT `id` FROM `Recipient` " + byState + " WHERE `jobId` = @job AND `status` = 'PENDING'" +
	" AND `state` = 'pending' AND `nextAttemptAt` IS NULL ORDER BY `id` LIMIT @limit) a" +
	" UNION ALL " +
	"SELECT * FROM (SELECT `id` FROM `Recipient` " + byState + " WHERE `jobId` = @job AND `status` = 'PENDING'" +
	" AND `state` IS NULL AND `nextAttemptAt` IS NULL ORDER BY `id` LIMIT @limit) b" +
	" UNION ALL " +
	"SELECT * FROM (SELECT `id` FROM `Recipient` " + byState + " WHERE `jobId` = @job AND `status` = 'PENDING'" +
	" AND `state` IN ('pending', 'deferred') AND `nextAttemptAt` <= @now ORDER BY `id` LIMIT @limit) c" +
	") d ORDER BY d.`id` LIMIT @limit"

// Claim implements worker.Store. A second claim under the same token never returns what the first one did.
func (s *Store) Claim(ctx context.Context, claim campaign.Claim) ([]campaign.Claimed, error) {
	if claim.Token == "" || claim.Limit < 1 {
		return nil, fmt.Errorf("claiming recipients: want a token and a positive limit")
	}
	take := s.claimLeased
	if claim.Announce {
		take = s.claimAnnounced
	}
	claimed, err := take(ctx, claim)
	if err != nil {
		return nil, err
	}
	for i := range claimed {
		claimed[i].Position = i + 1
	}
	return claimed, nil
}

func (s *Store) claimLeased(ctx context.Context, claim campaign.Claim) ([]campaign.Claimed, error) {
	var claimed []campaign.Claimed
	tries := 0
	err := s.write(ctx, "claiming recipients", func(tx *gorm.DB) (err error) {
		claimed = nil
		if tries++; tries > 1 { // as in claimAnnounced: nobody stays claimed whom the caller doesn't know of
			if claimed, err = leasedUnannounced(tx, claim); err != nil || len(claimed) > 0 {
				return err
			}
		}
		claimed, err = claimAny(tx, claim)
		return err
	})
	return claimed, err
}

// claimAny claims whoever is due, if the job's recipients may be claimed at all.
func claimAny(tx *gorm.DB, claim campaign.Claim) (claimed []campaign.Claimed, err error) {
	row, runs, err := mayClaim(tx, claim)
	if err != nil || !runs {
		return nil, err
	}
	for again := true; again; {
		if claimed, again, err = claimDue(tx, claim, row); err != nil {
			return nil, err
		}
	}
	return claimed, nil
}

// leasedUnannounced returns those of the job that are claimed under the token and not announced.
func leasedUnannounced(tx *gorm.DB, claim campaign.Claim) ([]campaign.Claimed, error) {
	var rows []recipientRow
	err := tx.Select("id", "email", "address", "name", "variables", "attempts", "firstAttemptAt", "nextAttemptAt").
		Where("`jobId` = ? AND `leaseToken` = ? AND `state` = ? AND `announcedAt` IS NULL", claim.JobID, claim.Token, campaign.StateActive).
		Order("`id`").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("looking for what was claimed: %w", err)
	}
	return claimedRows(rows)
}

// claimDue claims recipients that are due. Where everybody that it found is on the suppression list, it has to be asked
// again: whoever is due may come behind them.
func claimDue(tx *gorm.DB, claim campaign.Claim, job runnableRow) (claimed []campaign.Claimed, again bool, err error) {
	var ids []string
	err = tx.Raw(hinted(tx, dueIDs), map[string]any{"job": claim.JobID, "now": at(claim.Now), "limit": claim.Limit}).
		Scan(&ids).Error
	if err != nil {
		return nil, false, fmt.Errorf("looking for due recipients: %w", err)
	}
	if len(ids) == 0 {
		return nil, false, nil
	}
	if err := lease(tx, claim); err != nil {
		return nil, false, fmt.Errorf("noting the lease: %w", err)
	}
	suppressed := 0
	err = eachChunk(ids, func(ids []string) error {
		some, n, err := claimRows(tx, claim, job, ids)
		claimed = append(claimed, some...)
		suppressed += n
		return err
	})
	return claimed, len(claimed) == 0 && suppressed > 0, err
}

// claimRows locks the candidates, and takes those that nobody took since they were found, and that are not suppressed.
func claimRows(
	tx *gorm.DB, claim campaign.Claim, job runnableRow, candidates []string,
) (claimed []campaign.Claimed, suppressed int, err error) {
	var rows []recipientRow
	err = forUpdate(tx).
		Select("id", "email", "address", "name", "variables", "attempts", "firstAttemptAt", "nextAttemptAt").
		Where("`id` IN ? AND `status` = 'PENDING'", candidates).
		Where("(`state` IS NULL OR `state` = 'pending' OR `state` = 'deferred' AND `nextAttemptAt` <= ?)", at(claim.Now)).
		Order("`id`").Find(&rows).Error
	if err != nil {
		return nil, 0, fmt.Errorf("locking due recipients: %w", err)
	}
	if job.Suppress && len(rows) > 0 {
		all := len(rows)
		if rows, err = withoutSuppressed(tx, rows, job.ListID, claim.Now); err != nil {
			return nil, 0, err
		}
		suppressed = all - len(rows)
	}
	if len(rows) == 0 {
		return nil, suppressed, nil
	}

	changes := map[string]any{"announcedAt": nil}
	if claim.Announce {
		if _, runs, err := mayClaim(tx, claim); err != nil || !runs { // asked again: locking may have taken its time
			return nil, suppressed, err
		}
		changes = announcement(claim.Now)
	}
	changes["state"], changes["leaseToken"] = campaign.StateActive, claim.Token
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	if claimed, err = claimedRows(rows); err != nil {
		return nil, 0, err
	}
	err = tx.Model(&recipientRow{}).Where("`id` IN ?", ids).Updates(changes).Error
	if err != nil {
		return nil, 0, fmt.Errorf("leasing recipients: %w", err)
	}
	return claimed, suppressed, nil
}

// Announce implements worker.Store. The same call made again, with the same token and now, grants the same recipients:
// it is how a caller finds out after a lost connection. With another now an announced recipient is not granted again.
func (s *Store) Announce(ctx context.Context, token string, ids []string, now time.Time) ([]string, error) {
	var granted []string
	err := s.write(ctx, "announcing recipients", func(tx *gorm.DB) error {
		granted = make([]string, 0, len(ids))
		return eachChunk(ids, func(ids []string) error {
			some, err := announceRows(tx, token, ids, now)
			granted = append(granted, some...)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return granted, nil
}

func announceRows(tx *gorm.DB, token string, ids []string, now time.Time) ([]string, error) {
	var rows []recipientRow
	err := forUpdate(tx).Select("id", "jobId", "status", "state", "announcedAt").
		Where("`id` IN ? AND `leaseToken` = ? AND `state` = ?", ids, token, campaign.StateActive).
		Order("`id`").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("locking recipients: %w", err)
	}
	runnable, err := runnableJobs(tx, jobsOf(rows), now)
	if err != nil {
		return nil, err
	}

	granted, fresh := map[string]bool{}, []string{}
	for _, row := range rows {
		announced := !row.AnnouncedAt.IsZero()
		switch {
		case row.effective() != campaign.StateActive: // a legacy program ended it
		case announced && row.AnnouncedAt.Equal(at(now).Time):
			granted[row.ID] = true
		case !announced && contains(runnable, row.JobID):
			granted[row.ID] = true
			fresh = append(fresh, row.ID)
		}
	}
	if len(fresh) > 0 {
		err := tx.Model(&recipientRow{}).Where("`id` IN ?", fresh).Updates(announcement(now)).Error
		if err != nil {
			return nil, fmt.Errorf("marking recipients: %w", err)
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !granted[id] }), nil
}

func contains(runnable map[string]runnableRow, job string) bool {
	_, ok := runnable[job]
	return ok
}

// jobsOf returns the ids of the rows' jobs, each once.
func jobsOf(rows []recipientRow) []string {
	var ids []string
	seen := map[string]bool{}
	for _, row := range rows {
		if !seen[row.JobID] {
			seen[row.JobID] = true
			ids = append(ids, row.JobID)
		}
	}
	return ids
}
