package worker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// TestRules has each action, each condition, and each verdict that rules are not for.
func TestRules(t *testing.T) {
	t.Parallel()
	refusal := func(outcome mail.Outcome, phase mail.Phase, code int, enhanced, detail string) mail.Verdict {
		return mail.Verdict{
			Outcome: outcome, Phase: phase, Scope: mail.ScopeRecipient, Code: code, EnhancedCode: enhanced, Detail: detail,
			Category: mail.CategoryPolicy,
		}
	}
	spam := refusal(mail.Permanent, mail.PhaseDot, 554, "5.7.1", "rejected as spam")
	fail := campaign.Rule{Action: campaign.ActionFailRecipient}
	with := func(v mail.Verdict, change func(*mail.Verdict)) mail.Verdict { change(&v); return v }
	type want struct {
		State    campaign.State
		Attempt  bool
		Later    bool
		Hold     string
		End      string
		Action   campaign.Action
		Relay    relayEffect
		Category string
	}
	refused := func(action campaign.Action) want {
		return want{State: campaign.StateFailed, Attempt: true, Action: action, Relay: relayWorks, Category: mail.CategoryPolicy}
	}
	for name, test := range map[string]struct {
		rules   []campaign.Rule
		verdict mail.Verdict
		want    want
	}{
		"no rule": {nil, spam, refused("")},
		"a temporary refusal is given up": {
			[]campaign.Rule{fail}, refusal(mail.Temporary, mail.PhaseDot, 451, "", ""), refused(campaign.ActionFailRecipient),
		},
		"at RCPT, giving up is a bounce": {
			[]campaign.Rule{fail},
			refusal(mail.Temporary, mail.PhaseRcpt, 451, "", ""),
			want{State: campaign.StateBounced, Attempt: true, Action: campaign.ActionFailRecipient, Relay: relayWorks, Category: mail.CategoryPolicy},
		},
		"a permanent refusal is tried again": {
			[]campaign.Rule{{Action: campaign.ActionRetryRecipient, Codes: []int{550, 554}}},
			spam,
			want{State: campaign.StateDeferred, Attempt: true, Later: true, Action: campaign.ActionRetryRecipient, Relay: relayWorks, Category: mail.CategoryPolicy},
		},
		"pause": {
			[]campaign.Rule{{Action: campaign.ActionPauseCampaign, EnhancedCodes: []string{"5.7.1"}}},
			spam,
			want{State: campaign.StatePending, Hold: HoldFailurePolicyMatched, Action: campaign.ActionPauseCampaign, Relay: relayWorks},
		},
		"end": {
			[]campaign.Rule{{Action: campaign.ActionFailCampaign, Pattern: "(?i)SPAM"}},
			spam,
			want{State: campaign.StateFailed, Attempt: true, End: campaign.EndFailurePolicyMatched, Action: campaign.ActionFailCampaign, Relay: relayWorks, Category: mail.CategoryPolicy},
		},
		"the first that matches": {
			[]campaign.Rule{
				{Action: campaign.ActionFailCampaign, Codes: []int{550}},
				{Action: campaign.ActionFailCampaign, Codes: []int{554}, Stages: []string{"rcpt", "data"}},
				{Action: campaign.ActionFailCampaign, EnhancedCodes: []string{"5.7.26"}},
				{Action: campaign.ActionFailCampaign, Pattern: "^spam"},
				{Action: campaign.ActionFailCampaign, Pattern: "("}, // refused when it is applied
				{Action: campaign.ActionPauseCampaign, Codes: []int{554}, EnhancedCodes: []string{"5.7.1"}, Stages: []string{"dot"}, Pattern: "spam$"},
				{Action: campaign.ActionFailRecipient},
			},
			spam,
			want{State: campaign.StatePending, Hold: HoldFailurePolicyMatched, Action: campaign.ActionPauseCampaign, Relay: relayWorks},
		},
		"a refused sender": {
			[]campaign.Rule{fail}, with(spam, func(v *mail.Verdict) { v.Scope = mail.ScopeSender }), refused(campaign.ActionFailRecipient),
		},
		"not for a doubt": {
			[]campaign.Rule{fail},
			with(spam, func(v *mail.Verdict) { v.Outcome = mail.Uncertain }),
			want{State: campaign.StateInDoubt, Attempt: true, Relay: relayTrouble, Category: mail.CategoryInDoubt},
		},
		"not for refused credentials": {
			[]campaign.Rule{fail},
			with(spam, func(v *mail.Verdict) { v.Category, v.Code = mail.CategoryRelayAuth, 530 }),
			want{State: campaign.StatePending, Hold: HoldAuthenticationFailed, Relay: relayTrouble},
		},
		"not for the relay's own trouble": {
			[]campaign.Rule{fail},
			with(spam, func(v *mail.Verdict) { v.Scope, v.Code = mail.ScopeRelay, 421 }),
			want{State: campaign.StatePending, Relay: relayTrouble},
		},
		"not for a lost connection": {
			[]campaign.Rule{fail},
			refusal(mail.Temporary, mail.PhaseData, 0, "", ""),
			want{State: campaign.StateDeferred, Attempt: true, Later: true, Category: mail.CategoryPolicy},
		},
		"not for what was accepted": {
			[]campaign.Rule{fail},
			mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250},
			want{State: campaign.StateAccepted, Attempt: true, Relay: relayWorks},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, _ := compileRules(test.rules)
			result, after := decide(test.verdict, campaign.Claimed{ID: "r"}, testPolicy(), rules, testNow, func() float64 { return 0.5 })
			got := want{
				State: result.State, Attempt: result.CountAttempt, Later: result.NextAttemptAt != nil, End: after.end,
				Action: after.action, Relay: after.relay, Category: result.Category,
			}
			if after.hold != nil {
				got.Hold = after.hold.Reason
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decided (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenPatternsAreNamed(t *testing.T) {
	t.Parallel()
	rules, broken := compileRules([]campaign.Rule{{Pattern: "["}, {Pattern: "fine"}, {Pattern: `(?=no)`}})
	if diff := cmp.Diff([]int{1, 3}, broken); diff != "" {
		t.Errorf("broken (-want +got):\n%s", diff)
	}
	if len(rules) != 1 || rules[0].number != 2 {
		t.Errorf("rules = %+v, want the second alone", rules)
	}
}

func TestPauseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	r := rule{number: 3}
	got := r.hold(mail.Verdict{Code: 554, EnhancedCode: "5.7.1", Detail: "somebody's words"})
	want := &campaign.Hold{
		Reason: "FailurePolicyMatched", Until: campaign.Forever,
		Message: "rule 3 of spec.failurePolicy matched a reply of the SMTP relay (554 5.7.1): correct what it refuses, or the rule, " +
			"then set the annotation mail.cartero.dev/resume-at; nobody is given up meanwhile",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hold (-want +got):\n%s", diff)
	}
	abort := abortHold(campaign.Abort{MinSample: 10, MaxHardBouncePercent: 5, MaxFailedPercent: 20}, campaign.Ended{Accepted: 8, Bounced: 1, Failed: 3})
	const says = "of 12 recipients, 1 bounced and 3 failed otherwise, more than spec.abortPolicy allows " +
		"(5 % bounced, 20 % in all): check the list and the message, then set the annotation mail.cartero.dev/resume-at, from " +
		"which the shares are counted anew"
	if diff := cmp.Diff(&campaign.Hold{Reason: "AbortThresholdExceeded", Message: says, Until: campaign.Forever}, abort); diff != "" {
		t.Errorf("hold (-want +got):\n%s", diff)
	}
}

func TestRetryPolicyOfTheCampaign(t *testing.T) {
	t.Parallel()
	own := RetryPolicy{MaxAttempts: 6, InitialBackoff: time.Minute, MaxBackoff: 4 * time.Hour, MaxAge: 48 * time.Hour, GreylistDelay: 5, HoldFor: 6}
	for name, test := range map[string]struct {
		wishes campaign.Retry
		change func(*RetryPolicy)
	}{
		"none":                     {campaign.Retry{}, func(*RetryPolicy) {}},
		"attempts":                 {campaign.Retry{MaxAttempts: 1}, func(p *RetryPolicy) { p.MaxAttempts = 1 }},
		"longest wait":             {campaign.Retry{MaxBackoff: time.Second}, func(p *RetryPolicy) { p.MaxBackoff = time.Second }},
		"age":                      {campaign.Retry{MaxAge: time.Second}, func(p *RetryPolicy) { p.MaxAge = time.Second }},
		"doubt":                    {campaign.Retry{InDoubt: true}, func(p *RetryPolicy) { p.InDoubt = true }},
		"first wait":               {campaign.Retry{InitialBackoff: time.Hour}, func(p *RetryPolicy) { p.InitialBackoff = time.Hour }},
		"first wait over the most": {campaign.Retry{InitialBackoff: 9 * time.Hour}, func(p *RetryPolicy) { p.InitialBackoff, p.MaxBackoff = 9*time.Hour, 9*time.Hour }},
	} {
		want := own
		test.change(&want)
		if diff := cmp.Diff(want, own.with(test.wishes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestGuardCounts(t *testing.T) {
	t.Parallel()
	g := &guard{samples: map[string]*sample{}}
	now := testNow
	count := func(key string, revision int, states ...campaign.State) (ended campaign.Ended) {
		for _, state := range states {
			ended, _ = g.count(key, revision, state, now)
		}
		return ended
	}
	if diff := cmp.Diff(campaign.Ended{Accepted: 1, Bounced: 2, Failed: 1}, count("a", 1,
		campaign.StateAccepted, campaign.StateBounced, campaign.StateFailed, campaign.StateBounced)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(campaign.Ended{Failed: 1}, count("a", 3, campaign.StateFailed)); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	if _, ok := g.count("a", 2, campaign.StateFailed, now); ok {
		t.Error("a run that had not noticed the change was counted")
	}
	for i := range maxSamples + 10 {
		now = now.Add(time.Millisecond)
		count(string(rune(i))+"b", 1, campaign.StateAccepted)
	}
	if n := len(g.samples); n != maxSamples {
		t.Errorf("%d campaigns are counted, want no more than %d", n, maxSamples)
	}
	now = now.Add(2 * sampleKept)
	count("c", 1, campaign.StateAccepted)
	if diff := cmp.Diff(map[string]*sample{"c": {revision: 1, ended: campaign.Ended{Accepted: 1}, at: now}}, g.samples,
		cmp.AllowUnexported(sample{}), cmpopts.EquateComparable()); diff != "" {
		t.Errorf("what is kept for long (-want +got):\n%s", diff)
	}
}
