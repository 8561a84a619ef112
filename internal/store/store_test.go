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

// database is an empty database of one test.
type database struct {
	url string
	sql *sql.DB // another connection to it
}

func backend(t *testing.T, db database) storetest.Backend {
	t.Helper()
	s := open(t, db)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return storetest.Backend{Store: s, SQL: db.sql}
}

func open(t *testing.T, db database) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), db.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sqliteDatabase(t *testing.T) database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mail & more?.db")
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(10000)&_pragma=foreign_keys(ON)"}
	return database{"sqlite://" + url.PathEscape(path), openSQL(t, "sqlite", dsn.String())}
}

func needMySQL(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs MySQL or MariaDB")
	}
	if os.Getenv("TEST_DATABASE_URL") == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run `make test`, which starts a MariaDB")
	}
}

// mysqlDatabase makes a database on the server of TEST_DATABASE_URL, and drops it when the test ends.
func mysqlDatabase(t *testing.T) database {
	t.Helper()
	server, err := url.Parse(os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		t.Fatal("TEST_DATABASE_URL is not a URL")
	}
	config := mysql.NewConfig()
	config.User = server.User.Username()
	config.Passwd, _ = server.User.Password()
	config.Net, config.Addr = "tcp", server.Host
	config.InterpolateParams = true
	admin := openSQL(t, "mysql", config.FormatDSN())

	name := "store_test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE `"+name+"` CHARACTER SET latin1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP DATABASE `"+name+"`"); err != nil {
			t.Error(err)
		}
	})
	server.Path = "/" + name
	config.DBName = name
	return database{server.String(), openSQL(t, "mysql", config.FormatDSN())}
}

func openSQL(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
