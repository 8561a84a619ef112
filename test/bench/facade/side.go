package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	redisconn "github.com/cartero-mail/cartero/internal/queue/conn"
	"github.com/cartero-mail/cartero/test/bench/facade/peer"
)

// side is whose service runs, and on what.
type side int

const (
	python side = iota
	onSQLite
	onMariaDB
	sides int = iota
)

func (s side) String() string { return [...]string{"Python", "SQLite", "MariaDB"}[s] }

const (
	apiKey    = "bench-key"
	startTime = time.Minute
)

// service is one that runs, with nothing in its database and queue at the beginning.
type service struct {
	address string // host:port
	pid     int
	// behind are the processes of its database and its queue, where they are its own and on this machine.
	behind []int
	stop   func() error
}

// start starts the service of a side.
func (b *bench) start(ctx context.Context, s side) (_ *service, err error) {
	dir, err := os.MkdirTemp(b.dir, "service-")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(b.sink.address)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"API_KEY": apiKey, "SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_USE_TLS": "false", "SMTP_FROM": "service@shop.example",
		"QUEUE_MAXSIZE": "100000000",
	}
	if s != python {
		return b.startCartero(ctx, s, dir, env)
	}
	p, err := peer.Start(ctx, dir, env)
	if err != nil {
		return nil, err
	}
	return &service{
		address: strings.TrimPrefix(p.URL, "http://"), pid: p.PID(),
		stop: func() error { p.Stop(); return os.RemoveAll(dir) },
	}, nil
}

func (b *bench) startCartero(ctx context.Context, s side, dir string, env map[string]string) (_ *service, err error) {
	var undo []func() error
	stop := func() (err error) {
		for _, step := range slices.Backward(undo) {
			err = errors.Join(err, step())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	clean := context.WithoutCancel(ctx) // an interrupt is no reason to leave anything behind
	undo = append(undo, func() error { return os.RemoveAll(dir) })
	running := &service{stop: stop, behind: []int{b.redisPID}}
	prefix := "bench-" + uuid.NewString()[:8]
	undo = append(undo, func() error { return b.forget(clean, prefix) })
	env["REDIS_URL"], env["BULL_PREFIX"], env["METRICS_BIND_ADDRESS"] = b.redisURL, prefix, "0"
	env["FACADE_MAX_IN_FLIGHT"] = strconv.Itoa(b.settings.conns + 1) // one more asks whether it is there
	env["SERVICE_HOST"], env["SERVICE_PORT"], env["HEALTH_PROBE_BIND_ADDRESS"] = "127.0.0.1", "0", "0"
	if env["DATABASE_URL"] = "sqlite://" + filepath.Join(dir, "cartero.db"); s == onMariaDB {
		var drop func() error
		if env["DATABASE_URL"], drop, err = b.createDatabase(ctx); err != nil {
			return nil, err
		}
		undo = append(undo, drop)
		running.behind = append(running.behind, b.databasePID)
	}
	env["WORKER_JOURNAL_DIR"] = filepath.Join(dir, "facade")
	cmd, output, err := b.launch(dir, "facade", env)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() error { return end(cmd) })
	if running.address, err = awaitListening(ctx, output); err != nil {
		return nil, err
	}
	running.pid = cmd.Process.Pid
	if err := b.awaitOpen(ctx, running.address); err != nil {
		return nil, err
	}
	if b.settings.worker {
		env["WORKER_JOURNAL_DIR"] = filepath.Join(dir, "worker")
		worker, _, err := b.launch(dir, "worker", env)
		if err != nil {
			return nil, err
		}
		undo = append(undo, func() error { return end(worker) })
		running.behind = append(running.behind, worker.Process.Pid)
	}
	return running, nil
}

// launch starts a command of cartero with env alone as its settings.
func (b *bench) launch(dir, command string, env map[string]string) (cmd *exec.Cmd, output string, err error) {
	file, err := os.Create(filepath.Join(dir, command+".log"))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // the process has its own
	cmd = exec.Command(b.settings.cartero, command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, file, file
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("starting cartero %s: %w", command, err)
	}
	return cmd, file.Name(), nil
}

// end asks a process to stop, and after some seconds no more.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // what it was asked for is over
	return nil
}

