package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// Tally implements campaign.Ledger. Cancelled and suppressed recipients are no failures.
func (s *Store) Tally(ctx context.Context, key string) (campaign.Tally, error) {
	var tally campaign.Tally
	err := s.read(ctx, "counting the recipients of the campaign", func(tx *gorm.DB) error {
		if _, err := takeRecord(tx, key); err != nil {
			return err
		}
		var err error
		tally, err = count(tx, campaignScope(key))
		return err
	})
	return tally, err
}

// Ended implements worker.Store.
func (s *Store) Ended(ctx context.Context, key string) (campaign.Ended, error) {
	var ended campaign.Ended
	err := s.read(ctx, "counting the campaign for its abort policy", func(tx *gorm.DB) error {
		record, err := takeRecord(tx, key)
		if err != nil {
			return err
		}
		tally, err := count(tx, campaignScope(key))
		all := campaign.Ended{Accepted: tally.Accepted, Bounced: tally.Bounced, Failed: tally.Failed}
		ended = all.Minus(record.AbortBase)
		return err
	})
	return ended, err
}

// WorkedOff implements campaign.Ledger.
func (s *Store) WorkedOff(ctx context.Context, keys []string) ([]string, error) {
	var all []string
	err := s.query(ctx, "looking for campaigns that are worked off", func(db *gorm.DB) error {
		all = nil
		return eachChunk(keys, func(some []string) error {
			var found []string
			err := db.Model(&campaignRow{}).Where("`key` IN ? AND `sealedAt` IS NOT NULL AND NOT EXISTS (SELECT 1 FROM `EmailJob` j "+
				"WHERE j.`campaignKey` = `Campaign`.`key` AND j.`status` IN ?)", some, unfinishedJobs).Pluck("key", &found).Error
			all = append(all, found...)
			return err
		})
	})
	return all, err
}

// scope is the set of recipients that a tally counts: what follows FROM in its queries, where r is the recipient.
type scope struct {
	from string
	// written follows from where only those jobs matter in which a legacy program may have written.
	written string
	value   string
}

// campaignScope leaves out the jobs that nobody started where legacy writes are sought: a legacy worker sets PROCESSING
// before it sends.
func campaignScope(key string) scope {
	return scope{
		from: "`EmailJob` j JOIN `Recipient` r " + byState + " ON r.`jobId` = j.`id` WHERE j.`campaignKey` = ?", value: key,
		written: " AND j.`status` <> 'PENDING'",
	}
}

func jobScope(id string) scope {
	return scope{from: "`Recipient` r " + byState + " WHERE r.`jobId` = ?", value: id}
}

// group is a number of recipients whose column state says the same.
type group struct {
	State     *string               `gorm:"column:state"`
	Status    campaign.LegacyStatus `gorm:"column:status"`
	N         int64                 `gorm:"column:n"`
	Next      stamp                 `gorm:"column:next"`
	Until     stamp                 `gorm:"column:until"`
	Completed stamp                 `gorm:"column:completed"`
}

// count makes the tally of the recipients in scope. Its first query reads one index and no row; the second reads the
// rows that have not been accepted, for those that a legacy program ended.
func count(tx *gorm.DB, in scope) (campaign.Tally, error) {
	var groups, overruled []group
	err := tx.Raw(hinted(tx, "SELECT r.`state` AS state, COUNT(*) AS n, MIN(r.`nextAttemptAt`) AS next,"+
		" MAX(r.`nextAttemptAt`) AS until, MAX(r.`completedAt`) AS completed FROM "+in.from+" GROUP BY r.`state`"), in.value).Scan(&groups).Error
	if err != nil {
		return campaign.Tally{}, fmt.Errorf("counting the recipients: %w", err)
	}
	err = tx.Raw(hinted(tx, "SELECT r.`state` AS state, r.`status` AS status, COUNT(*) AS n, MAX(r.`sentAt`) AS completed"+
		" FROM "+in.from+in.written+" AND (r.`state` IS NULL OR r.`state` <> 'accepted') AND (r.`status` = 'SENT'"+
		" OR r.`status` = 'FAILED' AND "+failedByLegacy+") GROUP BY r.`state`, r.`status`"), in.value).
		Scan(&overruled).Error
	if err != nil {
		return campaign.Tally{}, fmt.Errorf("counting what legacy programs wrote: %w", err)
	}
	tally := add(groups, overruled)
	var byLegacy int64
	for _, g := range overruled {
		if g.Status == campaign.LegacyFailed {
			byLegacy += g.N
		}
	}
	if tally.Bounced+tally.Failed+tally.InDoubt > 0 {
		tally.Failures, err = countFailures(tx, in, byLegacy)
	}
	return tally, err
}

// failedByLegacy is the condition of the rows that are FAILED though their state waits: a legacy program failed them.
// Announced ones are FAILED by our own hand.
const failedByLegacy = "(r.`state` IS NULL OR r.`state` IN ('pending', 'deferred')" +
	" OR r.`state` = 'active' AND r.`announcedAt` IS NULL)"

// add makes the tally of groups by state, less those that legacy programs overruled.
func add(groups, overruled []group) campaign.Tally {
	var tally campaign.Tally
	last := stamp{}
	ended := map[string]int64{}
	for _, g := range overruled {
		ended[deref(g.State)] += g.N
		tally.Add(campaign.EffectiveState(g.Status, campaign.State(deref(g.State)), false), g.N)
		if g.Completed.After(last.Time) {
			last = g.Completed
		}
	}
	for _, g := range groups {
		state := campaign.State(deref(g.State))
		left := max(0, g.N-ended[deref(g.State)]) // the two queries may see different moments
		tally.Add(cmp.Or(state, campaign.StatePending), left)
		if state == campaign.StateDeferred && left > 0 {
			tally.NextAttemptAt, tally.AttemptsUntil = g.Next.pointer(), g.Until.pointer()
		}
		if g.Completed.After(last.Time) {
			last = g.Completed
		}
	}
	tally.LastCompletedAt = last.pointer()
	return tally
}

// countFailures counts the failures by category. Those byLegacy have none: they are Other.
func countFailures(tx *gorm.DB, in scope, byLegacy int64) ([]campaign.FailureCount, error) {
	var rows []struct {
		Category     *string `gorm:"column:category"`
		EnhancedCode *string `gorm:"column:code"`
		Count        int64   `gorm:"column:n"`
	}
	err := tx.Raw(hinted(tx, "SELECT r.`category` AS category, r.`enhancedCode` AS code, COUNT(*) AS n FROM "+in.from+
		" AND r.`status` = 'FAILED' AND r.`state` IN ('bounced', 'failed', 'inDoubt')"+
		" GROUP BY r.`category`, r.`enhancedCode`"), in.value).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("counting the failures: %w", err)
	}

	merged := map[campaign.FailureCount]int64{}
	if byLegacy > 0 {
		merged[campaign.FailureCount{Category: mail.CategoryOther}] = byLegacy
	}
	for _, row := range rows {
		category := cmp.Or(deref(row.Category), mail.CategoryOther)
		merged[campaign.FailureCount{Category: category, EnhancedCode: deref(row.EnhancedCode)}] += row.Count
	}
	failures := make([]campaign.FailureCount, 0, len(merged))
	for failure, n := range merged {
		failure.Count = n
		failures = append(failures, failure)
	}
	slices.SortFunc(failures, func(a, b campaign.FailureCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Category, b.Category),
			cmp.Compare(a.EnhancedCode, b.EnhancedCode))
	})
	return failures, nil
}
