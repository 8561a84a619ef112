package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		t.Helper()
		return backend(t, sqliteDatabase(t))
	})
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		t.Helper()
		return backend(t, mysqlDatabase(t))
	})
}

// benchStore returns a store on the database, migrated.
func benchStore(b *testing.B, db database) *store.Store {
	b.Helper()
	s := open(b, db)
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

// database is an empty database of one test.
type database struct {
	url string
	sql *sql.DB // another connection to it
}

func backend(tb testing.TB, db database) storetest.Backend {
	tb.Helper()
	s := open(tb, db)
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return storetest.Backend{Store: s, SQL: db.sql}
}

func open(tb testing.TB, db database) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), db.url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func sqliteDatabase(tb testing.TB) database {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "mail & more?.db")
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)&_pragma=foreign_keys(ON)"}
	return database{"sqlite://" + url.PathEscape(path), openSQL(tb, "sqlite", dsn.String())}
}

func needMySQL(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs MySQL or MariaDB")
	}
	if os.Getenv("TEST_DATABASE_URL") == "" {
		tb.Fatal("TEST_DATABASE_URL is not set: run `make test`, which starts a MariaDB")
	}
}

// mysqlDatabase makes a database on the server of TEST_DATABASE_URL, and drops it when the test ends.
func mysqlDatabase(tb testing.TB) database {
	tb.Helper()
	server, err := url.Parse(os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		tb.Fatal("TEST_DATABASE_URL is not a URL")
	}
	config := mysql.NewConfig()
	config.User = server.User.Username()
	config.Passwd, _ = server.User.Password()
	config.Net, config.Addr = "tcp", server.Host
	config.InterpolateParams = true
	admin := openSQL(tb, "mysql", config.FormatDSN())

	name := "store_test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(tb.Context(), "CREATE DATABASE `"+name+"` CHARACTER SET latin1"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP DATABASE `"+name+"`"); err != nil {
			tb.Error(err)
		}
	})
	server.Path = "/" + name
	config.DBName = name
	return database{server.String(), openSQL(tb, "mysql", config.FormatDSN())}
}

func openSQL(tb testing.TB, driver, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}
