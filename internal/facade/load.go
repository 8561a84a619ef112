package facade

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// loadTimeout bounds the writing of an idempotent campaign, which goes on when its client goes away.
const loadTimeout = 10 * time.Minute

// load is the writing of one campaign.
//
// Without an Idempotency-Key its campaign's key is nobody else's: whatever goes wrong before the seal, what was written is
// discarded. With one, the same campaign may be written by another process at the same time, which a discard would ruin,
// and the next request with the key goes on where this one stopped: what was written stays, unseen by workers, until then,
// or until unsealed campaigns are cleaned up.
type load struct {
	*facade
	key        string
	idempotent bool
	content    campaign.Content
	list       *spool
}

// isKnown reports whether the campaign was accepted before.
func (l *load) isKnown(ctx context.Context) bool {
	if !l.idempotent {
		return false
	}
	record, err := l.Ledger.Campaign(ctx, l.key)
	return err == nil && record.Sealed() // an outage is found again, and told, when the campaign is written
}

// serve writes the campaign, seals it and rings its jobs.
func (l *load) serve(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if l.idempotent {
		if _, running := l.loading.LoadOrStore(l.key, true); running {
			w.Header().Set("Retry-After", retryAfter)
			answer(w, http.StatusConflict, failure{Error: inFlight})
			return
		}
		defer l.loading.Delete(l.key)
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer stop()
	}
	draft, replay, err := l.draft(ctx)
	if err != nil {
		l.broken(w, r, "Looking for a campaign failed", err)
		return
	}
	lines, err := l.list.reader()
	if err != nil {
		l.unreadable(w, r, err)
		return
	}
	record, err := l.loader.Load(ctx, draft, recipients.New(lines, recipients.JSONLines))
	if err != nil {
		var sealed bool
		if record, sealed, err = l.after(ctx, draft, record, err); !sealed {
			l.notLoaded(w, r, record, err)
			return
		}
	}
	if !record.Sealed() { // the loader gives up in peace where the list can't be written any more
		answer(w, http.StatusConflict, failure{Error: "the campaign of this Idempotency-Key was cancelled"})
		return
	}
	l.accept(w, r, record, replay)
}

// draft is the campaign to write. It reports whether it was accepted before. Jobs are of the size that they had then, which
// another version of the program may have set.
func (l *load) draft(ctx context.Context) (draft campaign.Draft, replay bool, err error) {
	draft = campaign.Draft{
		Key: l.key, Origin: campaign.OriginHTTP, Content: l.content, JobSize: l.JobSize, CreatedAt: l.Now().UTC(),
	}
	if l.idempotent {
		record, err := l.Ledger.Campaign(ctx, l.key)
		switch {
		case err == nil:
			draft.JobSize, replay = record.JobSize, record.Sealed()
		case !errors.Is(err, campaign.ErrNotFound):
			return draft, false, err
		}
	}
	draft.ListHash = l.list.hash(draft.JobSize)
	return draft, replay, nil
}

// errInDoubt: the campaign may be sealed, and what there is can't be read.
var errInDoubt = errors.New("the campaign may have been accepted")

// after finds out what there is after a failure. If the seal was committed, and only the word of it lost, the campaign is
// accepted. Where that can't be found out, the error is errInDoubt.
func (l *load) after(ctx context.Context, draft campaign.Draft, record campaign.Record, err error) (campaign.Record, bool, error) {
	var syntax *recipients.SyntaxError
	switch {
	case !l.idempotent, errors.As(err, &syntax): // a list that can't be read can't be by anybody else
	case errors.Is(err, campaign.ErrKeyConflict), errors.Is(err, campaign.ErrNoRecipients):
		return record, false, err
	case errors.Is(err, campaign.ErrSourceChanged):
		if campaign.SameSource(record, draft) != nil {
			return record, false, fmt.Errorf("%w: %w", campaign.ErrKeyConflict, err)
		}
		// A version that reads the same list otherwise left a part of it: nobody can complete that.
	default:
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
		defer stop()
		known, readErr := l.Ledger.Campaign(ctx, l.key)
		if readErr != nil && !errors.Is(readErr, campaign.ErrNotFound) && errors.Is(err, campaign.ErrUncertain) {
			err = fmt.Errorf("%w: %w", errInDoubt, err)
		}
		return known, readErr == nil && known.Sealed(), err
	}
	sealed, discardErr := l.discard(ctx, draft.Key)
	if discardErr == nil && sealed.Sealed() {
		return sealed, true, nil
	}
	if discardErr != nil && errors.Is(err, campaign.ErrUncertain) {
		err = fmt.Errorf("%w: %w", errInDoubt, err)
	}
	return record, false, errors.Join(err, discardErr)
}

