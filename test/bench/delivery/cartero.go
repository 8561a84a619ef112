package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// startTime bounds the start of a program.
const startTime = time.Minute

// worker is a process of `cartero worker`.
type worker struct {
	cmd *exec.Cmd
	log string
}

// startWorker starts one with its defaults, but for what it must know and the flag -env. It waits until it takes jobs.
func (b *bench) startWorker(ctx context.Context, s *system, dir string) (*worker, error) {
	host, port, err := net.SplitHostPort(b.Sink.Address)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"DATABASE_URL": s.url, "REDIS_URL": b.Servers.RedisURL, "BULL_PREFIX": s.prefix, "QUEUE_NAME_EMAIL": queueName,
		"SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_USE_TLS": "false", "SMTP_FROM": from, "SMTP_HELO_NAME": "bench.example",
		"SMTP_MAX_CONNECTIONS": strconv.Itoa(b.settings.conns), "WORKER_JOURNAL_DIR": filepath.Join(dir, "journal"),
		"METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0", "MIGRATE_ON_START": "false",
	}
	maps.Copy(env, b.settings.env)
	w := &worker{cmd: exec.Command(b.settings.Cartero, "worker"), log: filepath.Join(dir, "worker.log")}
	w.cmd.Dir = dir
	// What an earlier worker wrote is no sign of this one.
	before, err := os.ReadFile(w.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := measure.Start(w.cmd, w.log, env); err != nil {
		return nil, err
	}
	err = measure.Poll(ctx, "the worker takes jobs", 5*time.Millisecond, startTime, func(context.Context) (bool, error) {
		text, err := os.ReadFile(w.log)
		return err == nil && bytes.Contains(text[len(before):], []byte("Taking jobs from the queue")), err
	})
	if err != nil {
		return nil, errors.Join(w.explain(err), measure.End(w.cmd))
	}
	return w, nil
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// explain adds what the worker said last.
func (w *worker) explain(err error) error {
	if err == nil {
		return nil
	}
	const most = 3000
	text, _ := os.ReadFile(w.log)
	return fmt.Errorf("%w; the worker said at last:\n%s", err, text[max(0, len(text)-most):])
}

// staffed is a system with a worker that waits for jobs, and the worker's directory.
type staffed struct {
	*system
	worker *worker
	dir    string
}

func (b *bench) newStaffed(ctx context.Context) (_ *staffed, err error) {
	s := &staffed{}
	if s.system, err = b.newSystem(ctx); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp(b.Dir, "worker-"); err == nil {
		s.worker, err = b.startWorker(ctx, s.system, s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// runCartero measures a campaign of the default job size.
func runCartero(ctx context.Context, b *bench, l load) (_ sample, err error) {
	s, err := b.newStaffed(ctx)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, measure.End(s.worker.cmd), s.close()) }()
	result, err := b.endToEnd(ctx, s.system, l, campaign.DefaultJobSize, s.worker.pid())
	return result, s.worker.explain(err)
}
