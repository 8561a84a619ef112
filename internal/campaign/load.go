package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// List yields the recipients of a campaign, checked, normalised and without duplicates.
type List interface {
	// Next returns the next recipient, and io.EOF after the last one.
	Next(ctx context.Context) (Recipient, error)
	// Totals says how many entries were dropped, and why; it is asked after io.EOF. Recipients and Jobs are ignored.
	Totals() Totals
}

// Dropped are the entries of a list that were left out for one reason.
type Dropped struct {
	// Reason is a CamelCase word, such as Duplicate or NoAt.
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
	// Lines are the first of their line numbers, counted from 1.
	Lines []int `json:"lines"`
}

// ErrNoRecipients tells that a list was read to its end and has nobody to mail.
var ErrNoRecipients = errors.New("the list has no recipient that can be mailed")

// Loader writes campaigns into the ledger.
type Loader struct {
	ledger Ledger
	now    func() time.Time
}

// NewLoader returns a Loader that writes to ledger. now is the clock; nil means time.Now.
func NewLoader(ledger Ledger, now func() time.Time) *Loader {
	if now == nil {
		now = time.Now
	}
	return &Loader{ledger: ledger, now: now}
}

// Load opens the campaign, writes the list in shards of draft.JobSize, and seals it. Called again after a crash it
// writes the same rows; on a campaign that is sealed with the same content and list it reads nothing and returns the
// record. It fails with ErrKeyConflict if another content or list is sealed under the key, with ErrSourceChanged if
// another one is half written, and with ErrNoRecipients, discarding what it opened, if the list is empty.
func (l *Loader) Load(ctx context.Context, draft Draft, list List) (Record, error) {
	record, err := l.ledger.Open(ctx, draft)
	if err != nil {
		return Record{}, fmt.Errorf("opening the campaign: %w", err)
	}
	if err := SameSource(record, draft); err != nil || record.Sealed() {
		return record, err
	}
	// Before the seal, so that no worker can be first. It changes nothing where the campaign was opened just now.
	if _, err := l.ledger.Steer(ctx, draft.Key, Steered{Control: draft.Control, Now: l.now()}); err != nil {
		return record, fmt.Errorf("steering the campaign: %w", err)
	}

	totals, err := l.writeShards(ctx, draft, list)
	if errors.Is(err, ErrSealed) { // another process finished the same list meanwhile
		return l.ledger.Campaign(ctx, draft.Key)
	}
	if err != nil {
		return record, err
	}
	if totals.Recipients == 0 {
		if err := l.ledger.Discard(ctx, draft.Key); err != nil {
			return record, fmt.Errorf("discarding the empty campaign: %w", err)
		}
		record.Totals = totals
		return record, ErrNoRecipients
	}

	record, err = l.ledger.Seal(ctx, draft.Key, totals, l.now())
	if err != nil {
		return record, fmt.Errorf("sealing the campaign: %w", err)
	}
	return record, nil
}

// SameSource reports whether the draft is what the record was opened with: nil, ErrKeyConflict or ErrSourceChanged.
func SameSource(record Record, draft Draft) error {
	if record.ContentHash == draft.Content.Hash() && record.ListHash == draft.ListHash && record.JobSize == draft.JobSize {
		return nil
	}
	if record.Sealed() {
		return ErrKeyConflict
	}
	return ErrSourceChanged
}

func (l *Loader) writeShards(ctx context.Context, draft Draft, list List) (Totals, error) {
	var written int64
	jobs := 0
	shard := Shard{Key: draft.Key, Recipients: make([]Recipient, 0, draft.JobSize)}
	flush := func() error {
		if len(shard.Recipients) == 0 {
			return nil
		}
		shard.Number = jobs
		if err := l.ledger.WriteShard(ctx, shard); err != nil {
			return fmt.Errorf("writing job %d of the campaign: %w", jobs, err)
		}
		written += int64(len(shard.Recipients))
		jobs++
		shard.Recipients = shard.Recipients[:0]
		return nil
	}

	for {
		recipient, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Totals{}, fmt.Errorf("reading the recipients: %w", err)
		}
		shard.Recipients = append(shard.Recipients, recipient)
		if len(shard.Recipients) == draft.JobSize {
			if err := flush(); err != nil {
				return Totals{}, err
			}
		}
	}
	if err := flush(); err != nil {
		return Totals{}, err
	}

	totals := list.Totals()
	totals.Recipients, totals.Jobs = written, jobs
	return totals, nil
}
