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
	idempotency := r.Header.Get(IdempotencyKeyHeader)
	if problems := checkIdempotencyKey(idempotency); len(problems) > 0 {
		unprocessable(w, problems)
		return
	}
	l := &load{facade: f, key: f.newKey(f.keys.id(r.Header.Get("X-API-Key")), "send-campaign", idempotency), idempotent: idempotency != ""}
	if f.queueIsFull(r.Context()) && !l.isKnown(r.Context()) {
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
		l.content, l.list = content, request.list
		l.serve(w, r)
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

// broken answers 503 for an outage of the database and 500 for anything else, without internals.
func (f *facade) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	f.Logger.Error(what, "error", err, "requestId", requestID(r.Context()))
	if f.Unavailable(err) {
		unavailable(w, noDatabase)
		return
	}
	answer(w, http.StatusInternalServerError, failure{Error: internalError})
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
