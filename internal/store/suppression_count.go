package store

import (
	"context"
	"slices"

	"gorm.io/gorm"
)

// suppressionQuery is about the number of addresses that one query asks for.
const suppressionQuery = 500

// CountSuppressed returns how many of these addresses, each counted once, are on the list for mails to the list with this
// id; empty for none. Addresses may be written in any case.
func (s *Store) CountSuppressed(ctx context.Context, listID string, addresses []string) (int, error) {
	compared := make([]string, len(addresses))
	for i, address := range addresses {
		compared[i] = mailbox(address)
	}
	slices.Sort(compared)
	compared = slices.Compact(compared)
	total := 0
	err := s.query(ctx, "counting suppressed addresses", func(db *gorm.DB) error {
		total = 0
		for some := range slices.Chunk(compared, suppressionQuery) {
			var found int64
			err := db.Model(&suppressionRow{}).Where("`address` IN ? AND `scope` IN ?", some, scopesOf(listID)).
				Distinct("address").Count(&found).Error
			if err != nil {
				return err
			}
			total += int(found)
		}
		return nil
	})
	return total, err
}
