package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// suppressedDetail begins the legacy error of a recipient that is suppressed; the reason follows.
const suppressedDetail = "suppressed: the address is on the suppression list, as "

const (
	// sealRows is about the number of recipients among which one query looks for suppressed ones before the seal.
	sealRows = 20_000

	// anySuppressed asks whether there is any entry that may concern a campaign.
	anySuppressed = "SELECT COUNT(*) FROM (SELECT 1 FROM `Suppression` WHERE `scope` IN @scopes LIMIT 1) t"

	// suppressedOfJobs selects the waiting recipients of jobs whose address is on the list. The database lowers more than
	// ASCII letters: what it finds is compared again.
	suppressedOfJobs = "SELECT /*first*/ r.`id`, r.`email`, r.`address`, s.`address` AS listed, s.`reason` FROM `Recipient` r /*cross*/ JOIN `Suppression` s" +
		" ON s.`address` = /*lower*/ AND s.`scope` IN @scopes WHERE r.`jobId` IN @jobs AND r.`state` = 'pending' AND r.`status` = 'PENDING'"

	// finishSuppressed ends the jobs of which nobody is left to mail, before anybody started them.
	finishSuppressed = "UPDATE `EmailJob` SET `status` = 'FAILED', `sentEmails` = 0, `failedEmails` = `totalEmails`, `completedAt` = @now" +
		" WHERE `campaignKey` = @key AND `status` = 'PENDING' AND `totalEmails` > 0 AND (SELECT 1 FROM `Recipient` r " + byState +
		" WHERE r.`jobId` = `EmailJob`.`id` AND r.`state` IN ('pending', 'deferred', 'active') LIMIT 1) IS NULL"
)

// inOrder returns suppressedOfJobs in the dialect of tx: recipients are read first, then each probes the list.
func inOrder(tx *gorm.DB) string {
	first, cross, lower := "", "CROSS", "LOWER(COALESCE(r.`address`, r.`email`))"
	if tx.Name() == string(engineMySQL) {
		first, cross, lower = "STRAIGHT_JOIN", "", "CONVERT("+lower+" USING utf8mb4) COLLATE utf8mb4_bin"
	}
	return strings.NewReplacer("/*first*/", first, "/*cross*/", cross, "/*lower*/", lower).Replace(suppressedOfJobs)
}

// scopesOf are the scopes whose entries concern a campaign of this list.
func scopesOf(listID string) []string {
	if listID == "" {
		return []string{""}
	}
	return []string{"", listID}
}

// suppressBeforeSeal marks the recipients of an unsealed campaign that are on the list, in transactions of their own. Done
// again, it goes on where it was. Who is put on the list later is found by Claim.
func (s *Store) suppressBeforeSeal(ctx context.Context, key string, now time.Time) error {
	const what = "suppressing recipients"
	var owner campaignRow
	var jobs []string
	err := s.query(ctx, what, func(db *gorm.DB) error {
		err := db.Select("suppress", "listId", "sealedAt", "jobSize").Where("`key` = ?", key).Take(&owner).Error
		if err != nil || !owner.Suppress || !owner.SealedAt.IsZero() {
			return orNotFound(err)
		}
		var n int
		err = db.Raw(anySuppressed, map[string]any{"scopes": scopesOf(owner.ListID)}).Scan(&n).Error
		if err != nil || n == 0 {
			return err
		}
		return db.Model(&jobRow{}).Where("`campaignKey` = ?", key).Order("`shard`").Pluck("id", &jobs).Error
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(jobs, min(idChunk, max(1, sealRows/max(1, owner.JobSize)))) {
		err := s.write(ctx, what, func(tx *gorm.DB) error { return suppressJobs(tx, some, owner.ListID, now) })
		if err != nil {
			return err
		}
	}
	return nil
}

// listedRow is a recipient with the reason of an entry for its address.
type listedRow struct {
	Recipient recipientRow `gorm:"embedded"`
	// Listed is the address of the entry.
	Listed string `gorm:"column:listed"`
	Reason string `gorm:"column:reason"`
}

func suppressJobs(tx *gorm.DB, jobs []string, listID string, now time.Time) error {
	scopes := scopesOf(listID)
	var rows []listedRow
	if err := tx.Raw(inOrder(tx), map[string]any{"jobs": jobs, "scopes": scopes}).Scan(&rows).Error; err != nil {
		return fmt.Errorf("comparing them with the list: %w", err)
	}
	found := map[string]string{}
	for _, row := range rows {
		if mailbox(row.Recipient.address()) == row.Listed {
			found[row.Recipient.ID] = cmp.Or(found[row.Recipient.ID], row.Reason)
		}
	}
	return suppressRows(tx, found, now)
}

// suppressRows ends recipients that wait, by id, each for its reason.
func suppressRows(tx *gorm.DB, found map[string]string, now time.Time) error {
	byReason := map[string][]string{}
	for id, reason := range found {
		byReason[reason] = append(byReason[reason], id)
	}
	for reason, ids := range byReason {
		slices.Sort(ids)
		err := eachChunk(ids, func(ids []string) error {
			return tx.Model(&recipientRow{}).Where("`id` IN ? AND `status` = 'PENDING'", ids).
				Where("(`state` IS NULL OR `state` IN ('pending', 'deferred'))").Updates(map[string]any{
				"status": campaign.LegacyFailed, "state": campaign.StateSuppressed, "error": suppressedDetail + reason,
				"nextAttemptAt": nil, "leaseToken": nil, "announcedAt": nil, "completedAt": at(now),
			}).Error
		})
		if err != nil {
			return fmt.Errorf("marking recipients: %w", err)
		}
	}
	return nil
}

// finishSuppressedJobs ends the jobs of a campaign that is being sealed of which everybody is suppressed.
func finishSuppressedJobs(tx *gorm.DB, key string, now time.Time) error {
	err := tx.Exec(hinted(tx, finishSuppressed), map[string]any{"key": key, "now": at(now)}).Error
	if err != nil {
		return fmt.Errorf("ending jobs that are suppressed as a whole: %w", err)
	}
	return nil
}

// withoutSuppressed ends those of the locked rows that are on the list by now, and returns the others.
func withoutSuppressed(tx *gorm.DB, rows []recipientRow, listID string, now time.Time) ([]recipientRow, error) {
	keys := make([]campaign.SuppressionKey, len(rows))
	for i, row := range rows {
		keys[i].Address = mailbox(row.address())
	}
	known, err := knownSuppressions(tx, keys)
	if err != nil || len(known) == 0 {
		return rows, err
	}
	found := map[string]string{}
	kept := make([]recipientRow, 0, len(rows))
	for i, row := range rows {
		listed := known[keys[i]]
		if listed == nil && listID != "" {
			listed = known[campaign.SuppressionKey{Address: keys[i].Address, Scope: listID}]
		}
		if listed == nil {
			kept = append(kept, row)
			continue
		}
		found[row.ID] = listed.Reason
	}
	return kept, suppressRows(tx, found, now)
}
