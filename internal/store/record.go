package store

import (
	"cmp"
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

const (
	// inDoubtPrefix begins the legacy error of a recipient that is in doubt.
	inDoubtPrefix = "in doubt: "
	// The widths of the columns error (much less than it takes), enhancedCode and category.
	detailWidth       = 1000
	enhancedCodeWidth = 16
	categoryWidth     = 32
)

// Record implements worker.Store. A deferred recipient of a cancelled campaign becomes cancelled. A certain result that
// replaces a doubt brings its job up to date: the counters of a finished one follow, and one whose recipient turns out
// to be unsent is open again.
func (s *Store) Record(ctx context.Context, token string, results []campaign.Result) (int, error) {
	byID := make(map[string]*campaign.Result, len(results))
	ids := make([]string, 0, len(results))
	for i := range results {
		result := &results[i]
		if !recordable(result.State) {
			return 0, fmt.Errorf("recording results: %q is no state of a result", result.State)
		}
		if _, ok := byID[result.RecipientID]; !ok {
			ids = append(ids, result.RecipientID)
		}
		byID[result.RecipientID] = result
	}

	changed, ranges := 0, true
	err := s.write(ctx, "recording results", func(tx *gorm.DB) error {
		groups, others := takeAccepted(byID, ids, ranges)
		accepted, unexpected, err := recordAccepted(tx, token, groups)
		if err != nil {
			ranges = !errors.Is(err, errNoNeighbours)
			return err
		}
		changed = accepted
		return eachChunk(append(others, unexpected...), func(ids []string) error {
			n, err := recordRows(tx, token, ids, byID)
			changed += n
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// recordable reports whether a worker may report this state.
func recordable(state campaign.State) bool {
	return state.Terminal() || state == campaign.StateDeferred || state == campaign.StatePending
}

func recordRows(tx *gorm.DB, token string, ids []string, results map[string]*campaign.Result) (int, error) {
	rows, err := lockLeased(tx, ids, "`leaseToken` = ?", token)
	if err != nil {
		return 0, err
	}
	changed, err := applyResults(tx, rows, results)
	if err != nil {
		return 0, err
	}
	return len(changed), feedSuppressions(tx, changed, results)
}

// RecordLost implements worker.Store.
func (s *Store) RecordLost(ctx context.Context, results []campaign.Result) (int, error) {
	byID := make(map[string]*campaign.Result, len(results))
	var ids []string
	for i := range results {
		if result := &results[i]; result.State == campaign.StateAccepted {
			byID[result.RecipientID] = result
			ids = append(ids, result.RecipientID)
		}
	}
	changed := 0
	err := s.write(ctx, "recording results of lost claims", func(tx *gorm.DB) error {
		changed = 0
		return eachChunk(ids, func(ids []string) error {
			rows, err := lockLeased(tx, ids, "`leaseToken` IS NULL AND `status` = 'PENDING' AND `state` IN ('pending', 'deferred')")
			if err != nil {
				return err
			}
			recorded, err := applyResults(tx, rows, byID)
			changed += len(recorded)
			return err
		})
	})
	return changed, err
}

// applyResults writes the results of locked rows, and returns those that it changed.
func applyResults(tx *gorm.DB, rows []recipientRow, results map[string]*campaign.Result) ([]recipientRow, error) {
	returning, err := readReturning(tx, rows, func(row recipientRow) bool { return !results[row.ID].State.Terminal() })
	if err != nil {
		return nil, err
	}

	type lifted struct { // a lease under which a doubt was replaced
		token, job string
	}
	var changed []recipientRow
	resolved := map[lifted]time.Time{}
	for _, row := range rows {
		result := results[row.ID]
		before := row.effective()
		switch {
		case before == campaign.StateActive:
		case row.LeaseToken == nil && (before == campaign.StatePending || before == campaign.StateDeferred): // see RecordLost
		case before == campaign.StateInDoubt && result.State != campaign.StateInDoubt:
			resolved[lifted{deref(row.LeaseToken), row.JobID}] = result.At
		default: // ended, by us or by a legacy program
			continue
		}
		row.apply(*result, returning[row.JobID])
		changed = append(changed, row)
	}
	if err := saveRows(tx, changed); err != nil {
		return nil, err
	}
	for lease, when := range resolved {
		if _, err := finishJob(tx, lease.job, when); err != nil {
			return nil, fmt.Errorf("bringing the job up to date: %w", err)
		}
		if err := settleLease(tx, lease.token, lease.job); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// apply writes the result into the row, and ends the lease. back says where the row goes if it waits again.
func (r *recipientRow) apply(result campaign.Result, back returning) {
	doubted := deref(r.State) == string(campaign.StateInDoubt)
	switch {
	case doubted && !result.CountAttempt:
		r.uncount()
	case result.CountAttempt && !doubted: // a doubt was counted when it arose
		r.Attempts++
		if r.FirstAttemptAt.IsZero() {
			r.FirstAttemptAt = at(result.At)
			if !r.AnnouncedAt.IsZero() {
				r.FirstAttemptAt = r.AnnouncedAt
			}
		}
	}
	if result.State == campaign.StatePending || back == returnCancelled && !result.State.Terminal() {
		r.giveBack(back, result.At)
		return
	}

	r.Status = string(result.State.Legacy())
	r.State = orNull(string(result.State))
	r.Error = orNull(cut(strings.ToValidUTF8(result.Detail, "\uFFFD"), detailWidth))
	r.SMTPCode = orNull(result.Code)
	r.EnhancedCode = orNull(cut(result.EnhancedCode, enhancedCodeWidth))
	r.Category = orNull(cut(result.Category, categoryWidth))
	r.SentAt, r.NextAttemptAt, r.CompletedAt = stamp{}, stamp{}, at(result.At)

	switch result.State {
	case campaign.StateInDoubt: // it keeps its token: only a result under the same one may replace the doubt
		r.Error = orNull(inDoubtPrefix + deref(r.Error))
		r.Category = orNull(cmp.Or(deref(r.Category), mail.CategoryInDoubt))
		return
	case campaign.StateAccepted:
		r.SentAt, r.Error, r.Category = at(result.At), nil, nil
	case campaign.StateDeferred:
		r.CompletedAt = stamp{}
		if r.NextAttemptAt = atPointer(result.NextAttemptAt); r.NextAttemptAt.IsZero() {
			r.NextAttemptAt = at(result.At)
		}
	}
	r.LeaseToken, r.AnnouncedAt = nil, stamp{}
}

// uncount takes back what a doubt counted: there was no attempt.
func (r *recipientRow) uncount() {
	r.Attempts = max(0, r.Attempts-1)
	if r.Attempts == 0 {
		r.FirstAttemptAt = stamp{}
	}
	r.Category = nil
}

// returning says where a recipient of a job goes that is to wait again.
type returning int

const (
	// returnWaiting: to what it was, pending or deferred.
	returnWaiting returning = iota
	// returnDue: deferred and due at once. The outbox doesn't ring a legacy job for its pending recipients.
	returnDue
	// returnCancelled: cancelled with its campaign.
	returnCancelled
)

// giveBack ends the lease of a recipient that was certainly not sent.
func (r *recipientRow) giveBack(back returning, now time.Time) {
	state := campaign.StatePending
	if back == returnDue && r.NextAttemptAt.IsZero() {
		r.NextAttemptAt = at(now)
	}
	if !r.NextAttemptAt.IsZero() {
		state = campaign.StateDeferred
	}
	r.Error, r.CompletedAt = nil, stamp{}
	if back == returnCancelled {
		state = campaign.StateCancelled
		r.Error, r.CompletedAt, r.NextAttemptAt = orNull(cancelledDetail), at(now), stamp{}
	}
	r.State, r.Status = orNull(string(state)), string(state.Legacy())
	r.LeaseToken, r.AnnouncedAt = nil, stamp{}
}

// outcomeColumns are the columns that a result changes.
var outcomeColumns = []string{
	"status", "error", "sentAt", "state", "attempts", "firstAttemptAt", "nextAttemptAt", "leaseToken", "announcedAt",
	"completedAt", "smtpCode", "enhancedCode", "category",
}

// identityColumns are those without which a row can't be inserted.
var identityColumns = []string{"id", "jobId", "email"}

// lockLeased locks and reads those of the recipients that meet the condition.
func lockLeased(tx *gorm.DB, ids []string, condition string, values ...any) ([]recipientRow, error) {
	var rows []recipientRow
	err := forUpdate(tx).Select(slices.Concat(identityColumns, outcomeColumns, []string{"address"})).
		Where("`id` IN ?", ids).Where(condition, values...).Order("`id`").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("locking recipients: %w", err)
	}
	return rows, nil
}

// savedRecipients write rows that lockLeased returned. It is an INSERT of rows that all exist: the one statement that
// gives many rows different values on every dialect.
var savedRecipients = map[engine]bulk{
	engineMySQL:  newBulkWith(" ON DUPLICATE KEY UPDATE "+assignOutcome("VALUES(`%[1]s`)"), "Recipient", savedColumns...),
	engineSQLite: newBulkWith(" ON CONFLICT (`id`) DO UPDATE SET "+assignOutcome("excluded.`%[1]s`"), "Recipient", savedColumns...),
}

// savedColumns are in the order of recipientRow.saved.
var savedColumns = slices.Concat(identityColumns, outcomeColumns)

// assignOutcome sets each of the outcomeColumns to what the format makes of its name.
func assignOutcome(format string) string {
	assignments := make([]string, len(outcomeColumns))
	for i, column := range outcomeColumns {
		assignments[i] = fmt.Sprintf("`%[1]s`="+format, column)
	}
	return strings.Join(assignments, ",")
}

func (r recipientRow) saved(to []any) []any {
	return append(to, r.ID, r.JobID, r.Email,
		r.Status, r.Error, r.SentAt, r.State, r.Attempts, r.FirstAttemptAt, r.NextAttemptAt, r.LeaseToken, r.AnnouncedAt,
		r.CompletedAt, r.SMTPCode, r.EnhancedCode, r.Category)
}

func saveRows(tx *gorm.DB, rows []recipientRow) error {
	size := func(r recipientRow) int { return r.size() + len(deref(r.Error)) }
	statement := savedRecipients[engine(tx.Name())]
	if err := insertBulk(tx, statement, rows, size, recipientRow.saved); err != nil {
		return fmt.Errorf("writing recipients: %w", err)
	}
	return nil
}

// readReturning tells of the jobs of those rows that matter where their recipients go that are to wait again. The
// campaigns stay as they are until the commit, so that Cancel finds what is written now.
func readReturning(
	tx *gorm.DB, rows []recipientRow, matters func(recipientRow) bool,
) (map[string]returning, error) {
	var relevant []recipientRow
	for _, row := range rows {
		if matters(row) {
			relevant = append(relevant, row)
		}
	}
	byJob := map[string]returning{}
	if len(relevant) == 0 {
		return byJob, nil
	}
	var jobs []jobRow
	err := tx.Select("id", "campaignKey").Where("`id` IN ?", jobsOf(relevant)).Order("`id`").Find(&jobs).Error
	if err != nil {
		return nil, fmt.Errorf("reading the jobs: %w", err)
	}
	for _, job := range jobs {
		if job.CampaignKey == nil {
			byJob[job.ID] = returnDue
			continue
		}
		var owner campaignRow
		err := forShare(tx).Select("key", "cancelledAt").Where("`key` = ?", *job.CampaignKey).Take(&owner).Error
		if err != nil {
			return nil, fmt.Errorf("reading the campaign: %w", orNotFound(err))
		}
		if !owner.CancelledAt.IsZero() {
			byJob[job.ID] = returnCancelled
		}
	}
	return byJob, nil
}
