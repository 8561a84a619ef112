package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// ownerNoteEvery is how old the note that an owner is at work may grow before it is written anew.
const ownerNoteEvery = campaign.OwnerPatience / 3

// steer locks the campaign's row, lets decide say what of it changes, and writes that. Its Steering column follows what
// decide leaves in the steering.
func (s *Store) steer(
	ctx context.Context, what, key string, decide func(row campaignRow, now *steering) (map[string]any, error),
) error {
	return s.write(ctx, what, func(tx *gorm.DB) error {
		var row campaignRow
		if err := forUpdate(tx).Select(recordColumns).Where("`key` = ?", key).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		before, err := row.steering()
		if err != nil {
			return err
		}
		after := before
		values, err := decide(row, &after)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(before, after) {
			column, err := after.column()
			if err != nil {
				return err
			}
			if values == nil {
				values = map[string]any{}
			}
			values["steering"] = column
		}
		if len(values) == 0 {
			return nil
		}
		return tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(values).Error
	})
}

// Steer implements campaign.Steering.
func (s *Store) Steer(ctx context.Context, key string, to campaign.Steered) (campaign.Record, error) {
	const what = "steering the campaign"
	err := s.steer(ctx, what, key, func(row campaignRow, now *steering) (map[string]any, error) {
		control := to.Control
		opens, closes, start := at(control.OpensAt), at(control.ClosesAt), at(control.StartBefore)
		same := row.Suspended == control.Suspended && row.OpensAt.Equal(opens.Time) && row.ClosesAt.Equal(closes.Time) &&
			row.StartBefore.Equal(start.Time) && reflect.DeepEqual(now.Policy, control.Policy)
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

// Reopen implements campaign.Steering. Workers look at the seal under a lock of the campaign's row or in the transaction
// that claims, so that none can begin at the same time.
func (s *Store) Reopen(ctx context.Context, key string) error {
	return s.write(ctx, "reopening the campaign", func(tx *gorm.DB) error {
		var row campaignRow
		if err := forUpdate(tx).Select(recordColumns).Where("`key` = ?", key).Take(&row).Error; err != nil {
			return orNotFound(err)
		}
		if row.SealedAt.IsZero() {
			return nil
		}
		started, err := startOfJobs(tx, key)
		if err != nil {
			return err
		}
		var touched int64
		err = tx.Raw("SELECT COUNT(*) FROM (SELECT 1 FROM `EmailJob` j JOIN `Recipient` r ON r.`jobId` = j.`id`"+
			" WHERE j.`campaignKey` = ? AND (r.`status` <> 'PENDING' OR r.`state` <> 'pending') LIMIT 1) t", key).Scan(&touched).Error
		if err != nil {
			return fmt.Errorf("looking for recipients that were taken up: %w", err)
		}
		if !row.StartedAt.IsZero() || started != nil || touched > 0 {
			return campaign.ErrStarted
		}
		return tx.Model(&campaignRow{}).Where("`key` = ?", key).Updates(map[string]any{
			"sealedAt": nil, "revision": row.Revision + 1,
		}).Error
	})
}

// Resume implements campaign.Steering.
func (s *Store) Resume(ctx context.Context, key, token string) error {
	tally, err := s.Tally(ctx, key)
	if err != nil {
		return err
	}
	return s.steer(ctx, "resuming the campaign", key, func(row campaignRow, now *steering) (map[string]any, error) {
		if now.Verbs.ResumedAt == token {
			return nil, nil
		}
		now.Verbs.ResumedAt = token
		now.AbortBase = campaign.Ended{Accepted: tally.Accepted, Bounced: tally.Bounced, Failed: tally.Failed}
		values := map[string]any{"revision": row.Revision + 1}
		if row.HoldUntil.Equal(campaign.Forever) {
			values["holdReason"], values["holdMessage"], values["holdUntil"] = "", "", nil
		}
		return values, nil
	})
}

// NoteTest implements campaign.Steering.
func (s *Store) NoteTest(ctx context.Context, key, token string) error {
	return s.steer(ctx, "noting the test mails", key, func(_ campaignRow, now *steering) (map[string]any, error) {
		now.Verbs.TestedAt = token
		return nil, nil
	})
}

// RetryFailed implements campaign.Steering.
func (s *Store) RetryFailed(ctx context.Context, key string, request campaign.RetryRequest) (int64, error) {
	const what = "retrying failed recipients"
	var since time.Time
	cancelled, done := false, false
	err := s.steer(ctx, what, key, func(row campaignRow, now *steering) (map[string]any, error) {
		verbs := &now.Verbs
		if verbs.RetriedAt != request.Token {
			verbs.RetriedAt, verbs.RetryTime, verbs.RetryDone = request.Token, at(request.Now).Time, false
		}
		since, done = verbs.RetryTime, verbs.RetryDone
		cancelled = !row.CancelledAt.IsZero()
		return nil, nil
	})
	if err != nil || done {
		return 0, err
	}
	var n int64
	if !cancelled {
		n, err = s.returnRows(ctx, what, key, func(tx *gorm.DB) *gorm.DB { return failedBefore(tx, request.Categories, since) })
		if err != nil {
			return n, err
		}
	}
	return n, s.steer(ctx, what, key, func(_ campaignRow, now *steering) (map[string]any, error) {
		if now.Verbs.RetriedAt == request.Token {
			now.Verbs.RetryDone = true
		}
		return nil, nil
	})
}

// failedBefore restricts a query to recipients that failed before then. One that a legacy program failed has no time.
func failedBefore(tx *gorm.DB, categories []string, then time.Time) *gorm.DB {
	tx = tx.Where("`status` = 'FAILED' AND (`completedAt` IS NULL OR `completedAt` < ?)", at(then))
	if len(categories) == 0 {
		return tx.Where("(`state` = 'failed' OR `state` IS NULL OR `state` IN ('pending', 'deferred'))")
	}
	return tx.Where("`state` IN ('failed', 'bounced') AND `category` IN ?", categories)
}

// ResolveInDoubt implements campaign.Steering.
func (s *Store) ResolveInDoubt(ctx context.Context, key string, resolution campaign.Resolution) (int64, error) {
	const what = "resolving doubts"
	cancelled, done := false, false
	err := s.steer(ctx, what, key, func(row campaignRow, now *steering) (map[string]any, error) {
		done = resolution.Token != "" && now.Verbs.Resolved == resolution.Token
		cancelled = !row.CancelledAt.IsZero()
		return nil, nil
	})
	if err != nil || done {
		return 0, err
	}
	doubts := func(tx *gorm.DB) *gorm.DB { return tx.Where("`state` = 'inDoubt'") }
	var n int64
	switch {
	case resolution.State == campaign.StatePending && cancelled:
		n, err = s.settleRows(ctx, what, key, doubts, resolution.Now, map[string]any{
			"state": campaign.StateCancelled, "error": cancelledDetail, "leaseToken": nil, "announcedAt": nil,
		})
	case resolution.State == campaign.StatePending:
		n, err = s.returnRows(ctx, what, key, doubts)
	case resolution.State == campaign.StateAccepted:
		n, err = s.settleRows(ctx, what, key, doubts, resolution.Now, map[string]any{
			"status": campaign.LegacySent, "state": campaign.StateAccepted, "error": nil, "category": nil,
			"sentAt": at(resolution.Now), "leaseToken": nil, "announcedAt": nil,
		})
	case resolution.State == campaign.StateFailed:
		n, err = s.settleRows(ctx, what, key, doubts, resolution.Now, map[string]any{
			"state": campaign.StateFailed, "leaseToken": nil, "announcedAt": nil,
		})
	default:
		err = fmt.Errorf("%s: %q is no state that a doubt is resolved to", what, resolution.State)
	}
	if err != nil || resolution.Token == "" {
		return n, err
	}
	return n, s.steer(ctx, what, key, func(_ campaignRow, now *steering) (map[string]any, error) {
		now.Verbs.Resolved = resolution.Token
		return nil, nil
	})
}

// returnRows gives the campaign's recipients that which selects back, as if they had never been tried, and reopens their
// jobs, which are due to be rung at once.
func (s *Store) returnRows(ctx context.Context, what, key string, which func(*gorm.DB) *gorm.DB) (int64, error) {
	return s.eachJobRows(ctx, what, key, which, map[string]any{
		"status": campaign.LegacyPending, "state": campaign.StatePending, "error": nil, "sentAt": nil, "attempts": 0,
		"firstAttemptAt": nil, "nextAttemptAt": nil, "leaseToken": nil, "announcedAt": nil, "completedAt": nil,
		"smtpCode": nil, "enhancedCode": nil, "category": nil,
	}, func(tx *gorm.DB, job string) error {
		return tx.Model(&jobRow{}).Where("`id` = ?", job).Updates(map[string]any{
			"status": campaign.JobProcessing, "completedAt": nil, "rungAt": nil,
		}).Error
	})
}

// settleRows ends the campaign's recipients that which selects, and brings their jobs' counters up to date.
func (s *Store) settleRows(
	ctx context.Context, what, key string, which func(*gorm.DB) *gorm.DB, now time.Time, values map[string]any,
) (int64, error) {
	return s.eachJobRows(ctx, what, key, which, values, func(tx *gorm.DB, job string) error {
		_, err := finishJob(tx, job, now)
		return err
	})
}

// eachJobRows writes the values into the recipients that which selects, job by job, in transactions of at most endBatch
// rows. In each, after comes when the rows are written, and the leases that held them end.
func (s *Store) eachJobRows(
	ctx context.Context, what, key string, which func(*gorm.DB) *gorm.DB, values map[string]any,
	after func(tx *gorm.DB, job string) error,
) (int64, error) {
	var jobs []string
	err := s.query(ctx, what, func(db *gorm.DB) error {
		return db.Model(&jobRow{}).Where("`campaignKey` = ?", key).Order("`shard`").Pluck("id", &jobs).Error
	})
	if err != nil {
		return 0, err
	}
	var total int64
	for _, job := range jobs {
		for n := endBatch; n == endBatch; {
			err := s.write(ctx, what, func(tx *gorm.DB) error {
				var err error
				if n, err = changeRows(tx, job, which, values); err != nil || n == 0 {
					return err
				}
				return after(tx, job)
			})
			if err != nil {
				return total, err
			}
			total += int64(n)
		}
	}
	return total, nil
}

// changeRows writes the values into at most endBatch of the job's recipients that which selects, and returns how many.
func changeRows(tx *gorm.DB, job string, which func(*gorm.DB) *gorm.DB, values map[string]any) (int, error) {
	var rows []recipientRow
	err := which(forUpdate(tx).Select("id", "leaseToken").Where("`jobId` = ?", job)).
		Order("`id`").Limit(endBatch).Find(&rows).Error
	if err != nil {
		return 0, fmt.Errorf("locking recipients: %w", err)
	}
	ids, tokens := make([]string, len(rows)), []string{}
	for i, row := range rows {
		ids[i] = row.ID
		if token := deref(row.LeaseToken); token != "" && !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	err = eachChunk(ids, func(ids []string) error {
		return tx.Model(&recipientRow{}).Where("`id` IN ?", ids).Updates(values).Error
	})
	if err != nil {
		return 0, fmt.Errorf("changing recipients: %w", err)
	}
	for _, token := range tokens {
		if err := settleLease(tx, token, job); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}
