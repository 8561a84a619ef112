package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/mail"
)

// replay brings the journals of dead processes into the database and forgets them. It is idempotent: a file is removed
// only once all of it is recorded.
func (w *Worker) replay(ctx context.Context) error {
	files, err := w.journal.dead()
	if err != nil {
		return err
	}
	var failed []error
	for _, f := range files {
		if err := w.replayFile(ctx, f); err != nil {
			f.close()
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (w *Worker) replayFile(ctx context.Context, f *deadFile) error {
	if f.headless() {
		return f.remove()
	}
	j, err := f.read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	store, now := w.cfg.Store, w.cfg.Now()

	held, err := store.Held(ctx, j.token)
	if err != nil {
		return fmt.Errorf("replaying a journal: %w", err)
	}
	if err := failpoint.Hit(failpoint.WorkerReplaying); err != nil {
		return fmt.Errorf("replaying a journal: %w", err)
	}
	results := replayResults(j, held, j.complete(w.journal.boot), now)
	for group := range slices.Chunk(results, w.cfg.FlushSize) {
		if _, err := store.Record(ctx, j.token, group); err != nil {
			return fmt.Errorf("replaying a journal: %w", err)
		}
	}
	released, err := store.Release(ctx, j.token)
	if err != nil {
		return fmt.Errorf("replaying a journal: %w", err)
	}
	if j.jobID != "" {
		if _, err := store.FinishJob(ctx, j.jobID, now); err != nil && !errors.Is(err, campaign.ErrNotFound) {
			return fmt.Errorf("replaying a journal: %w", err)
		}
	}
	if len(held) > 0 {
		w.cfg.Logger.InfoContext(ctx, "Replayed the journal of a worker that ended", "jobID", j.jobID,
			"results", len(results), "released", released, "tornLines", j.invalid)
	}
	if err := failpoint.Hit(failpoint.WorkerReplayed); err != nil {
		return fmt.Errorf("replaying a journal: %w", err)
	}
	return f.remove()
}

// replayResults is what the journal says of the recipients that are still held under its token: the result where there
// is one, a doubt where the final dot may have gone out, and back to waiting where it certainly did not. An announced
// recipient of which an incomplete journal is silent is in doubt.
func replayResults(j journalled, held map[string]bool, complete bool, now time.Time) []campaign.Result {
	ids := slices.Sorted(maps.Keys(held))
	results := make([]campaign.Result, 0, len(ids))
	for _, id := range ids {
		announced := held[id]
		result, known := j.results[id]
		switch {
		case known:
			results = append(results, result)
		case slices.Contains(j.dots, id), announced && !complete:
			results = append(results, inDoubt(id, now))
		case announced:
			results = append(results, givenBack(id, now))
		}
	}
	return results
}

// inDoubt is the result of a recipient whose mail may have been accepted by a relay that nobody heard.
func inDoubt(id string, now time.Time) campaign.Result {
	return campaign.Result{
		RecipientID: id, State: campaign.StateInDoubt, CountAttempt: true, Category: mail.CategoryInDoubt, At: now,
		Detail: "the worker ended between the final dot and the relay's reply",
	}
}
