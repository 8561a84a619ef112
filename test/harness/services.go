package harness

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
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cartero-mail/cartero/internal/devstack"
)

// Services are a database of its own and a queue of its own.
type Services struct {
	// DatabaseURL and RedisURL are settings of cartero.
	DatabaseURL, RedisURL string
	// Prefix is the BULL_PREFIX that keeps the test's keys apart from those of others in Redis.
	Prefix string
	// Real says that the two are MariaDB and Redis.
	Real bool
	// DB looks at the rows, past cartero.
	DB *sql.DB
	// Redis looks at the keys.
	Redis *redis.Client
}

// Env are the settings that name the services.
func (s Services) Env() Env {
	return Env{"DATABASE_URL": s.DatabaseURL, "REDIS_URL": s.RedisURL, "BULL_PREFIX": s.Prefix}
}

// RealServices makes a database on the server of TEST_DATABASE_URL and uses the Redis of TEST_REDIS_URL.
func RealServices(tb testing.TB) Services {
	tb.Helper()
	for _, name := range []string{"TEST_DATABASE_URL", "TEST_REDIS_URL"} {
		if os.Getenv(name) == "" {
			tb.Fatalf("%s is not set: run `make test`, which starts one", name)
		}
	}
	server, err := url.Parse(os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		tb.Fatal("TEST_DATABASE_URL is not a URL")
	}
	config := mysql.NewConfig()
	config.User = server.User.Username()
	config.Passwd, _ = server.User.Password()
	config.Net, config.Addr = "tcp", server.Host
	name := "cartero_test_" + strings.ToLower(rand.Text())
	admin := openSQL(tb, "mysql", config.FormatDSN())
	if _, err := admin.ExecContext(tb.Context(), "CREATE DATABASE `"+name+"`"); err != nil {
		tb.Fatalf("Making a database: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP DATABASE `"+name+"`"); err != nil {
			tb.Errorf("Dropping the database: %v", err)
		}
	})
	server.Path, config.DBName = "/"+name, name
	s := Services{
		DatabaseURL: server.String(),
		RedisURL:    os.Getenv("TEST_REDIS_URL"),
		Prefix:      name,
		Real:        true,
		DB:          openSQL(tb, "mysql", config.FormatDSN()),
	}
	s.Redis = openRedis(tb, s.RedisURL)
	tb.Cleanup(func() { s.ForgetQueue(tb) })
	return s
}

// EmbeddedServices are a SQLite file and the Redis that cartero dev embeds, served by the test.
func EmbeddedServices(tb testing.TB) Services {
	tb.Helper()
	redisURL, stop, err := devstack.StartRedis(context.Background(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stop)
	file := filepath.Join(tb.TempDir(), "cartero.db")
	return Services{
		DatabaseURL: "sqlite://" + file,
		RedisURL:    redisURL,
		Prefix:      "bull",
		DB:          openSQL(tb, "sqlite", "file:"+file+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)"),
		Redis:       openRedis(tb, redisURL),
	}
}

// ForgetQueue is a Redis that has lost everything: whatever cartero keeps there is gone.
func (s Services) ForgetQueue(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	if !s.Real { // nobody else's
		if err := s.Redis.FlushAll(ctx).Err(); err != nil {
			tb.Errorf("Emptying Redis: %v", err)
		}
		return
	}
	var keys []string
	for iterator := s.Redis.Scan(ctx, 0, s.Prefix+":*", 1000).Iterator(); iterator.Next(ctx); {
		keys = append(keys, iterator.Val())
	}
	if len(keys) == 0 {
		return
	}
	if err := s.Redis.Del(ctx, keys...).Err(); err != nil {
		tb.Errorf("Emptying the queue: %v", err)
	}
}

func openSQL(tb testing.TB, driver, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		tb.Fatalf("Opening the database: %v", err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func openRedis(tb testing.TB, redisURL string) *redis.Client {
	tb.Helper()
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		tb.Fatal("the URL of Redis is not one")
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}
