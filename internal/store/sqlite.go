//go:build !nodev

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"modernc.org/sqlite" // registers the driver "sqlite" too, which needs no cgo
)

func openSQLite(ctx context.Context, t target) (*sql.DB, gorm.Dialector, error) {
	path, err := filepath.Abs(t.path)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the SQLite file: %w", err)
	}
	// Made here because SQLite would make it readable for everybody, and it holds addresses.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the SQLite file: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, nil, fmt.Errorf("opening the SQLite file: %w", err)
	}

	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_txlock": {"immediate"}, // take the write lock at BEGIN: upgrading a read lock later can only fail
		"_pragma": {
			"busy_timeout(10000)", // first, so that setting the others waits too
			"journal_mode(WAL)",
			"synchronous(FULL)", // a commit survives the loss of power
			"foreign_keys(ON)",
			"temp_store(MEMORY)",       // what undoes a statement half done would be a file: it is a few pages
			"cache_size(-8192)",        // KiB, at most, for each connection
			"wal_autocheckpoint(4000)", // pages, 16 MB: one that many commits change is written once to the file
		},
	}.Encode()}
	pool, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, nil, fmt.Errorf("opening the SQLite file: %w", err)
	}
	pool.SetMaxOpenConns(t.connections)
	pool.SetMaxIdleConns(t.connections)
	if err := pool.PingContext(ctx); err != nil {
		_ = pool.Close()
		return nil, nil, fmt.Errorf("opening the SQLite file: %w", err)
	}
	return pool, gormsqlite.New(gormsqlite.Config{DriverName: "sqlite", Conn: pool}), nil
}

// sqliteCode returns SQLite's primary result code, or 0.
func sqliteCode(err error) int {
	if refusal := (*sqlite.Error)(nil); errors.As(err, &refusal) {
		return refusal.Code() & 0xff // the rest is the extended code
	}
	return 0
}
