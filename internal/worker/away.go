package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/sleep"
)

const (
	// noteEvery is the time between two notes that the relay is away; readers believe one for some minutes.
	noteEvery = 20 * time.Second
	// noteKept is how long a note is remembered: a campaign that ended elsewhere is not cleared any more.
	noteKept = time.Hour
	// noteTimeout bounds the writing of one: it is not worth holding mails up for.
	noteTimeout = 5 * time.Second
)

// awaitRelay waits while the relay is left alone, and has that noted. It gives the job back once the relay has been
// away for too long; the note stays.
func (r *run) awaitRelay() bool {
	for {
		now := r.w.cfg.Now()
		_, wait, downAt := r.w.relay.state(now)
		if wait == 0 {
			return r.ctx.Err() == nil
		}
		since := downAt
		if since.Before(r.began) {
			since = r.began
		}
		left := r.w.cfg.RelayPatience - now.Sub(since)
		if left <= 0 {
			r.cancel(errRelayAway)
			return false
		}
		if detail := r.w.relay.trouble(); detail != "" && r.ctx.Err() == nil {
			r.noteAway(detail)
		}
		if !sleep.For(r.ctx, min(wait, left, noteEvery)) {
			return false
		}
	}
}

// noteAway says in the log, and in the campaign for whoever shows its status, that mails wait for the relay. The note
// blocks nobody, and the store lets it not replace a hold that is in force.
func (r *run) noteAway(detail string) {
	w, key := r.w, r.job.Key
	if !r.noted.Swap(true) {
		w.cfg.Logger.WarnContext(r.ctx, "The relay is away, mails wait", "jobID", r.job.ID, "detail", detail)
	}
	now := w.cfg.Now()
	if key == "" || !w.notes.due(key, now) {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, noteTimeout)
	defer cancel()
	// Only a note: if it is lost, the next one says the same.
	_ = w.cfg.Store.HoldCampaign(ctx, key, campaign.Hold{Reason: HoldRelayUnavailable, Message: detail, Until: now})
}

// noteWorks takes back what this run, or another one of this process, noted of the campaign, if the relay works.
func (r *run) noteWorks() {
	w := r.w
	if _, _, downAt := w.relay.state(w.cfg.Now()); !downAt.IsZero() {
		return
	}
	left := w.notes.take(r.job.Key)
	if noted := r.noted.Swap(false); !left && !noted {
		return
	}
	w.cfg.Logger.InfoContext(r.ctx, "The relay works again", "jobID", r.job.ID)
	if !left {
		return
	}
	ctx, cancel := context.WithTimeout(w.hard, noteTimeout)
	defer cancel()
	_ = w.cfg.Store.HoldCampaign(ctx, r.job.Key, campaign.Hold{}) // a note that stays grows too old to be believed
}

// notes are the campaigns of which this process noted that the relay is away, and when it did so last.
type notes struct {
	mu sync.Mutex
	at map[string]time.Time
}

// due reports whether the campaign is to be noted now, and remembers that it is.
func (n *notes) due(key string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, ok := n.at[key]; ok && now.Sub(last) < noteEvery {
		return false
	}
	maps.DeleteFunc(n.at, func(_ string, last time.Time) bool { return now.Sub(last) > noteKept })
	n.at[key] = now
	return true
}

// take forgets the campaign, and reports whether it was noted.
func (n *notes) take(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.at[key]
	delete(n.at, key)
	return ok
}
