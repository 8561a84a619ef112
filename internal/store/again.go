package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// RetryFailed implements campaign.Steering.
func (s *Store) RetryFailed(ctx context.Context, key string, request campaign.RetryRequest) (int64, error) {
	const what = "retrying failed recipients"
	if request.Token == "" {
		return 0, errors.New(what + ": the request has no token")
	}
	var since time.Time
	done := false
	err := s.steer(ctx, what, key, func(_ campaignRow, now *steering) (map[string]any, error) {
		verbs := &now.Verbs
		if verbs.RetriedAt != request.Token {
			verbs.RetriedAt, verbs.RetryTime, verbs.RetryDone = request.Token, at(request.Now).Time, false
		}
		since, done = verbs.RetryTime, verbs.RetryDone
		return nil, nil
	})
	if err != nil || done {
		return 0, err
	}
	n, err := s.change(ctx, what, key, rowChange{
		which: failedBefore(request.Categories, since),
		values: func(cancelled bool) map[string]any {
			if cancelled {
				return nil
			}
			return untried()
		},
		now: request.Now,
	})
	if err != nil {
		return n, err
	}
	return n, s.noteRetry(ctx, what, key, request.Token)
}

// noteRetry remembers that the request is done. What failed before it counts for no share of the abort policy any more:
// it has not ended.
func (s *Store) noteRetry(ctx context.Context, what, key, token string) error {
	record, err := s.Campaign(ctx, key)
	if err != nil {
		return err
	}
	ended := record.AbortBase
	if ended != (campaign.Ended{}) {
		tally, err := s.Tally(ctx, key)
		if err != nil {
			return err
		}
		ended = endedOf(tally)
	}
	return s.steer(ctx, what, key, func(_ campaignRow, now *steering) (map[string]any, error) {
		if now.Verbs.RetriedAt != token || now.Verbs.RetryDone {
			return nil, nil
		}
		now.Verbs.RetryDone = true
		base := &now.AbortBase
		base.Accepted, base.Bounced = min(base.Accepted, ended.Accepted), min(base.Bounced, ended.Bounced)
		base.Failed = min(base.Failed, ended.Failed)
		return nil, nil
	})
}

// untried is what becomes of a recipient that is tried as if for the first time.
func untried() map[string]any {
	return map[string]any{
		"status": campaign.LegacyPending, "state": campaign.StatePending, "error": nil, "sentAt": nil, "attempts": 0,
		"firstAttemptAt": nil, "nextAttemptAt": nil, "leaseToken": nil, "announcedAt": nil, "completedAt": nil,
		"smtpCode": nil, "enhancedCode": nil, "category": nil,
	}
}

// failedBefore are the recipients that failed before then. One that a legacy program failed has no time and no category,
// which counts as Other.
func failedBefore(categories []string, then time.Time) []condition {
	const before = " AND r.`status` = 'FAILED' AND (r.`completedAt` IS NULL OR r.`completedAt` < ?)"
	legacy := condition{
		text: "(r.`state` IS NULL OR r.`state` IN ('pending', 'deferred'))" + before, values: []any{at(then)},
		job: "j.`status` <> 'PENDING' AND ", // a legacy worker sets PROCESSING before it sends
	}
	if len(categories) == 0 {
		return []condition{{text: "r.`state` = 'failed'" + before, values: []any{at(then)}}, legacy}
	}
	if !slices.Contains(categories, mail.CategoryOther) {
		return []condition{{
			text:   "r.`state` IN ('failed', 'bounced')" + before + " AND r.`category` IN ?",
			values: []any{at(then), categories},
		}}
	}
	return []condition{{
		text:   "r.`state` IN ('failed', 'bounced')" + before + " AND (r.`category` IN ? OR r.`category` IS NULL)",
		values: []any{at(then), categories},
	}, legacy}
}

// inDoubt are the recipients in doubt. Where a legacy program wrote SENT meanwhile, there is no doubt.
var inDoubt = []condition{{text: "r.`state` = 'inDoubt' AND r.`status` = 'FAILED'"}}

