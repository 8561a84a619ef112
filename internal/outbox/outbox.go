// Package outbox puts jobs into the queue. The database is the outbox: a job that is sealed, unfinished, due and neither
// leased nor in the queue is rung, however it came to be so: a crash before the first ring, a lost queue, a deferred
// recipient whose time has come.
package outbox

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Store is what the outbox needs of the database.
type Store interface {
	// DueJobs returns jobs to ring, at most limit, in id order: sealed, unfinished, not suspended, cancelled or held,
	// with a recipient that is due, without a live lease, and not rung since rungBefore. key restricts it to one
	// campaign; empty means all. Jobs that a legacy program wrote are due only for recipients that Cartero deferred.
	DueJobs(ctx context.Context, key string, now, rungBefore time.Time, limit int) ([]campaign.DueJob, error)
	// FirstDueJobs is DueJobs of campaigns, of each of them only such as are among the first window jobs that are due, in the
	// order of their numbers: those rung since rungBefore count as well.
	FirstDueJobs(ctx context.Context, key string, now, rungBefore time.Time, window, limit int) ([]campaign.DueJob, error)
	// MarkRung counts a ring of each job, if its count is still the one given, and sets rungAt.
	MarkRung(ctx context.Context, jobs []campaign.DueJob, now time.Time) error
	// RungJobs returns unfinished jobs of the campaign that were rung, at most limit of those with ids behind after, in id
	// order.
	RungJobs(ctx context.Context, key, after string, limit int) ([]campaign.DueJob, error)
	// ForgetRings takes rungAt away: the queue no longer has the jobs, which are rung again as soon as they are due.
	ForgetRings(ctx context.Context, jobs []campaign.DueJob) error
	// PostponeRing sets rungAt alone: the queue still has the job's latest ring.
	PostponeRing(ctx context.Context, jobs []campaign.DueJob, now time.Time) error
}

// Queue is what the outbox needs of the queue.
type Queue interface {
	// Ring adds one job per entry, bullID → EmailJob id, in one pipelined round trip. An id that the queue knows is
	// left alone.
	Ring(ctx context.Context, rings []Ring) error
	// Unring takes jobs that wait, are delayed or paused out of the queue. Others are left alone, and one that is not there
	// is no error.
	Unring(ctx context.Context, bullIDs []string) error
	// Waiting reports which of these Bull ids are in the queue and not finished: waiting, paused, delayed or active.
	Waiting(ctx context.Context, bullIDs []string) (map[string]bool, error)
}

// Ring is one job to put into the queue.
type Ring struct {
	BullID string
	JobID  string
	// Priority is Bull's: 1 runs before all larger numbers, 0 after them.
	Priority int
}
