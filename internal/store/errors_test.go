package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"gorm.io/gorm"
)

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		err         error
		want, again bool
	}{
		{"nothing", nil, false, false},
		{"a fault of the program", errors.New("boom"), false, false},
		{"no connection", &net.OpError{Op: "dial", Err: errors.New("connection refused")}, true, false},
		{"a lost connection", mysql.ErrInvalidConn, true, true},
		{"a stale connection", driver.ErrBadConn, true, true},
		{"a cut stream", io.ErrUnexpectedEOF, true, false},
		{"too slow", context.DeadlineExceeded, true, false},
		{"we were told to stop", context.Canceled, false, false},
		{"deadlock", &mysql.MySQLError{Number: 1213}, true, true},
		{"lock timeout", &mysql.MySQLError{Number: 1205}, true, true},
		{"too many connections", &mysql.MySQLError{Number: 1040}, true, false},
		{"wrong password", &mysql.MySQLError{Number: 1045}, true, false},
		{"read-only", &mysql.MySQLError{Number: 1290}, true, false},
		{"disk full", &mysql.MySQLError{Number: 1114}, true, false},
		{"no such table", &mysql.MySQLError{Number: 1146}, false, false},
		{"too long", &mysql.MySQLError{Number: 1406}, false, false},
	} {
		err := tc.err
		if err != nil {
			err = fmt.Errorf("doing something: %w", err)
		}
		if got := IsUnavailable(err); got != tc.want {
			t.Errorf("%s: unavailable is %t", tc.name, got)
		}
		if got := worthRepeating(err); got != tc.again {
			t.Errorf("%s: worth repeating is %t", tc.name, got)
		}
	}
}

// A busy file is waited for, and a transaction is made again from its start.
func TestWriteRepeats(t *testing.T) {
	t.Parallel()
	s := openTest(t, "sqlite://"+filepath.Join(t.TempDir(), "cartero.db"))
	migrateTest(t, s)
	for _, tc := range []struct {
		name  string
		err   error
		tries int
	}{
		{"lost connection", mysql.ErrInvalidConn, maxTries},
		{"deadlock", &mysql.MySQLError{Number: 1213}, maxTries},
		{"fault", errors.New("boom"), 1},
	} {
		tries := 0
		err := s.write(t.Context(), "trying", func(*gorm.DB) error { tries++; return tc.err })
		if !errors.Is(err, tc.err) || tries != tc.tries {
			t.Errorf("%s: %d tries, %v", tc.name, tries, err)
		}
	}

	tries := 0
	err := s.write(t.Context(), "trying", func(tx *gorm.DB) error {
		tries++
		insert := tx.Exec("INSERT INTO `CarteroMigration` VALUES (?, 'x', '2030-01-01')", 100+tries).Error
		if tries < 3 {
			return errors.Join(insert, mysql.ErrInvalidConn)
		}
		return insert
	})
	if got := versions(t, s); err != nil || len(got) != schemaVersion()+1 {
		t.Errorf("got %v and %v, want one row of the third try", err, got)
	}
}

func TestErrorsOfAServerThatIsAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), "mysql://root:hunter@"+address+"/worker_db")
	if err != nil {
		t.Fatalf("opening connects: %v", err)
	}
	defer s.Close()
	for what, err := range map[string]error{
		"ping": s.Ping(t.Context()), "migrate": s.Migrate(t.Context()), "check": s.CheckSchema(t.Context()),
	} {
		if !IsUnavailable(err) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestErrorsOfSQLite(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), "sqlite:///no/such/directory/cartero.db"); err == nil {
		t.Error("a file in no directory was opened")
	}
	path := filepath.Join(t.TempDir(), "cartero.db")
	s := openTest(t, "sqlite://"+path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v: others can read addresses in it", info.Mode())
	}
	if _, err := s.Campaign(t.Context(), "key"); err == nil || IsUnavailable(err) {
		t.Errorf("without tables: got %v, want an error of the schema", err)
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	want := at(time.Date(2026, 3, 4, 5, 6, 7, 890_999_999, time.FixedZone("", 3600)))
	text, err := want.Value()
	if err != nil || text != "2026-03-04 04:06:07.890" {
		t.Errorf("got %v, %v", text, err)
	}
	for _, source := range []any{
		"2026-03-04 04:06:07.890", []byte("2026-03-04 04:06:07.89"), "2026-03-04T04:06:07.890Z", "2026-03-04T05:06:07.890+01:00", want.Time,
	} {
		var got stamp
		if err := got.Scan(source); err != nil || !got.Equal(want.Time) {
			t.Errorf("%v: got %v, %v", source, got, err)
		}
	}
	for _, source := range []any{"soon", 7} {
		var got stamp
		if err := got.Scan(source); err == nil {
			t.Errorf("%v: got %v", source, got)
		}
	}
	var null stamp
	if value, err := null.Value(); value != nil || err != nil || null.pointer() != nil || null.Scan(nil) != nil {
		t.Errorf("NULL: got %v, %v", value, err)
	}
}
