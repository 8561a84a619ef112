package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/retention"
)

// Each page is read by an index, however many rows the tables have: in the order of the index where it is read by time.
func TestMessagesAreReadByIndex(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		migrateTest(t, s)
		writeMessages(t, s, now)
		after := campaign.MessageCursor{At: now.Add(500 * time.Second), ID: "x"}
		for name, test := range map[string]struct {
			query campaign.MessageQuery
			want  string // a part of SQLite's plan
			rows  int    // the most that MySQL may read
		}{
			"by time": {
				query: campaign.MessageQuery{Limit: 10},
				want:  "USING INDEX " + attemptIndex, rows: 60,
			},
			"a later page of a time": {
				query: campaign.MessageQuery{Since: now.Add(time.Second), Until: now.Add(time.Hour), After: after, Limit: 10},
				want:  "USING INDEX " + attemptIndex + " (firstAttemptAt>? AND firstAttemptAt<?)", rows: 60,
			},
			"by recipient": {
				query: campaign.MessageQuery{Recipient: "ADA7@example.com", Limit: 10},
				want:  "USING INDEX " + emailIndex + " (email=?)", rows: 30,
			},
			"by recipient and time": {
				query: campaign.MessageQuery{Recipient: "ada7@example.com", Since: now, Limit: 10},
				want:  "USING INDEX " + emailIndex + " (email=?)", rows: 30,
			},
		} {
			if s.engine == engineMySQL {
				if n := rowsRead(t, s, func(tx *gorm.DB) error {
					rows, err := messageRows(tx, test.query)
					if err == nil && len(rows) == 0 {
						t.Errorf("%s: found none", name)
					}
					return err
				}); n > test.rows {
					t.Errorf("%s: %d rows were read for a page", name, n)
				}
				continue
			}
			source := messagesByTime
			if test.query.Recipient != "" {
				source = messagesByRecipient(s.db, test.query.Recipient)
			}
			statement, values := source.page(test.query)
			got := plan(t, s, statement, values...)
			if !strings.Contains(got, test.want) || test.query.Recipient == "" && strings.Contains(got, "TEMP B-TREE") {
				t.Errorf("%s: the plan is %s", name, got)
			}
		}
	})
}

func TestOldCampaignsAreReadByIndex(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		migrateTest(t, s)
		writeMessages(t, s, now)
		if s.engine != engineMySQL {
			got := plan(t, s, "SELECT `key` FROM `Campaign` WHERE `origin` = 'http' AND `sealedAt` < ? AND `sealedAt` >= ?"+
				" ORDER BY `sealedAt`, `key` LIMIT 9", at(now), at(now))
			if !strings.Contains(got, sealIndex+" (origin=? AND sealedAt>? AND sealedAt<?)") {
				t.Errorf("the plan is %s", got)
			}
			return
		}
		if n := rowsRead(t, s, func(tx *gorm.DB) error {
			_, err := oldCampaigns(tx, now.Add(time.Hour), retention.Position{SealedAt: now.Add(900 * time.Second)})
			return err
		}); n > 220 {
			t.Errorf("%d rows were read for a batch", n)
		}
	})
}

// writeMessages has a mail to a recipient of its own sent in each of 1,000 seconds.
func writeMessages(t *testing.T, s *Store, now time.Time) {
	t.Helper()
	for second := range 1000 {
		moment := now.Add(time.Duration(second) * time.Second)
		key := fmt.Sprintf("http/%d", second)
		err := s.write(t.Context(), "writing", func(tx *gorm.DB) error {
			rows, err := newSubmissionRows(campaign.Submission{
				Key: key, Recipients: []campaign.Recipient{{Address: fmt.Sprintf("ada%d@example.com", second)}}, CreatedAt: moment,
			}, &campaign.Lease{Token: key, Until: moment}, moment)
			if err != nil {
				return err
			}
			rows.recipients[0].FirstAttemptAt, rows.recipients[0].Attempts = at(moment), 1
			rows.recipients[0].Variables = nil
			if err := tx.Create(&rows.campaign).Error; err != nil {
				return err
			}
			if err := tx.Create(&rows.job).Error; err != nil {
				return err
			}
			return tx.Create(&rows.recipients).Error
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rowsRead is how many rows, or entries of an index, the server read for do.
func rowsRead(t *testing.T, s *Store, do func(tx *gorm.DB) error) int {
	t.Helper()
	total := 0
	err := s.db.WithContext(t.Context()).Connection(func(conn *gorm.DB) error {
		if err := conn.Exec("FLUSH LOCAL STATUS").Error; err != nil {
			return err
		}
		if err := do(conn); err != nil {
			return err
		}
		var status []struct {
			Name  string `gorm:"column:Variable_name"`
			Value int    `gorm:"column:Value"`
		}
		err := conn.Raw("SHOW SESSION STATUS LIKE 'Handler_read%'").Scan(&status).Error
		for _, line := range status {
			total += line.Value
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// plan is what SQLite means to do.
func plan(t *testing.T, s *Store, statement string, values ...any) string {
	t.Helper()
	var steps []struct {
		Detail string `gorm:"column:detail"`
	}
	if err := s.db.WithContext(t.Context()).Raw("EXPLAIN QUERY PLAN "+statement, values...).Scan(&steps).Error; err != nil {
		t.Fatal(err)
	}
	var details []string
	for _, step := range steps {
		details = append(details, step.Detail)
	}
	return strings.Join(details, "; ")
}
