package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// recovery is what became of a campaign whose worker was killed at full speed, and started again at once.
type recovery struct {
	// Before and After are mails a second: in the second before the kill, and once the worker is back at full speed.
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	// Back is the time from the kill until the worker is back at full speed, in seconds: until the first half second in
	// which it reaches nine tenths of Before. Its grain is 100 ms. Negative: never.
	Back float64 `json:"back"`
	// Over is the time from the kill until the last row was final, in seconds. What the dead worker's own jobs lack is sent
	// when Bull finds that they have stalled.
	Over float64 `json:"over"`
	// InDoubt counts recipients of whom nobody can know; Twice those with more than one mail.
	InDoubt int `json:"inDoubt"`
	Twice   int `json:"twice"`
}

// String is what the progress says.
func (r recovery) String() string {
	return fmt.Sprintf("%.0f mails/s before the kill, full speed again after %.1f s (%.0f mails/s), over after %.1f s; %d in doubt, %d twice",
		r.Before, r.Back, r.After, r.Over, r.InDoubt, r.Twice)
}

// The grains of a recovery: the sink counts in slots, and looks at windows of some of them.
const (
	slot        = 0.1
	slotsBefore = 10
	slotsAfter  = 5
	fullSpeed   = 0.9
)

// measureRecovery kills a worker with SIGKILL when a third of the mails are sent.
func measureRecovery(ctx context.Context, b *bench) (_ sample, err error) {
	s, err := b.newStaffed(ctx)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	defer func() { _ = s.worker.cmd.Process.Kill() }() // should this end earlier
	if err := b.Sink.Expect(0, b.settings.mails, 0); err != nil {
		return sample{}, err
	}
	if err := s.write(ctx, b.settings.mails, b.settings.size, campaign.DefaultJobSize, func() {}); err != nil {
		return sample{}, err
	}
	return b.killAndWait(ctx, s)
}

func (b *bench) killAndWait(ctx context.Context, s *staffed) (_ sample, err error) {
	first := s.worker
	if err := b.awaitMails(ctx, b.settings.mails/3); err != nil {
		return sample{}, first.explain(err)
	}
	if err := first.cmd.Process.Kill(); err != nil {
		return sample{}, fmt.Errorf("killing the worker: %w", err)
	}
	killed := time.Now()
	_ = first.cmd.Wait()
	second, err := b.startWorker(ctx, s.system, s.dir)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, measure.End(second.cmd)) }()
	if err := b.await(ctx, s.system); err != nil {
		return sample{}, second.explain(err)
	}
	r := recovery{Over: time.Since(killed).Seconds()}
	ledger, err := b.Sink.Report()
	if err != nil {
		return sample{}, err
	}
	found, err := b.count(ctx, s.system)
	if err != nil {
		return sample{}, err
	}
	r.Twice, r.InDoubt = ledger.Twice, found.inDoubt
	if found.sent+found.inDoubt != found.all || ledger.Missing > found.inDoubt || ledger.Once < found.sent || ledger.Strangers > 0 {
		return sample{}, fmt.Errorf("of %d recipients, %d are SENT and %d in doubt, and %d got a mail, %d more than one, %d none",
			found.all, found.sent, found.inDoubt, ledger.Once, ledger.Twice, ledger.Missing)
	}
	r.speeds(ledger.Slots, time.Since(killed).Seconds())
	return sample{Recovery: &r}, nil
}

// speeds finds the rates before and after a kill that was so many seconds before the last of the slots.
func (r *recovery) speeds(slots []int, ago float64) {
	kill := max(0, len(slots)-1-int(ago/slot))
	rate := func(part []int) float64 {
		sum := 0
		for _, n := range part {
			sum += n
		}
		return float64(sum) / (slot * float64(max(1, len(part))))
	}
	r.Before = rate(slots[max(0, kill-slotsBefore):kill])
	r.Back = -1
	for at := kill + 1; at+slotsAfter <= len(slots); at++ {
		if now := rate(slots[at : at+slotsAfter]); now >= fullSpeed*r.Before {
			r.Back, r.After = float64(at-kill)*slot, now
			return
		}
	}
	if rest := slots[min(kill+1, len(slots)):]; len(rest) > 0 {
		r.After = float64(slices.Max(rest)) / slot
	}
}
