package measure

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// Servers are the MariaDB and the Redis of a run.
type Servers struct {
	Facts Facts
	// DatabasePID and RedisPID are 0 where the server is on another machine.
	DatabasePID, RedisPID int
	Admin                 *sql.DB
	Redis                 redis.UniversalClient
	RedisURL              string

	url *url.URL
}

// Facts are versions, and what makes the servers durable.
type Facts struct {
	Database string `json:"database"`
	// FlushAtCommit is innodb_flush_log_at_trx_commit: with 1, each commit is synced.
	FlushAtCommit int `json:"flushAtCommit"`
	// BinaryLog is sync_binlog, or "off" where there is no binary log.
	BinaryLog string `json:"binaryLog"`
	// FlushMethod and Doublewrite are the settings of InnoDB of these names.
	FlushMethod string `json:"flushMethod"`
	Doublewrite string `json:"doublewrite"`
	Redis       string `json:"redis"`
	// AppendOnly is Redis' appendfsync, or "off" where it has no append-only file.
	AppendOnly string `json:"appendOnly"`
}

// String is what a table says of them.
func (f Facts) String() string {
	return fmt.Sprintf("MariaDB %s (flush at commit: %d, binary log synced: %s, flush method %s, doublewrite %s); Redis %s (append-only file: %s)",
		f.Database, f.FlushAtCommit, f.BinaryLog, f.FlushMethod, f.Doublewrite, f.Redis, f.AppendOnly)
}

// OpenServers connects to both.
func OpenServers(ctx context.Context, databaseURL, redisURL string) (s *Servers, err error) {
	s = &Servers{RedisURL: redisURL}
	if err := s.openDatabase(ctx, databaseURL); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Redis, err = conn.Open(redisURL); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.askRedis(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("asking Redis: %w", err), s.Close())
	}
	return s, nil
}

func (s *Servers) openDatabase(ctx context.Context, databaseURL string) (err error) {
	if s.url, err = url.Parse(databaseURL); err != nil || s.url.Scheme != "mysql" {
		return errors.New("-database is no mysql:// URL")
	}
	if s.Admin, err = sql.Open("mysql", s.Config("").FormatDSN()); err != nil {
		return fmt.Errorf("opening MariaDB: %w", err)
	}
	var file string
	row := s.Admin.QueryRowContext(ctx, "SELECT @@version, @@pid_file, @@innodb_flush_log_at_trx_commit, @@innodb_flush_method, "+
		"IF(@@innodb_doublewrite, 'on', 'off'), IF(@@log_bin, @@sync_binlog, 'off')")
	f := &s.Facts
	if err := row.Scan(&f.Database, &file, &f.FlushAtCommit, &f.FlushMethod, &f.Doublewrite, &f.BinaryLog); err != nil {
		return fmt.Errorf("asking MariaDB: %w", err)
	}
	s.DatabasePID, _ = strconv.Atoi(strings.TrimSpace(read(file)))
	return nil
}

func (s *Servers) askRedis(ctx context.Context) error {
	info, err := s.Redis.Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "redis_version":
			s.Facts.Redis = value
		case "process_id":
			s.RedisPID, _ = strconv.Atoi(value)
		}
	}
	config, err := s.Redis.ConfigGet(ctx, "append*").Result()
	if err != nil {
		return err
	}
	if s.Facts.AppendOnly = config["appendfsync"]; config["appendonly"] != "yes" {
		s.Facts.AppendOnly = "off"
	}
	return nil
}

// Close ends the connections.
func (s *Servers) Close() error {
	var errs []error
	if s.Admin != nil {
		errs = append(errs, s.Admin.Close())
	}
	if s.Redis != nil {
		errs = append(errs, s.Redis.Close())
	}
	return errors.Join(errs...)
}

// Config is how a program connects to a database of the server; empty for none.
func (s *Servers) Config(database string) *mysql.Config {
	config := mysql.NewConfig()
	config.User = s.url.User.Username()
	config.Passwd, _ = s.url.User.Password()
	config.Net, config.Addr, config.DBName = "tcp", s.url.Host, database
	return config
}

// NewDatabase makes an empty database of its own. Dropping it is not stopped by the end of ctx.
func (s *Servers) NewDatabase(ctx context.Context) (name, of string, drop func() error, err error) {
	name = "cartero_bench_" + uuid.NewString()[:8]
	if _, err := s.Admin.ExecContext(ctx, "CREATE DATABASE `"+name+"` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"); err != nil {
		return "", "", nil, fmt.Errorf("making a database: %w", err)
	}
	u := *s.url
	u.Path = "/" + name
	return name, u.String(), func() error {
		if _, err := s.Admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE `"+name+"`"); err != nil {
			return fmt.Errorf("dropping a database: %w", err)
		}
		return nil
	}, nil
}

// Forget deletes all keys of Redis that begin with a prefix.
func Forget(ctx context.Context, client redis.UniversalClient, prefix string) error {
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, prefix+"*", 5000).Result()
		if err == nil && len(keys) > 0 {
			err = client.Unlink(ctx, keys...).Err()
		}
		if err != nil {
			return fmt.Errorf("deleting keys: %w", err)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
