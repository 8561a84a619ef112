package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// The statements of claimUntried: recipients that nobody has tried yet and nobody holds, in the order of ids, which is that
// of the index.
const (
	untriedRows = "SELECT `id`, `email`, `address`, `name`, `variables`, `attempts`, `firstAttemptAt` FROM `Recipient` " + byState +
		" WHERE `jobId` = ? AND `state` = 'pending' AND `nextAttemptAt` IS NULL AND `status` = 'PENDING' ORDER BY `id` LIMIT ? " + lockRows

	// otherDue asks for somebody who is due as well: deferred, or of a legacy program.
	otherDue = "SELECT COUNT(*) FROM (SELECT 1 FROM (SELECT 1 FROM `Recipient` " + byState + " WHERE `jobId` = ? AND `status` = 'PENDING'" +
		" AND `state` IS NULL AND (`nextAttemptAt` IS NULL OR `nextAttemptAt` <= ?) LIMIT 1) a UNION ALL " +
		"SELECT 1 FROM (SELECT 1 FROM `Recipient` " + byState + " WHERE `jobId` = ? AND `status` = 'PENDING'" +
		" AND `state` IN ('pending', 'deferred') AND `nextAttemptAt` <= ? LIMIT 1) b) o"

	announceUntried = "UPDATE `Recipient` " + byID + " SET `status` = 'FAILED', `state` = 'active', `leaseToken` = ?, `announcedAt` = ?," +
		" `error` = '" + announcedError + "' WHERE `id` BETWEEN ? AND ? AND `jobId` = ? AND `state` = 'pending'" +
		" AND `nextAttemptAt` IS NULL AND `status` = 'PENDING'"

	heldRows = "SELECT `id`, `email`, `address`, `name`, `variables`, `attempts`, `firstAttemptAt` FROM `Recipient` " + byState +
		" WHERE `jobId` = ? AND `state` = 'active' AND `leaseToken` = ? AND `announcedAt` = ? ORDER BY `id`"
)

// claimAnnounced claims a window of recipients that are announced from the start: one row each is written once, where a
// claim and an announcement write it twice. Whether the campaign may send is asked once the rows are locked. It costs the
// least where nobody but untried recipients is due.
//
// A try that finds what an earlier one of the same call has committed returns that: nobody stays announced whom the
// caller doesn't know of.
func (s *Store) claimAnnounced(ctx context.Context, claim campaign.Claim) ([]campaign.Claimed, error) {
	var claimed []campaign.Claimed
	tries, untried := 0, true
	err := s.write(ctx, "claiming recipients", func(tx *gorm.DB) (err error) {
		claimed = nil
		if tries++; tries > 1 {
			if claimed, err = claimedBefore(tx, claim); err != nil || len(claimed) > 0 {
				return err
			}
		}
		if untried {
			some, done, err := claimUntried(tx, claim)
			untried = !errors.Is(err, errRaced)
			if claimed = some; err != nil || done {
				return err
			}
		}
		claimed, err = claimAny(tx, claim)
		return err
	})
	return claimed, err
}

// claimedBefore returns what an earlier try has claimed. It waits for one that the server has not ended yet: that holds the
// lease's row.
func claimedBefore(tx *gorm.DB, claim campaign.Claim) ([]campaign.Claimed, error) {
	if err := lease(tx, claim); err != nil {
		return nil, fmt.Errorf("noting the lease: %w", err)
	}
	rows, err := queryRecipients(tx, claim.Limit, heldRows, claim.JobID, claim.Token, at(claim.Now))
	if err != nil {
		return nil, fmt.Errorf("looking for what was claimed: %w", err)
	}
	return claimedRows(rows)
}

// Unclaim implements worker.Store.
func (s *Store) Unclaim(ctx context.Context, token, jobID string) (int, error) {
	released := 0
	err := s.write(ctx, "giving back a claim", func(tx *gorm.DB) error {
		// The row first: a claim that the server has not ended yet holds it.
		if err := lease(tx, campaign.Claim{Token: token, JobID: jobID}); err != nil {
			return fmt.Errorf("locking the lease: %w", err)
		}
		rows, err := lockLease(tx, leaseRow{Token: token, JobID: jobID}, "1 = 1")
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].effective() == campaign.StateActive { // as if nobody had announced it
				rows[i].AnnouncedAt, rows[i].Status = stamp{}, string(campaign.LegacyPending)
			}
		}
		released = len(rows)
		if err := endLeases(tx, rows, s.Now()); err != nil {
			return err
		}
		return settleLease(tx, token, jobID)
	})
	return released, err
}

