package smtp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// greylistDelay is the least wait after 450 or 451: greylisting lets nobody through earlier.
const greylistDelay = 5 * time.Minute

// errBeforeDot wraps the error of beforeDot: it was our own decision not to send the final dot.
var errBeforeDot = errors.New("the final dot was held back")

// classify judges a transaction that ended in this phase, with this reply or, if err is set, without a readable one.
// It is docs/smtp.md as a function; what is decided here is decided nowhere else.
func classify(phase mail.Phase, r reply, err error) mail.Verdict {
	if err != nil {
		return classifyLoss(phase, err)
	}
	if phase == mail.PhaseDot && r.code == 250 {
		return mail.Verdict{Outcome: mail.Sent, Phase: phase, Code: r.code, EnhancedCode: r.enhanced}
	}
	v := mail.Verdict{Phase: phase, Scope: mail.ScopeRecipient, Code: r.code, EnhancedCode: r.enhanced, Detail: sanitize(r)}
	switch class := r.code / 100; {
	case class != 4 && class != 5:
		// A positive reply where none was due is as good as no reply at all.
		return classifyLoss(phase, errUnreadable)
	case phase == mail.PhaseConnect:
		v.Outcome, v.Scope, v.Category = mail.Temporary, mail.ScopeRelay, connectCategory(r)
	case isAuthFault(r) || isRelayFault(phase, r):
		v.Outcome, v.Scope, v.Category = mail.Temporary, mail.ScopeRelay, mail.CategoryRelayAuth
	case r.code == 421:
		// No RetryAfter: relays say it to a single connection too, to limit or replace it.
		v.Outcome, v.Scope, v.Category = mail.Temporary, mail.ScopeRelay, mail.CategoryRateLimited
	case class == 4:
		v.Outcome, v.Category = mail.Temporary, temporaryCategory(phase, r)
		if isSenderFault(phase, r) {
			v.Scope, v.Category = mail.ScopeSender, senderCategory(r)
		} else if phase == mail.PhaseRcpt && v.Category == mail.CategoryRateLimited && (r.code == 450 || r.code == 451) {
			v.RetryAfter = greylistDelay
		}
	case isSenderFault(phase, r):
		v.Outcome, v.Scope, v.Category = mail.Permanent, mail.ScopeSender, senderCategory(r)
	default:
		v.Outcome, v.Category = mail.Permanent, permanentCategory(phase, r)
	}
	return v
}

// classifyLoss judges a transaction without a readable reply. After the dot nobody can know; before it nothing was
// accepted. While no recipient was named the relay is at fault, afterwards an attempt is counted, so that a message that
// makes a relay hang up is not tried for ever.
func classifyLoss(phase mail.Phase, err error) mail.Verdict {
	v := mail.Verdict{
		Outcome: mail.Temporary, Phase: phase, Scope: mail.ScopeRecipient, Category: mail.CategoryNetwork,
		Detail: describeLoss(phase, err),
	}
	switch {
	case phase == mail.PhaseDot:
		v.Outcome, v.Category = mail.Uncertain, mail.CategoryInDoubt
	case errors.Is(err, errBeforeDot):
		v.Scope, v.Category = mail.ScopeRelay, mail.CategoryOther
	case isAuthError(err):
		v.Scope, v.Category = mail.ScopeRelay, mail.CategoryRelayAuth
	case phase == mail.PhaseConnect, phase == mail.PhaseMail, errors.Is(err, context.Canceled):
		v.Scope = mail.ScopeRelay
	}
	return v
}

// connectCategory: a refusal of our credentials needs a person, everything else needs time.
func connectCategory(r reply) string {
	switch {
	case isAuthFault(r):
		return mail.CategoryRelayAuth
	case r.code == 421, r.code == 450, r.code == 451, r.code == 452, r.code == 454:
		return mail.CategoryRateLimited
	case r.code/100 == 5:
		return mail.CategoryPolicy
	}
	return mail.CategoryNetwork
}

// isAuthFault: the relay wants credentials, or better ones (RFC 4954 section 6, RFC 3463 section 3.8).
func isAuthFault(r reply) bool {
	switch r.code {
	case 530, 534, 535, 538:
		return true
	}
	return r.code/100 == 5 && (r.enhanced == "5.7.8" || r.enhanced == "5.7.9")
}

