package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// legacyWidth is the number of characters that the legacy columns subject, email and name hold.
	legacyWidth = 191
	// insertRows and insertBytes bound one INSERT: below the placeholders that SQLite takes (32,766), and well below the
	// smallest max_allowed_packet that servers come with (1 MiB).
	insertRows  = 1000
	insertBytes = 256 << 10
)

// WriteShard implements campaign.Ledger. A campaign that was cancelled before it was sealed takes no more shards either.
func (s *Store) WriteShard(ctx context.Context, shard campaign.Shard) error {
	jobID := campaign.JobID(shard.Key, shard.Number)
	inserts, err := recipientInserts(s.engine, jobID, shard.Recipients)
	if err != nil {
		return fmt.Errorf("writing a job: %w", err)
	}
	return s.write(ctx, "writing a job", func(tx *gorm.DB) error {
		// Shared, until the commit: sealing and discarding take the row exclusively and wait for us, and we for them.
		var owner campaignRow
		if err := forShare(tx).Where("`key` = ?", shard.Key).Take(&owner).Error; err != nil {
			return orNotFound(err)
		}
		if !owner.SealedAt.IsZero() || !owner.CancelledAt.IsZero() {
			return campaign.ErrSealed
		}
		if err := insertJob(tx, jobID, shard, owner); err != nil {
			return fmt.Errorf("inserting the job: %w", err)
		}
		for _, insert := range inserts {
			if _, err := tx.Statement.ConnPool.ExecContext(ctx, insert.text, insert.values...); err != nil {
				return fmt.Errorf("inserting the recipients: %w", err)
			}
		}
		return nil
	})
}

func insertJob(tx *gorm.DB, id string, shard campaign.Shard, owner campaignRow) error {
	content, err := owner.content("")
	if err != nil {
		return err
	}
	return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&jobRow{
		ID:          id,
		Subject:     cut(content.Subject, legacyWidth), // whole in the campaign's content
		Body:        content.LegacyBody(),
		Status:      string(campaign.JobPending),
		TotalEmails: int64(len(shard.Recipients)),
		CreatedAt:   owner.CreatedAt,
		CampaignKey: &shard.Key,
		Shard:       &shard.Number,
	}).Error
}

// size is about the number of bytes of the row in an INSERT.
func (r recipientRow) size() int {
	const rest = 128 // ids, states, punctuation
	return rest + len(r.Email) + len(deref(r.Name)) + len(deref(r.Variables)) + len(deref(r.Address))
}

func (r jobRow) size() int      { return 256 + len(r.Subject) + len(r.Body) }
func (r campaignRow) size() int { return 512 + len(r.Key) + len(r.Content) }
func (r leaseRow) size() int    { return 128 }

func newRecipientRow(jobID string, position int, recipient campaign.Recipient) (recipientRow, error) {
	if recipient.Address == "" || !utf8.ValidString(recipient.Address) || !utf8.ValidString(recipient.Name) {
		return recipientRow{}, errors.New("its address is empty, or its text is not UTF-8")
	}
	pending := string(campaign.StatePending)
	row := recipientRow{
		ID:     campaign.RecipientID(jobID, position, recipient.Address),
		JobID:  jobID,
		Email:  recipient.Address,
		Name:   orNull(cut(recipient.Name, legacyWidth)),
		Status: string(campaign.LegacyPending),
		State:  &pending,
	}
	if utf8.RuneCountInString(recipient.Address) > legacyWidth {
		// A cut address would be another mailbox: a legacy worker must find none.
		row.Email, row.Address = "", &recipient.Address
	}
	if len(recipient.Variables) > 0 {
		text, err := variablesJSON(recipient.Variables)
		if err != nil {
			return recipientRow{}, fmt.Errorf("its variables: %w", err)
		}
		row.Variables = &text
	}
	return row, nil
}

// recipient is the entry that the row was made of. A name longer than the column is the part that fits.
func (r recipientRow) recipient() (campaign.Recipient, error) {
	recipient := campaign.Recipient{Address: r.Email, Name: deref(r.Name)}
	if r.Address != nil {
		recipient.Address = *r.Address
	}
	if r.Variables != nil {
		if err := json.Unmarshal([]byte(*r.Variables), &recipient.Variables); err != nil {
			return campaign.Recipient{}, fmt.Errorf("reading the variables of recipient %s: %w", r.ID, err)
		}
	}
	return recipient, nil
}

// cut returns the first length characters of text.
func cut(text string, length int) string {
	n := 0
	for i := range text {
		if n == length {
			return text[:i]
		}
		n++
	}
	return text
}
