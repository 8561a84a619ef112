package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/domains"
	"github.com/cartero-mail/cartero/internal/worker"
)

// groupRate is an evenly with a plan.
type groupRate struct {
	*evenly

	mu    sync.Mutex
	next  map[string]time.Time
	plans int
}

func newGroupRate(every time.Duration) *groupRate {
	return &groupRate{evenly: newEvenly(every), next: map[string]time.Time{}}
}

func (g *groupRate) Every() time.Duration { return g.every }

func (g *groupRate) Plan(_ context.Context, key string, n int, farthest time.Duration) (int, time.Time, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plans++
	first := g.next[key]
	if now := time.Now(); first.Before(now) {
		first = now
	}
	n = max(0, min(n, int(time.Until(first.Add(-farthest))/-g.every)))
	g.next[key] = first.Add(time.Duration(n) * g.every)
	return n, first, g.every
}

// limited has mails to these domains bounded so.
func limited(text string, groups ...worker.DomainGroup) worker.DomainLimits {
	parsed, err := domains.Parse(text)
	if err != nil {
		panic(err)
	}
	return worker.DomainLimits{Match: domains.NewMatcher(parsed).Match, Groups: groups}
}

// mixed is a recipient of example.com or, if it is odd, of slow.example.
func mixed(i int) string {
	if i%2 == 1 {
		return fmt.Sprintf("r%04d@slow.example", i)
	}
	return address(i)
}

// seedMixed seeds a campaign half of whose recipients are mixed.
func (w *world) seedMixed(key string, recipients, jobSize int) (jobs []string) {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.db.Open(ctx, campaign.Draft{
		Key: key, Origin: campaign.OriginKubernetes, ListHash: "list", JobSize: jobSize, CreatedAt: time.Now(),
		Content: campaign.Content{From: mail.Address{Address: testFrom}, Subject: "Spring", Text: "Hello"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for first := 0; first < recipients; first += jobSize {
		shard := campaign.Shard{Key: key, Number: len(jobs)}
		for i := first; i < min(recipients, first+jobSize); i++ {
			shard.Recipients = append(shard.Recipients, campaign.Recipient{Address: mixed(i)})
		}
		if err := w.db.WriteShard(ctx, shard); err != nil {
			w.t.Fatal(err)
		}
		jobs = append(jobs, campaign.JobID(key, shard.Number))
	}
	if _, err := w.db.Seal(ctx, key, campaign.Totals{Recipients: int64(recipients), Jobs: len(jobs)}, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	return jobs
}

// arrivals are when mails to slow.example were accepted, and when the others were.
type arrivals struct {
	mu   sync.Mutex
	slow []time.Time
	fast []time.Time
}

func (a *arrivals) watch(w *world) {
	w.relay.fallback = func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		v := accept(ctx, r, to, beforeDot)
		a.mu.Lock()
		defer a.mu.Unlock()
		if strings.HasSuffix(to, "@slow.example") {
			a.slow = append(a.slow, time.Now())
		} else {
			a.fast = append(a.fast, time.Now())
		}
		return v
	}
}

// sweep runs the jobs that are due, one after another, every 15 seconds, as the outbox has them run, until nobody is left.
func (w *world) sweep(k *worker.Worker, slots int) {
	w.t.Helper()
	running := map[string]bool{}
	var mu sync.Mutex
	var group sync.WaitGroup
	free := make(chan struct{}, slots)
	for range 100_000 {
		due, err := w.db.DueJobs(w.t.Context(), "", time.Now(), time.Now().Add(time.Hour), 500)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, job := range due {
			mu.Lock()
			known := running[job.ID]
			running[job.ID] = true
			mu.Unlock()
			if known {
				continue
			}
			group.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				w.run(k, job.ID)
				mu.Lock()
				defer mu.Unlock()
				delete(running, job.ID)
			})
		}
		if !slices.ContainsFunc(w.jobs(), func(j job) bool { return !j.CompletedSet }) {
			break
		}
		w.pass(15 * time.Second)
	}
	group.Wait()
}

// TestDomainLimit: mails to a group of domains keep its rate, and nearly reach it; others overtake them; nobody counts an
// attempt for having waited; and each recipient is set aside few times, however long the group takes.
func TestDomainLimit(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		const people, every = 800, time.Second
		seen := &arrivals{}
		seen.watch(w)
		w.seedMixed(testKey, people, 100)
		aside := 0
		rate := newGroupRate(every)
		k := w.start(func(cfg *worker.Config) {
			cfg.Domains = limited("slow.example=60/1m", worker.DomainGroup{Rate: rate})
			cfg.Hooks.OnSetAside = func(n int) { rate.mu.Lock(); aside += n; rate.mu.Unlock() }
		})
		began := time.Now()
		w.sweep(k, 2)
		w.pass(2 * worker.DefaultLease)
		w.stop(k)
		if last := seen.fast[len(seen.fast)-1].Sub(began); len(seen.fast) != people/2 || last > time.Minute {
			t.Errorf("%d mails of no group took %s", len(seen.fast), last)
		}
		want := people / 2 * every
		if took := seen.slow[len(seen.slow)-1].Sub(began); len(seen.slow) != people/2 || took < want-2*every || took > want+want/20 {
			t.Errorf("%d mails of the group took %s, want %s", len(seen.slow), took, want)
		}
		for i := 1; i < len(seen.slow); i++ {
			if apart := seen.slow[i].Sub(seen.slow[i-1]); apart < every-50*time.Millisecond {
				t.Errorf("mails %d and %d of the group were %s apart", i-1, i, apart)
			}
		}
		if aside > people/2*5/4 {
			t.Errorf("%d times somebody was set aside, want about once for each of %d", aside, people/2)
		}
		var rows []row
		for i := range people {
			rows = append(rows, accepted(mixed(i)))
		}
		if diff := cmp.Diff(rows, w.rows()); diff != "" {
			t.Errorf("recipients (-want +got):\n%s", diff)
		}
		w.expectNoJournal()
		w.expectLeases(0, 0)
	})
}

