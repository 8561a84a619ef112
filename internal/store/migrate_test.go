package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// onEach runs test on an empty database of each dialect.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	for _, engine := range []engine{engineSQLite, engineMySQL} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			test(t, openTest(t, emptyDatabase(t, engine)))
		})
	}
}

// emptyDatabase makes a database that is removed when the test ends, and returns its URL.
func emptyDatabase(t *testing.T, engine engine) string {
	t.Helper()
	if engine == engineSQLite {
		return "sqlite://" + filepath.Join(t.TempDir(), "cartero.db")
	}
	return emptyMySQL(t)
}

func openTest(t *testing.T, databaseURL string) *Store {
	t.Helper()
	return openAt(t, databaseURL, func() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) })
}

// openAt opens the database on a machine with this clock.
func openAt(t *testing.T, databaseURL string, clock func() time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), databaseURL, WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// emptyMySQL makes a database on the server of TEST_DATABASE_URL, and drops it when the test ends.
func emptyMySQL(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs MySQL or MariaDB")
	}
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run `make test`, which starts a MariaDB")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_DATABASE_URL is not a URL")
	}
	u.Path = "/information_schema"
	admin := openTest(t, u.String())
	name := "migrate_test_" + strings.ToLower(rand.Text())
	if _, err := admin.pool.ExecContext(t.Context(), "CREATE DATABASE "+name+" CHARACTER SET latin1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.pool.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// legacyTables creates the tables of an installation that runs the Node programs, with a row in each status.
func legacyTables(t *testing.T, s *Store) {
	t.Helper()
	statements := []string{}
	if s.engine == engineMySQL {
		text, err := os.ReadFile("testdata/tables.sql")
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(text), ";") {
			if strings.TrimSpace(statement) != "" {
				statements = append(statements, statement)
			}
		}
	} else {
		for _, table := range []string{"EmailJob", "Recipient"} {
			text, err := schemaFiles.ReadFile("schema/sqlite/" + table + ".sql")
			if err != nil {
				t.Fatal(err)
			}
			statements = append(statements, string(text))
		}
		statements = append(statements, "CREATE INDEX `Recipient_jobId_idx` ON `Recipient` (`jobId`)")
	}
	for _, status := range []string{"PENDING", "PROCESSING", "COMPLETED", "FAILED"} {
		statements = append(statements, fmt.Sprintf("INSERT INTO `EmailJob` (`id`, `subject`, `body`, `status`, `createdAt`)"+
			" VALUES ('job-%[1]s', 'Hi 🎉', '<p>Hi', '%[1]s', '2025-01-02 03:04:05.678')", status))
	}
	for _, status := range []string{"PENDING", "SENT", "FAILED"} {
		statements = append(statements, fmt.Sprintf("INSERT INTO `Recipient` (`id`, `jobId`, `email`, `name`, `status`, `sentAt`)"+
			" VALUES ('r-%[1]s', 'job-PROCESSING', 'ada@example.com', 'Zoë', '%[1]s', '2025-01-02 03:04:05.678')", status))
	}
	for _, statement := range statements {
		if _, err := s.pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%v: %s", err, statement)
		}
	}
}

