package submit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/outbox"
	"github.com/cartero-mail/cartero/internal/submit"
	"github.com/cartero-mail/cartero/internal/worker"
)

var errAway = errors.New("the database is away")

// backend is a database, a queue and a relay in memory.
type backend struct {
	mu    sync.Mutex
	mails map[string]campaign.Submission
	// states are the recipients' by the id of their job. script says what becomes of each try of a key, in turn; then it is
	// accepted.
	states map[string]campaign.State
	script map[string][]campaign.State
	// unconfirmed are the ids of jobs whose recipient nobody tried.
	unconfirmed map[string]bool
	// batches are the keys of each transaction; before is called at the beginning of each.
	batches [][]string
	before  func()
	rung    []outbox.Ring
	err     error
	// heldUntil is when the relay's refusal of the sender is forgotten: until then nobody is tried again.
	heldUntil time.Time
}

func newBackend() *backend {
	return &backend{
		mails: map[string]campaign.Submission{}, states: map[string]campaign.State{}, script: map[string][]campaign.State{},
		before: func() {},
	}
}

// sender is the backend as a worker.
type sender struct{ *backend }

func (b *backend) Submit(_ context.Context, mails []campaign.Submission, _ *campaign.Lease, _ time.Time) ([]campaign.Submitted, error) {
	b.before()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	var keys []string
	submitted := make([]campaign.Submitted, len(mails))
	for i, m := range mails {
		keys = append(keys, m.Key)
		known, ok := b.mails[m.Key]
		if !ok {
			known = m
			b.mails[m.Key], b.states[m.JobID()] = m, campaign.StatePending
		}
		submitted[i] = campaign.Submitted{
			Created: !ok, Record: campaign.Record{ContentHash: known.Content.Hash(), ListHash: known.ListHash()},
			Claimed: make([]campaign.Claimed, len(m.Recipients)),
		}
	}
	b.batches = append(b.batches, keys)
	return submitted, nil
}

func (s sender) Submit(ctx context.Context, mails []campaign.Submission, done func(int, worker.Delivery)) error {
	submitted, err := s.backend.Submit(ctx, mails, nil, time.Time{})
	if err != nil {
		return err
	}
	go func() {
		for i, m := range mails {
			d := worker.Delivery{Submitted: submitted[i]}
			if d.Created {
				d.Results = []campaign.Result{{State: s.try(m)}}
			}
			done(i, d)
		}
	}()
	return nil
}

func (b *backend) try(m campaign.Submission) campaign.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := campaign.StateAccepted
	if steps := b.script[m.Key]; len(steps) > 0 {
		state, b.script[m.Key] = steps[0], steps[1:]
	}
	b.states[m.JobID()] = state
	return state
}

func (s sender) HandleJob(_ context.Context, jobID string) (campaign.JobProgress, error) {
	for _, m := range s.mails {
		if m.JobID() == jobID && time.Now().Before(s.heldUntil) {
			return campaign.JobProgress{HeldUntil: s.heldUntil}, nil
		}
		if m.JobID() == jobID {
			return campaign.JobProgress{Finished: s.try(m).Terminal()}, nil
		}
	}
	return campaign.JobProgress{}, campaign.ErrNotFound
}

func (b *backend) RecipientReports(_ context.Context, jobID, _ string, _ int) ([]campaign.RecipientReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, ok := b.states[jobID]
	if !ok {
		return nil, nil
	}
	if b.unconfirmed[jobID] {
		return []campaign.RecipientReport{{State: state, Detail: worker.UnwrittenDetail}}, nil
	}
	return []campaign.RecipientReport{{State: state, Attempts: 1}}, nil
}

func (b *backend) RetryFailed(_ context.Context, key string, request campaign.RetryRequest) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := campaign.JobID(key, 0)
	if request.Token == "" || b.states[id] != campaign.StateFailed {
		return 0, errors.New("there is nothing to try again")
	}
	b.states[id], b.unconfirmed = campaign.StatePending, nil
	return 1, nil
}

func (b *backend) Cancel(_ context.Context, key, _ string, _ time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id := campaign.JobID(key, 0); !b.states[id].Terminal() {
		b.states[id] = campaign.StateCancelled
	}
	return nil
}

func (b *backend) Ring(_ context.Context, rings []outbox.Ring) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = append(b.rung, rings...)
	return nil
}

// mail is a mail to one recipient.
func mail(key string) campaign.Submission {
	return campaign.Submission{
		Key: key, Content: campaign.Content{Subject: "Your code", Text: "4711"}, Priority: 1,
		Recipients: []campaign.Recipient{{Address: "ada@example.com"}},
	}
}

