package store

import (
	"context"
	"crypto/sha1" //nolint:gosec // for a name
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

//go:embed schema
var schemaFiles embed.FS

// ErrSchemaMismatch means that the schema of the database is not the one that this program works with. What wraps it is
// a *SchemaError.
var ErrSchemaMismatch = errors.New("the schema of the database does not fit this version of cartero")

// SchemaError says which schema the database has and which one this program needs.
type SchemaError struct {
	// Have is the version in the database, 0 for none; Want is the program's.
	Have, Want int
}

// Error implements error; it says what to do.
func (e *SchemaError) Error() string {
	todo := "run `cartero migrate`"
	if e.Have > e.Want {
		todo = "a newer cartero wrote it, use that version"
	}
	return fmt.Sprintf("%v: it has version %d, want %d: %s", ErrSchemaMismatch, e.Have, e.Want, todo)
}

// Unwrap makes errors.Is find ErrSchemaMismatch.
func (e *SchemaError) Unwrap() error { return ErrSchemaMismatch }

// migration is one version of the schema.
type migration struct {
	version int
	name    string
	steps   []step
}

// step is one change. MySQL commits after every DDL statement, so that a step finds out what is already there.
type step interface {
	fmt.Stringer
	apply(tx *gorm.DB, in inspector) error
}

// Migrate brings the schema to the version of this program, from an empty database or from one that holds the tables of
// the legacy programs. It may be repeated after a crash at any point, and run by several processes at once. It refuses a
// newer schema with a *SchemaError.
func (s *Store) Migrate(ctx context.Context) error {
	const what = "migrating the schema"
	if s.engine == engineSQLite {
		return s.write(ctx, what, s.migrate)
	}
	return repeat(ctx, what, func() error {
		return s.db.WithContext(ctx).Connection(func(conn *gorm.DB) error {
			lock, err := lockMigrations(ctx, conn)
			if err != nil {
				return err
			}
			err = conn.Exec("SET SESSION lock_wait_timeout = ?, SESSION innodb_lock_wait_timeout = ?", tableWait, tableWait).Error
			if err == nil {
				err = s.migrate(conn)
			}
			// Also where ctx ended meanwhile: the connection goes back to the pool.
			conn = conn.WithContext(context.WithoutCancel(ctx))
			return errors.Join(err,
				conn.Exec("SET SESSION lock_wait_timeout = DEFAULT, SESSION innodb_lock_wait_timeout = DEFAULT").Error,
				conn.Exec("DO RELEASE_LOCK(?)", lock).Error)
		})
	})
}

// lockMigrations waits until no other process migrates this database, and returns the name of the lock.
func lockMigrations(ctx context.Context, conn *gorm.DB) (lock string, err error) {
	var database string
	if err := conn.Raw("SELECT DATABASE()").Scan(&database).Error; err != nil {
		return "", fmt.Errorf("locking: %w", err)
	}
	// The names of locks are the server's, and have up to 64 characters. It is made here: MySQL 9 has no SHA1() any more.
	sum := sha1.Sum([]byte(database)) //nolint:gosec // a name, which earlier versions have too
	lock = "cartero." + hex.EncodeToString(sum[:])[:32]
	for {
		var got *int
		if err := conn.Raw("SELECT GET_LOCK(?, 5)", lock).Scan(&got).Error; err != nil {
			return "", fmt.Errorf("locking: %w", err)
		}
		if deref(got) == 1 {
			return lock, nil
		}
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("waiting for another process that migrates: %w", err)
		}
	}
}

func (s *Store) migrate(tx *gorm.DB) error {
	in := inspector{s.engine}
	if err := s.step(tx, in, createTable{"CarteroMigration"}); err != nil {
		return err
	}
	have, err := currentVersion(tx)
	if err != nil {
		return err
	}
	if have > schemaVersion() {
		return &SchemaError{Have: have, Want: schemaVersion()}
	}

	for _, m := range migrations {
		if m.version <= have {
			continue
		}
		for _, step := range m.steps {
			if err := s.step(tx, in, step); err != nil {
				return fmt.Errorf("version %d (%s): %w", m.version, m.name, err)
			}
		}
		err := tx.Exec("INSERT INTO `CarteroMigration` (`version`, `name`, `appliedAt`) VALUES (?, ?, ?)",
			m.version, m.name, at(s.Now())).Error
		if err != nil {
			return fmt.Errorf("version %d: noting it: %w", m.version, err)
		}
	}
	return nil
}