// dump returns what the query yields, a row a line.
func dump(t *testing.T, s *Store, query string) []string {
	t.Helper()
	rows, err := s.pool.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		words := make([]string, len(cells))
		for i, cell := range cells {
			words[i] = cell.String
			if !cell.Valid {
				words[i] = "NULL"
			}
		}
		lines = append(lines, strings.Join(words, " | "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// shape describes tables, columns and indexes.
func shape(t *testing.T, s *Store) []string {
	t.Helper()
	if s.engine == engineSQLite {
		return dump(t, s, "SELECT m.tbl_name, m.name, p.name, p.type, p.\"notnull\", p.dflt_value FROM sqlite_master m"+
			" LEFT JOIN pragma_table_info(m.name) p ORDER BY 1, 2, 3")
	}
	columns := dump(t, s, "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLLATION_NAME"+
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2")
	indexes := dump(t, s, "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME"+
		" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2, 4")
	return append(columns, indexes...)
}

func versions(t *testing.T, s *Store) []string {
	t.Helper()
	return dump(t, s, "SELECT `version`, `name`, CAST(`appliedAt` AS CHAR) FROM `CarteroMigration` ORDER BY 1")
}

func migrateTest(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateFromEmptyAndAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		migrateTest(t, s)
		first, noted := shape(t, s), versions(t, s)
		if diff := cmp.Diff([]string{
			"1 | legacy tables | 2026-03-04 05:06:07.000",
			"2 | campaigns and delivery state | 2026-03-04 05:06:07.000",
			"3 | submissions | 2026-03-04 05:06:07.000",
			"4 | record of sends | 2026-03-04 05:06:07.000",
			"5 | steering | 2026-03-04 05:06:07.000",
			"6 | suppression | 2026-03-04 05:06:07.000",
			"7 | who opened a campaign | 2026-03-04 05:06:07.000",
		}, noted); diff != "" {
			t.Error(diff)
		}
		migrateTest(t, s)
		if diff := cmp.Diff(append(first, noted...), append(shape(t, s), versions(t, s)...)); diff != "" {
			t.Error(diff)
		}
	})
}

// From the tables of a running installation the schema becomes the same as from nothing, and no row changes.
func TestMigrateFromLegacyTables(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		legacyTables(t, s)
		queries := []string{
			"SELECT `id`, `subject`, `body`, `status`, `totalEmails`, CAST(`createdAt` AS CHAR), `startedAt` FROM `EmailJob` ORDER BY 1",
			"SELECT `id`, `jobId`, `email`, `name`, `status`, `error`, CAST(`sentAt` AS CHAR) FROM `Recipient` ORDER BY 1",
		}
		before := append(dump(t, s, queries[0]), dump(t, s, queries[1])...)
		migrateTest(t, s)
		if diff := cmp.Diff(before, append(dump(t, s, queries[0]), dump(t, s, queries[1])...)); diff != "" {
			t.Errorf("rows changed: %s", diff)
		}
		if len(before) != 7 {
			t.Errorf("got %d rows", len(before))
		}
		added := dump(t, s, "SELECT `campaignKey`, `rings`, `state`, `attempts`, `leaseToken` FROM `EmailJob` j"+
			" JOIN `Recipient` r ON r.`jobId` = j.`id`")
		row := "NULL | 0 | NULL | 0 | NULL"
		if diff := cmp.Diff([]string{row, row, row}, added); diff != "" {
			t.Errorf("added columns: %s", diff)
		}
	})
}

func TestMigratedLegacyTablesAreThoseOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	fresh, legacy := openTest(t, emptyMySQL(t)), openTest(t, emptyMySQL(t))
	legacyTables(t, legacy)
	before := shape(t, legacy)
	foreignKeys := "SELECT CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE, TABLE_NAME, REFERENCED_TABLE_NAME" +
		" FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()"
	migrateTest(t, fresh)
	migrateTest(t, legacy)
	if diff := cmp.Diff(shape(t, fresh), shape(t, legacy)); diff != "" {
		t.Errorf("the two schemas differ: %s", diff)
	}
	if diff := cmp.Diff(dump(t, fresh, foreignKeys), dump(t, legacy, foreignKeys)); diff != "" {
		t.Errorf("the foreign keys differ: %s", diff)
	}
	after := map[string]bool{}
	for _, line := range shape(t, fresh) {
		after[line] = true
	}
	for _, line := range before {
		if !after[line] {
			t.Errorf("no longer as in tables.sql: %s", line)
		}
	}
	// A legacy program's INSERT names none of the added columns: each must do without a value.
	for _, table := range []string{"EmailJob", "Recipient"} {
		query := "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '" +
			table + "' AND IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL ORDER BY 1"
		want := map[string][]string{"EmailJob": {"body", "id", "subject"}, "Recipient": {"email", "id", "jobId"}}[table]
		if diff := cmp.Diff(want, dump(t, fresh, query)); diff != "" {
			t.Errorf("required columns of %s: %s", table, diff)
		}
	}
}

