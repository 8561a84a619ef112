package worker

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// lanePatience is how long recipients wait in a run for the rate of their domains, before they are set aside.
	lanePatience = 30 * time.Second
	// laneLead is how long before its turn a recipient that was set aside is due again: the outbox has to find it, and turns
	// must not pass unused meanwhile.
	laneLead = 20 * time.Second
	// minAside and maxAside bound the time for which recipients are set aside.
	minAside = 5 * time.Second
	maxAside = 4 * time.Hour
	// legacyPlan stands for the jobs of legacy programs, which have no campaign.
	legacyPlan = "legacy"
	// asideDetail is what the row of a recipient says that was set aside.
	asideDetail = "waits for its turn: more mails are due to these domains than SMTP_DOMAIN_LIMITS allows"
)

// DomainLimits are the limits of groups of recipient domains.
type DomainLimits struct {
	// Match returns the index in Groups of the group that the address belongs to; negative for none.
	Match  func(address string) int
	Groups []DomainGroup
}

// DomainGroup bounds the mails to some domains.
type DomainGroup struct {
	// Rate holds over all workers together; nil for none.
	Rate DomainRate
	// Connections is how many mails of this process are on their way to the group at once; 0 for any number.
	Connections int
}

// DomainRate is the rate of a group of recipient domains over all workers together.
type DomainRate interface {
	Throttle
	// Every is the time between two turns.
	Every() time.Duration
	// Plan gives n recipients of a campaign a moment each at which their turn is likely to come: how many got one, none
	// further away than farthest, when the first one's is, and the time from each to the next.
	Plan(ctx context.Context, campaign string, n int, farthest time.Duration) (planned int, first time.Time, every time.Duration)
}

// group is a DomainGroup at work. A nil one bounds nothing.
type group struct {
	rate DomainRate
	// slots holds an element for each mail on its way; nil for any number.
	slots chan struct{}
}

func newGroups(limits DomainLimits) []*group {
	groups := make([]*group, len(limits.Groups))
	for i, g := range limits.Groups {
		groups[i] = &group{rate: g.Rate}
		if g.Connections > 0 {
			groups[i].slots = make(chan struct{}, g.Connections)
		}
	}
	return groups
}