// accept rings the jobs and answers. A replay rings too: whatever is in the queue, or ended, stays as it is.
func (l *load) accept(w http.ResponseWriter, r *http.Request, record campaign.Record, replay bool) {
	if replay {
		w.Header().Set(replayedHeader, "true")
	} else {
		l.Metrics.Accepted(record.Totals.Recipients)
	}
	result := outcome(record)
	result.Queued = l.ring(r.Context(), record.Key)
	w.Header().Set("Location", "/jobs/"+result.JobID)
	answer(w, http.StatusAccepted, result)
}

// outcome is the answer for a sealed campaign.
func outcome(record campaign.Record) accepted {
	totals := record.Totals
	a := accepted{
		OK:         true,
		JobID:      campaign.JobID(record.Key, 0),
		Accepted:   totals.Recipients,
		Duplicates: totals.Duplicates,
		Invalid:    totals.Invalid,
	}
	if totals.Jobs > 1 {
		for shard := range totals.Jobs {
			a.JobIDs = append(a.JobIDs, campaign.JobID(record.Key, shard))
		}
	}
	for _, line := range totals.InvalidLines {
		a.InvalidIndexes = append(a.InvalidIndexes, line-1)
	}
	return a
}

// notLoaded answers for a campaign that could not be written.
func (l *load) notLoaded(w http.ResponseWriter, r *http.Request, record campaign.Record, err error) {
	var syntax *recipients.SyntaxError
	switch {
	case errors.Is(err, errInDoubt):
		l.Logger.Error("Whether a campaign was accepted is not known", "error", err, "requestId", requestID(r.Context()))
		told := doubt(l.idempotent)
		if told.retry {
			w.Header().Set("Retry-After", retryAfter)
		}
		answer(w, told.status, told.failure)
	case errors.Is(err, campaign.ErrKeyConflict):
		unprocessable(w, []problem{keyReused()})
	case errors.Is(err, campaign.ErrNoRecipients):
		unprocessable(w, []problem{wrong("value_error",
			fmt.Sprintf("none of the %d addresses can be mailed", record.Totals.Invalid), "recipients")})
	case errors.As(err, &syntax):
		unprocessable(w, []problem{wrong("value_error", syntax.Reason, "recipients", syntax.Line-1)})
	case l.idempotent && (errors.Is(err, campaign.ErrSourceChanged) || errors.Is(err, campaign.ErrNotFound)):
		// What was there was removed meanwhile; the next request begins anew.
		unavailable(w, "the campaign could not be written: try again")
	case !l.idempotent && r.Context().Err() != nil: // nobody is left to read an answer
		answer(w, http.StatusServiceUnavailable, failure{Error: "the request was given up"})
	default:
		l.broken(w, r, "Writing a campaign failed", err)
	}
}

// discard removes what an unsealed campaign left. If the seal was committed, and only the word of it lost, the
// campaign is accepted: its record is returned. Where the database is away, what is left stays invisible to workers.
func (f *facade) discard(ctx context.Context, key string) (campaign.Record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	err := f.Ledger.Discard(ctx, key)
	if errors.Is(err, campaign.ErrSealed) {
		record, err := f.Ledger.Campaign(ctx, key)
		if err != nil {
			return campaign.Record{}, fmt.Errorf("reading the sealed campaign: %w", err)
		}
		return record, nil
	}
	if err != nil {
		return campaign.Record{}, fmt.Errorf("discarding what was written: %w", err)
	}
	return campaign.Record{}, nil
}
