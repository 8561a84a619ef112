package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

func TestCreate_Control(t *testing.T) {
	t.Parallel()
	deadline := func(seconds int64) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.ActiveDeadlineSeconds = &seconds })
	}
	ttl := func(seconds int32) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.TTLSecondsAfterFinished = &seconds })
	}
	runCreate(t, []campaignCase{
		{name: "conflict fails", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.OnConflict = v1alpha1.ConflictFail })},
		{
			name: "unknown conflict policy", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.OnConflict = "Replace" }),
			wantErr: `spec.onConflict: Unsupported value: "Replace"`,
		},
		{name: "stopped at once", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Shutdown = v1alpha1.ShutdownStop })},
		{
			name: "unknown shutdown", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Shutdown = "Terminate" }),
			wantErr: `spec.shutdown: Unsupported value: "Terminate"`,
		},
		{name: "orphaned", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })},
		{
			name: "unknown deletion policy", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.DeletionPolicy = "Delete" }),
			wantErr: `spec.deletionPolicy: Unsupported value: "Delete"`,
		},
		{name: "shortest deadline", mutate: deadline(1)},
		{name: "longest deadline", mutate: deadline(31536000)},
		{name: "no time", mutate: deadline(0), wantErr: "spec.activeDeadlineSeconds: Invalid value: 0"},
		{name: "deadline too long", mutate: deadline(31536001), wantErr: "spec.activeDeadlineSeconds: Invalid value: 31536001"},
		{name: "deleted at once", mutate: ttl(0)},
		{name: "longest TTL", mutate: ttl(1<<31 - 1)},
		{name: "negative TTL", mutate: ttl(-1), wantErr: "spec.ttlSecondsAfterFinished: Invalid value: -1"},
	})
}

func TestCreate_Throttle(t *testing.T) {
	t.Parallel()
	rate := func(messages, period int32, burst ...int32) func(*v1alpha1.EmailCampaign) {
		rate := &v1alpha1.Rate{Messages: messages, PeriodSeconds: period}
		if len(burst) > 0 {
			rate.Burst = &burst[0]
		}
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.Throttle = &v1alpha1.Throttle{Rate: rate} })
	}
	const path = "spec.throttle.rate"
	runCreate(t, []campaignCase{
		{name: "slowest", mutate: rate(1, 86400)},
		{name: "fastest", mutate: rate(1000000, 1, 1000000)},
		{name: "burst of all", mutate: rate(600, 60, 600)},
		{name: "empty", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Throttle = &v1alpha1.Throttle{}
		}), wantErr: "spec.throttle: Invalid value"},
		{name: "no messages", mutate: rate(0, 60), wantErr: path + ".messages: Required value"},
		{name: "no period", mutate: rate(60, 0), wantErr: path + ".periodSeconds: Required value"},
		{name: "negative messages", mutate: rate(-1, 60), wantErr: path + ".messages: Invalid value: -1"},
		{name: "too many messages", mutate: rate(1000001, 1), wantErr: path + ".messages: Invalid value: 1000001"},
		{name: "negative period", mutate: rate(60, -1), wantErr: path + ".periodSeconds: Invalid value: -1"},
		{name: "period too long", mutate: rate(60, 86401), wantErr: path + ".periodSeconds: Invalid value: 86401"},
		{name: "no burst", mutate: rate(60, 60, 0), wantErr: path + ".burst: Invalid value: 0"},
		{name: "burst too large", mutate: rate(1000000, 60, 1000001), wantErr: path + ".burst: Invalid value: 1000001"},
		{name: "burst of more", mutate: rate(60, 60, 61), wantErr: path + ".burst must be at most spec.throttle.rate.messages"},
	})
}

