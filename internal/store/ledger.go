package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Open implements campaign.Ledger.
func (s *Store) Open(ctx context.Context, draft campaign.Draft) (campaign.Record, error) {
	content, err := json.Marshal(draft.Content)
	if err != nil {
		return campaign.Record{}, fmt.Errorf("opening the campaign: %w", err)
	}
	policy, err := steering{Policy: draft.Control.Policy}.column()
	if err != nil {
		return campaign.Record{}, fmt.Errorf("opening the campaign: %w", err)
	}
	row := campaignRow{
		Key:          draft.Key,
		Origin:       string(draft.Origin),
		ContentHash:  draft.ContentHash(),
		ListHash:     draft.ListHash,
		Content:      string(content),
		JobSize:      draft.JobSize,
		InvalidLines: "[]",
		CreatedAt:    at(draft.CreatedAt),
		CreatedBy:    draft.Owner,
		Owner:        draft.Owner,
		Suspended:    draft.Control.Suspended,
		OpensAt:      at(draft.Control.OpensAt),
		ClosesAt:     at(draft.Control.ClosesAt),
		StartBefore:  at(draft.Control.StartBefore),
		Steering:     policy,
		Suppress:     draft.Content.Suppress,
		ListID:       draft.Content.SuppressionScope(),
	}
	if row.Suspended {
		row.SuspendedAt = at(s.Now())
	}
	if row.Owner != "" {
		row.OwnerSeenAt = at(s.Now())
	}
	err = s.write(ctx, "opening the campaign", func(tx *gorm.DB) error {
		return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error
	})
	if err != nil {
		return campaign.Record{}, err
	}
	return s.Campaign(ctx, draft.Key)
}

// Campaign implements campaign.Ledger.
func (s *Store) Campaign(ctx context.Context, key string) (campaign.Record, error) {
	var record campaign.Record
	err := s.query(ctx, "reading the campaign", func(db *gorm.DB) error {
		var err error
		if record, err = takeRecord(db, key); err != nil || !record.Sealed() || record.StartedAt != nil {
			return err
		}
		record.StartedAt, err = startOfJobs(db, key)
		return err
	})
	return record, err
}

// startOfJobs is when the first job of a campaign was started: all that a legacy worker, which knows no campaign, notes.
func startOfJobs(db *gorm.DB, key string) (*time.Time, error) {
	var first []stamp
	err := db.Model(&jobRow{}).Where("`campaignKey` = ? AND `startedAt` IS NOT NULL", key).
		Order("`startedAt`").Limit(1).Pluck("startedAt", &first).Error
	if err != nil || len(first) == 0 {
		return nil, err
	}
	return first[0].pointer(), nil
}

// takeRecord reads the campaign's record; db may carry a lock.
func takeRecord(db *gorm.DB, key string) (campaign.Record, error) {
	var row campaignRow
	if err := db.Select(recordColumns).Where("`key` = ?", key).Take(&row).Error; err != nil {
		return campaign.Record{}, orNotFound(err)
	}
	return row.record()
}

// orNotFound makes gorm's error of a missing row the domain's.
func orNotFound(err error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return campaign.ErrNotFound
	}
	return err
}

// Seal implements campaign.Ledger. If the rows are not as many as totals say, the list was not the same all the time
// that it was written: the error is campaign.ErrSourceChanged. A campaign that was cancelled before it was sealed stays
// unsealed, with campaign.ErrSealed. With campaign.ErrUncertain it may be sealed. Recipients on the suppression list are marked first, if the campaign respects it.
func (s *Store) Seal(
	ctx context.Context, key string, totals campaign.Totals, now time.Time,
) (campaign.Record, error) {
	lines, err := json.Marshal(append([]int{}, totals.InvalidLines...)) // never null
	if err != nil {
		return campaign.Record{}, fmt.Errorf("sealing the campaign: %w", err)
	}
	dropped, err := json.Marshal(append([]campaign.Dropped{}, totals.Dropped...)) // never null
	if err != nil {
		return campaign.Record{}, fmt.Errorf("sealing the campaign: %w", err)
	}
	if err := s.suppressBeforeSeal(ctx, key, now); err != nil {
		return campaign.Record{}, fmt.Errorf("sealing the campaign: %w", err)
	}
	var record campaign.Record
	err = s.write(ctx, "sealing the campaign", func(tx *gorm.DB) error {
		var err error
		if record, err = takeRecord(forUpdate(tx), key); err != nil || record.Sealed() {
			return err
		}
		if record.CancelledAt != nil {
			return fmt.Errorf("%w: it was cancelled", campaign.ErrSealed)
		}
		if err := verifyTotals(tx, key, totals); err != nil {
			return err
		}
		err = tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(map[string]any{
			"totalRecipients": totals.Recipients,
			"totalJobs":       totals.Jobs,
			"duplicates":      totals.Duplicates,
			"invalid":         totals.Invalid,
			"invalidLines":    string(lines),
			"dropped":         string(dropped),
			"sealedAt":        at(now),
		}).Error
		if err != nil {
			return err
		}
		if err := finishSuppressedJobs(tx, key, now); err != nil {
			return err
		}
		record, err = takeRecord(tx, key)
		return err
	})
	return record, uncertain(err)
}

func verifyTotals(tx *gorm.DB, key string, totals campaign.Totals) error {
	var jobs int
	if err := tx.Raw("SELECT COUNT(*) FROM `EmailJob` WHERE `campaignKey` = ?", key).Scan(&jobs).Error; err != nil {
		return fmt.Errorf("counting the jobs: %w", err)
	}
	var recipients int64
	err := tx.Raw("SELECT COUNT(*) FROM `EmailJob` j JOIN `Recipient` r ON r.`jobId` = j.`id` WHERE j.`campaignKey` = ?",
		key).Scan(&recipients).Error
	if err != nil {
		return fmt.Errorf("counting the recipients: %w", err)
	}
	if jobs != totals.Jobs || recipients != totals.Recipients {
		return fmt.Errorf("%w: %d recipients in %d jobs were read, %d in %d are in the database",
			campaign.ErrSourceChanged, totals.Recipients, totals.Jobs, recipients, jobs)
	}
	return nil
}

// HoldCampaign implements worker.Store. A hold ends by itself at its time; the row keeps it.
func (s *Store) HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error {
	if key == "" {
		return nil
	}
	until := hold.Until
	if until.IsZero() {
		until = s.Now()
	}
	return s.write(ctx, "holding the campaign", func(tx *gorm.DB) error {
		record, err := takeRecord(forUpdate(tx), key)
		if err != nil || record.Hold != nil && !record.Hold.Until.Before(until) {
			return err
		}
		return tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(map[string]any{
			"holdReason":  hold.Reason,
			"holdMessage": hold.Message,
			"holdUntil":   at(hold.Until),
		}).Error
	})
}
