package store

import (
	"fmt"

	"gorm.io/gorm"
)

// inspector asks a database what it holds.
type inspector struct{ engine engine }

func (in inspector) hasTable(db *gorm.DB, table string) (bool, error) {
	statement := "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?"
	if in.engine == engineSQLite {
		statement = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	}
	return found(db, statement, table)
}

func (in inspector) hasIndex(db *gorm.DB, table, index string) (bool, error) {
	statement := "SELECT COUNT(*) FROM information_schema.STATISTICS" +
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = ?"
	if in.engine == engineSQLite {
		statement = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name = ?"
	}
	return found(db, statement, table, index)
}

func (in inspector) columns(db *gorm.DB, table string) (map[string]bool, error) {
	statement := "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?"
	if in.engine == engineSQLite {
		statement = "SELECT name FROM pragma_table_info(?)"
	}
	var names []string
	if err := db.Raw(statement, table).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("listing the columns of %s: %w", table, err)
	}
	columns := make(map[string]bool, len(names))
	for _, name := range names {
		columns[name] = true
	}
	return columns, nil
}

func found(db *gorm.DB, statement string, values ...any) (bool, error) {
	var n int
	if err := db.Raw(statement, values...).Scan(&n).Error; err != nil {
		return false, fmt.Errorf("inspecting the schema: %w", err)
	}
	return n > 0, nil
}
