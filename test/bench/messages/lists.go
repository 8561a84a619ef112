package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// What is meant: a list is read in 5 s on one core with 100 MiB; written, sealed and rung in 1.7 times what the server
// needs for the rows alone, with 64 MiB.
const (
	targetRead, targetReadMemory = 5, 100
	targetLoad, targetLoadMemory = 1.7, 64
)

// measureLists takes turns: each round reads the list, loads it, has the server load the same rows from a file, and applies a
// campaign of it.
func measureLists(ctx context.Context, s settings, progress io.Writer) (table []row, err error) {
	if s.Redis == "" || s.Database == "" {
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
	site, authority := serveList(list)
	defer site.Close()
	servers, err := measure.OpenServers(ctx, s.Database, s.Redis)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	var stage *stage
	if s.Cartero != "" {
		if stage, err = newStage(ctx, s, servers, dir, site.URL+"/list.csv", authority); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stage.close()) }()
	}
	values := map[string][]float64{}
	add := func(name string, value float64) { values[name] = append(values[name], value) }
	for round := range s.Rounds {
		fmt.Fprintf(progress, "lists: round %d of %d\n", round+1, s.Rounds)
		read, err := inChild(ctx, readChild, order{File: list}, "GOMAXPROCS=1")
		if err != nil {
			return nil, err
		}
		add("read", read.Seconds["read"])
		add("read memory", read.Grown)
		bare, err := oneLoad(ctx, servers, order{URL: site.URL + "/list.csv", CA: authority, Redis: s.Redis}, dir, add)
		if err == nil && stage != nil {
			err = stage.oneCampaign(ctx, bare, add)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(pipelineRows(s, values), campaignRows(s, values)...), nil
}

// pipelineRows are those of reading, and of what the operator runs in a process with nothing else.
func pipelineRows(s settings, values map[string][]float64) []row {
	per := float64(s.rows) / 1e6
	return []row{
		newRow("read, checked, de-duplicated on one core", "s", targetRead*per, values["read"]),
		newRow("  memory beyond the program's own", "MiB", targetReadMemory, values["read memory"]),
		newRow("bare LOAD DATA of the rows", "s", 0, values["bare"]),
		newRow("from url: read, stored, sealed, rung", "s", 0, values["load"]),
		newRow("  ratio to LOAD DATA", "×", targetLoad, values["ratio"]),
		newRow("  memory beyond the program's own", "MiB", targetLoadMemory, values["memory"]),
		newRow("  fetching", "s", 0, values["fetch"]),
		newRow("  checking", "s", 0, values["check"]),
		newRow("  reading again and writing", "s", 0, values["write"]),
		newRow("  sealing", "s", 0, values["seal"]),
		newRow("  ringing", "s", 0, values["ring"]),
		newRow("  processor time of Cartero", "s", 0, values["cpu"]),
		newRow("  processor time of MariaDB", "s", 0, values["server cpu"]),
		newRow("bare LOAD DATA: processor time of MariaDB", "s", 0, values["bare server cpu"]),
	}
}

// campaignRows are those of the operator itself.
func campaignRows(s settings, values map[string][]float64) []row {
	if s.Cartero == "" {
		return nil
	}
	return []row{
		newRow("by the operator: applied to rung", "s", 0, values["campaign"]),
		newRow("  ratio to LOAD DATA", "×", targetLoad, values["campaign ratio"]),
		newRow("  memory beyond the idle operator's", "MiB", targetLoadMemory, values["campaign memory"]),
		newRow("  applied to told in the status", "s", 0, values["campaign told"]),
		newRow("  processor time of the operator", "s", 0, values["campaign cpu"]),
		newRow("  processor time of MariaDB", "s", 0, values["campaign server cpu"]),
	}
}

// oneLoad measures both ways once, each on a database of its own. It returns the seconds of LOAD DATA.
func oneLoad(
	ctx context.Context, servers *measure.Servers, o order, dir string, add func(name string, value float64),
) (seconds float64, err error) {
	db, err := newDatabase(ctx, servers)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.drop()) }()
	o.Database, o.Queue = db.url, "bench-"+strings.ToLower(rand.Text())
	before := measure.CPU(servers.DatabasePID)
	loaded, err := inChild(ctx, loadChild, o)
	if err != nil {
		return 0, err
	}
	add("server cpu", measure.CPU(servers.DatabasePID)-before)
	dump := filepath.Join(dir, "rows.tsv")
	rows, err := db.dump(ctx, dump)
	if err != nil {
		return 0, err
	}
	if rows != loaded.Rows {
		return 0, fmt.Errorf("%d recipients are in the database, %d were loaded", rows, loaded.Rows)
	}

	bare, err := newDatabase(ctx, servers)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bare.drop()) }()
	before = measure.CPU(servers.DatabasePID)
	seconds, err = bare.loadData(ctx, db.name, dump)
	if err != nil {
		return 0, err
	}
	add("bare server cpu", measure.CPU(servers.DatabasePID)-before)
	total := 0.0
	for step, took := range loaded.Seconds {
		add(step, took)
		total += took
	}
	add("load", total)
	add("bare", seconds)
	add("ratio", total/seconds)
	add("memory", loaded.Grown)
	add("cpu", loaded.CPU)
	return seconds, nil
}

// serveList serves a file over https, with a certificate that the returned one, in PEM, vouches for.
func serveList(name string) (site *httptest.Server, authority string) {
	site = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }))
	return site, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}))
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
	drop      func() error
}

func newDatabase(ctx context.Context, servers *measure.Servers) (db *database, err error) {
	db = &database{}
	name, url, drop, err := servers.NewDatabase(ctx)
	if err != nil {
		return nil, err
	}
	db.name, db.url, db.drop = name, url, drop
	config := servers.Config(name)
	config.AllowAllFiles = true
	config.Params = map[string]string{"foreign_key_checks": "1"}
	if db.pool, err = sql.Open("mysql", config.FormatDSN()); err != nil {
		return nil, errors.Join(err, drop())
	}
	db.drop = func() error { return errors.Join(db.pool.Close(), drop()) }
	s, err := store.Open(ctx, db.url)
	if err == nil {
		err = errors.Join(s.Migrate(ctx), s.Close())
	}
	if err != nil {
		return nil, errors.Join(err, db.drop())
	}
	return db, nil
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
		rows, err := d.dumpJob(ctx, job, out)
		if err != nil {
			return 0, err
		}
		n += rows
	}
	return n, errors.Join(jobs.Err(), out.Flush())
}

func (d *database) dumpJob(ctx context.Context, job string, out *bufio.Writer) (n int64, err error) {
	rows, err := d.pool.QueryContext(ctx, "SELECT "+columns+" FROM `Recipient` WHERE `jobId` = ? ORDER BY `id`", job)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var v [7]sql.NullString
		if err := rows.Scan(&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]); err != nil {
			return 0, err
		}
		n++
		for i, field := range v {
			if i > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(asField(field))
		}
		out.WriteByte('\n')
	}
	return n, rows.Err()
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
