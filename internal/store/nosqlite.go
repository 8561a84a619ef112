//go:build nodev

package store

import (
	"context"
	"database/sql"
	"fmt"

	"gorm.io/gorm"
)

// openSQLite refuses: SQLite serves the development stack, where everything is one process. Builds without that stack,
// such as the container image, run as several processes and are 4 MB smaller without it.
func openSQLite(context.Context, target) (*sql.DB, gorm.Dialector, error) {
	return nil, nil, fmt.Errorf("%w: this build has no SQLite, which is for `cartero dev`: use mysql://", ErrBadURL)
}

// sqliteCode returns SQLite's primary result code: none here.
func sqliteCode(error) int { return 0 }
