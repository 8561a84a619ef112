package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// writers is how many shards are written at a time, while the list is read on: the database works on two cores, or
	// has one's disk work done while it works on the other.
	writers = 2
	// bigShard is the size of a shard, in bytes, from which on the list waits until it is written: nothing is read ahead
	// that would take much memory.
	bigShard = 8 << 20
)

// writeShards reads the list to its end and writes it in shards of draft.JobSize, a few at a time in no order. At the first
// error it stops, and returns when nothing is being written any more.
func (l *Loader) writeShards(ctx context.Context, draft Draft, list List) (Totals, error) {
	w := newShardWriter(ctx, l.ledger, draft)
	defer w.stop() // also if the list panics
	jobs, recipients, err := w.read(list)
	if written := w.wait(); written != nil {
		return Totals{}, written
	}
	if err != nil {
		return Totals{}, err
	}
	totals := list.Totals()
	totals.Recipients, totals.Jobs = recipients, jobs
	return totals, nil
}

// shardWriter writes the shards of one campaign.
type shardWriter struct {
	ctx    context.Context //nolint:containedctx // ends with the first error of a writer
	cancel context.CancelCauseFunc
	ledger Ledger
	key    string
	// jobSize is at least 1.
	jobSize int
	full    chan Shard
	// empty holds the memory of shards that are written: one for each writer and one that is being filled.
	empty chan []Recipient
	group sync.WaitGroup

	mu    sync.Mutex
	first error // of a writer
	panic any   // of a writer, for whoever recovers in the caller
}

func newShardWriter(ctx context.Context, ledger Ledger, draft Draft) *shardWriter {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &shardWriter{
		ctx: ctx, cancel: cancel, ledger: ledger, key: draft.Key, jobSize: draft.JobSize,
		full: make(chan Shard), empty: make(chan []Recipient, writers+1),
	}
	if w.jobSize < 1 {
		w.jobSize = DefaultJobSize
	}
	for range writers + 1 {
		w.empty <- nil
	}
	full := w.full
	for range writers {
		w.group.Go(func() { w.write(full) })
	}
	return w
}

// write writes shards until there are no more, or one fails.
func (w *shardWriter) write(full <-chan Shard) {
	defer func() {
		if cause := recover(); cause != nil {
			w.mu.Lock()
			w.panic = cause
			w.mu.Unlock()
			w.cancel(errors.New("writing a job panicked"))
		}
	}()
	for shard := range full {
		if err := w.ledger.WriteShard(w.ctx, shard); err != nil {
			w.mu.Lock()
			if w.first == nil { // the others fail because of this one
				w.first = fmt.Errorf("writing job %d of the campaign: %w", shard.Number, err)
			}
			w.mu.Unlock()
			w.cancel(err)
			return
		}
		w.empty <- shard.Recipients[:0]
	}
}

// wait ends the writing, and returns the first error of it.
func (w *shardWriter) wait() error {
	close(w.full)
	w.full = nil
	w.group.Wait()
	if w.panic != nil {
		panic(w.panic)
	}
	return w.first
}

// stop ends what is left of the writing.
func (w *shardWriter) stop() {
	w.cancel(nil)
	if w.full != nil {
		close(w.full)
		w.group.Wait()
	}
}

// read reads the list and hands its shards to the writers.
func (w *shardWriter) read(list List) (jobs int, recipients int64, err error) {
	for ended := false; !ended; {
		shard := Shard{Key: w.key, Number: jobs}
		size := 0
		if shard.Recipients, err = w.room(); err != nil {
			return 0, 0, err
		}
		for len(shard.Recipients) < w.jobSize {
			recipient, err := list.Next(w.ctx)
			if ended = errors.Is(err, io.EOF); ended {
				break
			}
			if err != nil {
				return 0, 0, fmt.Errorf("reading the recipients: %w", err)
			}
			shard.Recipients = append(shard.Recipients, recipient)
			size += recipient.size()
		}
		if len(shard.Recipients) == 0 {
			break
		}
		jobs++
		recipients += int64(len(shard.Recipients))
		if err := w.hand(shard, size > bigShard); err != nil {
			return 0, 0, err
		}
	}
	return jobs, recipients, nil
}

// room returns memory for a shard.
func (w *shardWriter) room() ([]Recipient, error) {
	select {
	case recipients := <-w.empty:
		return recipients, nil
	case <-w.ctx.Done():
		return nil, context.Cause(w.ctx)
	}
}

// hand gives a shard to a writer, and waits for all that are being written if it is a big one.
func (w *shardWriter) hand(shard Shard, big bool) error {
	select {
	case w.full <- shard:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	if !big {
		return nil
	}
	for range cap(w.empty) {
		if _, err := w.room(); err != nil {
			return err
		}
	}
	for range cap(w.empty) { // without what was in it
		w.empty <- nil
	}
	return nil
}

// size is about how many bytes of text the recipient has.
func (r Recipient) size() int {
	n := len(r.Address) + len(r.Name)
	for key, value := range r.Variables {
		n += len(key) + len(value)
	}
	return n
}
