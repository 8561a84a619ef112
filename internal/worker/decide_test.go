package worker

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

var testNow = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func testPolicy() RetryPolicy {
	cfg := Config{}
	cfg.setDefaults()
	return cfg.Retry
}

// TestDecide has a row for each cell of the table in docs/worker.md.
func TestDecide(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) *time.Time { next := testNow.Add(d); return &next }
	result := func(state campaign.State, counted bool) campaign.Result {
		return campaign.Result{RecipientID: "r", State: state, CountAttempt: counted, At: testNow}
	}
	with := func(r campaign.Result, category string, code int, enhanced string) campaign.Result {
		r.Category, r.Code, r.EnhancedCode, r.Detail = category, code, enhanced, "why"
		return r
	}
	deferred := func(d time.Duration, category string, code int) campaign.Result {
		r := with(result(campaign.StateDeferred, true), category, code, "")
		r.NextAttemptAt = at(d)
		return r
	}
	back := result(campaign.StatePending, false)
	verdict := func(o mail.Outcome, p mail.Phase, s mail.Scope, code int, category string) mail.Verdict {
		return mail.Verdict{Outcome: o, Phase: p, Scope: s, Code: code, Category: category, Detail: "why"}
	}

	for _, test := range []struct {
		name     string
		verdict  mail.Verdict
		attempts int
		first    *time.Time
		want     campaign.Result
		wantHold string
		relay    relayEffect
	}{
		{
			name:    "250 after the dot",
			verdict: mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250, EnhancedCode: "2.0.0"},
			want:    campaign.Result{RecipientID: "r", State: campaign.StateAccepted, CountAttempt: true, Code: 250, EnhancedCode: "2.0.0", At: testNow},
			relay:   relayWorks,
		},
		{
			name:    "no reply after the dot",
			verdict: verdict(mail.Uncertain, mail.PhaseDot, mail.ScopeRecipient, 0, mail.CategoryInDoubt),
			want:    with(result(campaign.StateInDoubt, true), mail.CategoryInDoubt, 0, ""),
			relay:   relayTrouble,
		},
		{
			name:    "a sender that does not say, after the dot",
			verdict: verdict("", mail.PhaseDot, mail.ScopeRecipient, 0, ""),
			want:    with(result(campaign.StateInDoubt, true), mail.CategoryInDoubt, 0, ""),
			relay:   relayTrouble,
		},
		{
			name:    "a sender that does not say, before the dot",
			verdict: verdict("", mail.PhaseData, mail.ScopeRecipient, 0, ""),
			want:    deferred(30*time.Second, mail.CategoryOther, 0),
		},
		{
			name:    "connection refused",
			verdict: verdict(mail.Temporary, mail.PhaseConnect, mail.ScopeRelay, 0, mail.CategoryNetwork),
			want:    back, relay: relayTrouble,
		},
		{
			name:    "554 in the greeting",
			verdict: verdict(mail.Permanent, mail.PhaseConnect, mail.ScopeRelay, 554, mail.CategoryPolicy),
			want:    back, relay: relayTrouble,
		},
		{
			name:    "421 after the dot",
			verdict: verdict(mail.Temporary, mail.PhaseDot, mail.ScopeRelay, 421, mail.CategoryNetwork),
			want:    back, relay: relayTrouble,
		},
		{
			name:    "535",
			verdict: verdict(mail.Permanent, mail.PhaseConnect, mail.ScopeRelay, 535, mail.CategoryRelayAuth),
			want:    back, wantHold: HoldAuthenticationFailed, relay: relayTrouble,
		},
		{
			name:    "530 at MAIL",
			verdict: verdict(mail.Permanent, mail.PhaseMail, mail.ScopeSender, 530, mail.CategoryRelayAuth),
			want:    back, wantHold: HoldAuthenticationFailed, relay: relayTrouble,
		},
		{
			name:    "5xx at MAIL",
			verdict: verdict(mail.Permanent, mail.PhaseMail, mail.ScopeSender, 550, mail.CategorySenderRefused),
			want:    back, wantHold: HoldSenderRefused, relay: relayWorks,
		},
		{
			name:    "550 5.7.26 after the dot",
			verdict: verdict(mail.Permanent, mail.PhaseDot, mail.ScopeSender, 550, mail.CategorySenderRefused),
			want:    back, wantHold: HoldSenderRefused, relay: relayWorks,
		},
		{
			name:    "451 at MAIL",
			verdict: verdict(mail.Temporary, mail.PhaseMail, mail.ScopeRecipient, 451, mail.CategoryOther),
			want:    deferred(30*time.Second, mail.CategoryOther, 451), relay: relayWorks,
		},
		{
			name:    "450 at RCPT, greylisting",
			verdict: verdict(mail.Temporary, mail.PhaseRcpt, mail.ScopeRecipient, 450, mail.CategoryRateLimited),
			want:    deferred(5*time.Minute, mail.CategoryRateLimited, 450), relay: relayWorks,
		},
		{
			name:    "452 at RCPT",
			verdict: verdict(mail.Temporary, mail.PhaseRcpt, mail.ScopeRecipient, 452, mail.CategoryMailboxFull),
			want:    deferred(30*time.Second, mail.CategoryMailboxFull, 452), relay: relayWorks,
		},
		{
			name:    "550 5.1.1 at RCPT",
			verdict: mail.Verdict{Outcome: mail.Permanent, Phase: mail.PhaseRcpt, Scope: mail.ScopeRecipient, Code: 550, EnhancedCode: "5.1.1", Category: mail.CategoryBadMailbox, Detail: "why"},
			want:    with(result(campaign.StateBounced, true), mail.CategoryBadMailbox, 550, "5.1.1"), relay: relayWorks,
		},
		{
			name:    "550 of no known kind at RCPT",
			verdict: verdict(mail.Permanent, mail.PhaseRcpt, mail.ScopeRecipient, 550, mail.CategoryOther),
			want:    with(result(campaign.StateBounced, true), mail.CategoryOther, 550, ""), relay: relayWorks,
		},
		{
			name:    "an address that the relay has no way to take",
			verdict: verdict(mail.Permanent, mail.PhaseRcpt, mail.ScopeRecipient, 0, mail.CategoryInvalid),
			want:    with(result(campaign.StateFailed, true), mail.CategoryInvalid, 0, ""), relay: relayWorks,
		},
		{
			name:    "552 mailbox full after the dot",
			verdict: verdict(mail.Permanent, mail.PhaseDot, mail.ScopeRecipient, 552, mail.CategoryMailboxFull),
			want:    with(result(campaign.StateBounced, true), mail.CategoryMailboxFull, 552, ""), relay: relayWorks,
		},
		{
			name:    "554 spam after the dot",
			verdict: verdict(mail.Permanent, mail.PhaseDot, mail.ScopeRecipient, 554, mail.CategoryPolicy),
			want:    with(result(campaign.StateFailed, true), mail.CategoryPolicy, 554, ""), relay: relayWorks,
		},
		{
			name:    "552 size at DATA",
			verdict: verdict(mail.Permanent, mail.PhaseData, mail.ScopeRecipient, 552, mail.CategoryContent),
			want:    with(result(campaign.StateFailed, true), mail.CategoryContent, 552, ""), relay: relayWorks,
		},
		{
			name:    "connection lost in the body",
			verdict: verdict(mail.Temporary, mail.PhaseData, mail.ScopeRecipient, 0, mail.CategoryNetwork),
			want:    deferred(30*time.Second, mail.CategoryNetwork, 0),
		},
		{
			name:     "451 after the dot, third attempt",
			verdict:  verdict(mail.Temporary, mail.PhaseDot, mail.ScopeRecipient, 451, mail.CategoryOther),
			attempts: 2, first: at(-time.Hour),
			want: deferred(2*time.Minute, mail.CategoryOther, 451), relay: relayWorks,
		},
		{
			name:     "the sixth attempt is the last",
			verdict:  verdict(mail.Temporary, mail.PhaseDot, mail.ScopeRecipient, 451, mail.CategoryOther),
			attempts: 5, first: at(-time.Hour),
			want: with(result(campaign.StateFailed, true), mail.CategoryOther, 451, ""), relay: relayWorks,
		},
		{
			name:     "too old for another attempt",
			verdict:  verdict(mail.Temporary, mail.PhaseRcpt, mail.ScopeRecipient, 450, mail.CategoryRateLimited),
			attempts: 1, first: at(-48*time.Hour + 5*time.Minute - time.Second),
			want: with(result(campaign.StateFailed, true), mail.CategoryRateLimited, 450, ""), relay: relayWorks,
		},
		{
			name:     "just young enough for another attempt",
			verdict:  verdict(mail.Temporary, mail.PhaseRcpt, mail.ScopeRecipient, 450, mail.CategoryRateLimited),
			attempts: 1, first: at(-48*time.Hour + 5*time.Minute),
			want: deferred(5*time.Minute, mail.CategoryRateLimited, 450), relay: relayWorks,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			claimed := campaign.Claimed{ID: "r", Attempts: test.attempts, FirstAttemptAt: test.first}
			got, after := decide(test.verdict, claimed, testPolicy(), nil, testNow, func() float64 { return 0.5 })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if after.relay != test.relay {
				t.Errorf("relay effect = %d, want %d", after.relay, test.relay)
			}
			want := &campaign.Hold{Reason: test.wantHold, Until: testNow.Add(5 * time.Minute)}
			if test.wantHold == "" {
				want = nil
			}
			if diff := cmp.Diff(want, after.hold, cmpopts.IgnoreFields(campaign.Hold{}, "Message")); diff != "" {
				t.Errorf("hold (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		verdict  mail.Verdict
		attempts int
		random   float64
		want     time.Duration
	}{
		{"first, most", mail.Verdict{}, 0, 1, time.Minute},
		{"first, least", mail.Verdict{}, 0, 0, time.Second},
		{"doubles", mail.Verdict{}, 3, 1, 8 * time.Minute},
		{"capped", mail.Verdict{}, 30, 1, 4 * time.Hour},
		{"what the relay asks for", mail.Verdict{RetryAfter: time.Hour}, 0, 1, time.Hour},
		{"greylisting", mail.Verdict{Code: 451, Category: mail.CategoryRateLimited}, 0, 0, 5 * time.Minute},
		{"greylisting, later", mail.Verdict{Code: 451, Category: mail.CategoryRateLimited}, 5, 1, 32 * time.Minute},
		{"throttled is not greylisted", mail.Verdict{Code: 452, Category: mail.CategoryRateLimited}, 0, 1, time.Minute},
	} {
		if got := backoff(test.verdict, test.attempts, testPolicy(), func() float64 { return test.random }); got != test.want {
			t.Errorf("%s: backoff = %s, want %s", test.name, got, test.want)
		}
	}
}

func TestHoldMessagesSayWhatToDo(t *testing.T) {
	t.Parallel()
	auth := authenticationHold(mail.Verdict{Code: 535, EnhancedCode: "5.7.8", RetryAfter: time.Hour}, testPolicy(), testNow)
	if want := "the SMTP relay refuses the credentials (535 5.7.8): correct SMTP_USERNAME"; !strings.HasPrefix(auth.Message, want) {
		t.Errorf("message = %q, want it to begin with %q", auth.Message, want)
	}
	if want := testNow.Add(time.Hour); !auth.Until.Equal(want) {
		t.Errorf("held until %s, want %s", auth.Until, want)
	}
	sender := senderHold(mail.Verdict{Code: 550}, testPolicy(), testNow)
	if want := "the SMTP relay refuses the sender (550): "; !strings.HasPrefix(sender.Message, want) {
		t.Errorf("message = %q, want it to begin with %q", sender.Message, want)
	}
}

func TestCutDetailFitsTheDatabase(t *testing.T) {
	t.Parallel()
	got := cutDetail("a\x00b\xff" + strings.Repeat("é", maxDetail))
	if !utf8.ValidString(got) || len(got) > maxDetail || strings.ContainsRune(got, 0) || !strings.HasPrefix(got, "ab?é") {
		t.Errorf("cutDetail returned %d bytes: %q", len(got), got)
	}
}
