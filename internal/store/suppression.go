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
)

var _ campaign.Suppressions = (*Store)(nil)

// suppressionRow is a row of Suppression.
type suppressionRow struct {
	Address   string `gorm:"column:address;primaryKey"`
	Scope     string `gorm:"column:scope;primaryKey"`
	Reason    string `gorm:"column:reason"`
	Source    string `gorm:"column:source"`
	CreatedAt stamp  `gorm:"column:createdAt;autoCreateTime:false"`
}

// TableName implements gorm's schema.Tabler.
func (suppressionRow) TableName() string { return "Suppression" }

func (r suppressionRow) size() int { return 128 + len(r.Address) + len(r.Scope) + len(r.Source) }

func (r suppressionRow) values(to []any) []any {
	return append(to, r.Address, r.Scope, r.Reason, r.Source, r.CreatedAt)
}

func (r suppressionRow) key() campaign.SuppressionKey {
	return campaign.SuppressionKey{Address: r.Address, Scope: r.Scope}
}

func compareSuppressions(a, b suppressionRow) int {
	return cmp.Or(strings.Compare(a.Address, b.Address), strings.Compare(a.Scope, b.Scope))
}

// Rows that are there stay as they are.
var suppressionInserts = map[engine]bulk{
	engineMySQL:  newBulkWith(" ON DUPLICATE KEY UPDATE `address` = `address`", "Suppression", suppressionColumns...),
	engineSQLite: newBulkWith(" ON CONFLICT DO NOTHING", "Suppression", suppressionColumns...),
}

// suppressionColumns are in the order of suppressionRow.values.
var suppressionColumns = []string{"address", "scope", "reason", "source", "createdAt"}

// The widths of the columns of Suppression, in characters.
const (
	suppressedWidth = 320
	scopeWidth      = 255
	sourceWidth     = 320
)

// newSuppressionRow is the row of an entry, or an error without its address.
func newSuppressionRow(entry campaign.Suppression) (suppressionRow, error) {
	key, err := compared(entry.SuppressionKey)
	if err != nil {
		return suppressionRow{}, err
	}
	if !slices.Contains(campaign.SuppressionReasons, entry.Reason) {
		return suppressionRow{}, errors.New("its reason is none")
	}
	return suppressionRow{
		Address: key.Address, Scope: key.Scope, Reason: string(entry.Reason), Source: cut(entry.Source, sourceWidth),
		CreatedAt: at(entry.CreatedAt),
	}, nil
}

// compared is the key as it stands in the table, or an error without its address.
func compared(key campaign.SuppressionKey) (campaign.SuppressionKey, error) {
	key = campaign.SuppressionKey{Address: mailbox(key.Address), Scope: strings.ToLower(key.Scope)}
	if !strings.Contains(key.Address, "@") || cut(key.Address, suppressedWidth) != key.Address || cut(key.Scope, scopeWidth) != key.Scope {
		return key, errors.New("its address or scope is none that can be compared")
	}
	return key, nil
}

