package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/queue/conn"
)

// settingsVariable makes this test binary, and the Node program, a member of a fleet.
const settingsVariable = "FLEET"

// settings is what a member is told, whatever it is written in; member.js reads the same.
type settings struct {
	Name string `json:"name"`
	// Bull is the npm package that a Node member runs; empty for one of ours.
	Bull string `json:"bull"`
	// URL is Redis's. Node members take a cluster's nodes, or Sentinels and the master's name, one by one instead.
	URL       string   `json:"url,omitempty"`
	Cluster   []string `json:"cluster,omitempty"`
	Sentinels []string `json:"sentinels,omitempty"`
	Master    string   `json:"master,omitempty"`

	Prefix      string `json:"prefix"`
	Queue       string `json:"queue"`
	Concurrency int    `json:"concurrency"`
	// Record is the file for what it does.
	Record string `json:"record"`
	// WorkMS bounds how long a job takes.
	WorkMS     uint32   `json:"workMs"`
	LockMS     int64    `json:"lockMs"`
	StalledMS  int64    `json:"stalledMs"`
	MaxStalled int      `json:"maxStalled"`
	GuardMS    int64    `json:"guardMs"`
	Limiter    *limiter `json:"limiter,omitempty"`
	// SkewMS is how much the clock is ahead; ours only.
	SkewMS  int64  `json:"skewMs"`
	Produce *batch `json:"produce,omitempty"`
}

type limiter struct {
	Max      int   `json:"max"`
	Duration int64 `json:"duration"`
}

// batch are jobs to add; their ids are the member's name and a number.
type batch struct {
	From  int            `json:"from"`
	Count int            `json:"count"`
	Opts  map[string]any `json:"opts"`
}

func TestMain(m *testing.M) {
	if text := os.Getenv(settingsVariable); text != "" {
		if err := work(text); err != nil {
			fmt.Fprintln(os.Stderr, "member of a fleet:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// work is the whole life of a worker of ours. It ends with its input, that is, with its parent.
func work(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	record, err := os.OpenFile(s.Record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	client, err := conn.Open(s.URL)
	if err != nil {
		return err
	}
	config := s.config()
	queue, err := bull.New(client, config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		cancel()
	}()
	consumer := &bull.Consumer{
		Queue: queue, Concurrency: s.Concurrency, Logger: slog.New(slog.DiscardHandler),
		Handler: func(ctx context.Context, d *bull.Delivery) (any, error) {
			if _, err := fmt.Fprintln(record, "start", d.ID, d.AttemptsMade, time.Now().UnixMilli()); err != nil {
				return nil, err
			}
			return s.Name, fate(ctx, d, s.WorkMS)
		},
	}
	return errors.Join(consumer.Run(ctx), client.Close())
}

func (s settings) config() bull.Config {
	c := bull.Config{
		Prefix: s.Prefix, Queue: s.Queue,
		LockDuration:    time.Duration(s.LockMS) * time.Millisecond,
		StalledInterval: time.Duration(s.StalledMS) * time.Millisecond,
		GuardInterval:   time.Duration(s.GuardMS) * time.Millisecond,
		MaxStalledCount: s.MaxStalled,
		Now:             func() time.Time { return time.Now().Add(time.Duration(s.SkewMS) * time.Millisecond) },
	}
	if s.Limiter != nil {
		c.Limiter = bull.Limiter{Max: s.Limiter.Max, Duration: time.Duration(s.Limiter.Duration) * time.Millisecond}
	}
	return c
}

// The fate of a job depends on its id alone, so that it is known what must become of it, whoever runs it: of 200 jobs one
// fails whenever it runs, and one the first time.
func failsAlways(id string) bool { return hash(id)%200 == 0 }
func failsOnce(id string) bool   { return hash(id)%200 == 1 }

func hash(id string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, id)
	return h.Sum32()
}

// fate runs a job.
func fate(ctx context.Context, d *bull.Delivery, workMS uint32) error {
	if workMS > 0 {
		timer := time.NewTimer(time.Duration(hash(d.ID)%workMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if failsAlways(d.ID) || failsOnce(d.ID) && d.AttemptsMade < 1 {
		return errors.New("as its id says")
	}
	return nil
}
