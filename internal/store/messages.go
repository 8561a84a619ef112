package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// The indexes that messages are found by.
const (
	emailIndex   = "Recipient_email_idx"
	attemptIndex = "Recipient_firstAttemptAt_idx"
)

// The conditions of a message's end. An announced recipient is FAILED though it is on its way.
const (
	wasAccepted = "r.`status` = 'SENT'"
	wasFailed   = "r.`status` = 'FAILED' AND (r.`state` IS NULL OR r.`state` <> 'active' OR r.`announcedAt` IS NULL)"
	// byLegacy are the recipients that a legacy worker tried: their job is all that says when.
	byLegacy = "r.`firstAttemptAt` IS NULL AND (r.`status` = 'SENT' OR r.`status` = 'FAILED' AND " + failedByLegacy + ")"
)

// messageRow is a recipient with the time that its message is filed under.
type messageRow struct {
	Recipient recipientRow `gorm:"embedded"`
	At        stamp        `gorm:"column:at"`
}

// Messages returns the messages that query asks for, the newest first. With a recipient it reads that one's rows, else
// those of the time asked for, from its end on, until the page is full.
func (s *Store) Messages(ctx context.Context, query campaign.MessageQuery) ([]campaign.Message, error) {
	if query.Limit < 1 {
		return nil, errors.New("listing messages: want a positive limit")
	}
	var messages []campaign.Message
	err := s.read(ctx, "listing messages", func(tx *gorm.DB) error {
		rows, err := messageRows(tx, query)
		if err != nil {
			return err
		}
		messages, err = describeMessages(tx, rows)
		return err
	})
	return messages, err
}

func messageRows(tx *gorm.DB, query campaign.MessageQuery) ([]messageRow, error) {
	if query.Recipient == "" {
		return pageOfMessages(tx, messagesByTime, query)
	}
	// Databases take more addresses for one than mail servers do: Zoe's for Zoë's.
	var all []messageRow
	for {
		rows, err := pageOfMessages(tx, messagesByRecipient(tx, query.Recipient), query)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if sameMailbox(row.Recipient.address(), query.Recipient) && len(all) < query.Limit {
				all = append(all, row)
			}
		}
		if len(rows) < query.Limit || len(all) == query.Limit {
			return all, nil
		}
		last := rows[len(rows)-1]
		query.After = campaign.MessageCursor{At: last.At.Time, ID: last.Recipient.ID}
	}
}

// address is the recipient's, whichever column it is in.
func (r recipientRow) address() string {
	if r.Address != nil {
		return *r.Address
	}
	return r.Email
}

// sameMailbox reports whether two addresses are one's, however they are written.
func sameMailbox(a, b string) bool { return a == b || mailbox(a) == mailbox(b) }

func mailbox(address string) string {
	if parsed, err := recipients.ParseAddress(address); err == nil {
		return recipients.Key(parsed)
	}
	return address // a legacy program's, which no address of ours is
}

// messageSource is where messages are read from.
type messageSource struct {
	// at is the time that they are filed under; from follows FROM and WHERE.
	at, from string
	values   []any
}

var messagesByTime = messageSource{
	at:   "r.`firstAttemptAt`",
	from: "`Recipient` r " + byAttempt + " WHERE r.`firstAttemptAt` IS NOT NULL",
}

// messagesByRecipient repeats the condition of the index in SQLite, which is not used without it.
func messagesByRecipient(tx *gorm.DB, recipient string) messageSource {
	spellings := []string{recipient}
	if parsed, err := recipients.ParseAddress(recipient); err == nil {
		spellings = append(spellings, parsed)
	}
	email := "r.`email`"
	if tx.Name() != string(engineMySQL) { // there, the columns compare so by themselves
		email += " COLLATE NOCASE"
	}
	source := messageSource{
		at: "COALESCE(r.`firstAttemptAt`, r.`sentAt`, j.`startedAt`, j.`createdAt`)",
		from: "`Recipient` r " + byEmail + " JOIN `EmailJob` j ON j.`id` = r.`jobId` WHERE " + email + " IN ? AND " +
			"(r.`attempts` > 0 OR r.`status` <> 'PENDING') AND (r.`firstAttemptAt` IS NOT NULL OR " + byLegacy + ")",
		values: []any{spellings},
	}
	if cut(recipient, legacyWidth) != recipient {
		source.values[0] = []string{""}
		source.from += " AND " + strings.Replace(email, "email", "address", 1) + " IN ?"
		source.values = append(source.values, spellings)
	}
	return source
}

