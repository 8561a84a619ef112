// Package retention removes from the database what came over HTTP and is no longer wanted: campaigns that ended long ago,
// where that is asked for, and campaigns whose list was never written to its end.
//
// It leaves alone what Kubernetes and legacy programs made: the former's rows are what their status is counted from, and
// what makes a manifest one campaign for ever; the latter's are not ours.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
)

// Store is what a Cleaner needs of the database. Every method may be called by several processes at once.
type Store interface {
	// Expire removes, in one transaction of bounded size, campaigns behind the position that came over HTTP and whose jobs
	// have all ended before the time, with their jobs and recipients.
	Expire(ctx context.Context, before time.Time, after Position) (Expired, error)
	// Abandoned returns at most limit keys of campaigns that came over HTTP, were opened before the time, and are not
	// sealed.
	Abandoned(ctx context.Context, before time.Time, limit int) ([]string, error)
	// Discard removes an unsealed campaign; it fails with campaign.ErrSealed on a sealed one.
	Discard(ctx context.Context, key string) error
}

// Position is a place in the order of the sealed campaigns, the oldest first. The zero value is before all of them.
type Position struct {
	SealedAt time.Time
	Key      string
}

// Expired is what one call of Expire did.
type Expired struct {
	// Recipients and Campaigns are the numbers of what was removed.
	Recipients, Campaigns int
	// Next is the position of the last campaign that was looked at, to go on from. It is the zero value behind the last
	// campaign, unless there is More.
	Next Position
	// More tells that campaigns at this position have recipients left.
	More bool
}

// Defaults of Config.
const (
	DefaultInterval = 10 * time.Minute
	DefaultPause    = 50 * time.Millisecond
	// AbandonedAfter is the age at which an unsealed campaign is taken for abandoned: far more than a request may take.
	AbandonedAfter = 24 * time.Hour

	// abandonedBatch bounds the keys that are read at a time.
	abandonedBatch = 100
)

// Config is what a Cleaner is made of. Store is required.
type Config struct {
	Store Store
	// Keep is how long a campaign is kept after its end; 0 means for ever.
	Keep time.Duration
	// Interval is the mean time between two searches; 0 means DefaultInterval.
	Interval time.Duration
	// Pause is the time between two transactions, which leaves the database to who sends; 0 means DefaultPause.
	Pause time.Duration
	// Now is the clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Cleaner removes what is no longer wanted. Any number of processes may run one on the same database.
type Cleaner struct{ cfg Config }

// New returns a Cleaner, or an error that names what is wrong with cfg.
func New(cfg Config) (*Cleaner, error) {
	if cfg.Store == nil {
		return nil, errors.New("retention: Store is required")
	}
	if cfg.Keep < 0 || cfg.Interval < 0 || cfg.Pause < 0 {
		return nil, errors.New("retention: Keep, Interval and Pause must not be negative")
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Pause == 0 {
		cfg.Pause = DefaultPause
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Cleaner{cfg: cfg}, nil
}

// Run cleans about every Interval until ctx ends; it always returns nil. A failure is logged once per outage.
func (c *Cleaner) Run(ctx context.Context) error {
	failing := false
	// At random times, so that replicas that start together don't clean together.
	for sleep.For(ctx, rand.N(c.cfg.Interval)) { //nolint:gosec // jitter, no secret
		err := c.Clean(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			c.cfg.Logger.Warn("Removing old records failed; it is retried", "error", err)
			failing = true
		case err == nil && failing:
			c.cfg.Logger.Info("Removing old records works again")
			failing = false
		}
		if !sleep.For(ctx, c.cfg.Interval/2) {
			break
		}
	}
	return nil
}

// Clean removes everything that is no longer wanted now, batch by batch.
func (c *Cleaner) Clean(ctx context.Context) error {
	discarded, err := c.discardAbandoned(ctx)
	if discarded > 0 {
		c.cfg.Logger.Info("Removed campaigns whose list was never complete", "campaigns", discarded)
	}
	if err != nil || c.cfg.Keep == 0 {
		return err
	}
	campaigns, recipients, err := c.expire(ctx)
	if recipients > 0 || campaigns > 0 {
		c.cfg.Logger.Info("Removed old records", "campaigns", campaigns, "recipients", recipients)
	}
	return err
}

func (c *Cleaner) expire(ctx context.Context) (campaigns, recipients int, err error) {
	before := c.cfg.Now().Add(-c.cfg.Keep)
	position := Position{}
	for {
		expired, err := c.cfg.Store.Expire(ctx, before, position)
		if err != nil {
			return campaigns, recipients, fmt.Errorf("removing old records: %w", err)
		}
		campaigns, recipients = campaigns+expired.Campaigns, recipients+expired.Recipients
		if position = expired.Next; position == (Position{}) && !expired.More {
			return campaigns, recipients, nil
		}
		if !sleep.For(ctx, c.cfg.Pause) {
			return campaigns, recipients, context.Cause(ctx)
		}
	}
}

func (c *Cleaner) discardAbandoned(ctx context.Context) (discarded int, err error) {
	before := c.cfg.Now().Add(-AbandonedAfter)
	for {
		keys, err := c.cfg.Store.Abandoned(ctx, before, abandonedBatch)
		if err != nil {
			return discarded, fmt.Errorf("looking for abandoned campaigns: %w", err)
		}
		for _, key := range keys {
			err := c.cfg.Store.Discard(ctx, key)
			if errors.Is(err, campaign.ErrSealed) { // somebody wrote it to its end after all
				continue
			}
			if err != nil {
				return discarded, fmt.Errorf("discarding an abandoned campaign: %w", err)
			}
			discarded++
			if !sleep.For(ctx, c.cfg.Pause) {
				return discarded, context.Cause(ctx)
			}
		}
		if len(keys) < abandonedBatch {
			return discarded, nil
		}
	}
}