func (s *Store) step(tx *gorm.DB, in inspector, step step) error {
	if s.beforeStep != nil {
		if err := s.beforeStep(step.String()); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		err := step.apply(tx, in)
		if err == nil {
			return nil
		}
		busy := s.engine == engineMySQL && worthRepeatingStep(err)
		if !busy || try == tableTries || !pause(tx.Statement.Context, tablePause) {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
}

// A change of a table waits for the transactions that use it or the table that refers to it, and whoever comes later
// waits behind it: among them such a transaction itself, if it goes on to the other table. So the change waits for
// tableWait seconds only, less than programs on the same tables have patience, lets them go, and tries again.
const (
	tableWait  = 1
	tableTries = 30
	tablePause = time.Second
)

func worthRepeatingStep(err error) bool {
	code := mysqlCode(err)
	return code == mysqlLockTimeout || code == mysqlDeadlock
}

func currentVersion(tx *gorm.DB) (int, error) {
	var version *int
	if err := tx.Raw("SELECT MAX(`version`) FROM `CarteroMigration`").Scan(&version).Error; err != nil {
		return 0, fmt.Errorf("reading the version of the schema: %w", err)
	}
	return deref(version), nil
}

// CheckSchema fails with a *SchemaError, which is ErrSchemaMismatch, if the database has not the schema that this
// program works with.
func (s *Store) CheckSchema(ctx context.Context) error {
	have := 0
	err := s.query(ctx, "checking the schema", func(db *gorm.DB) error {
		there, err := inspector{s.engine}.hasTable(db, "CarteroMigration")
		if err != nil || !there {
			return err
		}
		have, err = currentVersion(db)
		return err
	})
	if err != nil {
		return err
	}
	if have != schemaVersion() {
		return &SchemaError{Have: have, Want: schemaVersion()}
	}
	return nil
}

// createTable makes a table from its file, unless it is there.
type createTable struct{ table string }

func (c createTable) String() string { return "creating table " + c.table }

func (c createTable) apply(tx *gorm.DB, in inspector) error {
	there, err := in.hasTable(tx, c.table)
	if err != nil || there {
		return err
	}
	statement, err := schemaFiles.ReadFile("schema/" + string(in.engine) + "/" + c.table + ".sql")
	if err != nil {
		return fmt.Errorf("reading its definition: %w", err)
	}
	return tx.Exec(string(statement)).Error
}

// column is a column to add, with its definition in each dialect.
type column struct{ name, mysql, sqlite string }

// addColumns adds the columns that a table lacks.
type addColumns struct {
	table   string
	columns []column
}

func (a addColumns) String() string { return "adding columns to table " + a.table }

// apply adds all of them in one statement on MySQL: a server that can't add a column instantly rebuilds the table once.
func (a addColumns) apply(tx *gorm.DB, in inspector) error {
	there, err := in.columns(tx, a.table)
	if err != nil {
		return err
	}
	var clauses []string
	for _, c := range a.columns {
		if there[c.name] {
			continue
		}
		definition := c.mysql
		if in.engine == engineSQLite {
			definition = c.sqlite
		}
		clauses = append(clauses, "ADD COLUMN `"+c.name+"` "+definition)
	}
	if len(clauses) == 0 {
		return nil
	}

	statements := []string{strings.Join(clauses, ", ")}
	if in.engine == engineSQLite { // one column a statement
		statements = clauses
	}
	for _, statement := range statements {
		if err := tx.Exec("ALTER TABLE `" + a.table + "` " + statement).Error; err != nil {
			return err
		}
	}
	return nil
}

// createIndex makes an index, unless it is there. InnoDB builds it while the table is read and written.
type createIndex struct {
	table, name, columns string
	unique               bool
	// sqlite is the columns and the condition of the index in SQLite, where they differ: it can leave rows out.
	sqlite string
}

func (c createIndex) String() string { return "creating index " + c.name }

func (c createIndex) apply(tx *gorm.DB, in inspector) error {
	there, err := in.hasIndex(tx, c.table, c.name)
	if err != nil || there {
		return err
	}
	kind := "INDEX"
	if c.unique {
		kind = "UNIQUE INDEX"
	}
	what := "(" + c.columns + ")"
	if in.engine == engineSQLite && c.sqlite != "" {
		what = c.sqlite
	}
	return tx.Exec("CREATE " + kind + " `" + c.name + "` ON `" + c.table + "` " + what).Error
}
