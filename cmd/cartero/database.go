package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/options"
	"github.com/cartero-mail/cartero/internal/sleep"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// openStore opens the database; prepareStore has to be called before it is used.
func openStore(ctx context.Context, o options.Database) (*store.Store, error) {
	return store.Open(ctx, o.URL)
}

// prepareStore waits for the database and brings its tables up to date, or checks that they are.
func (p *process) prepareStore(ctx context.Context, db *store.Store, migrate bool) error {
	err := untilAvailable(ctx, p.logger, "database", store.IsUnavailable, func() error {
		if _, err := db.Time(ctx); err != nil {
			return err
		}
		if migrate {
			return db.Migrate(ctx)
		}
		return db.CheckSchema(ctx)
	})
	if err != nil {
		return err
	}
	p.group.Go(func() error { return p.keepTime(ctx, db) })
	if weak, err := db.WeakSettings(ctx); err == nil && len(weak) > 0 { // a server that does not tell is asked for no more
		p.logger.Warn("The database may forget what it has confirmed when its machine dies, and whoever was mailed then is mailed again",
			"settings", strings.Join(weak, ", "), "reason", "DurabilityReduced")
	}
	return nil
}

const (
	// clockInterval is the time between two looks at the database's clock. A machine's own strays by a millisecond in it, if at all.
	clockInterval = 10 * time.Second
	// clockTolerance is how wrong a machine's clock is before it is worth a line.
	clockTolerance = 2 * time.Second
)

// keepTime has the process go by the database's time until ctx ends.
func (p *process) keepTime(ctx context.Context, db *store.Store) error {
	telemetry.NewClockMetrics(p.registry, func() float64 { return db.ClockOffset().Seconds() })
	wrong := false
	for {
		offset := db.ClockOffset()
		switch was := wrong; {
		case !was && offset.Abs() > clockTolerance:
			wrong = true
			p.logger.Warn("This machine's clock and the database's, by which Cartero goes, differ", "offset", offset)
		case was && offset.Abs() <= clockTolerance:
			wrong = false
			p.logger.Info("This machine's clock and the database's agree again")
		}
		if !sleep.For(ctx, clockInterval) {
			return nil
		}
		if _, err := db.Time(ctx); err != nil && ctx.Err() == nil { // until it answers, the machine's clock goes on from its last answer
			p.logger.Debug("Asking the database for its time failed", "err", err)
		}
	}
}

func databaseCheck(db *store.Store) telemetry.Check {
	return telemetry.Check{Name: "database", Probe: db.Ping}
}

func runMigrate(ctx context.Context, c cli) error {
	var database options.Database
	var t options.Telemetry
	if err := load(c, "migrate", "brings the tables of the database up to date, and ends", &database, &t); err != nil {
		return err
	}
	p, ctx := newProcess(ctx, c.stderr, t, &database)
	db, err := openStore(ctx, database)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Migrate(ctx), db.Close()); err != nil {
		return err
	}
	p.logger.Info("The tables are up to date")
	return nil
}
