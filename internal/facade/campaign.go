package facade

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// keyPrefix begins the key of every campaign that came over HTTP.
const keyPrefix = "http/"

// Time limits of what happens whether the client still waits or not.
const (
	queueTimeout   = 2 * time.Second
	ringTimeout    = 15 * time.Second
	discardTimeout = 30 * time.Second
)

// accepted is the answer to a campaign that was accepted.
type accepted struct {
	_  struct{} `additionalProperties:"true"`
	OK bool     `json:"ok"`
	// JobID is the first job; JobIDs are all of them where there are several.
	JobID  string   `json:"jobId" doc:"The first job, for GET /jobs/{id}."`
	JobIDs []string `json:"jobIds,omitempty" nullable:"false" doc:"All jobs in order, where there are several."`
	// Accepted, Duplicates and Invalid count the entries of the list; they add up to its length.
	Accepted   int64 `json:"accepted" doc:"Recipients that will be mailed."`
	Duplicates int64 `json:"duplicates" doc:"Entries dropped because their address was there before."`
	Invalid    int64 `json:"invalid" doc:"Entries whose address can't be mailed."`
	// InvalidIndexes are the positions, from 0, of the first invalid entries.
	InvalidIndexes []int `json:"invalidIndexes,omitempty" nullable:"false" doc:"The positions, from 0, of the first 100 of them."`
	// Queued is false where the queue is away: the jobs will follow when it is back.
	Queued bool `json:"queued" doc:"false while the queue is away: the jobs follow by themselves."`
}

// sendCampaign is POST /send-campaign.
func (f *facade) sendCampaign(w http.ResponseWriter, r *http.Request) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		answer(w, http.StatusUnsupportedMediaType, failure{Error: encodedBody})
		return
	}
	if r.ContentLength > f.MaxBody {
		f.tooLarge(w)
		return
	}
	if f.queueIsFull(r.Context()) {
		unavailable(w, fullQueue)
		return
	}

	request := &campaignRequest{
		fields: map[string]string{}, list: newSpool(f.SpoolDir), most: f.MaxRecipients, mixed: f.MixedWorkers,
	}
	defer request.list.close()
	content, err := request.read(http.MaxBytesReader(w, r.Body, f.MaxBody), f.DefaultFrom)
	switch {
	case err != nil:
		f.unreadable(w, r, err)
	case len(request.problems) > 0:
		unprocessable(w, request.problems)
	case refused(w, f.mayUse(r.Context(), content.From)):
	default:
		f.load(w, r, content, request.list)
	}
}

// queueIsFull asks the queue; one that is away counts as not full, since accepting does not need it.
func (f *facade) queueIsFull(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	waiting, err := f.QueueLength(ctx)
	if err != nil {
		f.Logger.WarnContext(ctx, "Asking the queue for its length failed", "error", err, "requestId", requestID(ctx))
		return false
	}
	return waiting >= f.MaxQueue
}

// fillKept is how long an answer of the queue is good for many small requests.
const fillKept = 200 * time.Millisecond

// fill remembers for a moment whether the queue is full: one request asks, the others go by what was true just now.
type fill struct {
	ask func(ctx context.Context) bool
	now func() time.Time

	mu    sync.Mutex
	asked time.Time
	last  atomic.Bool
}

func (q *fill) full(ctx context.Context) bool {
	if !q.mu.TryLock() {
		return q.last.Load()
	}
	defer q.mu.Unlock()
	if now := q.now(); q.asked.IsZero() || now.Sub(q.asked) >= fillKept {
		q.last.Store(q.ask(ctx))
		q.asked = now
	}
	return q.last.Load()
}

func (f *facade) tooLarge(w http.ResponseWriter) {
	w.Header().Set("Connection", "close") // Reading on would be all that is left to do with it.
	answer(w, http.StatusRequestEntityTooLarge, failure{Error: fmt.Sprintf("the body is larger than %d bytes", f.MaxBody)})
}

// unreadable answers a request whose body could not be read to its end.
func (f *facade) unreadable(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		f.tooLarge(w)
	case errors.Is(err, errSpool):
		f.Logger.Error("A list could not be kept while it is checked", "error", err, "requestId", requestID(r.Context()))
		unavailable(w, "the server has no room for a list of this size: try again later")
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		answer(w, http.StatusRequestTimeout, failure{Error: slowBody})
	default: // the client went away, or broke the framing
		w.Header().Set("Connection", "close")
		answer(w, http.StatusBadRequest, failure{Error: unreadableBody})
	}
}

// load writes the campaign, seals it and rings its jobs. Up to the seal, whatever goes wrong leaves nothing behind.
func (f *facade) load(w http.ResponseWriter, r *http.Request, content campaign.Content, list *spool) {
	lines, err := list.reader()
	if err != nil {
		f.unreadable(w, r, err)
		return
	}
	draft := campaign.Draft{
		Key:       keyPrefix + f.NewID(),
		Origin:    campaign.OriginHTTP,
		Content:   content,
		ListHash:  list.hash(f.JobSize),
		JobSize:   f.JobSize,
		CreatedAt: f.Now().UTC(),
	}
	record, err := f.loader.Load(r.Context(), draft, recipients.New(lines, recipients.JSONLines))
	if err != nil {
		sealed, discardErr := f.discard(r.Context(), draft.Key)
		if discardErr != nil || !sealed.Sealed() {
			f.notLoaded(w, r, record, errors.Join(err, discardErr))
			return
		}
		record = sealed
	}
	f.Metrics.Accepted(record.Totals.Recipients)
	result := outcome(record)
	result.Queued = f.ring(r.Context(), draft.Key)
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
func (f *facade) notLoaded(w http.ResponseWriter, r *http.Request, record campaign.Record, err error) {
	var syntax *recipients.SyntaxError
	switch {
	case errors.Is(err, campaign.ErrNoRecipients):
		unprocessable(w, []problem{wrong("value_error",
			fmt.Sprintf("none of the %d addresses can be mailed", record.Totals.Invalid), "recipients")})
	case errors.As(err, &syntax):
		unprocessable(w, []problem{wrong("value_error", syntax.Reason, "recipients", syntax.Line-1)})
	case r.Context().Err() != nil: // nobody is left to read an answer
		answer(w, http.StatusServiceUnavailable, failure{Error: "the request was given up"})
	default:
		f.broken(w, r, "Writing a campaign failed", err)
	}
}

// broken answers 503 for an outage of the database and 500 for anything else, without internals.
func (f *facade) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	f.Logger.Error(what, "error", err, "requestId", requestID(r.Context()))
	if f.Unavailable(err) {
		unavailable(w, noDatabase)
		return
	}
	answer(w, http.StatusInternalServerError, failure{Error: internalError})
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

// ring puts the jobs into the queue, even if the client went away: the campaign is accepted.
func (f *facade) ring(ctx context.Context, key string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ringTimeout)
	defer cancel()
	if err := f.Doorbell.RingCampaign(ctx, key); err != nil {
		f.Logger.Warn("Ringing a campaign failed; the sweep will do it", "error", err, "campaign", key,
			"requestId", requestID(ctx))
		return false
	}
	return true
}