// isRelayFault: the relay does not relay for us. Postfix says so at RCPT, with 5.7.1, for every recipient alike.
func isRelayFault(phase mail.Phase, r reply) bool {
	return phase == mail.PhaseRcpt && containsAny(r.text, "relay access denied", "relaying denied", "unable to relay",
		"not permitted to relay", "relay not permitted", "authentication required", "must authenticate")
}

// isSenderFault: the next recipient would meet with the same refusal. Many relays delay a refusal of MAIL, or of the
// client itself, until RCPT.
func isSenderFault(phase mail.Phase, r reply) bool {
	if phase == mail.PhaseMail && r.code/100 == 5 {
		return !isTooLarge(r) // which is this message, as in mailParams
	}
	switch strings.TrimLeft(r.enhanced, "45") {
	case ".7.25", ".7.26", ".7.27", ".7.29", ".7.60", ".7.515", ".1.7", ".1.8":
		return true
	case ".7.28":
		return r.code/100 == 5 // 4.7.28 is a rate limit
	}
	return containsAny(r.text, "sender address rejected", "client host rejected", "helo command rejected", "sendasdenied")
}

// isTooLarge: the relay declines the SIZE that was announced with MAIL (RFC 1870 section 6.1).
func isTooLarge(r reply) bool { return r.enhanced == "5.3.4" || r.enhanced == "" && r.code == 552 }

func senderCategory(r reply) string {
	if strings.HasSuffix(r.enhanced, ".7.28") || containsAny(r.text, "client host rejected") {
		return mail.CategoryPolicy
	}
	return mail.CategorySenderRefused
}

func temporaryCategory(phase mail.Phase, r reply) string {
	switch {
	case r.enhanced == "4.2.2":
		return mail.CategoryMailboxFull
	case r.enhanced == "4.2.1" && !containsAny(r.text, "rate", "too quickly", "greylist", "graylist"):
		return mail.CategoryDisabled
	case strings.HasPrefix(r.enhanced, "4.7."), phase == mail.PhaseRcpt, phase == mail.PhaseMail, r.code == 450, r.code == 452:
		return mail.CategoryRateLimited
	}
	return mail.CategoryOther
}

// permanentCategory reads the enhanced code first and, where there is none, the code in the light of the phase: 550 is
// a missing mailbox at RCPT and a refused content at the dot.
func permanentCategory(phase mail.Phase, r reply) string {
	switch r.enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10":
		return mail.CategoryBadMailbox
	case "5.2.1":
		return mail.CategoryDisabled
	case "5.2.2":
		return mail.CategoryMailboxFull
	case "5.2.3", "5.3.4":
		return mail.CategoryContent
	case "5.6.7":
		return mail.CategoryInvalid
	}
	switch {
	case strings.HasPrefix(r.enhanced, "5.6."):
		return mail.CategoryContent
	case strings.HasPrefix(r.enhanced, "5.7."):
		return mail.CategoryPolicy
	}
	if phase == mail.PhaseRcpt {
		switch r.code {
		case 550, 551, 553:
			return mail.CategoryBadMailbox
		case 552:
			return mail.CategoryMailboxFull
		case 554:
			return mail.CategoryPolicy
		}
		return mail.CategoryOther
	}
	switch r.code {
	case 552:
		return mail.CategoryContent
	case 550, 554:
		return mail.CategoryPolicy
	}
	return mail.CategoryOther
}

// describeLoss says in a sentence what happened, without what an error may quote.
func describeLoss(phase mail.Phase, err error) string {
	var what string
	switch {
	case isAuthError(err), errors.Is(err, errBeforeDot), errors.Is(err, errUnreadable), errors.Is(err, errDisorder),
		errors.Is(err, errLostBehind):
		what = err.Error()
	case errors.Is(err, context.Canceled):
		what = "the send was cancelled"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		what = "the relay did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = "the relay closed the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		what = "the relay reset the connection"
	case errors.Is(err, syscall.ECONNREFUSED):
		what = "the relay refused the connection"
	case phase == mail.PhaseConnect:
		what = err.Error()
	default:
		what = "the connection was lost"
	}
	return limit(maskAddresses(phaseNames[phase] + what))
}

var phaseNames = map[mail.Phase]string{
	mail.PhaseConnect: "connecting: ", mail.PhaseMail: "at MAIL FROM: ", mail.PhaseRcpt: "at RCPT TO: ",
	mail.PhaseData: "at DATA: ", mail.PhaseDot: "after the final dot: ",
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func containsAny(text string, parts ...string) bool {
	text = strings.ToLower(text)
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
