package worker

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// HoldFailurePolicyMatched and HoldAbortThresholdExceeded are reasons of a Hold that only a person ends.
const (
	HoldFailurePolicyMatched   = campaign.EndFailurePolicyMatched
	HoldAbortThresholdExceeded = campaign.EndAbortThresholdExceeded
)

// policy is what a run does with its mails: the campaign's wishes over the worker's configuration.
type policy struct {
	// job is as it was read last.
	job   campaign.Job
	retry RetryPolicy
	rules []rule
	// throttle is nil for no limit.
	throttle Throttle
	// ctx ends with the run, or when another policy takes this one's place; only then replaced is called.
	ctx      context.Context //nolint:containedctx // it is the run's, which has one as well
	replaced context.CancelFunc
}

// follow has the run go by the job's campaign as it is now.
func (r *run) follow(job campaign.Job) {
	wishes := job.Control.Policy
	job.Started = true // by this run
	p := &policy{job: job, retry: r.w.cfg.Retry.with(wishes.Retry), ctx: r.ctx, replaced: func() {}}
	var broken []int
	p.rules, broken = compileRules(wishes.Rules)
	for _, number := range broken {
		r.w.cfg.Logger.Warn("A rule of the failure policy has a pattern that is no regular expression, and never matches",
			"jobID", job.ID, "rule", number)
	}
	if wishes.Rate.Messages > 0 && wishes.Rate.Period > 0 && r.w.cfg.Rates != nil {
		p.throttle = r.w.cfg.Rates(job.Key, wishes.Rate)
		p.ctx, p.replaced = context.WithCancel(r.ctx)
	}
	if before := r.policy.Swap(p); before != nil {
		before.replaced()
	}
}

// with is the policy where the campaign has wishes of its own.
func (p RetryPolicy) with(wishes campaign.Retry) RetryPolicy {
	p.MaxAttempts = cmp.Or(wishes.MaxAttempts, p.MaxAttempts)
	p.InitialBackoff = cmp.Or(wishes.InitialBackoff, p.InitialBackoff)
	// A first wait that was asked for is not cut short by a longest one that was not.
	p.MaxBackoff = cmp.Or(wishes.MaxBackoff, max(p.MaxBackoff, wishes.InitialBackoff))
	p.MaxAge = cmp.Or(wishes.MaxAge, p.MaxAge)
	p.InDoubt = p.InDoubt || wishes.InDoubt
	return p
}

// rule is a campaign.Rule that is ready to be asked.
type rule struct {
	campaign.Rule

	// number is its place, from 1.
	number  int
	pattern *regexp.Regexp // nil for any
}

// compileRules makes rules ready. It leaves out those whose pattern is no regular expression, and returns their numbers.
func compileRules(all []campaign.Rule) (rules []rule, broken []int) {
	for i, r := range all {
		ready := rule{Rule: r, number: i + 1}
		if r.Pattern != "" {
			pattern, err := regexp.Compile(r.Pattern)
			if err != nil {
				broken = append(broken, ready.number)
				continue
			}
			ready.pattern = pattern
		}
		rules = append(rules, ready)
	}
	return rules, broken
}

// matching returns the first rule that is for this verdict; nil if none is. Rules are for refusals alone, and not for those
// that are no word on this mail: a relay that is away, refused credentials, a missing reply.
func matching(rules []rule, v mail.Verdict) *rule {
	refused := v.Outcome == mail.Temporary || v.Outcome == mail.Permanent
	if !refused || v.Code < 400 || v.Code > 599 || v.Scope == mail.ScopeRelay || v.Category == mail.CategoryRelayAuth {
		return nil
	}
	for i := range rules {
		if rules[i].matches(v) {
			return &rules[i]
		}
	}
	return nil
}

func (r *rule) matches(v mail.Verdict) bool {
	return (len(r.Codes) == 0 || slices.Contains(r.Codes, v.Code)) &&
		(len(r.EnhancedCodes) == 0 || slices.Contains(r.EnhancedCodes, v.EnhancedCode)) &&
		(len(r.Stages) == 0 || slices.Contains(r.Stages, string(v.Phase))) &&
		(r.pattern == nil || r.pattern.MatchString(v.Detail))
}

// decide is what the rule makes of a refusal.
func (r *rule) decide(
	result campaign.Result, v mail.Verdict, c campaign.Claimed, policy RetryPolicy, now time.Time, random func() float64,
) (campaign.Result, effect) {
	after := effect{relay: relayWorks, action: r.Action}
	switch r.Action {
	case campaign.ActionRetryRecipient:
		return retry(result, v, c, policy, now, random), after
	case campaign.ActionPauseCampaign:
		after.hold = r.hold(v)
		return givenBack(c.ID, now), after
	case campaign.ActionFailCampaign:
		after.end = campaign.EndFailurePolicyMatched
	}
	result.State = givenUp(v)
	return result, after
}

// hold is what a rule that pauses campaigns imposes.
func (r *rule) hold(v mail.Verdict) *campaign.Hold {
	return &campaign.Hold{
		Reason: HoldFailurePolicyMatched,
		Message: fmt.Sprintf("rule %d of spec.failurePolicy matched a reply of the SMTP relay%s: correct what it refuses, or the "+
			"rule, then set the annotation mail.cartero.dev/resume-at; nobody is given up meanwhile", r.number, replyCode(v)),
		Until: campaign.Forever,
	}
}