// scene is a test with a running service.
type scene struct {
	*testing.T
	*submit.Service
}

// bubble runs a service on the backend, in time that passes by itself.
func bubble(t *testing.T, b *backend, change func(*submit.Config), test func(s scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := submit.Config{Store: b, Queue: b, Sender: sender{b}}
		if change != nil {
			change(&cfg)
		}
		s, err := submit.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		test(scene{t, s})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestSend(t *testing.T) {
	t.Parallel()
	const (
		accepted, deferred, pending = campaign.StateAccepted, campaign.StateDeferred, campaign.StatePending
		bounced, cancelled          = campaign.StateBounced, campaign.StateCancelled
	)
	for name, test := range map[string]struct {
		script []campaign.State
		paced  bool
		want   campaign.State
	}{
		"accepted":                        {want: accepted},
		"refused for good":                {script: []campaign.State{bounced}, want: bounced},
		"put off, then accepted":          {script: []campaign.State{deferred, deferred}, want: accepted},
		"the relay is back in time":       {script: []campaign.State{pending, pending}, want: accepted},
		"the relay is not back in time":   {script: slices.Repeat([]campaign.State{pending}, 100), want: cancelled},
		"with a pace, it waits its turn":  {paced: true, want: accepted},
		"with a pace, refused and put by": {paced: true, script: []campaign.State{deferred, bounced}, want: bounced},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend()
			b.script["a"] = test.script
			bubble(t, b, func(cfg *submit.Config) { cfg.Waits = func(campaign.Submission) bool { return test.paced } }, func(s scene) {
				sent, err := s.Send(s.Context(), mail("a"))
				if err != nil {
					s.Fatal(err)
				}
				if got := sent.Recipients[0].State; got != test.want || sent.JobID != mail("a").JobID() || sent.Known {
					s.Errorf("got %+v, want %s", sent, test.want)
				}
				again, err := s.Send(s.Context(), mail("a"))
				if err != nil || !again.Known || again.Recipients[0].State != test.want {
					s.Errorf("handed in again: %+v, %v", again, err)
				}
			})
		})
	}
}

// A mail whose transaction was committed, and whose caller was told that it was not, is sent when it is handed in again; one
// that failed is not.
func TestSendTakesUpWhatWasNotConfirmed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unconfirmed bool
		want        []submit.Sent
	}{
		{true, []submit.Sent{
			{Recipients: []campaign.RecipientReport{{State: campaign.StateAccepted, Attempts: 1}}},
			{Recipients: []campaign.RecipientReport{{State: campaign.StateAccepted, Attempts: 1}}, Known: true},
		}},
		{false, []submit.Sent{
			{Recipients: []campaign.RecipientReport{{State: campaign.StateFailed, Attempts: 1}}, Known: true},
			{Recipients: []campaign.RecipientReport{{State: campaign.StateFailed, Attempts: 1}}, Known: true},
		}},
	} {
		t.Run(fmt.Sprintf("not confirmed: %t", test.unconfirmed), func(t *testing.T) {
			t.Parallel()
			b, m := newBackend(), mail("a")
			b.mails[m.Key], b.states[m.JobID()] = m, campaign.StateFailed
			b.unconfirmed = map[string]bool{m.JobID(): test.unconfirmed}
			bubble(t, b, nil, func(s scene) {
				for i, want := range test.want {
					want.JobID = m.JobID()
					got, err := s.Send(s.Context(), m)
					if diff := cmp.Diff(want, got); diff != "" || err != nil {
						s.Errorf("time %d: %v (-want +got):\n%s", i, err, diff)
					}
				}
			})
		})
	}
}

// A mail that had to wait for its turn is written for the queue: where nobody knows whether it was, a worker may send it.
func TestSendDoesNotKnowWhatWasQueued(t *testing.T) {
	t.Parallel()
	for paced, want := range map[bool]bool{true: true, false: false} {
		t.Run(fmt.Sprintf("paced: %t", paced), func(t *testing.T) {
			t.Parallel()
			b := newBackend()
			b.err = fmt.Errorf("%w: %w", campaign.ErrUncertain, errAway)
			bubble(t, b, func(cfg *submit.Config) { cfg.Waits = func(campaign.Submission) bool { return paced } }, func(s scene) {
				if _, err := s.Send(s.Context(), mail("a")); errors.Is(err, submit.ErrUnknown) != want || !errors.Is(err, errAway) {
					s.Errorf("error %v, unknown: want %t", err, want)
				}
			})
		})
	}
}