// TestDomainConnections: no more mails than that are on their way to a group, and others overtake them.
func TestDomainConnections(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		const people, most = 40, 2
		var mu sync.Mutex
		var now, seen, fast, fastBefore int
		w.relay.fallback = func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
			slow := strings.HasSuffix(to, "@slow.example")
			mu.Lock()
			if slow {
				now++
				seen = max(seen, now)
				fastBefore = fast
			} else {
				fast++
			}
			mu.Unlock()
			<-time.After(time.Second)
			if slow {
				mu.Lock()
				now--
				mu.Unlock()
			}
			return accept(ctx, r, to, beforeDot)
		}
		jobs := w.seedMixed(testKey, people, people)
		k := w.start(func(cfg *worker.Config) {
			cfg.MaxConnections = 10
			cfg.Domains = limited("slow.example=connections=2", worker.DomainGroup{Connections: most})
		})
		began := time.Now()
		w.runAll(k, jobs)()
		w.stop(k)
		if took := time.Since(began).Round(time.Second); seen != most || took < people/2/most*time.Second || took > 2*people/2/most*time.Second || fastBefore != people/2 {
			t.Errorf("%d mails at once to the group in %s, the last behind %d others, want %d, %d s, %d", seen, took, fastBefore, most,
				people/2/most, people/2)
		}
		var rows []row
		for i := range people {
			rows = append(rows, accepted(mixed(i)))
		}
		w.expect(rows)
	})
}

// TestDomainLimitStops: recipients that wait for their domains' limit are given back as they were when the campaign may not
// send, or the worker stops, and in time.
func TestDomainLimitStops(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, k *worker.Worker){
		"stopped": func(w *world, k *worker.Worker) { w.stop(k) },
		"suspended": func(w *world, _ *worker.Worker) {
			if err := w.suspend(true); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				jobs := w.seedMixed(testKey, 8, 8)
				k := w.start(func(cfg *worker.Config) {
					cfg.Domains = limited("slow.example=1/10s", worker.DomainGroup{Rate: newGroupRate(10 * time.Second), Connections: 1})
				})
				wait := w.runAll(k, jobs)
				w.pass(5 * time.Second) // the first went, the second and the third wait, the fourth is set aside
				began := time.Now()
				end(w, k)
				wait()
				if took := time.Since(began); took > effectiveWithin {
					w.t.Errorf("the run ended %s later", took)
				}
				w.stop(k)
				aside := waiting(mixed(7))
				aside.State, aside.Next = "deferred", true
				w.expect([]row{
					accepted(mixed(0)), accepted(mixed(1)), accepted(mixed(2)), waiting(mixed(3)), accepted(mixed(4)), waiting(mixed(5)),
					accepted(mixed(6)), aside,
				})
				w.expectNoJournal()
			})
		})
	}
}

// TestDomainLimitMakesRoom: a run that waits for nothing but the limits of domains leaves its slot to others after a while;
// without others it waits on.
func TestDomainLimitMakesRoom(t *testing.T) {
	t.Parallel()
	for crowded, after := range map[bool]time.Duration{false: 20 * time.Second, true: 6 * time.Second} {
		t.Run(fmt.Sprint(crowded), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				jobs := w.seedMixed(testKey, 100, 100)
				k := w.start(func(cfg *worker.Config) {
					cfg.Domains = limited("slow.example=1/1s", worker.DomainGroup{Rate: newGroupRate(2 * time.Second)})
					cfg.Crowded = func(context.Context) bool { return crowded }
				})
				began := time.Now()
				w.runAll(k, jobs)()
				took := time.Since(began)
				if crowded && took > after+time.Second || !crowded && took < after {
					t.Errorf("the run ended after %s, want %s", took, after)
				}
				w.stop(k)
				for _, r := range w.rows() {
					if r.State != "accepted" && (r.State != "deferred" || !r.Next || r.Attempts != 0) {
						t.Errorf("a recipient is %+v", r)
					}
				}
			})
		})
	}
}

// TestDomainLimitOfUrgentMails: a mail with a priority takes the next turn of its domains, however many are set aside.
func TestDomainLimitOfUrgentMails(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		seen := &arrivals{}
		seen.watch(w)
		jobs := w.seedMixed(testKey, 400, 400)
		k := w.start(func(cfg *worker.Config) {
			cfg.Domains = limited("slow.example=1/1s", worker.DomainGroup{Rate: newGroupRate(time.Second)})
		})
		wait := w.runAll(k, jobs)
		w.pass(10 * time.Second)
		began := time.Now()
		m := submission(0, 1)
		m.Recipients[0].Address, m.Priority = "eve@slow.example", 1
		if _, err := w.db.Submit(w.t.Context(), []campaign.Submission{m}, nil, time.Now()); err != nil {
			w.t.Fatal(err)
		}
		w.run(k, m.JobID())
		if took := time.Since(began); took > 4*time.Second {
			w.t.Errorf("the mail was sent after %s", took)
		}
		if !slices.Contains(w.relay.accepted(), "eve@slow.example") {
			w.t.Error("the mail was not sent")
		}
		w.stop(k)
		wait()
	})
}