// poll asks every few ms until done, or the time is over.
func poll(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := done(ctx); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}

// awaitListening reads the address from the log.
func awaitListening(ctx context.Context, log string) (address string, err error) {
	err = poll(ctx, "cartero listens", func(context.Context) (bool, error) {
		text, err := os.ReadFile(log)
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(string(text)) {
			if _, rest, ok := strings.Cut(line, `"msg":"Listening"`); ok && strings.HasSuffix(line, "\n") {
				_, rest, _ = strings.Cut(rest, `"address":"`)
				address, _, ok = strings.Cut(rest, `"`)
				return ok, nil
			}
		}
		return false, nil
	})
	if err != nil {
		text, readErr := os.ReadFile(log)
		return "", errors.Join(fmt.Errorf("%w; it said:\n%s", err, text), readErr)
	}
	return address, nil
}

// awaitOpen waits until a call is refused for its body, not for the database.
func (b *bench) awaitOpen(ctx context.Context, address string) error {
	return poll(ctx, "cartero takes mails", func(ctx context.Context) (bool, error) {
		c, err := dial(ctx, address)
		if err != nil {
			return false, err
		}
		defer func() { _ = c.Close() }()
		status, err := c.ask(request(sendAsync.path, "{}"))
		return status == 422, err
	})
}

// createDatabase makes a database of its own on the server of -database.
func (b *bench) createDatabase(ctx context.Context) (of string, drop func() error, err error) {
	server, err := url.Parse(b.settings.database)
	if err != nil {
		return "", nil, errors.New("-database is not a URL")
	}
	name := "cartero_bench_" + uuid.NewString()[:8]
	if _, err := b.admin.ExecContext(ctx, "CREATE DATABASE `"+name+"`"); err != nil {
		return "", nil, fmt.Errorf("making a database: %w", err)
	}
	server.Path = "/" + name
	return server.String(), func() error {
		_, err := b.admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE `"+name+"`")
		return err
	}, nil
}

// openServers connects to MariaDB and Redis and finds their processes.
func (b *bench) openServers(ctx context.Context) error {
	server, err := url.Parse(b.settings.database)
	if err != nil || server.Scheme != "mysql" {
		return errors.New("-database is no mysql:// URL")
	}
	config := mysql.NewConfig()
	config.User = server.User.Username()
	config.Passwd, _ = server.User.Password()
	config.Net, config.Addr = "tcp", server.Host
	if b.admin, err = sql.Open("mysql", config.FormatDSN()); err != nil {
		return err
	}
	var file string
	row := b.admin.QueryRowContext(ctx, "SELECT @@version, @@pid_file, @@innodb_flush_log_at_trx_commit")
	if err := row.Scan(&b.machine.Database, &file, &b.machine.FlushAtCommit); err != nil {
		return fmt.Errorf("asking MariaDB: %w", err)
	}
	if text, err := os.ReadFile(file); err == nil { // on another machine it is not to be measured
		b.databasePID, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if b.redis, err = redisconn.Open(b.redisURL); err != nil {
		return err
	}
	info, err := b.redis.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch name {
		case "redis_version":
			b.machine.Redis = value
		case "process_id":
			b.redisPID, _ = strconv.Atoi(value)
		}
	}
	return nil
}

// forget deletes the keys with a prefix.
func (b *bench) forget(ctx context.Context, prefix string) error {
	var cursor uint64
	for {
		keys, next, err := b.redis.Scan(ctx, cursor, prefix+":*", 5000).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := b.redis.Unlink(ctx, keys...).Err(); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// cpu is the processor time of processes so far, in seconds; those that are not to be found count for nothing.
func cpu(pids ...int) (seconds float64) {
	const ticks = 100 // a second: USER_HZ is that on all of Linux's common architectures
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ") // behind the name
		fields := strings.Fields(rest)
		for _, i := range []int{11, 12} { // utime, stime
			if i < len(fields) {
				n, _ := strconv.Atoi(fields[i])
				seconds += float64(n) / ticks
			}
		}
	}
	return seconds
}
