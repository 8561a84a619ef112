package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// fullMailboxRow is a row of FullMailbox.
type fullMailboxRow struct {
	Address  string `gorm:"column:address;primaryKey"`
	Refusals int    `gorm:"column:refusals"`
	Since    stamp  `gorm:"column:since"`
	Last     stamp  `gorm:"column:last"`
}

// TableName implements gorm's schema.Tabler.
func (fullMailboxRow) TableName() string { return "FullMailbox" }

// forgetRows bounds the old rows of FullMailbox that one write removes.
const forgetRows = 100

// feedSuppressions puts on the list whom these results, which are being recorded, say to put there. Where nobody's mailbox
// is at fault, it asks the database nothing.
func feedSuppressions(tx *gorm.DB, changed []recipientRow, results map[string]*campaign.Result) error {
	var blamed []recipientRow
	for _, row := range changed {
		result := results[row.ID]
		if _, hard := result.HardBounce(); hard || result.FullMailbox() {
			blamed = append(blamed, row)
		}
	}
	if len(blamed) == 0 {
		return nil
	}
	keys, err := suppressingCampaigns(tx, jobsOf(blamed))
	if err != nil {
		return err
	}
	var entries []suppressionRow
	full := map[string]time.Time{} // when, by address
	source := map[string]string{}
	for _, row := range blamed {
		key, ok := keys[row.JobID]
		address := mailbox(row.address())
		if !ok || !strings.Contains(address, "@") {
			continue
		}
		result := results[row.ID]
		if reason, hard := result.HardBounce(); hard {
			entries = append(entries, suppressionRow{Address: address, Reason: string(reason), Source: key, CreatedAt: at(result.At)})
			continue
		}
		full[address], source[address] = result.At, key
	}
	lasting, err := noteFullMailboxes(tx, full)
	if err != nil {
		return err
	}
	for _, address := range lasting {
		entries = append(entries, suppressionRow{
			Address: address, Reason: string(campaign.SuppressedMailboxFull), Source: source[address], CreatedAt: at(full[address]),
		})
	}
	_, err = insertSuppressions(tx, entries)
	return err
}

// suppressingCampaigns returns the keys of those of the jobs' campaigns that respect the list, by job.
func suppressingCampaigns(tx *gorm.DB, jobs []string) (map[string]string, error) {
	var rows []struct {
		ID  string `gorm:"column:id"`
		Key string `gorm:"column:campaignKey"`
	}
	err := tx.Raw("SELECT j.`id`, j.`campaignKey` FROM `EmailJob` j JOIN `Campaign` c ON c.`key` = j.`campaignKey`"+
		" WHERE j.`id` IN ? AND c.`suppress` = TRUE", jobs).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("looking whether campaigns respect the suppression list: %w", err)
	}
	keys := make(map[string]string, len(rows))
	for _, row := range rows {
		keys[row.ID] = row.Key
	}
	return keys, nil
}

// noteFullMailboxes counts one more refusal of each of the mailboxes, and returns those that have been full for so long
// that they are to be suppressed.
func noteFullMailboxes(tx *gorm.DB, full map[string]time.Time) (lasting []string, err error) {
	if len(full) == 0 {
		return nil, nil
	}
	addresses := make([]string, 0, len(full))
	var now time.Time
	for address, at := range full {
		addresses = append(addresses, address)
		if at.After(now) {
			now = at
		}
	}
	slices.Sort(addresses)
	before := map[string]campaign.Fullness{}
	err = eachChunk(addresses, func(addresses []string) error {
		var rows []fullMailboxRow
		err := forUpdate(tx).Where("`address` IN ?", addresses).Order("`address`").Find(&rows).Error
		for _, row := range rows {
			before[row.Address] = campaign.Fullness{Refusals: row.Refusals, Since: row.Since.Time, Last: row.Last.Time}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading full mailboxes: %w", err)
	}
	for _, address := range addresses {
		was, accepted := before[address], stamp{}
		if was.Refusals > 0 {
			if accepted, err = lastAccepted(tx, address, was.Last); err != nil {
				return nil, err
			}
		}
		is := was.Refused(full[address], accepted.Time)
		if is.Lasting() {
			lasting = append(lasting, address)
			err = tx.Where("`address` = ?", address).Delete(&fullMailboxRow{}).Error
		} else {
			err = tx.Clauses(clause.OnConflict{UpdateAll: true}).
				Create(&fullMailboxRow{Address: address, Refusals: is.Refusals, Since: at(is.Since), Last: at(is.Last)}).Error
		}
		if err != nil {
			return nil, fmt.Errorf("noting full mailboxes: %w", err)
		}
	}
	return lasting, forgetFullMailboxes(tx, now)
}

// lastAccepted is when a mail to the address was last accepted since then, whoever sent it; NULL if none was. What the
// database compares addresses by is coarser than what the list does: that only ever keeps a mailbox off the list.
func lastAccepted(tx *gorm.DB, address string, since time.Time) (stamp, error) {
	statement := "SELECT MAX(`sentAt`) AS at FROM `Recipient` FORCE INDEX (`" + emailIndex + "`) WHERE `email` = ?"
	if tx.Name() != string(engineMySQL) { // its index leaves rows out
		statement = "SELECT MAX(`sentAt`) AS at FROM `Recipient` WHERE `email` COLLATE NOCASE = ? AND (`attempts` > 0 OR `status` <> 'PENDING')"
	}
	var found struct {
		At stamp `gorm:"column:at"`
	}
	err := tx.Raw(statement+" AND `status` = 'SENT' AND `sentAt` >= ?", address, at(since)).Scan(&found).Error
	if err != nil {
		return stamp{}, fmt.Errorf("looking for accepted mails: %w", err)
	}
	return found.At, nil
}

// forgetFullMailboxes removes some of those that nobody was refused at for campaign.FullMemory.
func forgetFullMailboxes(tx *gorm.DB, now time.Time) error {
	var old []string
	err := tx.Model(&fullMailboxRow{}).Where("`last` < ?", at(now.Add(-campaign.FullMemory))).Limit(forgetRows).Pluck("address", &old).Error
	if err == nil && len(old) > 0 {
		err = tx.Where("`address` IN ?", old).Delete(&fullMailboxRow{}).Error
	}
	if err != nil {
		return fmt.Errorf("forgetting full mailboxes: %w", err)
	}
	return nil
}
