package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
)

const (
	// maxTries is how often a transaction is tried: deadlocks and lost connections pass in a moment, outages don't.
	maxTries = 6
	// firstPause is the longest wait before the second try; it doubles with each try.
	firstPause = 10 * time.Millisecond
	// callLimit bounds one try: a server that took a statement and fell silent, its machine gone without a word, is a lost
	// connection, however long TCP believes in it. Migrations have no such limit.
	callLimit = 5 * time.Minute
	// idChunk bounds the ids of one statement. MariaDB turns lists from 1,000 values on into a subquery.
	idChunk = 500
)

// write runs do in a transaction, and again from its start after a deadlock, a busy database or a lost connection. what
// says what was being done, for the error. One that a commit went out before, whose reply never came, is errUncertain.
func (s *Store) write(ctx context.Context, what string, do func(tx *gorm.DB) error) error {
	unanswered := false
	err := repeat(ctx, what, func() error {
		release, err := s.acquireWriter(ctx)
		if err != nil {
			return err
		}
		defer release()
		committing := false
		err = s.within(ctx, func(ctx context.Context) error {
			return s.db.WithContext(ctx).Transaction(interrupted(what, do, &committing))
		})
		err = afterCommit(what, err)
		unanswered = unanswered || err != nil && committing && mysqlCode(err) == 0 && sqliteCode(err) == 0
		return err
	})
	if err != nil && unanswered && (IsUnavailable(err) || ctx.Err() != nil) { // a try that went on found nothing written
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	return err
}

// uncertain has those outside of the store tell an error of write that means that it may have been carried out.
func uncertain(err error) error {
	if errors.Is(err, errUncertain) {
		return fmt.Errorf("%w: %w", campaign.ErrUncertain, err)
	}
	return err
}

// afterCommit is the failpoint behind a transaction that went well. Written where a call is deferred, it would leave its name
// in every binary.
func afterCommit(what string, err error) error {
	if err != nil {
		return err
	}
	return failpoint.HitFor(failpoint.StoreCommitted, what)
}

// interrupted runs do up to the failpoint before its commit, and notes that the commit is next.
func interrupted(what string, do func(tx *gorm.DB) error, committing *bool) func(tx *gorm.DB) error {
	return func(tx *gorm.DB) error {
		if err := do(tx); err != nil {
			return err
		}
		if err := aboutToCommit(what); err != nil {
			return err
		}
		*committing = true
		return nil
	}
}

// aboutToCommit is a failpoint in a function of its own, as afterCommit.
func aboutToCommit(what string) error { return failpoint.HitFor(failpoint.StoreBeforeCommit, what) }

// read runs do in one snapshot of the database, so that its queries agree with each other.
func (s *Store) read(ctx context.Context, what string, do func(tx *gorm.DB) error) error {
	options := &sql.TxOptions{ReadOnly: true}
	if s.engine == engineMySQL {
		options.Isolation = sql.LevelRepeatableRead
	}
	return repeat(ctx, what, func() error {
		return s.within(ctx, func(ctx context.Context) error { return s.db.WithContext(ctx).Transaction(do, options) })
	})
}

// query runs do outside of any transaction: one statement that reads.
func (s *Store) query(ctx context.Context, what string, do func(db *gorm.DB) error) error {
	return repeat(ctx, what, func() error {
		return s.within(ctx, func(ctx context.Context) error { return do(s.db.WithContext(ctx)) })
	})
}

// within gives a call to MySQL callLimit.
func (s *Store) within(ctx context.Context, call func(ctx context.Context) error) error {
	if s.engine == engineSQLite { // a file does not fall silent, and its migrations are writes
		return call(ctx)
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.callLimit, errSilent)
	defer cancel()
	err := call(limited)
	if err != nil && context.Cause(limited) == errSilent { //nolint:errorlint // the very value that was given
		return fmt.Errorf("%w (%w)", errSilent, err)
	}
	return err
}

func (s *Store) acquireWriter(ctx context.Context) (release func(), err error) {
	if s.writer == nil {
		return func() {}, nil
	}
	select {
	case s.writer <- struct{}{}:
		return func() { <-s.writer }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func repeat(ctx context.Context, what string, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil {
			return nil
		}
		if try == maxTries || !worthRepeating(err) || !pause(ctx, firstPause<<(try-1)) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// pause waits for a random part of longest; it returns false if ctx ended first.
func pause(ctx context.Context, longest time.Duration) bool {
	timer := time.NewTimer(rand.N(longest)) //nolint:gosec // jitter, no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// forUpdate locks the rows that a query returns against every other writer, until the transaction ends.
func forUpdate(tx *gorm.DB) *gorm.DB {
	return tx.Clauses(clause.Locking{Strength: "UPDATE"})
}

// forShare locks the rows that a query returns against changes, until the transaction ends.
func forShare(tx *gorm.DB) *gorm.DB {
	return tx.Clauses(clause.Locking{Strength: "SHARE"})
}

// byState marks, behind a table in a query, that it is to be read by the index of states. MySQL and MariaDB would often
// take the legacy index on jobId alone, and read every row of the job.
const byState = "/*by state*/"

// byID marks, behind a table in a statement that gives a range of ids, that it is to be read in the order of ids.
const byID = "/*by id*/"

// lockRows marks, at the end of a query, that its rows are locked until the transaction ends. SQLite has one writer anyway.
const lockRows = "/*lock*/"

// marks are what the marks mean to MySQL.
var marks = strings.NewReplacer(byState, "FORCE INDEX (`"+stateIndex+"`)", byID, "FORCE INDEX (PRIMARY)", lockRows, "FOR UPDATE")

// hinted returns the query with its marks in the dialect of tx. SQLite needs none.
func hinted(tx *gorm.DB, query string) string {
	if tx.Name() != string(engineMySQL) {
		return query
	}
	return marks.Replace(query)
}
