package worker_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// step is how the relay treats one transaction.
type step func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict

// scriptedRelay is a mail.Sender with a ledger. Who is not in the script is accepted.
type scriptedRelay struct {
	mu     sync.Mutex
	script map[string][]step
	// fallback treats whom the script does not name; nil accepts.
	fallback step
	ledger   []string
	raw      map[string][]string
}

func (r *scriptedRelay) Send(ctx context.Context, envelope mail.Envelope, raw []byte, beforeDot func() error) mail.Verdict {
	r.mu.Lock()
	do := r.fallback
	if steps := r.script[envelope.To]; len(steps) > 0 {
		do, r.script[envelope.To] = steps[0], steps[1:]
	}
	if r.raw == nil {
		r.raw = map[string][]string{}
	}
	r.raw[envelope.To] = append(r.raw[envelope.To], envelope.From+"\n"+string(raw))
	r.mu.Unlock()
	if do == nil {
		do = accept
	}
	return do(ctx, r, envelope.To, beforeDot)
}

func (r *scriptedRelay) Close() error { return nil }

func (r *scriptedRelay) accept(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = append(r.ledger, to)
}

func (r *scriptedRelay) accepted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ledger)
}

// vetoed is the verdict where beforeDot refused.
func vetoed() mail.Verdict {
	return mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseData, Scope: mail.ScopeRecipient, Category: mail.CategoryOther}
}

func accept(_ context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
	if err := beforeDot(); err != nil {
		return vetoed()
	}
	r.accept(to)
	return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
}

// refuse ends the transaction with this verdict; after the dot if that is its phase.
func refuse(v mail.Verdict) step {
	return func(_ context.Context, _ *scriptedRelay, _ string, beforeDot func() error) mail.Verdict {
		if v.Phase == mail.PhaseDot {
			if err := beforeDot(); err != nil {
				return vetoed()
			}
		}
		return v
	}
}

const awayDetail = "connecting to the relay failed"

var away = refuse(mail.Verdict{Outcome: mail.Temporary, Phase: mail.PhaseConnect, Scope: mail.ScopeRelay, Category: mail.CategoryNetwork, Detail: awayDetail})

// first does something before the transaction.
func first(do func(), then step) step {
	return func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		do()
		return then(ctx, r, to, beforeDot)
	}
}

// heldAtDot stops between the final dot, with which the relay accepts, and the reply: it closes reached, and goes on
// once release is closed, or breaks off with ctx.
func heldAtDot(reached, release chan struct{}) step {
	return func(ctx context.Context, r *scriptedRelay, to string, beforeDot func() error) mail.Verdict {
		if err := beforeDot(); err != nil {
			return vetoed()
		}
		r.accept(to)
		close(reached)
		select {
		case <-release:
			return mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250}
		case <-ctx.Done():
			return mail.Verdict{Outcome: mail.Uncertain, Phase: mail.PhaseDot, Category: mail.CategoryInDoubt}
		}
	}
}

// hookedStore is the real store, with something happening before or after its calls.
type hookedStore struct {
	worker.Store
	mu     sync.Mutex
	before func(method string) error
	after  func(method string) error
}

func (s *hookedStore) hook(before, after func(method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func call[T any](s *hookedStore, method string, do func() (T, error)) (T, error) {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	var zero T
	if before != nil {
		if err := before(method); err != nil {
			return zero, err
		}
	}
	value, err := do()
	if err == nil && after != nil {
		if err := after(method); err != nil {
			return zero, err
		}
	}
	return value, err
}

func none(do func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, do() }
}

func (s *hookedStore) Job(ctx context.Context, id string) (campaign.Job, error) {
	return call(s, "Job", func() (campaign.Job, error) { return s.Store.Job(ctx, id) })
}

func (s *hookedStore) Submit(
	ctx context.Context, mails []campaign.Submission, lease *campaign.Lease, now time.Time,
) ([]campaign.Submitted, error) {
	return call(s, "Submit", func() ([]campaign.Submitted, error) { return s.Store.Submit(ctx, mails, lease, now) })
}

func (s *hookedStore) RecordSubmitted(ctx context.Context, results []campaign.SubmittedResult, now time.Time) error {
	_, err := call(s, "RecordSubmitted", none(func() error { return s.Store.RecordSubmitted(ctx, results, now) }))
	return err
}

func (s *hookedStore) StartJob(ctx context.Context, id string, now time.Time) error {
	_, err := call(s, "StartJob", none(func() error { return s.Store.StartJob(ctx, id, now) }))
	return err
}

func (s *hookedStore) Claim(ctx context.Context, c campaign.Claim) ([]campaign.Claimed, error) {
	claim := func() ([]campaign.Claimed, error) { return s.Store.Claim(ctx, c) }
	return call(s, "Claim", func() ([]campaign.Claimed, error) {
		if c.Announce {
			return call(s, "Announce", claim)
		}
		return claim()
	})
}

func (s *hookedStore) Unclaim(ctx context.Context, token, jobID string) (int, error) {
	return call(s, "Unclaim", func() (int, error) { return s.Store.Unclaim(ctx, token, jobID) })
}

func (s *hookedStore) Announce(ctx context.Context, token string, ids []string, now time.Time) ([]string, error) {
	return call(s, "Announce", func() ([]string, error) { return s.Store.Announce(ctx, token, ids, now) })
}

func (s *hookedStore) Record(ctx context.Context, token string, results []campaign.Result) (int, error) {
	return call(s, "Record", func() (int, error) { return s.Store.Record(ctx, token, results) })
}

func (s *hookedStore) RenewLeases(ctx context.Context, tokens []string, until time.Time) ([]string, error) {
	return call(s, "RenewLeases", func() ([]string, error) { return s.Store.RenewLeases(ctx, tokens, until) })
}

func (s *hookedStore) Release(ctx context.Context, token string) (int, error) {
	return call(s, "Release", func() (int, error) { return s.Store.Release(ctx, token) })
}

func (s *hookedStore) Held(ctx context.Context, token string) (map[string]bool, error) {
	return call(s, "Held", func() (map[string]bool, error) { return s.Store.Held(ctx, token) })
}

func (s *hookedStore) Rescue(ctx context.Context, now time.Time) (worker.Rescued, error) {
	return call(s, "Rescue", func() (worker.Rescued, error) { return s.Store.Rescue(ctx, now) })
}

func (s *hookedStore) FinishJob(ctx context.Context, id string, now time.Time) (campaign.JobProgress, error) {
	return call(s, "FinishJob", func() (campaign.JobProgress, error) { return s.Store.FinishJob(ctx, id, now) })
}

func (s *hookedStore) Runnable(ctx context.Context, ids []string, now time.Time) (map[string]int, error) {
	return call(s, "Runnable", func() (map[string]int, error) { return s.Store.Runnable(ctx, ids, now) })
}

func (s *hookedStore) Cancel(ctx context.Context, key, reason string, now time.Time) error {
	_, err := call(s, "Cancel", none(func() error { return s.Store.Cancel(ctx, key, reason, now) }))
	return err
}

func (s *hookedStore) HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error {
	_, err := call(s, "HoldCampaign", none(func() error { return s.Store.HoldCampaign(ctx, key, hold) }))
	return err
}