// Suppress implements campaign.Suppressions.
func (s *Store) Suppress(ctx context.Context, entries []campaign.Suppression) (int, error) {
	rows := make([]suppressionRow, len(entries))
	for i, entry := range entries {
		row, err := newSuppressionRow(entry)
		if err != nil {
			return 0, fmt.Errorf("suppressing: entry %d: %w", i, err)
		}
		rows[i] = row
	}
	added := 0
	err := s.write(ctx, "suppressing", func(tx *gorm.DB) (err error) {
		added, err = insertSuppressions(tx, rows)
		return err
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// insertSuppressions inserts the rows that are not there, in the order of their keys, which everybody keeps to.
func insertSuppressions(tx *gorm.DB, rows []suppressionRow) (added int, err error) {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, compareSuppressions)
	rows = slices.CompactFunc(rows, func(a, b suppressionRow) bool { return a.key() == b.key() })
	err = eachChunk(rows, func(rows []suppressionRow) error {
		known, err := knownSuppressions(tx, keysOf(rows))
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(rows), func(row suppressionRow) bool { return known[row.key()] != nil })
		if err := insertBulk(tx, suppressionInserts[engine(tx.Name())], fresh, suppressionRow.size, suppressionRow.values); err != nil {
			return fmt.Errorf("inserting suppressions: %w", err)
		}
		added += len(fresh)
		return nil
	})
	return added, err
}

func keysOf(rows []suppressionRow) []campaign.SuppressionKey {
	keys := make([]campaign.SuppressionKey, len(rows))
	for i, row := range rows {
		keys[i] = row.key()
	}
	return keys
}

// knownSuppressions returns the entries of the keys' addresses, whatever their scope.
func knownSuppressions(tx *gorm.DB, keys []campaign.SuppressionKey) (map[campaign.SuppressionKey]*suppressionRow, error) {
	known := map[campaign.SuppressionKey]*suppressionRow{}
	addresses := make([]string, len(keys))
	for i, key := range keys {
		addresses[i] = key.Address
	}
	err := eachChunk(addresses, func(addresses []string) error {
		var rows []suppressionRow
		err := tx.Select("address", "scope", "reason").Where("`address` IN ?", addresses).Find(&rows).Error
		for i := range rows {
			known[rows[i].key()] = &rows[i]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for suppressions: %w", err)
	}
	return known, nil
}

// Unsuppress implements campaign.Suppressions.
func (s *Store) Unsuppress(ctx context.Context, keys []campaign.SuppressionKey) (int, error) {
	all, err := comparedKeys(keys)
	if err != nil {
		return 0, fmt.Errorf("removing suppressions: %w", err)
	}
	removed := 0
	err = s.write(ctx, "removing suppressions", func(tx *gorm.DB) error {
		removed = 0
		for _, key := range all {
			deleted := tx.Where("`address` = ? AND `scope` = ?", key.Address, key.Scope).Delete(&suppressionRow{})
			if deleted.Error != nil {
				return deleted.Error
			}
			removed += int(deleted.RowsAffected)
			// Whoever is let in again begins anew.
			if err := tx.Where("`address` = ?", key.Address).Delete(&fullMailboxRow{}).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// comparedKeys are the keys as they stand in the table, each once, in their order.
func comparedKeys(keys []campaign.SuppressionKey) ([]campaign.SuppressionKey, error) {
	rows := make([]suppressionRow, len(keys))
	for i, key := range keys {
		key, err := compared(key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		rows[i] = suppressionRow{Address: key.Address, Scope: key.Scope}
	}
	slices.SortFunc(rows, compareSuppressions)
	return slices.Compact(keysOf(rows)), nil
}

// UnknownSuppressions implements campaign.Suppressions.
func (s *Store) UnknownSuppressions(ctx context.Context, keys []campaign.SuppressionKey) (int, error) {
	all, err := comparedKeys(keys)
	if err != nil {
		return 0, fmt.Errorf("looking for suppressions: %w", err)
	}
	unknown := 0
	err = s.query(ctx, "counting suppressions", func(db *gorm.DB) error {
		unknown = 0
		known, err := knownSuppressions(db, all)
		for _, key := range all {
			if known[key] == nil {
				unknown++
			}
		}
		return err
	})
	return unknown, err
}

// Suppressions implements campaign.Suppressions.
func (s *Store) Suppressions(
	ctx context.Context, address string, after campaign.SuppressionKey, limit int,
) ([]campaign.Suppression, error) {
	var rows []suppressionRow
	err := s.query(ctx, "listing suppressions", func(db *gorm.DB) error {
		page := db
		if after != (campaign.SuppressionKey{}) {
			page = page.Where("`address` >= ? AND (`address` > ? OR `scope` > ?)", after.Address, after.Address, after.Scope)
		}
		if address != "" {
			page = page.Where("`address` = ?", mailbox(address))
		}
		return page.Order("`address`, `scope`").Limit(limit).Find(&rows).Error
	})
	entries := make([]campaign.Suppression, len(rows))
	for i, row := range rows {
		entries[i] = campaign.Suppression{
			SuppressionKey: row.key(), Reason: campaign.SuppressionReason(row.Reason), Source: row.Source, CreatedAt: row.CreatedAt.Time,
		}
	}
	return entries, err
}

// Unsubscribe implements campaign.Suppressions.
func (s *Store) Unsubscribe(ctx context.Context, recipientID string, now time.Time) error {
	var rows []struct {
		Recipient recipientRow `gorm:"embedded"`
		Key       string       `gorm:"column:campaignKey"`
		ListID    string       `gorm:"column:listId"`
	}
	err := s.query(ctx, "looking for the recipient", func(db *gorm.DB) error {
		return db.Raw("SELECT r.`email`, r.`address`, c.`key` AS campaignKey, c.`listId` FROM `Recipient` r"+
			" JOIN `EmailJob` j ON j.`id` = r.`jobId` JOIN `Campaign` c ON c.`key` = j.`campaignKey` WHERE r.`id` = ?", recipientID).
			Scan(&rows).Error
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return campaign.ErrNotFound
	}
	row, err := newSuppressionRow(campaign.Suppression{
		SuppressionKey: campaign.SuppressionKey{Address: rows[0].Recipient.address(), Scope: rows[0].ListID},
		Reason:         campaign.SuppressedUnsubscribed, Source: rows[0].Key, CreatedAt: now,
	})
	if err != nil { // somebody has overwritten the address, to forget it
		return campaign.ErrNotFound
	}
	return s.write(ctx, "unsubscribing", func(tx *gorm.DB) error {
		_, err := insertSuppressions(tx, []suppressionRow{row})
		return err
	})
}