// byAttempt and byEmail mark, behind a table, the index that it is to be read by.
const (
	byAttempt = "/*by attempt*/"
	byEmail   = "/*by email*/"
)

func pageOfMessages(tx *gorm.DB, source messageSource, query campaign.MessageQuery) ([]messageRow, error) {
	statement, values := source.page(query)
	if tx.Name() == string(engineMySQL) {
		statement = strings.NewReplacer(byAttempt, "FORCE INDEX (`"+attemptIndex+"`)", byEmail, "FORCE INDEX (`"+emailIndex+"`)").
			Replace(statement)
	}
	var rows []messageRow
	if err := tx.Raw(statement, values...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("reading the recipients: %w", err)
	}
	return rows, nil
}

// page is the statement for one page, and its values.
func (s messageSource) page(query campaign.MessageQuery) (string, []any) {
	var text strings.Builder
	text.WriteString("SELECT r.`jobId`, r.`" + strings.Join(reportColumns, "`, r.`") + "`, " + s.at + " AS at FROM " + s.from)
	values := s.values
	and := func(condition string, more ...any) {
		text.WriteString(" AND " + condition)
		values = append(values, more...)
	}
	if !query.Since.IsZero() {
		and(s.at+" >= ?", at(query.Since))
	}
	if !query.Until.IsZero() {
		and(s.at+" < ?", at(query.Until))
	}
	if query.Success != nil {
		condition := wasFailed
		if *query.Success {
			condition = wasAccepted
		}
		and("(" + condition + ")")
	}
	if after := query.After; after.ID != "" {
		and(s.at+" <= ? AND ("+s.at+" < ? OR r.`id` < ?)", at(after.At), at(after.At), after.ID)
	}
	text.WriteString(" ORDER BY " + s.at + " DESC, r.`id` DESC LIMIT ?")
	return text.String(), append(values, query.Limit)
}

// describeMessages adds what the rows' jobs and campaigns say.
func describeMessages(tx *gorm.DB, rows []messageRow) ([]campaign.Message, error) {
	ids := map[string]bool{}
	for _, row := range rows {
		ids[row.Recipient.JobID] = true
	}
	jobs := map[string]jobRow{}
	keys := map[string]bool{}
	err := eachChunk(slices.Collect(maps.Keys(ids)), func(ids []string) error {
		var some []jobRow
		err := tx.Select("id", "subject", "campaignKey").Where("`id` IN ?", ids).Find(&some).Error
		for _, job := range some {
			jobs[job.ID] = job
			if job.CampaignKey != nil {
				keys[*job.CampaignKey] = true
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the jobs: %w", err)
	}
	owners, err := readOwners(tx, slices.Collect(maps.Keys(keys)))
	if err != nil {
		return nil, err
	}

	messages := make([]campaign.Message, len(rows))
	for i, row := range rows {
		job := jobs[row.Recipient.JobID]
		messages[i] = campaign.Message{Report: row.Recipient.report(), At: row.At.Time, JobID: row.Recipient.JobID, Subject: job.Subject}
		if job.CampaignKey != nil {
			owners[*job.CampaignKey].describe(&messages[i])
		}
	}
	return messages, nil
}

// owner is what a campaign says of its messages. Subject and From are JSON, taken out of the content by the database:
// the bodies stay there.
type owner struct {
	Key      string          `gorm:"column:key"`
	Origin   campaign.Origin `gorm:"column:origin"`
	Category string          `gorm:"column:category"`
	Subject  []byte          `gorm:"column:subject"`
	From     []byte          `gorm:"column:sender"`
}

func readOwners(tx *gorm.DB, keys []string) (map[string]owner, error) {
	owners := map[string]owner{}
	member := func(path string) string {
		if tx.Name() == string(engineMySQL) {
			return "JSON_EXTRACT(`content`, '" + path + "')"
		}
		return "`content` -> '" + path + "'"
	}
	err := eachChunk(keys, func(keys []string) error {
		var some []owner
		err := tx.Raw("SELECT `key`, `origin`, `category`, "+member("$.subject")+" AS subject, "+member("$.from.Address")+
			" AS sender FROM `Campaign` WHERE `key` IN ?", keys).Scan(&some).Error
		for _, o := range some {
			owners[o.Key] = o
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the campaigns: %w", err)
	}
	return owners, nil
}

func (o owner) describe(message *campaign.Message) {
	message.Campaign, message.Origin, message.Category = o.Key, o.Origin, o.Category
	// A content without one of them leaves what is there.
	_ = json.Unmarshal(o.Subject, &message.Subject)
	_ = json.Unmarshal(o.From, &message.From)
}