// Cut short before each of its steps in turn, the migration ends as if it had never been.
func TestMigrateAfterACrash(t *testing.T) {
	errCut := errors.New("cut short")
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		legacyTables(t, s)
		crash := 0
		for ; ; crash++ {
			steps := 0
			s.beforeStep = func(string) error {
				if steps == crash {
					return errCut
				}
				steps++
				return nil
			}
			err := s.Migrate(t.Context())
			if err == nil {
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
		if crash < 5 {
			t.Errorf("%d steps were cut", crash)
		}
		fresh := openTest(t, emptyDatabase(t, s.engine))
		migrateTest(t, fresh)
		if diff := cmp.Diff(shape(t, fresh), shape(t, s)); diff != "" {
			t.Errorf("not the schema of an empty database: %s", diff)
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
		if got := versions(t, s); len(got) != schemaVersion() {
			t.Errorf("got versions %v", got)
		}
	})
}

// Killed between two DDL statements, MySQL keeps what was done before.
func TestMigrateFromEachPart(t *testing.T) {
	t.Parallel()
	url := emptyMySQL(t)
	s := openTest(t, url)
	migrateTest(t, s)
	want := shape(t, s)
	for _, statement := range []string{
		"ALTER TABLE `Recipient` DROP COLUMN `address`, DROP COLUMN `smtpCode`",
		"ALTER TABLE `EmailJob` DROP COLUMN `rungAt`, DROP INDEX `EmailJob_status_rungAt_idx`",
		"ALTER TABLE `Campaign` DROP COLUMN `owner`, DROP COLUMN `closesAt`, DROP COLUMN `steering`",
		"ALTER TABLE `Campaign` DROP COLUMN `listId`",
		"DROP TABLE `Suppression`",
		"DROP INDEX `FullMailbox_last_idx` ON `FullMailbox`",
		"DROP TABLE `Campaign`",
		"DROP TABLE `Lease`",
		"DROP INDEX `" + stateIndex + "` ON `Recipient`",
	} {
		for _, text := range []string{statement, "DELETE FROM `CarteroMigration` WHERE `version` >= 2"} {
			if _, err := s.pool.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CheckSchema(t.Context()); !errors.Is(err, ErrSchemaMismatch) {
			t.Errorf("got %v, want ErrSchemaMismatch", err)
		}
		migrateTest(t, s)
		if diff := cmp.Diff(want, shape(t, s)); diff != "" {
			t.Errorf("after %s: %s", statement, diff)
		}
	}
}

// A campaign of the version before is steered by nothing: it goes on as it was.
func TestMigrateFromBeforeSteering(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		migrateTest(t, s)
		want := shape(t, s)
		now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		if _, err := s.Open(t.Context(), campaign.Draft{Key: "a/b", Origin: campaign.OriginKubernetes, JobSize: 1, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
		before, err := s.Campaign(t.Context(), "a/b")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range steeringColumns(t) {
			exec(t, s, "ALTER TABLE `Campaign` DROP COLUMN `"+c+"`")
		}
		exec(t, s, "DELETE FROM `CarteroMigration` WHERE `version` >= 5")
		if err := s.CheckSchema(t.Context()); !errors.Is(err, ErrSchemaMismatch) {
			t.Errorf("got %v, want ErrSchemaMismatch", err)
		}
		migrateTest(t, s)
		if diff := cmp.Diff(want, shape(t, s)); diff != "" && s.engine == engineMySQL { // SQLite keeps the order of adding
			t.Errorf("the schema: %s", diff)
		}
		after, err := s.Campaign(t.Context(), "a/b")
		if diff := cmp.Diff(before, after); diff != "" || err != nil {
			t.Errorf("the campaign (error %v): %s", err, diff)
		}
	})
}

// steeringColumns are those that version 5 adds.
func steeringColumns(t *testing.T) []string {
	t.Helper()
	for _, m := range migrations {
		if m.version != 5 {
			continue
		}
		added, ok := m.steps[0].(addColumns)
		if !ok {
			t.Fatalf("version 5 begins with a %T", m.steps[0])
		}
		var names []string
		for _, c := range added.columns {
			names = append(names, c.name)
		}
		return names
	}
	t.Fatal("there is no version 5")
	return nil
}

func exec(t *testing.T, s *Store, statement string) {
	t.Helper()
	if _, err := s.pool.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%v: %s", err, statement)
	}
}

func TestMigrateTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for _, engine := range []engine{engineSQLite, engineMySQL} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			databaseURL := emptyDatabase(t, engine)
			var group sync.WaitGroup
			for range 4 {
				s := openTest(t, databaseURL)
				group.Go(func() {
					if err := s.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if got := versions(t, openTest(t, databaseURL)); len(got) != schemaVersion() {
				t.Errorf("got versions %v", got)
			}
		})
	}
}

func TestCheckSchema(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *Store) {
		t.Helper()
		check := func(err error, want SchemaError, advice string) {
			t.Helper()
			var got *SchemaError
			if !errors.As(err, &got) || !errors.Is(err, ErrSchemaMismatch) || *got != want || !strings.Contains(err.Error(), advice) {
				t.Errorf("got %v, want %+v", err, want)
			}
		}
		check(s.CheckSchema(t.Context()), SchemaError{Have: 0, Want: schemaVersion()}, "run `cartero migrate`")
		migrateTest(t, s)
		if _, err := s.pool.ExecContext(t.Context(), "INSERT INTO `CarteroMigration` VALUES (999, 'later', '2030-01-01 00:00:00')"); err != nil {
			t.Fatal(err)
		}
		newer := SchemaError{Have: 999, Want: schemaVersion()}
		check(s.CheckSchema(t.Context()), newer, "a newer cartero")
		check(s.Migrate(t.Context()), newer, "a newer cartero")
	})
}
