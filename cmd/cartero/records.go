package main

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/internal/retention"
	"github.com/cartero-mail/cartero/internal/store"
)

// keepRecords removes what came over HTTP some time after its end, unless keep is 0, and lists that were never complete,
// until ctx ends.
func (p *process) keepRecords(ctx context.Context, db *store.Store, keep time.Duration) error {
	cleaner, err := retention.New(retention.Config{Store: db, Keep: keep, Now: db.Now, Logger: p.logger})
	if err != nil {
		return err
	}
	return cleaner.Run(ctx)
}
