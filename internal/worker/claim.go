package worker

import (
	"context"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// claim is a set of recipients held under one token. It is closed when each of them has its result in the database or
// was given back.
type claim struct {
	token   string
	jobID   string
	journal *journalFile
	// batch has the mails that were submitted together; nil for a claim on a job.
	batch *batch

	mu sync.Mutex
	// validUntil is when others may take the recipients over, by this process's clock, with a margin.
	validUntil time.Time
	// sending counts announced recipients without a result, open those without a recorded one.
	sending int
	open    int
	// lost: the database knows nothing of it any more.
	lost bool
	// fed: no more recipients of this claim will be announced. leftover: some were not.
	fed      bool
	leftover bool
	// unknown: nobody knows whether the claim was carried out.
	unknown bool
	// queued are results that wait to be written, the first of them since then, and due says that they are not to wait any
	// longer. The reporter's lock guards these.
	queued []campaign.Result
	since  time.Time
	due    bool
	// done is closed once the claim is.
	done chan struct{}
}

// valid reports whether the lease certainly holds.
func (c *claim) valid(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.lost && now.Before(c.validUntil)
}

func (c *claim) extend(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.validUntil = until
}

// lose has nobody announced or sent under the claim any more.
func (c *claim) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
}

func (c *claim) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func (c *claim) opened(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending += n
	c.open += n
}

// reported counts one result, and reports whether it was the last that the claim waits for, and how many are still on
// their way.
func (c *claim) reported() (last bool, sending int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending--
	return c.fed && c.sending == 0, c.sending
}

// recorded counts results that are in the database, and reports whether the claim can be closed.
func (c *claim) recorded(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open -= n
	return c.fed && c.open == 0
}

// allRecorded reports whether nobody is left in it.
func (c *claim) allRecorded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open == 0
}

// finish says that no more recipients will be announced, and reports whether the claim can be closed.
func (c *claim) finish(leftover bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fed, c.leftover = true, leftover
	return c.open == 0
}

// claims are those of this process that are not closed.
type claims struct {
	mu      sync.Mutex
	byToken map[string]*claim
}

func (s *claims) add(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byToken[c.token] = c
}

func (s *claims) remove(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byToken, c.token)
}

// awaitLost waits until those claims of the job that the database has lost are closed, or ctx ends: nobody else knows who of them is
// between final dot and reply.
func (s *claims) awaitLost(ctx context.Context, jobID string) {
	for _, c := range s.all() {
		if c.jobID != jobID || !c.isLost() {
			continue
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return
		}
	}
}

func (s *claims) all() []*claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*claim, 0, len(s.byToken))
	for _, c := range s.byToken {
		all = append(all, c)
	}
	return all
}