// ResolveInDoubt implements campaign.Steering. Whom somebody has declared accepted or failed counts for no share of the
// abort policy.
func (s *Store) ResolveInDoubt(ctx context.Context, key string, resolution campaign.Resolution) (int64, error) {
	const what = "resolving doubts"
	outcome, counts := resolved(resolution)
	if outcome == nil {
		return 0, fmt.Errorf("%s: %q is no state that a doubt is resolved to", what, resolution.State)
	}
	record, err := s.Campaign(ctx, key)
	if err != nil || resolution.Token != "" && record.Verbs.Resolved == resolution.Token {
		return 0, err
	}
	n, err := s.change(ctx, what, key, rowChange{
		which: inDoubt,
		values: func(cancelled bool) map[string]any {
			if cancelled && resolution.State == campaign.StatePending {
				return map[string]any{
					"state": campaign.StateCancelled, "error": cancelledDetail, "category": nil, "leaseToken": nil,
					"announcedAt": nil, "completedAt": at(resolution.Now),
				}
			}
			return outcome
		},
		counts: counts,
		now:    resolution.Now,
	})
	if err != nil || resolution.Token == "" {
		return n, err
	}
	return n, s.steer(ctx, what, key, func(_ campaignRow, now *steering) (map[string]any, error) {
		now.Verbs.Resolved = resolution.Token
		return nil, nil
	})
}

// resolved is what becomes of a recipient whose doubt is resolved, nil if the state is none for that; and as what it counts.
func resolved(resolution campaign.Resolution) (map[string]any, campaign.Ended) {
	switch resolution.State {
	case campaign.StatePending:
		return untried(), campaign.Ended{}
	case campaign.StateAccepted:
		return map[string]any{
			"status": campaign.LegacySent, "state": campaign.StateAccepted, "error": nil, "category": nil, "smtpCode": nil,
			"enhancedCode": nil, "sentAt": at(resolution.Now), "completedAt": at(resolution.Now), "leaseToken": nil,
			"announcedAt": nil,
		}, campaign.Ended{Accepted: 1}
	case campaign.StateFailed:
		return map[string]any{
			"state": campaign.StateFailed, "completedAt": at(resolution.Now), "leaseToken": nil, "announcedAt": nil,
		}, campaign.Ended{Failed: 1}
	default:
		return nil, campaign.Ended{}
	}
}

// condition is one of a recipient r. Together with its job it is a range of the index by state, or little more.
type condition struct {
	text   string
	values []any
	// job is what must be true of the recipient's job j; empty for nothing.
	job string
}

// rowChange is something to be done with those recipients of a campaign that meet any of the conditions.
type rowChange struct {
	which []condition
	// values are written into each of them; nil leaves all as they are.
	values func(cancelled bool) map[string]any
	// counts is what each of them adds to the base of the abort policy.
	counts campaign.Ended
	now    time.Time
}

// matches is the condition of recipients that meet any.
func (c rowChange) matches() (text string, values []any) {
	parts := make([]string, len(c.which))
	for i, one := range c.which {
		parts[i] = "(" + one.text + ")"
		values = append(values, one.values...)
	}
	return strings.Join(parts, " OR "), values
}

// change writes into the campaign's recipients, job by job, in transactions of at most endBatch of them, and returns how
// many there were.
func (s *Store) change(ctx context.Context, what, key string, c rowChange) (int64, error) {
	jobs, err := s.jobsWith(ctx, what, key, c)
	if err != nil {
		return 0, err
	}
	text, values := c.matches()
	var total int64
	for _, job := range jobs {
		after := ""
		for more := true; more; {
			var ids []string
			err := s.query(ctx, what, func(db *gorm.DB) error {
				return db.Raw(hinted(db, "SELECT r.`id` FROM `Recipient` r "+byState+" WHERE r.`jobId` = ? AND r.`id` > ? AND ("+text+
					") ORDER BY r.`id` LIMIT ?"), slices.Concat([]any{job, after}, values, []any{endBatch})...).Scan(&ids).Error
			})
			if err != nil || len(ids) == 0 {
				if err != nil {
					return total, err
				}
				break
			}
			after, more = ids[len(ids)-1], len(ids) == endBatch
			var n int
			err = s.write(ctx, what, func(tx *gorm.DB) error {
				n, err = changeRows(tx, key, job, ids, c)
				return err
			})
			if err != nil {
				return total, err
			}
			total += int64(n)
		}
	}
	return total, nil
}

