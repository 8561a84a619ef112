package campaign

import (
	"context"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// SuppressionReason says why an address is not to be mailed.
type SuppressionReason string

// The reasons.
const (
	SuppressedBadMailbox   SuppressionReason = "BadMailbox"   // a server said that there is no such mailbox
	SuppressedDisabled     SuppressionReason = "Disabled"     // a server said that the mailbox is disabled
	SuppressedMailboxFull  SuppressionReason = "MailboxFull"  // it was full for weeks
	SuppressedComplaint    SuppressionReason = "Complaint"    // the recipient called a mail spam
	SuppressedUnsubscribed SuppressionReason = "Unsubscribed" // the recipient unsubscribed
	SuppressedManual       SuppressionReason = "Manual"       // somebody put it on the list
)

// SuppressionReasons are all of them.
var SuppressionReasons = []SuppressionReason{
	SuppressedBadMailbox, SuppressedDisabled, SuppressedMailboxFull, SuppressedComplaint, SuppressedUnsubscribed, SuppressedManual,
}

// SuppressionKey is what there is at most one Suppression of.
type SuppressionKey struct {
	// Address is the one that is compared: the local part with ASCII letters in lower case, the domain as lower-case
	// A-labels.
	Address string
	// Scope is the list that the address is not to get, a Content.ListID in lower case; empty for every one.
	Scope string
}

// Suppression is an address that is not to be mailed by campaigns that respect the list.
type Suppression struct {
	SuppressionKey

	Reason SuppressionReason
	// Source is where the entry is from: a campaign's key, or the name of a command.
	Source    string
	CreatedAt time.Time
}

// SuppressionScope is the scope of who unsubscribes from this content.
func (c Content) SuppressionScope() string { return strings.ToLower(c.ListID) }

// Suppressions is the list of addresses that are not to be mailed. Every method is idempotent.
type Suppressions interface {
	// Suppress adds entries, and returns how many were not there before; those that are there stay as they are. Addresses
	// may be written in any case.
	Suppress(ctx context.Context, entries []Suppression) (added int, err error)
	// Unsuppress removes entries, and returns how many were there.
	Unsuppress(ctx context.Context, keys []SuppressionKey) (removed int, err error)
	// UnknownSuppressions returns how many of the keys, each counted once, are not on the list.
	UnknownSuppressions(ctx context.Context, keys []SuppressionKey) (int, error)
	// Suppressions returns at most limit entries behind after, in the order of their keys; with an address, its own alone.
	Suppressions(ctx context.Context, address string, after SuppressionKey, limit int) ([]Suppression, error)
	// Unsubscribe adds the address of the recipient with this id, for the list that its campaign went to. It fails with
	// ErrNotFound if there is no such recipient, or if its address was removed.
	Unsubscribe(ctx context.Context, recipientID string, now time.Time) error
}

// HardBounce returns the reason for which this result alone puts its address on the list, and whether it does: the server
// refused for good, and said that the mailbox is to blame. Nothing that may be our own fault does, or the fault of who is
// between: sender, content, policy, rate, relay, network.
func (r Result) HardBounce() (SuppressionReason, bool) {
	if r.State != StateBounced || r.Code < 500 || r.Code > 599 {
		return "", false
	}
	switch r.Category {
	case mail.CategoryBadMailbox:
		// Without an enhanced code, 550 is a word for policy too (RFC 5321 section 4.2.3): then the text has to say it.
		if strings.HasPrefix(r.EnhancedCode, "5.1.") || r.EnhancedCode == "" && saysUnknown(r.Detail) {
			return SuppressedBadMailbox, true
		}
	case mail.CategoryDisabled:
		return SuppressedDisabled, true
	}
	return "", false
}

// FullMailbox reports whether the result is a refusal because the mailbox is full, for now (4.2.2) or for good (5.2.2).
func (r Result) FullMailbox() bool {
	return r.Category == mail.CategoryMailboxFull && r.CountAttempt && r.Code >= 400 && r.Code <= 599
}

// saysUnknown reports whether a reply says in words that there is no such mailbox.
func saysUnknown(detail string) bool {
	detail = strings.ToLower(detail)
	for _, words := range unknownWords {
		if strings.Contains(detail, words) {
			return true
		}
	}
	return false
}

var unknownWords = []string{
	"user unknown", "unknown user", "recipient unknown", "unknown recipient", "mailbox unknown", "unknown mailbox", "address unknown",
	"unknown address", "no such user", "no such mailbox", "no such recipient", "no such address", "no such person", "no such local user",
	"no mailbox here", "user not found", "mailbox not found", "recipient not found", "user does not exist", "user doesn't exist",
	"mailbox does not exist", "mailbox doesn't exist", "account does not exist", "account that you tried to reach does not exist",
	"address does not exist", "recipient does not exist", "not a known user", "not a valid mailbox", "invalid mailbox",
}

// How a full mailbox is judged.
const (
	// FullRefusals and FullTime are how often and for how long a mailbox has to be full before its address is suppressed.
	FullRefusals = 5
	FullTime     = 14 * 24 * time.Hour
	// FullMemory is how long the refusals of a full mailbox are remembered.
	FullMemory = 180 * 24 * time.Hour
)

// Fullness is how often a mailbox was full since a mail to it was last accepted.
type Fullness struct {
	Refusals int
	Since    time.Time
	Last     time.Time
}

// Refused is the fullness after one more refusal at this time. acceptedAt is when a mail to the mailbox was last accepted,
// the zero time if that is not known: refusals from before it count no longer.
func (f Fullness) Refused(at, acceptedAt time.Time) Fullness {
	if f.Refusals == 0 || acceptedAt.After(f.Last) || at.Sub(f.Last) > FullMemory {
		return Fullness{Refusals: 1, Since: at, Last: at}
	}
	if at.After(f.Last) { // results may be told late, and again out of their order
		f.Last = at
	}
	f.Refusals++
	return f
}

// Lasting reports whether the mailbox is full for good, as far as mails go.
func (f Fullness) Lasting() bool {
	return f.Refusals >= FullRefusals && f.Last.Sub(f.Since) >= FullTime
}
