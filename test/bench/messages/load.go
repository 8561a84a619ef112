package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/queue/bull"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/store"
)

// readList reads a list from a file to its end.
func readList(ctx context.Context, o order) (outcome, error) {
	file, err := os.Open(o.File)
	if err != nil {
		return outcome{}, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	before := baseline()
	begin := time.Now()
	rows, err := drain(ctx, recipients.New(file, recipients.CSV))
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		Seconds: map[string]float64{"read": time.Since(begin).Seconds()}, Grown: memory("VmHWM") - before, Rows: rows,
	}, nil
}

// baseline is the memory that the process has before it does anything of interest.
func baseline() float64 {
	debug.FreeOSMemory()
	return memory("VmRSS")
}

func drain(ctx context.Context, list *recipients.List) (int64, error) {
	for {
		if _, err := list.Next(ctx); errors.Is(err, io.EOF) {
			return list.Summary().Accepted, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// loadList does what the operator does with a campaign that is new, on an empty database.
func loadList(ctx context.Context, o order) (result outcome, err error) {
	db, err := store.Open(ctx, o.Database)
	if err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	options, err := redis.ParseURL(o.Redis)
	if err != nil {
		return outcome{}, err
	}
	client := redis.NewClient(options)
	defer func() { err = errors.Join(err, client.Close()) }()
	queue, err := bull.New(client, bull.Config{Queue: o.Queue})
	if err != nil {
		return outcome{}, err
	}
	box, err := outbox.New(outbox.Config{Store: db, Queue: queue})
	if err != nil {
		return outcome{}, err
	}
	if err := errors.Join(db.Ping(ctx), queue.Ping(ctx)); err != nil {
		return outcome{}, err
	}

	before := baseline()
	result.Seconds = map[string]float64{}
	step := time.Now()
	done := func(name string) {
		result.Seconds[name] = time.Since(step).Seconds()
		step = time.Now()
	}
	file, err := os.Open(o.File)
	if err != nil {
		return outcome{}, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return outcome{}, err
	}
	done("fetch")
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return outcome{}, err
	}
	if _, err := drain(ctx, recipients.New(file, recipients.CSV)); err != nil {
		return outcome{}, err
	}
	done("check")
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return outcome{}, err
	}
	draft := campaign.Draft{
		Key: "bench/list", Origin: campaign.OriginKubernetes, ListHash: hex.EncodeToString(hash.Sum(nil)),
		Content: campaign.Content{Subject: "News", Text: "Hello {{name}}"},
		JobSize: campaign.DefaultJobSize, CreatedAt: time.Now(),
	}
	record, err := campaign.NewLoader(db, nil).Load(ctx, draft, recipients.New(file, recipients.CSV))
	if err != nil {
		return outcome{}, err
	}
	if !record.Sealed() {
		return outcome{}, fmt.Errorf("the campaign is not sealed: %+v", record)
	}
	done("write")
	if err := box.RingCampaign(ctx, draft.Key); err != nil {
		return outcome{}, err
	}
	done("ring")
	result.Rows, result.Grown = record.Totals.Recipients, memory("VmHWM")-before
	return result, nil
}