// jobsWith returns the campaign's jobs that have such recipients.
func (s *Store) jobsWith(ctx context.Context, what, key string, c rowChange) ([]string, error) {
	parts, values := make([]string, len(c.which)), []any{key}
	for i, one := range c.which {
		parts[i] = one.job + "(SELECT 1 FROM `Recipient` r " + byState + " WHERE r.`jobId` = j.`id` AND " + one.text + " LIMIT 1) IS NOT NULL"
		values = append(values, one.values...)
	}
	var jobs []string
	err := s.query(ctx, what, func(db *gorm.DB) error {
		return db.Raw(hinted(db, "SELECT j.`id` FROM `EmailJob` j WHERE j.`campaignKey` = ? AND ("+strings.Join(parts, " OR ")+
			") ORDER BY j.`shard`"), values...).Scan(&jobs).Error
	})
	return jobs, err
}

// changeRows writes into those of the job's recipients that still match, ends the leases that held them, and brings job
// and campaign up to date. It locks as Record does: recipients, campaign, job, lease. With the campaign's row locked,
// Cancel either finds what is written here, or is noticed.
func changeRows(tx *gorm.DB, key, job string, ids []string, c rowChange) (int, error) {
	var rows []recipientRow
	text, conditions := c.matches()
	err := eachChunk(ids, func(ids []string) error {
		var some []recipientRow
		err := forUpdate(tx).Table("`Recipient` r").Select("r.`id`", "r.`leaseToken`").Where("r.`id` IN ?", ids).
			Where("("+text+")", conditions...).Order("r.`id`").Find(&some).Error
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("locking recipients: %w", err)
	}
	if len(rows) == 0 {
		return 0, nil
	}
	var owner campaignRow
	if err := forUpdate(tx).Select("key", "cancelledAt", "steering").Where("`key` = ?", key).Take(&owner).Error; err != nil {
		return 0, fmt.Errorf("locking the campaign: %w", orNotFound(err))
	}
	values := c.values(!owner.CancelledAt.IsZero())
	if values == nil {
		return 0, nil
	}
	changed := make([]string, len(rows))
	for i, row := range rows {
		changed[i] = row.ID
	}
	err = eachChunk(changed, func(ids []string) error {
		return tx.Model(&recipientRow{}).Where("`id` IN ?", ids).Updates(values).Error
	})
	if err != nil {
		return 0, fmt.Errorf("changing recipients: %w", err)
	}
	if err := countChanged(tx, owner, c.counts, int64(len(rows))); err != nil {
		return 0, err
	}
	if err := bringUpToDate(tx, job, rows, c.now); err != nil {
		return 0, err
	}
	return len(rows), nil
}

// countChanged adds n recipients, each of which counts so much, to the base of the campaign's abort policy.
func countChanged(tx *gorm.DB, owner campaignRow, each campaign.Ended, n int64) error {
	if each == (campaign.Ended{}) {
		return nil
	}
	now, err := owner.steering()
	if err != nil {
		return err
	}
	now.AbortBase.Accepted += n * each.Accepted
	now.AbortBase.Bounced += n * each.Bounced
	now.AbortBase.Failed += n * each.Failed
	column, err := now.column()
	if err != nil {
		return err
	}
	return tx.Model(&campaignRow{}).Where("`key` = ?", owner.Key).Update("steering", column).Error
}

// bringUpToDate has the job say what its recipients do, and ends the leases under which they were. One that is open again
// is due to be rung at once: whatever the queue knows of it has ended.
func bringUpToDate(tx *gorm.DB, job string, rows []recipientRow, now time.Time) error {
	var before jobRow
	if err := forUpdate(tx).Select("id", "status").Where("`id` = ?", job).Take(&before).Error; err != nil {
		return fmt.Errorf("locking the job: %w", err)
	}
	progress, err := finishJob(tx, job, now)
	if err != nil {
		return fmt.Errorf("bringing the job up to date: %w", err)
	}
	if before.finished() && !progress.Finished {
		if err := tx.Model(&jobRow{}).Where("`id` = ?", job).Update("rungAt", nil).Error; err != nil {
			return fmt.Errorf("having the job rung: %w", err)
		}
	}
	var tokens []string
	for _, row := range rows {
		if token := deref(row.LeaseToken); token != "" {
			tokens = append(tokens, token)
		}
	}
	slices.Sort(tokens)
	for _, token := range slices.Compact(tokens) {
		if err := settleLease(tx, token, job); err != nil {
			return err
		}
	}
	return nil
}
