package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// ownerNoteEvery is how old the note that an owner is at work may grow before it is written anew.
const ownerNoteEvery = campaign.OwnerPatience / 3

// decision says what of a campaign's row changes; what it leaves in the steering becomes the column of that name. It may
// be asked several times.
type decision func(row campaignRow, now *steering) (map[string]any, error)

// steer locks the campaign's row, lets decide say what of it changes, and writes that. The row is read without a lock
// first: mostly nothing changes.
func (s *Store) steer(ctx context.Context, what, key string, decide decision) error {
	var changes map[string]any
	err := s.query(ctx, what, func(db *gorm.DB) error {
		var err error
		changes, err = changesOf(db, key, decide)
		return err
	})
	if err != nil || len(changes) == 0 {
		return err
	}
	return s.write(ctx, what, func(tx *gorm.DB) error {
		changes, err := changesOf(forUpdate(tx), key, decide)
		if err != nil || len(changes) == 0 {
			return err
		}
		return tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(changes).Error
	})
}

// changesOf is what decide changes of the campaign's row, column by column; db may carry a lock.
func changesOf(db *gorm.DB, key string, decide decision) (map[string]any, error) {
	var row campaignRow
	if err := db.Select(recordColumns).Where("`key` = ?", key).Take(&row).Error; err != nil {
		return nil, orNotFound(err)
	}
	before, err := row.steering()
	if err != nil {
		return nil, err
	}
	after := before
	changes, err := decide(row, &after)
	if err != nil {
		return nil, err
	}
	was, err := before.column()
	if err != nil {
		return nil, err
	}
	is, err := after.column()
	if err != nil || deref(was) == deref(is) {
		return changes, err
	}
	if changes == nil {
		changes = map[string]any{}
	}
	changes["steering"] = is
	return changes, nil
}

// samePolicy compares policies as they are stored: an empty list is none.
func samePolicy(a, b campaign.Policy) (bool, error) {
	one, err := steering{Policy: a}.column()
	if err != nil {
		return false, err
	}
	other, err := steering{Policy: b}.column()
	return deref(one) == deref(other), err
}

// Steer implements campaign.Steering.
func (s *Store) Steer(ctx context.Context, key string, to campaign.Steered) (campaign.Record, error) {
	err := s.steer(ctx, "steering the campaign", key, func(row campaignRow, now *steering) (map[string]any, error) {
		control := to.Control
		same, err := samePolicy(now.Policy, control.Policy)
		if err != nil {
			return nil, err
		}
		opens, closes, start := at(control.OpensAt), at(control.ClosesAt), at(control.StartBefore)
		same = same && row.Suspended == control.Suspended && row.OpensAt.Equal(opens.Time) &&
			row.ClosesAt.Equal(closes.Time) && row.StartBefore.Equal(start.Time)
		now.Policy, now.Idle = control.Policy, to.Idle
		if same {
			return nil, nil
		}
		values := map[string]any{
			"suspended": control.Suspended, "opensAt": opens, "closesAt": closes, "startBefore": start,
			"revision": row.Revision + 1, "steeredAt": at(to.Now),
		}
		if row.Suspended != control.Suspended {
			values["suspendedAt"] = stamp{}
			if control.Suspended {
				values["suspendedAt"] = at(to.Now)
			}
		}
		return values, nil
	})
	if err != nil {
		return campaign.Record{}, err
	}
	return s.Campaign(ctx, key)
}

// Own implements campaign.Steering.
func (s *Store) Own(ctx context.Context, key, ownerID string, now time.Time) (campaign.Owner, error) {
	var owner campaign.Owner
	err := s.steer(ctx, "owning the campaign", key, func(row campaignRow, _ *steering) (map[string]any, error) {
		owner = campaign.Owner{ID: row.Owner, SeenAt: row.OwnerSeenAt.Time}
		unseen := now.Sub(owner.SeenAt)
		switch {
		case owner.ID == ownerID && unseen < ownerNoteEvery:
			return nil, nil
		case owner.ID != ownerID && owner.ID != "" && unseen < campaign.OwnerPatience:
			return nil, nil
		}
		owner = campaign.Owner{ID: ownerID, SeenAt: at(now).Time}
		return map[string]any{"owner": ownerID, "ownerSeenAt": at(now)}, nil
	})
	return owner, err
}

