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

// scope is the set of recipients that a tally counts: what follows FROM in its queries, where r is the recipient.
type scope struct {
	from  string
	value string
}

func campaignScope(key string) scope {
	return scope{"`EmailJob` j JOIN `Recipient` r ON r.`jobId` = j.`id` WHERE j.`campaignKey` = ?", key}
}

func jobScope(id string) scope {
	return scope{"`Recipient` r WHERE r.`jobId` = ?", id}
}

// group is a number of recipients whose columns status and state say the same.
type group struct {
	Status    campaign.LegacyStatus `gorm:"column:status"`
	State     *string               `gorm:"column:state"`
	N         int64                 `gorm:"column:n"`
	Next      stamp                 `gorm:"column:next"`
	Completed stamp                 `gorm:"column:completed"`
}

// count makes the tally of the recipients in scope. Its first query reads one index and no row.
func count(tx *gorm.DB, in scope) (campaign.Tally, error) {
	var groups []group
	err := tx.Raw("SELECT r.`status` AS status, r.`state` AS state, COUNT(*) AS n, MIN(r.`nextAttemptAt`) AS next,"+
		" MAX(r.`completedAt`) AS completed FROM "+in.from+" GROUP BY r.`status`, r.`state`", in.value).
		Scan(&groups).Error
	if err != nil {
		return campaign.Tally{}, fmt.Errorf("counting the recipients: %w", err)
	}

	var tally campaign.Tally
	last := stamp{}
	for _, g := range groups {
		if err := addGroup(tx, in, &tally, g); err != nil {
			return campaign.Tally{}, err
		}
		completed, err := lastCompleted(tx, in, g)
		if err != nil {
			return campaign.Tally{}, err
		}
		if completed.After(last.Time) {
			last = completed
		}
	}
	tally.LastCompletedAt = last.pointer()
	if tally.Bounced+tally.Failed+tally.InDoubt > 0 {
		tally.Failures, err = countFailures(tx, in)
	}
	return tally, err
}

func addGroup(tx *gorm.DB, in scope, tally *campaign.Tally, g group) error {
	state := campaign.State(deref(g.State))
	if g.Status == campaign.LegacyFailed && state == campaign.StateActive {
		// On the wire, but for those that a legacy program failed before they were announced: hardly ever one.
		var failed int64
		err := tx.Raw("SELECT COUNT(*) FROM "+in.from+" AND r.`status` = 'FAILED' AND r.`state` = 'active'"+
			" AND r.`announcedAt` IS NULL", in.value).Scan(&failed).Error
		if err != nil {
			return fmt.Errorf("counting the active recipients: %w", err)
		}
		failed = min(failed, g.N)
		tally.Add(campaign.StateFailed, failed)
		tally.Add(campaign.StateActive, g.N-failed)
		return nil
	}

	effective := campaign.EffectiveState(g.Status, state, false)
	tally.Add(effective, g.N)
	if effective == campaign.StateDeferred && !g.Next.IsZero() {
		if next := tally.NextAttemptAt; next == nil || g.Next.Before(*next) {
			tally.NextAttemptAt = g.Next.pointer()
		}
	}
	return nil
}

// lastCompleted is when the last recipient of the group ended. What a legacy worker sent has only sentAt.
func lastCompleted(tx *gorm.DB, in scope, g group) (stamp, error) {
	if g.Status != campaign.LegacySent || campaign.State(deref(g.State)).Terminal() {
		return g.Completed, nil
	}
	var sent []stamp
	err := tx.Raw("SELECT MAX(r.`sentAt`) FROM "+in.from+" AND r.`status` = 'SENT'"+
		" AND (r.`state` IS NULL OR r.`state` <> 'accepted')", in.value).Scan(&sent).Error
	if err != nil {
		return stamp{}, fmt.Errorf("looking for the last mail of a legacy worker: %w", err)
	}
	if len(sent) == 0 {
		return stamp{}, nil
	}
	return sent[0], nil
}

func countFailures(tx *gorm.DB, in scope) ([]campaign.FailureCount, error) {
	var rows []struct {
		Category     *string `gorm:"column:category"`
		EnhancedCode *string `gorm:"column:code"`
		Count        int64   `gorm:"column:n"`
	}
	err := tx.Raw("SELECT r.`category` AS category, r.`enhancedCode` AS code, COUNT(*) AS n FROM "+in.from+
		" AND r.`status` = 'FAILED' AND (r.`state` IS NULL OR r.`state` NOT IN ('cancelled', 'suppressed', 'active')"+
		" OR r.`state` = 'active' AND r.`announcedAt` IS NULL) GROUP BY r.`category`, r.`enhancedCode`", in.value).
		Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("counting the failures: %w", err)
	}

	merged := map[campaign.FailureCount]int64{} // a missing category is Other, and may be there as Other too
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
