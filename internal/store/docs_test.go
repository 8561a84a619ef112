package store

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// The queries that the documentation gives to people run on each dialect, as they stand there.
func TestDocumentedQueriesRun(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		migrateTest(t, s)
		writeMessages(t, s, time.Date(2026, 3, 1, 5, 6, 7, 0, time.UTC))
		for _, page := range []string{"records.md", "database.md", "reliability.md"} {
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
			if err != nil {
				t.Fatal(err)
			}
			blocks := sqlBlock.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Errorf("%s has no queries", page)
			}
			for _, block := range blocks {
				query := strings.TrimSpace(block[1])
				if strings.HasPrefix(query, "-- SQLite") && s.engine != engineSQLite || strings.HasPrefix(query, "-- MySQL") && s.engine == engineSQLite {
					continue
				}
				for statement := range strings.SplitSeq(query, ";\n") {
					dump(t, s, strings.TrimSuffix(statement, ";"))
				}
			}
		}
		if s.engine == engineSQLite {
			statement := "SELECT 1 FROM Recipient r WHERE r.email = 'Ana@example.com' COLLATE NOCASE AND (r.attempts > 0 OR r.status <> 'PENDING')"
			if got := plan(t, s, statement); !strings.Contains(got, emailIndex) {
				t.Errorf("the plan is %s", got)
			}
		}
	})
}