// Disown implements campaign.Steering.
func (s *Store) Disown(ctx context.Context, key, ownerID string) error {
	return s.steer(ctx, "disowning the campaign", key, func(row campaignRow, _ *steering) (map[string]any, error) {
		if row.Owner != ownerID {
			return nil, nil
		}
		return map[string]any{"owner": "", "ownerSeenAt": stamp{}}, nil
	})
}

// Reopen implements campaign.Steering. It holds the campaign's row exclusively until its end: whoever is the first to
// take the campaign up, be it StartJob or Claim, needs that row too, and then finds no seal.
func (s *Store) Reopen(ctx context.Context, key string) error {
	return s.write(ctx, "reopening the campaign", func(tx *gorm.DB) error {
		var row campaignRow
		if err := forUpdate(tx).Select(recordColumns).Where("`key` = ?", key).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		if row.SealedAt.IsZero() {
			return nil
		}
		started, err := takenUp(tx, row)
		if err != nil {
			return err
		}
		if started {
			return campaign.ErrStarted
		}
		return tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(map[string]any{
			"sealedAt": nil, "revision": row.Revision + 1,
		}).Error
	})
}

// takenUp reports whether anybody, a legacy worker too, has begun with the campaign, or ended it. It looks at one entry of
// the index by state for each job: but for those that are suppressed from the beginning, all other states come before
// "pending". Nor has anybody taken up a job that ended with the seal, as one of suppressed recipients does.
func takenUp(tx *gorm.DB, row campaignRow) (bool, error) {
	if !row.StartedAt.IsZero() || !row.CancelledAt.IsZero() {
		return true, nil
	}
	for _, query := range []string{
		"SELECT COUNT(*) FROM (SELECT 1 FROM `EmailJob` WHERE `campaignKey` = ?" +
			" AND (`startedAt` IS NOT NULL OR `status` = 'PROCESSING') LIMIT 1) t",
		"SELECT COUNT(*) FROM (SELECT 1 FROM `EmailJob` j WHERE j.`campaignKey` = ? AND (SELECT r.`state` FROM `Recipient` r " +
			byState + " WHERE r.`jobId` = j.`id` ORDER BY r.`state` LIMIT 1) < 'pending' LIMIT 1) t",
	} {
		var n int64
		if err := tx.Raw(hinted(tx, query), row.Key).Scan(&n).Error; err != nil {
			return false, fmt.Errorf("looking for what was taken up: %w", err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

// Resume implements campaign.Steering. What ended before is counted first: who ends meanwhile counts for the shares of
// the abort policy.
func (s *Store) Resume(ctx context.Context, key, token string) error {
	const what = "resuming the campaign"
	record, err := s.Campaign(ctx, key)
	if err != nil || record.Verbs.ResumedAt == token {
		return err
	}
	tally, err := s.Tally(ctx, key)
	if err != nil {
		return err
	}
	return s.steer(ctx, what, key, func(row campaignRow, now *steering) (map[string]any, error) {
		if now.Verbs.ResumedAt == token {
			return nil, nil
		}
		now.Verbs.ResumedAt = token
		now.AbortBase = endedOf(tally)
		values := map[string]any{"revision": row.Revision + 1}
		if row.HoldUntil.Equal(campaign.Forever) {
			values["holdReason"], values["holdMessage"], values["holdUntil"] = "", "", nil
		}
		return values, nil
	})
}

func endedOf(t campaign.Tally) campaign.Ended {
	return campaign.Ended{Accepted: t.Accepted, Bounced: t.Bounced, Failed: t.Failed}
}

// NoteTest implements campaign.Steering.
func (s *Store) NoteTest(ctx context.Context, key, token string) error {
	return s.steer(ctx, "noting the test mails", key, func(_ campaignRow, now *steering) (map[string]any, error) {
		now.Verbs.TestedAt = token
		return nil, nil
	})
}
