package worker

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// Reasons of a Hold.
const (
	HoldAuthenticationFailed = "AuthenticationFailed"
	HoldSenderRefused        = "SenderRefused"
	// HoldRelayUnavailable is only noted: its Until is the time of the note, so that it stops nobody.
	HoldRelayUnavailable = "RelayUnavailable"
)

const maxDetail = 500 // bytes of a verdict's detail that are kept

// RetryPolicy is the schedule of attempts: exponential with full jitter, capped by number and by age.
type RetryPolicy struct {
	// MaxAttempts is the number of attempts per recipient, the first included; 0 means 6.
	MaxAttempts int
	// InitialBackoff bounds the wait before the second attempt; it doubles from there. 0 means 60 s.
	InitialBackoff time.Duration
	// MaxBackoff bounds the wait between two attempts; 0 means 4 h.
	MaxBackoff time.Duration
	// MaxAge is the time after the first attempt at which a recipient is given up; 0 means 48 h.
	MaxAge time.Duration
	// GreylistDelay is the least wait after a refusal that looks like greylisting; 0 means 5 min.
	GreylistDelay time.Duration
	// HoldFor is how long a campaign is stopped whose sender or credentials the relay refuses; 0 means 5 min.
	HoldFor time.Duration
	// InDoubt has mails sent again of which nobody can know whether they were accepted, as mail servers do.
	InDoubt bool
}

// relayEffect is what a transaction tells about the relay as such.
type relayEffect int

const (
	relayUnknown relayEffect = iota
	relayWorks
	relayTrouble
)

// effect is what a verdict means beyond its recipient.
type effect struct {
	relay      relayEffect
	retryAfter time.Duration
	// detail says what the trouble is, without addresses; empty where a hold says it.
	detail string
	// hold stops the whole campaign; end, one of campaign's End constants, cancels it.
	hold *campaign.Hold
	end  string
	// action is what a rule of the campaign did; empty if none matched.
	action campaign.Action
	// stop ends the run, for a reason of our own: nothing more may be sent.
	stop error
}

// decide turns the verdict on one transaction into the recipient's result and what else follows, with the first of the
// campaign's rules that matches, or else as the table in docs/worker.md says. random yields numbers in [0, 1).
func decide(
	v mail.Verdict, c campaign.Claimed, policy RetryPolicy, rules []rule, now time.Time, random func() float64,
) (campaign.Result, effect) {
	result := campaign.Result{
		RecipientID:  c.ID,
		CountAttempt: true,
		Code:         v.Code,
		EnhancedCode: v.EnhancedCode,
		Category:     v.Category,
		Detail:       cutDetail(v.Detail),
		At:           now,
	}
	if r := matching(rules, v); r != nil {
		return r.decide(result, v, c, policy, now, random)
	}
	switch {
	case v.Outcome == mail.Sent:
		result.State, result.Category, result.Detail = campaign.StateAccepted, "", ""
		return result, effect{relay: relayWorks}
	case v.Outcome == mail.Uncertain, v.Outcome != mail.Temporary && v.Outcome != mail.Permanent && v.Phase == mail.PhaseDot:
		// A relay that loses its replies would put a whole campaign in doubt: it is given time.
		result.Category = mail.CategoryInDoubt
		after := effect{relay: relayTrouble, retryAfter: v.RetryAfter, detail: result.Detail}
		if policy.InDoubt {
			return retry(result, v, c, policy, now, random), after
		}
		result.State = campaign.StateInDoubt
		return result, after
	case v.Category == mail.CategoryRelayAuth:
		return givenBack(c.ID, now), effect{relay: relayTrouble, retryAfter: v.RetryAfter, hold: authenticationHold(v, policy, now)}
	case v.Scope == mail.ScopeSender:
		return givenBack(c.ID, now), effect{relay: relayWorks, hold: senderHold(v, policy, now)}
	case v.Scope == mail.ScopeRelay:
		return givenBack(c.ID, now), effect{relay: relayTrouble, retryAfter: v.RetryAfter, detail: result.Detail}
	case v.Outcome == mail.Permanent:
		result.State = givenUp(v)
		return result, effect{relay: relayWorks}
	default:
		after := effect{}
		if v.Code > 0 {
			after.relay = relayWorks
		}
		return retry(result, v, c, policy, now, random), after
	}
}

