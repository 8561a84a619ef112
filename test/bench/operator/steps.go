package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// applyToFirstMail applies one campaign after the other to an idle system, each when the one before has ended.
func (b *bench) applyToFirstMail(ctx context.Context, r *report) error {
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	r.Base, _ = b.operator.resident()
	b.say("applying %d campaigns one after another", b.settings.latencies)
	for range b.settings.latencies {
		began := time.Now()
		domain, err := b.apply(ctx)
		if err != nil {
			return err
		}
		if err := b.awaitMail(ctx, domain); err != nil {
			return err
		}
		b.sink.mu.Lock()
		r.FirstMail = append(r.FirstMail, b.sink.first[domain].Sub(began))
		b.sink.mu.Unlock()
	}
	slices.Sort(r.FirstMail)
	return nil
}

// warmUp waits until a first campaign has ended: then every part is there.
func (b *bench) warmUp(ctx context.Context) error {
	b.say("waiting for operator and worker")
	if _, err := b.apply(ctx); err != nil {
		return err
	}
	return b.awaitEnd(ctx)
}

// awaitMail waits for the first mail to the domain.
func (b *bench) awaitMail(ctx context.Context, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case came := <-b.sink.came:
			if came == domain {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("no mail to %s came: %w", domain, context.Cause(ctx))
		}
	}
}

// manyAtOnce applies many campaigns as fast as the API server takes them.
func (b *bench) manyAtOnce(ctx context.Context, r *report) error {
	b.say("applying %d campaigns of %d recipients at once", b.settings.campaigns, b.settings.recipients)
	const queueTime = "workqueue_queue_duration_seconds"
	before, err := b.operator.scrape(ctx)
	if err != nil {
		return err
	}
	spent, err := b.cost(ctx)
	if err != nil {
		return err
	}
	mails, began := b.sink.count(), time.Now()
	if err := b.applyMany(ctx, b.settings.campaigns, b.settings.recipients); err != nil {
		return err
	}
	r.Applied = time.Since(began)
	if err := b.awaitEnd(ctx); err != nil {
		return err
	}
	r.Ended = time.Since(began)
	if got := b.sink.count() - mails; got != b.settings.campaigns*b.settings.recipients {
		return fmt.Errorf("%d mails came, want %d", got, b.settings.campaigns*b.settings.recipients)
	}
	after, err := b.operator.scrape(ctx)
	if err != nil {
		return err
	}
	r.Campaigns, r.Recipients = b.settings.campaigns, b.settings.recipients
	r.LongestWait = longest(after[queueTime], before[queueTime])
	const loops = "controller_runtime_reconcile_total"
	r.Loops = (sum(after[loops]) - sum(before[loops])) / float64(b.settings.campaigns)
	_, r.Most = b.operator.resident()
	total, err := b.cost(ctx)
	r.Each = total.minus(spent, b.settings.campaigns)
	return err
}

// idleFor is how long the idle operator is watched.
const idleFor = time.Minute

// manyFinished makes so many campaigns end that there are many, starts the operator anew, and watches it.
func (b *bench) manyFinished(ctx context.Context, r *report) error {
	if b.settings.finished == 0 {
		return nil
	}
	if more := b.settings.finished - b.applied; more > 0 {
		b.say("applying %d more, so that %d have ended", more, b.settings.finished)
		if err := b.applyMany(ctx, more, 1); err != nil {
			return err
		}
		if err := b.awaitEnd(ctx); err != nil {
			return err
		}
	}
	r.Finished = b.applied
	b.say("starting the operator anew with %d campaigns that have ended, and watching it for %s", b.applied, idleFor)
	if err := b.operator.stop(); err != nil {
		return fmt.Errorf("stopping the operator: %w", err)
	}
	var err error
	if b.operator, err = b.startOperator(ctx); err != nil {
		return err
	}
	if err := b.warmUp(ctx); err != nil { // it has seen them all, and works
		return err
	}
	r.StartCPU = b.operator.processor()
	for _, wait := range []time.Duration{idleFor / 2, idleFor} { // the first half is for what the start left
		used := b.operator.processor()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		r.IdleCPU = float64(b.operator.processor()-used) / float64(wait)
	}
	r.Resident, r.MostAnew = b.operator.resident()
	return nil
}