func TestCreate_Retry(t *testing.T) {
	t.Parallel()
	retry := func(mutate func(*v1alpha1.Retry)) func(*v1alpha1.EmailCampaign) {
		retry := &v1alpha1.Retry{}
		mutate(retry)
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.Retry = retry })
	}
	attempts := func(n int32) func(*v1alpha1.EmailCampaign) {
		return retry(func(r *v1alpha1.Retry) { r.MaxAttempts = &n })
	}
	backoff := func(initial, longest int32) func(*v1alpha1.EmailCampaign) {
		return retry(func(r *v1alpha1.Retry) { r.InitialBackoffSeconds, r.MaxBackoffSeconds = &initial, &longest })
	}
	age := func(seconds int32) func(*v1alpha1.EmailCampaign) {
		return retry(func(r *v1alpha1.Retry) { r.MaxAgeSeconds = &seconds })
	}
	const path = "spec.retry"
	runCreate(t, []campaignCase{
		{name: "empty", mutate: retry(func(*v1alpha1.Retry) {})},
		{name: "one attempt", mutate: attempts(1)},
		{name: "50 attempts", mutate: attempts(50)},
		{name: "no attempt", mutate: attempts(0), wantErr: path + ".maxAttempts: Invalid value: 0"},
		{name: "51 attempts", mutate: attempts(51), wantErr: path + ".maxAttempts: Invalid value: 51"},
		{name: "shortest wait", mutate: backoff(1, 1)},
		{name: "longest wait", mutate: backoff(86400, 604800)},
		{name: "only the first wait", mutate: retry(func(r *v1alpha1.Retry) { r.InitialBackoffSeconds = new(int32(86400)) })},
		{name: "only the longest wait", mutate: retry(func(r *v1alpha1.Retry) { r.MaxBackoffSeconds = new(int32(1)) })},
		{name: "no first wait", mutate: backoff(0, 1), wantErr: path + ".initialBackoffSeconds: Invalid value: 0"},
		{name: "first wait too long", mutate: backoff(86401, 604800), wantErr: path + ".initialBackoffSeconds: Invalid value: 86401"},
		{name: "no longest wait", mutate: backoff(1, 0), wantErr: path + ".maxBackoffSeconds: Invalid value: 0"},
		{name: "longest wait too long", mutate: backoff(1, 604801), wantErr: path + ".maxBackoffSeconds: Invalid value: 604801"},
		{
			name: "first wait is longer", mutate: backoff(61, 60),
			wantErr: path + ".initialBackoffSeconds must be at most spec.retry.maxBackoffSeconds",
		},
		{name: "youngest", mutate: age(1)},
		{name: "oldest", mutate: age(2592000)},
		{name: "no age", mutate: age(0), wantErr: path + ".maxAgeSeconds: Invalid value: 0"},
		{name: "too old", mutate: age(2592001), wantErr: path + ".maxAgeSeconds: Invalid value: 2592001"},
		{name: "doubts sent again", mutate: retry(func(r *v1alpha1.Retry) { r.InDoubt = v1alpha1.InDoubtRetry })},
		{
			name: "unknown policy of doubt", mutate: retry(func(r *v1alpha1.Retry) { r.InDoubt = "Resend" }),
			wantErr: path + `.inDoubt: Unsupported value: "Resend"`,
		},
	})
}

// rules makes a mutation that sets a failure policy.
func rules(rules ...v1alpha1.FailureRule) func(*v1alpha1.EmailCampaign) {
	return spec(func(s *v1alpha1.EmailCampaignSpec) { s.FailurePolicy = &v1alpha1.FailurePolicy{Rules: rules} })
}

// largestRule is a rule with everything full.
func largestRule() v1alpha1.FailureRule {
	rule := v1alpha1.FailureRule{Action: v1alpha1.ActionRetryRecipient, OnReplies: v1alpha1.ReplyMatch{
		EnhancedCodes: numbered(20, "5.123.%03d"), Stages: []v1alpha1.ReplyStage{"Mail", "Rcpt", "Data", "Dot"},
		Pattern: strings.Repeat("(a|b)*?", 36),
	}}
	for code := range int32(20) {
		rule.OnReplies.Codes = append(rule.OnReplies.Codes, 400+code)
	}
	return rule
}

