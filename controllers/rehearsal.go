package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// Rehearsal is what the reconciler does with a campaign's message and list before anything is written, step by step, for
// commands that check a campaign without a cluster. Of the reconciler it takes Reader, Fetcher, DefaultFrom,
// ManagedUnsubscribe and MixedWorkers; the rest may be missing. It is not safe for concurrent use.
type Rehearsal struct {
	reconciler *EmailCampaignReconciler
	scope      *scope
}

// Rehearse begins a rehearsal of the campaign as it is at the time now. The object has its defaults.
func (r *EmailCampaignReconciler) Rehearse(object *v1alpha1.EmailCampaign, now time.Time) *Rehearsal {
	return &Rehearsal{reconciler: r, scope: newScope(object, now)}
}

// Accept checks what the schema can't: the message as far as the object holds it, and how the campaign is to be sent. It
// returns what is wrong, each with the path of its field in its text.
func (p *Rehearsal) Accept() []error {
	var problems []error
	if err := p.reconciler.acceptMessage(p.scope); err != nil {
		problems = append(problems, err)
	}
	policy, err := policyOf(&p.scope.object.Spec)
	if err != nil {
		problems = append(problems, err)
	}
	if err := p.scope.plan(policy); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// Resolve completes the message with what is elsewhere, and compiles it. Accept must have found nothing wrong with the
// message. Where a template is at fault, the error wraps a *compose.InvalidError.
func (p *Rehearsal) Resolve(ctx context.Context) (campaign.Content, *compose.Template, error) {
	err := p.reconciler.resolveMessage(ctx, p.scope)
	return p.scope.content, p.scope.template, err
}

// OpenList reads the list that the campaign names. Whoever gets one calls closeList once it was read.
func (p *Rehearsal) OpenList(ctx context.Context) (list *recipients.List, closeList func() error, err error) {
	source, err := p.reconciler.openSource(ctx, p.scope.object)
	if err != nil {
		return nil, nil, err
	}
	return source.open(), source.Close, nil
}

// Check says what of the resolved message can't be made for a recipient, without a value of theirs.
func (p *Rehearsal) Check(recipient campaign.Recipient) error {
	return p.scope.checkRecipient(recipient)
}

// MailTo is what the mail to a recipient is made with, as if they were the only one; its link for unsubscribing is an
// example, and it is of the time at which the rehearsal began.
func (p *Rehearsal) MailTo(recipient campaign.Recipient) compose.Recipient {
	to := p.scope.mailTo(recipient)
	to.MessageID = campaign.MessageID(campaign.JobID(p.scope.key, 0), recipient.Address, p.scope.content.From.Address)
	to.Date = p.scope.now
	return to
}

// Sample is a recipient who has each variable of the resolved message stand for itself.
func (p *Rehearsal) Sample() campaign.Recipient {
	return campaign.Recipient{Address: "recipient@example.com", Name: "name", Variables: p.scope.testVariables()}
}

// StallReason is the condition reason that an error of a Rehearsal would stall the campaign with; empty for none, where
// the operator would try again.
func StallReason(err error) string {
	if stalled, ok := errors.AsType[*stalledError](err); ok {
		return stalled.reason
	}
	return ""
}
