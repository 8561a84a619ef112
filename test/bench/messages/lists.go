package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/cartero-mail/cartero/internal/store"
)

// What is meant: a list is read in 5 s on one core with 100 MiB; written, sealed and rung in 1.7 times what the server
// needs for the rows alone, with 64 MiB.
const (
	targetRead, targetReadMemory = 5, 100
	targetLoad, targetLoadMemory = 1.7, 64
)

// measureLists takes turns: each round reads the list, loads it, and has the server load the same rows from a file.
func measureLists(ctx context.Context, s settings, progress io.Writer) (table []row, err error) {
	if s.redis == "" || s.database == "" {
		return nil, errors.New("no Redis or no MariaDB: run `make bench-messages`, which starts them, or say -redis and -database")
	}
	dir, err := os.MkdirTemp("", "bench-lists-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	list := filepath.Join(dir, "list.csv")
	if err := writeList(list, s.rows); err != nil {
		return nil, err
	}
	values := map[string][]float64{}
	add := func(name string, value float64) { values[name] = append(values[name], value) }
	for round := range s.rounds {
		fmt.Fprintf(progress, "lists: round %d of %d\n", round+1, s.rounds)
		read, err := inChild(ctx, "read", order{File: list}, "GOMAXPROCS=1")
		if err != nil {
			return nil, err
		}
		add("read", read.Seconds["read"])
		add("read memory", read.Grown)
		if err := oneLoad(ctx, s, list, dir, add); err != nil {
			return nil, err
		}
	}
	per := float64(s.rows) / 1e6
	return []row{
		newRow("read, checked, de-duplicated on one core", "s", targetRead*per, values["read"]),
		newRow("  memory beyond the program's own", "MiB", targetReadMemory, values["read memory"]),
		newRow("bare LOAD DATA of the rows", "s", 0, values["bare"]),
		newRow("from url: read, stored, sealed, rung", "s", 0, values["load"]),
		newRow("  ratio to LOAD DATA", "×", targetLoad, values["ratio"]),
		newRow("  memory beyond the program's own", "MiB", targetLoadMemory, values["memory"]),
		newRow("  of which fetching", "s", 0, values["fetch"]),
		newRow("  of which checking", "s", 0, values["check"]),
		newRow("  of which writing and sealing", "s", 0, values["write"]),
		newRow("  of which ringing", "s", 0, values["ring"]),
	}, nil
}

// oneLoad measures both ways once, each on a database of its own.
func oneLoad(ctx context.Context, s settings, list, dir string, add func(name string, value float64)) error {
	db, err := newDatabase(ctx, s.database)
	if err != nil {
		return err
	}
	defer db.drop()
	loaded, err := inChild(ctx, "load", order{
		File: list, Database: db.url, Redis: s.redis, Queue: "bench-" + strings.ToLower(rand.Text()),
	})
	if err != nil {
		return err
	}
	rows, err := db.dump(ctx, filepath.Join(dir, "rows.tsv"))
	if err != nil {
		return err
	}
	if rows != loaded.Rows {
		return fmt.Errorf("%d recipients are in the database, %d were loaded", rows, loaded.Rows)
	}

	bare, err := newDatabase(ctx, s.database)
	if err != nil {
		return err
	}
	defer bare.drop()
	seconds, err := bare.loadData(ctx, db.name, filepath.Join(dir, "rows.tsv"))
	if err != nil {
		return err
	}
	total := 0.0
	for step, took := range loaded.Seconds {
		add(step, took)
		total += took
	}
	add("load", total)
	add("bare", seconds)
	add("ratio", total/seconds)
	add("memory", loaded.Grown)
	return nil
}

// writeList writes a CSV list of n people.
func writeList(name string, n int) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	fmt.Fprint(out, "email,name,city,plan\r\n")
	for i := range n {
		fmt.Fprintf(out, "user.%d@example%d.com,\"Núñez, Ana %d\",Cádiz,pro\r\n", i, i%1000, i)
	}
	return out.Flush()
}

// database is one with Cartero's schema, on a server where it is the only one that works.
type database struct {
	name, url string
	pool      *sql.DB
}

func newDatabase(ctx context.Context, server string) (*database, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, errors.New("-database is no URL")
	}
	config := mysql.NewConfig()
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Net, config.Addr = "tcp", u.Host
	config.AllowAllFiles = true
	config.Params = map[string]string{"foreign_key_checks": "1"}
	name := "bench_" + strings.ToLower(rand.Text())
	admin, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		return nil, err
	}
	defer admin.Close() //nolint:errcheck // nothing to lose
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE `"+name+"` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"); err != nil {
		return nil, err
	}
	config.DBName = name
	db := &database{name: name}
	if db.pool, err = sql.Open("mysql", config.FormatDSN()); err != nil {
		return nil, err
	}
	u.Path = "/" + name
	db.url = u.String()
	s, err := store.Open(ctx, db.url)
	if err != nil {
		return nil, err
	}
	return db, errors.Join(s.Migrate(ctx), s.Close())
}

func (d *database) drop() {
	_, _ = d.pool.ExecContext(context.Background(), "DROP DATABASE `"+d.name+"`")
	_ = d.pool.Close()
}

// columns are those of a new recipient.
const columns = "`id`, `jobId`, `email`, `name`, `status`, `state`, `variables`"

// dump writes the recipients into a file as LOAD DATA reads it by default, in the order in which they were written.
func (d *database) dump(ctx context.Context, name string) (n int64, err error) {
	file, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	jobs, err := d.pool.QueryContext(ctx, "SELECT `id` FROM `EmailJob` ORDER BY `shard`")
	if err != nil {
		return 0, err
	}
	defer jobs.Close()
	for jobs.Next() {
		var job string
		if err := jobs.Scan(&job); err != nil {
			return 0, err
		}
		rows, err := d.pool.QueryContext(ctx, "SELECT "+columns+" FROM `Recipient` WHERE `jobId` = ? ORDER BY `id`", job)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			var v [7]sql.NullString
			if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]); err != nil {
				return 0, errors.Join(err, rows.Close())
			}
			n++
			for i, field := range v {
				if i > 0 {
					out.WriteByte('\t') //nolint:errcheck // Flush tells
				}
				out.WriteString(asField(field)) //nolint:errcheck // Flush tells
			}
			out.WriteByte('\n') //nolint:errcheck // Flush tells
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return 0, err
		}
	}
	return n, errors.Join(jobs.Err(), out.Flush())
}

var fieldEscapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`)

func asField(value sql.NullString) string {
	if !value.Valid {
		return `\N`
	}
	return fieldEscapes.Replace(value.String)
}

// loadData loads the rows of a dump, and returns how many seconds that took. The campaign and its jobs come from the
// database that the dump was made of, before the clock starts.
func (d *database) loadData(ctx context.Context, from, file string) (float64, error) {
	for _, table := range []string{"Campaign", "EmailJob"} {
		if _, err := d.pool.ExecContext(ctx, "INSERT INTO `"+table+"` SELECT * FROM `"+from+"`.`"+table+"`"); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	_, err := d.pool.ExecContext(ctx, "LOAD DATA LOCAL INFILE '"+file+"' INTO TABLE `Recipient` CHARACTER SET utf8mb4 ("+columns+")")
	return time.Since(begin).Seconds(), err
}