func TestCreate_FailurePolicy(t *testing.T) {
	t.Parallel()
	match := func(match v1alpha1.ReplyMatch) func(*v1alpha1.EmailCampaign) {
		return rules(v1alpha1.FailureRule{Action: v1alpha1.ActionFailRecipient, OnReplies: match})
	}
	codes := func(codes ...int32) func(*v1alpha1.EmailCampaign) { return match(v1alpha1.ReplyMatch{Codes: codes}) }
	enhanced := func(codes ...string) func(*v1alpha1.EmailCampaign) {
		return match(v1alpha1.ReplyMatch{EnhancedCodes: codes})
	}
	pattern := func(text string) func(*v1alpha1.EmailCampaign) { return match(v1alpha1.ReplyMatch{Pattern: text}) }
	const (
		path        = "spec.failurePolicy.rules"
		one         = path + "[0].onReplies"
		badEnhanced = path + ".onReplies.enhancedCodes must be like 5.7.1 (RFC 3463)"
		badPattern  = path + ".onReplies.pattern must be a regular expression (RE2)"
	)
	many := make([]v1alpha1.FailureRule, 21)
	for i := range many {
		many[i] = largestRule()
	}
	tooMany := largestRule().OnReplies.Codes
	cases := []campaignCase{
		{name: "20 full rules", mutate: rules(many[:20]...)},
		{name: "21 rules", mutate: rules(many...), wantErr: path + ": Too many"},
		{name: "no rules", mutate: rules(), wantErr: path + ": Required value"},
		{
			name: "no action", mutate: rules(v1alpha1.FailureRule{OnReplies: v1alpha1.ReplyMatch{Codes: []int32{550}}}),
			wantErr: path + "[0].action",
		},
		{
			name: "unknown action", mutate: rules(v1alpha1.FailureRule{Action: "Ignore", OnReplies: v1alpha1.ReplyMatch{Codes: []int32{550}}}),
			wantErr: path + `[0].action: Unsupported value: "Ignore"`,
		},
		{name: "no match", mutate: match(v1alpha1.ReplyMatch{}), wantErr: one + ": Required value"},
		{name: "codes", mutate: codes(400, 599)},
		{name: "code twice", mutate: codes(550, 550), wantErr: one + ".codes[1]: Duplicate value"},
		{name: "code that is no refusal", mutate: codes(250), wantErr: one + ".codes[0]: Invalid value: 250"},
		{name: "code too large", mutate: codes(600), wantErr: one + ".codes[0]: Invalid value: 600"},
		{name: "21 codes", mutate: codes(append(tooMany, 599)...), wantErr: one + ".codes: Too many"},
		{name: "enhanced codes", mutate: enhanced("4.0.0", "5.7.515", "5.999.999")},
		{name: "enhanced code twice", mutate: enhanced("5.7.1", "5.7.1"), wantErr: one + ".enhancedCodes[1]: Duplicate value"},
		{name: "21 enhanced codes", mutate: enhanced(numbered(21, "5.7.%d")...), wantErr: one + ".enhancedCodes: Too many"},
		{name: "enhanced code too long", mutate: enhanced(strings.Repeat("5", 17)), wantErr: one + ".enhancedCodes[0]: Too long"},
		{name: "unknown stage", mutate: match(v1alpha1.ReplyMatch{
			Stages: []v1alpha1.ReplyStage{"Helo"},
		}), wantErr: one + `.stages[0]: Unsupported value: "Helo"`},
		{name: "longest pattern", mutate: pattern(strings.Repeat("é", 256))},
		{name: "pattern", mutate: pattern(`(?i)spam|blocked .* \[S\d+\]`)},
		{name: "pattern too long", mutate: pattern(strings.Repeat("p", 257)), wantErr: one + ".pattern: Too long"},
		{name: "pattern without end", mutate: pattern("(spam"), wantErr: badPattern},
		{name: "pattern that looks ahead", mutate: pattern("(?=spam)"), wantErr: badPattern},
	}
	for _, action := range []v1alpha1.FailureAction{
		v1alpha1.ActionFailRecipient, v1alpha1.ActionRetryRecipient, v1alpha1.ActionPauseCampaign, v1alpha1.ActionFailCampaign,
	} {
		cases = append(cases, campaignCase{name: string(action), mutate: rules(v1alpha1.FailureRule{
			Action: action, OnReplies: v1alpha1.ReplyMatch{Pattern: "spam"},
		})})
	}
	for _, code := range []string{"2.0.0", "5.7", "5.7.x", "5.7.1234", "550", "5,7,1", " 5.7.1"} {
		cases = append(cases, campaignCase{name: "enhanced code " + code, mutate: enhanced(code), wantErr: badEnhanced})
	}
	runCreate(t, cases)
}

func TestCreate_AbortPolicy(t *testing.T) {
	t.Parallel()
	abort := func(sample, bounced, failed int32) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.AbortPolicy = &v1alpha1.AbortPolicy{MinSample: &sample, MaxHardBouncePercent: &bounced, MaxFailedPercent: &failed}
		})
	}
	action := func(action v1alpha1.AbortAction) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.AbortPolicy = &v1alpha1.AbortPolicy{Action: action} })
	}
	const path = "spec.abortPolicy"
	runCreate(t, []campaignCase{
		{name: "strictest", mutate: abort(1, 0, 0)},
		{name: "never", mutate: abort(1000000, 100, 100)},
		{name: "no sample", mutate: abort(0, 5, 20), wantErr: path + ".minSample: Invalid value: 0"},
		{name: "sample too large", mutate: abort(1000001, 5, 20), wantErr: path + ".minSample: Invalid value: 1000001"},
		{name: "negative share of bounces", mutate: abort(100, -1, 20), wantErr: path + ".maxHardBouncePercent: Invalid value: -1"},
		{name: "share of bounces too large", mutate: abort(100, 101, 20), wantErr: path + ".maxHardBouncePercent: Invalid value: 101"},
		{name: "negative share of failures", mutate: abort(100, 5, -1), wantErr: path + ".maxFailedPercent: Invalid value: -1"},
		{name: "share of failures too large", mutate: abort(100, 5, 101), wantErr: path + ".maxFailedPercent: Invalid value: 101"},
		{name: "pauses", mutate: action(v1alpha1.AbortPause)},
		{name: "fails", mutate: action(v1alpha1.AbortFail)},
		{name: "unknown action", mutate: action("Stop"), wantErr: path + `.action: Unsupported value: "Stop"`},
	})
}