// enter waits until a mail may be on its way to the group, and returns for how many of n that holds.
func (g *group) enter(ctx context.Context, n int) (int, error) {
	if g.slots == nil {
		return n, nil
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	for entered := 1; entered < n; entered++ {
		select {
		case g.slots <- struct{}{}:
		default:
			return entered, nil
		}
	}
	return n, nil
}

// leave says that n mails are on their way to the group no more, or never were.
func (g *group) leave(n int) {
	if g == nil || g.slots == nil {
		return
	}
	for range n {
		<-g.slots
	}
}

// capacity is how many recipients get their turns within a run's patience, if nobody else asks.
func (g *group) capacity() int {
	return max(1, int(lanePatience/max(g.rate.Every(), 1)))
}

// lane is the part of a claim whose recipients share a group. It is fed beside the others, which overtake it.
type lane struct {
	group *group
	rows  []campaign.Claimed
}

// divide takes those out of the rows that have to mind the limits of their domains. Whose turn is far away is set aside at
// once.
func (r *run) divide(c *claim, rows []campaign.Claimed) (free []campaign.Claimed, lanes []lane) {
	groups := r.w.groups
	if len(groups) == 0 {
		return rows, nil
	}
	byGroup := make([][]campaign.Claimed, len(groups))
	for _, row := range rows {
		if i := r.w.cfg.Domains.Match(row.Address); i >= 0 && i < len(groups) {
			byGroup[i] = append(byGroup[i], row)
		} else {
			free = append(free, row)
		}
	}
	for i, rows := range byGroup {
		if len(rows) == 0 {
			continue
		}
		r.hadLanes = true
		if soon := r.soon(c, groups[i], rows); len(soon) > 0 {
			lanes = append(lanes, lane{groups[i], soon})
		}
	}
	return free, lanes
}

// soon returns those whose turn is near enough to wait for it, and sets the others aside.
func (r *run) soon(c *claim, g *group, rows []campaign.Claimed) []campaign.Claimed {
	if g.rate == nil || r.job.Priority > 0 {
		return rows
	}
	var soon, fresh, rest []campaign.Claimed
	most := g.capacity()
	for _, row := range rows {
		switch {
		case !row.Again: // no turn was planned for it yet
			fresh = append(fresh, row)
		case len(soon) < most:
			soon = append(soon, row)
		default:
			rest = append(rest, row)
		}
	}
	r.setAside(c, g, rest)
	if len(fresh) == 0 {
		return soon
	}
	moments := r.plan(g, len(fresh))
	near := r.w.cfg.Now().Add(laneLead)
	n := 0
	for n < len(fresh) && !moments[n].After(near) {
		n++
	}
	r.asideAt(c, fresh[n:], moments[n:])
	return append(soon, fresh[:n]...)
}

// plan returns a moment for each of n recipients at which their turn is likely to come, in order. Behind what can be planned
// they are spread at random, and asked again then.
func (r *run) plan(g *group, n int) []time.Time {
	planned, first, every := g.rate.Plan(r.ctx, cmp.Or(r.job.Key, legacyPlan), n, maxAside)
	now := r.w.cfg.Now()
	moments := make([]time.Time, n)
	for i := range moments {
		if i < planned {
			moments[i] = first.Add(time.Duration(i) * every)
			continue
		}
		moments[i] = now.Add(maxAside/2 + time.Duration(r.w.cfg.Random()*float64(maxAside/2)))
	}
	return moments
}

// setAside puts recipients off until their turn is likely to come.
func (r *run) setAside(c *claim, g *group, rows []campaign.Claimed) {
	switch {
	case len(rows) == 0:
	case g.rate == nil || r.job.Priority > 0: // soon: nothing says when
		moments := make([]time.Time, len(rows))
		for i := range moments {
			moments[i] = r.w.cfg.Now().Add(laneLead)
		}
		r.asideAt(c, rows, moments)
	default:
		r.asideAt(c, rows, r.plan(g, len(rows)))
	}
}

// asideAt puts recipients off until some time before these moments. They are recorded with the other results, without the
// journal: nothing is lost with them.
func (r *run) asideAt(c *claim, rows []campaign.Claimed, moments []time.Time) {
	if len(rows) == 0 {
		return
	}
	now := r.w.cfg.Now()
	c.opened(len(rows))
	for i, row := range rows {
		next := moments[i].Add(-laneLead)
		if earliest := now.Add(minAside); next.Before(earliest) {
			next = earliest
		}
		r.w.reporter.add(c, campaign.Result{
			RecipientID: row.ID, State: campaign.StateDeferred, NextAttemptAt: &next, Detail: asideDetail, At: now,
		})
	}
	r.w.cfg.Hooks.OnSetAside(len(rows))
}

// isAside reports whether a result is one of asideAt, and of no attempt.
func isAside(result campaign.Result) bool {
	return result.State == campaign.StateDeferred && !result.CountAttempt
}

// feedLanes begins to feed lanes, and returns what waits for the end and reports whether some of them were left
// unannounced.
func (r *run) feedLanes(c *claim, lanes []lane) (wait func() bool) {
	var left atomic.Bool
	var feeding sync.WaitGroup
	for _, l := range lanes {
		feeding.Go(func() {
			if r.feedLane(c, l) {
				left.Store(true)
			}
		})
	}
	return func() bool {
		feeding.Wait()
		return left.Load()
	}
}

// feedLane announces recipients as the limits of their domains allow, and hands them to the deliverers. When its patience
// ends, or somebody waits for the slot, the others are set aside. It reports whether some were left unannounced otherwise.
func (r *run) feedLane(c *claim, l lane) (leftover bool) {
	ctx := r.laneCtx
	if l.group.rate != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lanePatience)
		defer cancel()
	}
	for len(l.rows) > 0 {
		allotted, ok := r.awaitGroup(ctx, c, l)
		if !ok {
			break
		}
		announced, err := r.announce(c, l.rows[:allotted.n], allotted)
		if err != nil {
			r.cancel(err)
			return true
		}
		leftover = leftover || announced < allotted.n
		if announced == 0 {
			return true
		}
		l.rows = l.rows[allotted.n:]
	}
	if len(l.rows) > 0 && r.ctx.Err() == nil && c.valid(r.w.cfg.Now()) {
		r.setAside(c, l.group, l.rows)
		return leftover
	}
	return leftover || len(l.rows) > 0
}

// awaitGroup waits until recipients of the lane may be announced, as far as their domains, the campaign and the account are
// concerned. Where the campaign or the account has a pace, they go one by one, so that no turn of the one is spent while the
// other is waited for.
func (r *run) awaitGroup(ctx context.Context, c *claim, l lane) (allotted allotment, ok bool) {
	if !r.awaitRelay() || r.w.reporter.wait(ctx) != nil { //nolint:contextcheck // the run has its own
		return allotment{}, false
	}
	n := min(len(l.rows), r.w.cfg.Window)
	if r.policy.Load().throttle != nil {
		n = 1
	}
	began := r.w.cfg.Now()
	entered, err := l.group.enter(ctx, n)
	if err != nil {
		return allotment{}, false
	}
	granted, at := entered, turns{}
	if l.group.rate != nil {
		granted, at.first, at.every, err = l.group.rate.Take(ctx, entered)
	}
	r.w.cfg.Hooks.OnLimited(r.w.cfg.Now().Sub(began))
	if err == nil {
		allotted, ok = r.mayAnnounce(c, granted) //nolint:contextcheck // as above
	}
	if !ok {
		l.group.leave(entered)
		return allotment{}, false
	}
	allotted.n = min(allotted.n, granted)
	allotted.group, allotted.ofGroup = l.group, at
	l.group.leave(entered - allotted.n)
	return allotted, true
}
