package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/test/bench/facade/peer"
	"github.com/cartero-mail/cartero/test/bench/measure"
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
	dir, err := os.MkdirTemp(b.Dir, "service-")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(b.Sink.Address)
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
	running := &service{stop: stop, behind: []int{b.Servers.RedisPID}}
	prefix := "bench-" + uuid.NewString()[:8]
	undo = append(undo, func() error { return measure.Forget(clean, b.Servers.Redis, prefix) })
	env["REDIS_URL"], env["BULL_PREFIX"], env["METRICS_BIND_ADDRESS"] = b.Servers.RedisURL, prefix, "0"
	env["FACADE_MAX_IN_FLIGHT"] = strconv.Itoa(b.settings.conns + 1) // one more asks whether it is there
	env["SERVICE_HOST"], env["SERVICE_PORT"], env["HEALTH_PROBE_BIND_ADDRESS"] = "127.0.0.1", "0", "0"
	if env["DATABASE_URL"] = "sqlite://" + filepath.Join(dir, "cartero.db"); s == onMariaDB {
		var drop func() error
		if _, env["DATABASE_URL"], drop, err = b.Servers.NewDatabase(ctx); err != nil {
			return nil, err
		}
		undo = append(undo, drop)
		running.behind = append(running.behind, b.Servers.DatabasePID)
	}
	env["WORKER_JOURNAL_DIR"] = filepath.Join(dir, "facade")
	cmd, output, err := b.launch(dir, "facade", env)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() error { return measure.End(cmd) })
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
		undo = append(undo, func() error { return measure.End(worker) })
		running.behind = append(running.behind, worker.Process.Pid)
	}
	return running, nil
}

// launch starts a command of cartero with env alone as its settings.
func (b *bench) launch(dir, command string, env map[string]string) (cmd *exec.Cmd, log string, err error) {
	log = filepath.Join(dir, command+".log")
	cmd = exec.Command(b.settings.Cartero, command)
	cmd.Dir = dir
	return cmd, log, measure.Start(cmd, log, env)
}

// poll asks every few ms until done, or the time is over.
func poll(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	return measure.Poll(ctx, what, 20*time.Millisecond, startTime, done)
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
