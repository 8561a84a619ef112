package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// WeakSettings are those settings of the server, as name=value, with which it may forget what it has confirmed when its machine
// dies: innodb_flush_log_at_trx_commit other than 1, and sync_binlog other than 1 where there is a binary log, from which
// replicas and point-in-time recovery are made. Cartero's own SQLite files are always synchronised.
func (s *Store) WeakSettings(ctx context.Context) ([]string, error) {
	if s.engine == engineSQLite {
		return nil, nil
	}
	var now struct{ Flush, Binlog, Sync int }
	err := s.query(ctx, "reading the server's settings", func(db *gorm.DB) error {
		return db.Raw("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS `flush`, @@GLOBAL.log_bin AS `binlog`, " +
			"@@GLOBAL.sync_binlog AS `sync`").Scan(&now).Error
	})
	if err != nil {
		return nil, err
	}
	var weak []string
	if now.Flush != 1 {
		weak = append(weak, fmt.Sprintf("innodb_flush_log_at_trx_commit=%d", now.Flush))
	}
	if now.Binlog == 1 && now.Sync != 1 {
		weak = append(weak, fmt.Sprintf("sync_binlog=%d", now.Sync))
	}
	return weak, nil
}