// claimUntried claims where nobody but untried recipients is due; else it reports that it is not done.
func claimUntried(tx *gorm.DB, claim campaign.Claim) (claimed []campaign.Claimed, done bool, err error) {
	rows, err := queryRecipients(tx, claim.Limit, untriedRows, claim.JobID, claim.Limit)
	if err != nil {
		return nil, false, fmt.Errorf("locking untried recipients: %w", err)
	}
	job, runs, err := mayClaim(tx, claim)
	if err != nil || !runs {
		return nil, true, err
	}
	others := 0
	now := at(claim.Now)
	err = tx.Statement.ConnPool.QueryRowContext(tx.Statement.Context, hinted(tx, otherDue), claim.JobID, now, claim.JobID, now).Scan(&others)
	if err != nil {
		return nil, false, fmt.Errorf("looking for other due recipients: %w", err)
	}
	found := len(rows)
	if others > 0 || found == 0 {
		return nil, others == 0, nil
	}
	if job.Suppress {
		if rows, err = withoutSuppressed(tx, rows, job.ListID, claim.Now); err != nil {
			return nil, false, err
		}
		if len(rows) == 0 {
			return nil, found < claim.Limit, nil
		}
	}
	if err := lease(tx, claim); err != nil {
		return nil, false, fmt.Errorf("noting the lease: %w", err)
	}
	marked, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, hinted(tx, announceUntried),
		claim.Token, now, rows[0].ID, rows[len(rows)-1].ID, claim.JobID)
	if err != nil {
		return nil, false, fmt.Errorf("announcing recipients: %w", err)
	}
	if n, err := marked.RowsAffected(); err != nil || n != int64(len(rows)) { // somebody was given back in between
		return nil, false, errors.Join(errRaced, err)
	}
	claimed, err = claimedRows(rows)
	return claimed, true, err
}

// mayClaim reports whether the job's recipients may be claimed now.
func mayClaim(tx *gorm.DB, claim campaign.Claim) (row runnableRow, runs bool, err error) {
	runnable, err := runnableJobs(tx, []string{claim.JobID}, claim.Now)
	row, runs = runnable[claim.JobID]
	if err != nil || !runs {
		return row, false, err
	}
	sealed, err := keepSealed(tx, row)
	return row, sealed && err == nil, err
}

// claimedRows are the recipients of these rows.
func claimedRows(rows []recipientRow) ([]campaign.Claimed, error) {
	claimed := make([]campaign.Claimed, len(rows))
	for i := range rows {
		row := &rows[i]
		recipient, err := row.recipient()
		if err != nil {
			return nil, err
		}
		claimed[i] = campaign.Claimed{
			ID: row.ID, Recipient: recipient, Attempts: row.Attempts, FirstAttemptAt: row.FirstAttemptAt.pointer(),
			Again: !row.NextAttemptAt.IsZero(),
		}
	}
	return claimed, nil
}

// queryRecipients reads rows, about so many, of which the query selects id, email, address, name, variables, attempts and
// firstAttemptAt.
func queryRecipients(tx *gorm.DB, about int, query string, values ...any) (all []recipientRow, err error) {
	rows, err := tx.Statement.ConnPool.QueryContext(tx.Statement.Context, hinted(tx, query), values...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var address, name, variables sql.RawBytes // most of them are NULL, and cost nothing so
	for rows.Next() {
		if all == nil {
			all = make([]recipientRow, 0, about)
		}
		all = append(all, recipientRow{})
		row := &all[len(all)-1]
		err := rows.Scan(&row.ID, &row.Email, &address, &name, &variables, &row.Attempts, &row.FirstAttemptAt)
		if err != nil {
			return nil, err
		}
		row.Address, row.Name, row.Variables = fromNull(address), fromNull(name), fromNull(variables)
	}
	return all, rows.Err()
}

func fromNull(text sql.RawBytes) *string {
	if text == nil {
		return nil
	}
	copied := string(text)
	return &copied
}

// announcement is what a claim writes of recipients that are announced with it.
func announcement(now time.Time) map[string]any {
	return map[string]any{"announcedAt": at(now), "status": campaign.LegacyFailed, "error": announcedError}
}
