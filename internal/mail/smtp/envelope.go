package smtp

import (
	"errors"

	"github.com/cartero-mail/cartero/internal/mail"
)

// checkEnvelope refuses addresses that could be read as anything but an address, before a connection is even sought.
func checkEnvelope(env mail.Envelope) *mail.Verdict {
	if err := mail.CheckAddress(env.From); err != nil {
		v := invalid(mail.PhaseMail, "5.1.7", "the sender address is "+err.Error())
		v.Scope = mail.ScopeSender
		return &v
	}
	if err := mail.CheckAddress(env.To); err != nil {
		status := "5.1.3"
		if errors.Is(err, mail.ErrAddressLength) {
			status = "5.1.1"
		}
		v := invalid(mail.PhaseRcpt, status, "the recipient's address is "+err.Error())
		return &v
	}
	return nil
}

// invalid is the verdict on what cannot be put on the wire.
func invalid(phase mail.Phase, status, detail string) mail.Verdict {
	return mail.Verdict{
		Outcome: mail.Permanent, Phase: phase, Scope: mail.ScopeRecipient, EnhancedCode: status,
		Category: mail.CategoryInvalid, Detail: limit(status + " " + detail),
	}
}
