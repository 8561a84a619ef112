// Package store is the memory of Cartero in MySQL, MariaDB or SQLite: campaigns, jobs, recipients, leases and results.
// One *Store serves the loader, the worker, the outbox and the facade; the same code runs on every dialect.
//
// Writes that depend on what a row says lock the row, decide in Go, and write by primary key. All of them may be
// repeated: a call whose outcome is unknown, because the connection died before the reply, is simply made again.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/worker"
)

var (
	_ campaign.Ledger = (*Store)(nil)
	_ worker.Store    = (*Store)(nil)
	_ outbox.Store    = (*Store)(nil)
)

// Store is a database. It is safe for concurrent use; several processes may share one database, a SQLite file too.
type Store struct {
	db     *gorm.DB
	pool   *sql.DB
	engine engine
	clock  *clock
	// callLimit is the constant, but in tests.
	callLimit time.Duration
	// writer holds one token: SQLite has one writer at a time, and waiting here is cheaper than polling its lock. It
	// is nil on MySQL.
	writer chan struct{}
	// beforeStep is called before each migration step; tests cut a migration short with it.
	beforeStep func(step string) error
}

// engine is the family of the database.
type engine string

const (
	engineMySQL  engine = "mysql" // MariaDB too
	engineSQLite engine = "sqlite"
)

// Option changes how a Store works.
type Option func(*Store)

// WithClock makes now the machine's clock, from which Now goes on between two calls of Time. The default is time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *Store) { s.clock = newClock(now) }
}

// Open returns a Store on the database that databaseURL names, in the form of the variable DATABASE_URL:
// mysql://user:password@host:port/database with Prisma's parameters, or sqlite://path. It fails if the URL is not
// valid; no error holds its password. On MySQL it doesn't connect yet, Ping does.
func Open(ctx context.Context, databaseURL string, options ...Option) (*Store, error) {
	s := &Store{clock: newClock(time.Now), callLimit: callLimit}
	for _, option := range options {
		option(s)
	}

	target, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	s.engine = target.engine
	var dialector gorm.Dialector
	if target.engine == engineSQLite {
		s.writer = make(chan struct{}, 1)
		s.pool, dialector, err = openSQLite(ctx, target)
	} else {
		s.pool, dialector, err = openMySQL(target)
	}
	if err != nil {
		return nil, err
	}

	s.db, err = gorm.Open(dialector, &gorm.Config{
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		TranslateError:         true,
		NowFunc:                func() time.Time { return s.Now().UTC().Truncate(time.Millisecond) },
		Logger:                 logger.Discard, // statements hold addresses; errors are returned
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), s.pool.Close())
	}
	return s, nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.PingContext(ctx); err != nil {
		return fmt.Errorf("reaching the database: %w", err)
	}
	return nil
}

// Close ends the connections.
func (s *Store) Close() error {
	if err := s.pool.Close(); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}
