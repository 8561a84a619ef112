package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWeakSettings: what is told is what the server has. SQLite has nothing to tell.
func TestWeakSettings(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	db := mysqlDatabase(t)
	var flush, binlog, sync string
	err := db.sql.QueryRowContext(t.Context(), "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog").
		Scan(&flush, &binlog, &sync)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if flush != "1" {
		want = append(want, "innodb_flush_log_at_trx_commit="+flush)
	}
	if binlog == "1" && sync != "1" {
		want = append(want, "sync_binlog="+sync)
	}
	got, err := open(t, db).WeakSettings(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("WeakSettings (-want +got):\n%s, %v", diff, err)
	}
	if slices.ContainsFunc(got, func(s string) bool { return !strings.Contains(s, "=") }) {
		t.Errorf("not every one has a value: %q", got)
	}
}
