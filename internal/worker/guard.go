package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// sampleKept is how long a campaign of which nobody ends is counted on.
	sampleKept = time.Hour
	// maxSamples bounds the campaigns that are counted; the one that waited longest gives way.
	maxSamples = 10_000
)

// guard counts how the recipients of campaigns with an abort policy ended, in this process, since the campaign was changed
// last.
type guard struct {
	mu      sync.Mutex
	samples map[string]*sample
	// swept is when campaigns that are over were forgotten last.
	swept time.Time
}

type sample struct {
	revision int
	ended    campaign.Ended
	at       time.Time
	// asking: somebody asks the database whether it is so of the whole campaign.
	asking bool
}

// ask reports whether the caller is the one to ask the database.
func (g *guard) ask(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.samples[key]
	if s == nil || s.asking {
		return false
	}
	s.asking = true
	return true
}

// asked ends an ask. What was counted counts no more: it was only a part of the campaign.
func (g *guard) asked(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.samples[key]; s != nil {
		*s = sample{revision: s.revision, at: s.at}
	}
}

// count adds one recipient, and returns how many there are. What a run tells that has not noticed a change yet is left out.
func (g *guard) count(key string, revision int, state campaign.State, now time.Time) (campaign.Ended, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.samples[key]
	if s == nil {
		g.makeRoom(now)
		s = &sample{revision: revision}
		g.samples[key] = s
	}
	if revision < s.revision {
		return campaign.Ended{}, false
	}
	if revision > s.revision {
		*s = sample{revision: revision}
	}
	s.at = now
	switch state {
	case campaign.StateAccepted:
		s.ended.Accepted++
	case campaign.StateBounced:
		s.ended.Bounced++
	case campaign.StateFailed:
		s.ended.Failed++
	}
	return s.ended, true
}

// makeRoom forgets campaigns that are over, as far as this process knows.
func (g *guard) makeRoom(now time.Time) {
	if len(g.samples) < maxSamples && now.Sub(g.swept) < sampleKept {
		return
	}
	g.swept = now
	oldest := ""
	for key, s := range g.samples {
		if now.Sub(s.at) > sampleKept {
			delete(g.samples, key)
		} else if oldest == "" || s.at.Before(g.samples[oldest].at) {
			oldest = key
		}
	}
	if len(g.samples) >= maxSamples {
		delete(g.samples, oldest)
	}
}

// watchShares counts a result, and adds to its effect what the campaign's abort policy says.
func (r *run) watchShares(p *policy, result campaign.Result, after *effect) {
	abort := p.job.Control.Policy.Abort
	switch result.State {
	case campaign.StateAccepted, campaign.StateBounced, campaign.StateFailed:
	default:
		return
	}
	if abort.MinSample == 0 || r.job.Key == "" {
		return
	}
	ended, ok := r.w.guard.count(r.job.Key, p.job.Revision, result.State, r.w.cfg.Now())
	if !ok || !abort.Exceeded(ended) || r.ctx.Err() != nil || after.end != "" || !r.w.guard.ask(r.job.Key) {
		return
	}
	defer r.w.guard.asked(r.job.Key)
	ended = r.wholeCampaign(ended)
	if !abort.Exceeded(ended) {
		return
	}
	r.w.cfg.Hooks.OnAbort(abort.Fail)
	if abort.Fail {
		after.end = campaign.EndAbortThresholdExceeded
		return
	}
	after.hold = abortHold(abort, ended)
}

// wholeCampaign is how the recipients of the whole campaign ended, where more is known of it than this process has seen: one
// that began anew in the worst part of a list would else stop a campaign that is fine. What is not recorded yet is missing,
// and the operator looks as well.
func (r *run) wholeCampaign(seen campaign.Ended) campaign.Ended {
	ctx, cancel := context.WithTimeout(r.w.hard, storeTimeout)
	defer cancel()
	all, err := r.w.cfg.Store.Ended(ctx, r.job.Key)
	if err != nil {
		r.w.cfg.Logger.WarnContext(ctx, "Counting the campaign for its abort policy failed", "jobID", r.job.ID, "err", err)
		return campaign.Ended{}
	}
	if all.Total() < seen.Total() {
		return seen
	}
	return all
}

// abortHold pauses a campaign until a person resumes it.
func abortHold(abort campaign.Abort, ended campaign.Ended) *campaign.Hold {
	return &campaign.Hold{
		Reason: HoldAbortThresholdExceeded,
		Message: fmt.Sprintf("of %d recipients, %d bounced and %d failed otherwise, more than spec.abortPolicy "+
			"allows (%d %% bounced, %d %% in all): check the list and the message, then set the annotation "+
			"mail.cartero.dev/resume-at, from which the shares are counted anew",
			ended.Total(), ended.Bounced, ended.Failed, abort.MaxHardBouncePercent, abort.MaxFailedPercent),
		Until: campaign.Forever,
	}
}