// TestSendDoesNotWaitForAHold: it outlasts the patience, and so is the end.
func TestSendDoesNotWaitForAHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hold  time.Duration
		want  campaign.State
		after time.Duration
	}{
		"that ends too late": {5 * time.Minute, campaign.StateCancelled, time.Second},
		"that ends in time":  {5 * time.Second, campaign.StateAccepted, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend()
			b.script["a"] = []campaign.State{campaign.StatePending}
			bubble(t, b, nil, func(s scene) {
				began := time.Now()
				b.heldUntil = began.Add(test.hold)
				sent, err := s.Send(s.Context(), mail("a"))
				if err != nil || sent.Recipients[0].State != test.want || time.Since(began) != test.after {
					s.Errorf("got %+v, %v after %s, want %s after %s", sent, err, time.Since(began), test.want, test.after)
				}
			})
		})
	}
}

func TestSendRefused(t *testing.T) {
	t.Parallel()
	other := mail("a")
	other.Content.Text = "1147"
	for name, test := range map[string]struct {
		prepare func(b *backend)
		mail    campaign.Submission
		want    error
	}{
		"the key is another mail's": {func(b *backend) { b.mails["a"] = other }, mail("a"), submit.ErrKeyReused},
		"it is being sent":          {func(b *backend) { b.mails["a"] = mail("a"); b.states[mail("a").JobID()] = campaign.StateActive }, mail("a"), submit.ErrInFlight},
		"the database is away":      {func(b *backend) { b.err = errAway }, mail("a"), errAway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBackend()
			test.prepare(b)
			bubble(t, b, nil, func(s scene) {
				if _, err := s.Send(s.Context(), test.mail); !errors.Is(err, test.want) {
					s.Errorf("got %v, want %v", err, test.want)
				}
			})
		})
	}
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	b := newBackend()
	bubble(t, b, nil, func(s scene) {
		for _, known := range []bool{false, true} {
			got, err := s.Enqueue(s.Context(), mail("a"))
			if err != nil {
				s.Fatal(err)
			}
			if diff := cmp.Diff(submit.Queued{JobID: mail("a").JobID(), Known: known}, got); diff != "" {
				s.Errorf("queued (-want +got):\n%s", diff)
			}
		}
		id := mail("a").JobID()
		if diff := cmp.Diff(outbox.Ring{BullID: id, JobID: id, Priority: 1}, b.rung[0]); diff != "" {
			s.Errorf("rung (-want +got):\n%s", diff)
		}
		other := mail("a")
		other.Content.Subject = "Other"
		if _, err := s.Enqueue(s.Context(), other); !errors.Is(err, submit.ErrKeyReused) {
			s.Errorf("got %v", err)
		}
	})
}

// TestCallsShareTransactions: while one is written, the others gather, and a caller that went away is left out.
func TestCallsShareTransactions(t *testing.T) {
	t.Parallel()
	b := newBackend()
	bubble(t, b, func(cfg *submit.Config) { cfg.MaxBatch = 4 }, func(s scene) {
		first, release := make(chan struct{}, 100), make(chan struct{})
		b.before = func() { first <- struct{}{}; <-release }
		var callers sync.WaitGroup
		enqueue := func(ctx context.Context, key string, want error) {
			callers.Go(func() {
				if _, err := s.Enqueue(ctx, mail(key)); !errors.Is(err, want) {
					s.Errorf("%s: got %v, want %v", key, err, want)
				}
			})
			synctest.Wait()
		}
		enqueue(s.Context(), "0", nil)
		<-first
		gone, leave := context.WithCancel(s.Context())
		enqueue(gone, "gone", context.Canceled)
		leave()
		for i := range 6 {
			enqueue(s.Context(), fmt.Sprint(i+1), nil)
		}
		close(release)
		callers.Wait()
	})
	if diff := cmp.Diff([][]string{{"0"}, {"1", "2", "3"}, {"4", "5", "6"}}, b.batches); diff != "" {
		t.Errorf("keys of each transaction (-want +got):\n%s", diff)
	}
}

func TestStoppedRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		s, err := submit.New(submit.Config{Store: b, Queue: b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Send(t.Context(), mail("a")); !errors.Is(err, submit.ErrNoRelay) {
			t.Errorf("without a relay: got %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := s.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Enqueue(t.Context(), mail("a")); !errors.Is(err, submit.ErrStopped) {
			t.Errorf("got %v", err)
		}
	})
}
