package worker

import (
	"errors"
	"runtime/debug"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/failpoint"
	"github.com/cartero-mail/cartero/internal/mail"
)

var errLeaseLost = errors.New("the lease may have run out")

// task is one announced recipient.
type task struct {
	run       *run
	claim     *claim
	recipient campaign.Claimed
	// group is the one that the mail is on its way to; nil for none.
	group *group
}

// deliverLoop sends one mail at a time until the worker is killed. Those with a priority come first, though not twice in
// a row where others wait as well, but by chance: however many there are, a third of the mails are others.
func (w *Worker) deliverLoop() {
	urgentBefore := false
	var buffer []byte // of the mails, one after another
	for {
		if !urgentBefore {
			select {
			case t := <-w.urgent:
				buffer = w.deliver(t, buffer)
				urgentBefore = true
				continue
			default:
			}
		}
		select {
		case t := <-w.urgent:
			buffer = w.deliver(t, buffer)
			urgentBefore = true
		case t := <-w.tasks:
			buffer = w.deliver(t, buffer)
			urgentBefore = false
		case <-w.hard.Done():
			return
		}
	}
}

// deliver sends to one recipient, and reports what became of it. An announced recipient always gets a result. It returns
// the buffer for the next mail.
func (w *Worker) deliver(t task, buffer []byte) []byte {
	defer t.group.leave(1)
	now := w.cfg.Now()
	epoch, wait, _ := w.relay.state(now)
	var result campaign.Result
	var after effect
	switch {
	case t.run.ctx.Err() != nil, wait > 0, !t.claim.valid(now):
		result = givenBack(t.recipient.ID, now)
	default:
		p := t.run.policy.Load()
		result, after, buffer = w.attempt(t, p, buffer)
		t.run.watchShares(p, result, &after)
	}
	if result.State == campaign.StatePending {
		t.run.again.Store(true)
	}
	result.Position = t.recipient.Position
	if after.end != "" { // before the claim may close, for the run waits for it from then on
		t.run.endCampaign(after.end)
	}
	w.report(t.claim, result)

	w.relay.news(after, epoch, result.At)
	if after.hold != nil && t.run.ctx.Err() == nil {
		t.run.hold(*after.hold)
	}
	if after.stop != nil {
		t.run.cancel(after.stop)
	}
	if cap(buffer) > maxKeptBuffer {
		return nil
	}
	return buffer
}

// report journals the result and queues it for the database.
func (w *Worker) report(c *claim, result campaign.Result) {
	if err := failpoint.After(failpoint.WorkerResultJournaled, c.journal.result(result)); err != nil {
		// The result is still in memory; only a crash before it is recorded turns it into a doubt.
		w.cfg.Logger.Error("Journalling a result failed", "jobID", c.jobID, "err", err)
	}
	w.reporter.add(c, result)
}

// attempt renders and sends one mail, and decides. It returns the buffer that the mail was made in.
func (w *Worker) attempt(t task, p *policy, buffer []byte) (campaign.Result, effect, []byte) {
	m, tail, err := w.compose(t, buffer)
	if err != nil {
		return campaign.Result{
			RecipientID: t.recipient.ID, State: campaign.StateFailed, CountAttempt: true,
			Category: mail.CategoryInvalid, Detail: composeDetail(err), At: w.cfg.Now(),
		}, effect{}, buffer
	}

	d := &dialogue{w: w, task: t}
	began := w.cfg.Now()
	m.Envelope.Urgent = t.run.job.Priority > 0
	verdict := d.send(m.Envelope, m.Raw, tail)
	now := w.cfg.Now()
	w.cfg.Hooks.OnSend(now.Sub(began), verdict.Outcome)
	if d.veto != nil && verdict.Outcome != mail.Sent && verdict.Outcome != mail.Uncertain {
		after := effect{}
		if !errors.Is(d.veto, errLeaseLost) && !errors.Is(d.veto, errSteered) { // the journal is at fault: nothing may be sent without it
			after.stop = d.veto
		}
		return givenBack(t.recipient.ID, now), after, m.Raw
	}
	verdict = w.closings.judge(t.recipient.ID, verdict)
	result, after := decide(verdict, t.recipient, p.retry, p.rules, now, w.cfg.Random)
	if after.action != "" {
		w.cfg.Hooks.OnRule(after.action)
	}
	return result, after, m.Raw
}

// dialogue is one call of the Sender.
type dialogue struct {
	w    *Worker
	task task
	// veto is why the final dot was refused by us; dotted tells that it was allowed.
	veto   error
	dotted bool
}

// send performs the transaction. A panic of the Sender is judged by whether the dot may have gone out.
func (d *dialogue) send(envelope mail.Envelope, raw []byte, tail mail.Tail) (verdict mail.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			d.w.cfg.Logger.Error("Sending a mail panicked", "jobID", d.task.run.job.ID, "panic", panicText(p), "stack", string(debug.Stack()))
			verdict = mail.Verdict{
				Outcome: mail.Temporary, Phase: mail.PhaseData, Scope: mail.ScopeRecipient,
				Category: mail.CategoryOther, Detail: "the worker failed while it sent the mail",
			}
			if d.dotted {
				verdict.Outcome, verdict.Phase = mail.Uncertain, mail.PhaseDot
			}
		}
	}()
	// Not the run's context: a mail in flight is finished even if the run has ended.
	if tail.Len() > 0 {
		return d.w.tails.SendTail(d.w.hard, envelope, raw, tail, d.beforeDot)
	}
	return d.w.cfg.Sender.Send(d.w.hard, envelope, raw, d.beforeDot)
}

// beforeDot is the last moment at which nothing is sent yet: it lets the dot go only under a lease that holds, not long
// after the campaign was stopped, and once the journal knows of it.
func (d *dialogue) beforeDot() error {
	switch now := d.w.cfg.Now(); {
	case !d.task.claim.valid(now):
		d.veto = errLeaseLost
	case !d.task.run.mayDot(now):
		d.veto = errSteered
	default:
		d.veto = failpoint.After(failpoint.WorkerDotJournaled, d.task.claim.journal.dot(d.task.recipient.ID))
	}
	d.dotted = d.veto == nil
	return d.veto
}
