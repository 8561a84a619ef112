package campaign

import (
	"context"
	"errors"
	"fmt"
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
// writes the same rows. On a campaign that is sealed with the same content and list it reads nothing and returns the
// record; one that another owner is writing it leaves to that owner, and returns it unsealed. It fails with
// ErrKeyConflict if another content or list is sealed under the key, with ErrSourceChanged if another one is half
// written, and with ErrNoRecipients, discarding what it opened, if the list is empty.
func (l *Loader) Load(ctx context.Context, draft Draft, list List) (Record, error) {
	record, err := l.ledger.Open(ctx, draft)
	if err != nil {
		return Record{}, fmt.Errorf("opening the campaign: %w", err)
	}
	if err := SameSource(record, draft); err != nil || record.Sealed() {
		return record, err
	}
	if record.Owner.ID != draft.Owner { // who steers it is writing it
		return record, nil
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
	if draft.SameContent(record) && record.ListHash == draft.ListHash && record.JobSize == draft.JobSize {
		return nil
	}
	if record.Sealed() {
		return ErrKeyConflict
	}
	return ErrSourceChanged
}