// retry defers the recipient, or gives it up where attempts or time have run out.
func retry(result campaign.Result, v mail.Verdict, c campaign.Claimed, policy RetryPolicy, now time.Time,
	random func() float64,
) campaign.Result {
	if result.Category == "" {
		result.Category = mail.CategoryOther
	}
	first := now
	if c.FirstAttemptAt != nil {
		first = *c.FirstAttemptAt
	}
	next := now.Add(backoff(v, c.Attempts, policy, random))
	if c.Attempts+1 >= policy.MaxAttempts || next.Sub(first) > policy.MaxAge {
		result.State = campaign.StateFailed
		return result
	}
	result.State, result.NextAttemptAt = campaign.StateDeferred, &next
	return result
}

// backoff is the wait after an attempt that followed the given number of earlier ones: a random part of the initial
// backoff doubled for each, never less than a second or than the verdict asks for.
func backoff(v mail.Verdict, attempts int, policy RetryPolicy, random func() float64) time.Duration {
	ceiling := policy.InitialBackoff
	for range attempts {
		if ceiling >= policy.MaxBackoff {
			break
		}
		ceiling *= 2
	}
	wait := time.Duration(random() * float64(min(ceiling, policy.MaxBackoff)))
	if greylisted(v) { // the policy's word, not the verdict's guess: somebody may be waiting for the outcome
		return max(wait, policy.GreylistDelay, time.Second)
	}
	return max(wait, v.RetryAfter, time.Second)
}

// greylisted reports whether the refusal looks like greylisting (RFC 6647 section 2): a recipient put off for no
// fault of its own.
func greylisted(v mail.Verdict) bool {
	return v.Category == mail.CategoryRateLimited && (v.Code == 450 || v.Code == 451)
}

// givenUp is the state of a recipient that was refused for good.
func givenUp(v mail.Verdict) campaign.State {
	if bounces(v) {
		return campaign.StateBounced
	}
	return campaign.StateFailed
}

// bounces reports whether a permanent refusal is about the mailbox rather than about our mail.
func bounces(v mail.Verdict) bool {
	switch v.Category {
	case mail.CategoryBadMailbox, mail.CategoryMailboxFull, mail.CategoryDisabled:
		return true
	case mail.CategoryInvalid:
		return false
	default:
		return v.Phase == mail.PhaseRcpt
	}
}

// givenBack is the result of a recipient that certainly was not sent, through no fault of its own.
func givenBack(id string, now time.Time) campaign.Result {
	return campaign.Result{RecipientID: id, State: campaign.StatePending, At: now}
}

func authenticationHold(v mail.Verdict, policy RetryPolicy, now time.Time) *campaign.Hold {
	return &campaign.Hold{
		Reason: HoldAuthenticationFailed,
		Message: fmt.Sprintf("the SMTP relay refuses the credentials%s: correct SMTP_USERNAME and SMTP_PASSWORD; "+
			"nobody is given up meanwhile", replyCode(v)),
		Until: now.Add(max(policy.HoldFor, v.RetryAfter)),
	}
}

func senderHold(v mail.Verdict, policy RetryPolicy, now time.Time) *campaign.Hold {
	return &campaign.Hold{
		Reason: HoldSenderRefused,
		Message: fmt.Sprintf("the SMTP relay refuses the sender%s: send from an address that it lets this account use, "+
			"and check SPF, DKIM and DMARC of its domain; nobody is given up meanwhile", replyCode(v)),
		Until: now.Add(max(policy.HoldFor, v.RetryAfter)),
	}
}

func replyCode(v mail.Verdict) string {
	switch {
	case v.Code == 0:
		return ""
	case v.EnhancedCode == "":
		return fmt.Sprintf(" (%d)", v.Code)
	default:
		return fmt.Sprintf(" (%d %s)", v.Code, v.EnhancedCode)
	}
}

// cutDetail makes a detail fit every database: valid UTF-8 without NUL, at most maxDetail bytes.
func cutDetail(detail string) string {
	detail = strings.ReplaceAll(strings.ToValidUTF8(detail, "?"), "\x00", "")
	if len(detail) <= maxDetail {
		return detail
	}
	cut := maxDetail
	for cut > 0 && !utf8.RuneStart(detail[cut]) {
		cut--
	}
	return detail[:cut]
}
