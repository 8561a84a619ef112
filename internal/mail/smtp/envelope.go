package smtp

import (
	"errors"
	"strconv"

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

// mailParams are the parameters of MAIL that this message needs and this relay offers, with a leading space; or the
// verdict, if it needs one that is not offered.
func (c *conn) mailParams(env mail.Envelope, raw []byte) (string, *mail.Verdict) {
	params := ""
	if c.size {
		if c.maxSize > 0 && int64(len(raw)) > c.maxSize {
			v := invalid(mail.PhaseMail, "5.3.4", "the message is larger than the relay takes: "+
				strconv.Itoa(len(raw))+" of "+strconv.FormatInt(c.maxSize, 10)+" octets")
			v.Category = mail.CategoryContent
			return "", &v
		}
		params += " SIZE=" + strconv.Itoa(len(raw))
	}
	eightBit, inHeader := has8Bit(raw)
	utf8 := ""
	if inHeader || !mail.IsASCII(env.From) || !mail.IsASCII(env.To) {
		if !c.utf8 {
			v := invalid(mail.PhaseMail, "5.6.7", "an address is internationalised, and the relay does not support SMTPUTF8")
			if !mail.IsASCII(env.From) {
				v.Scope = mail.ScopeSender
			}
			return "", &v
		}
		utf8 = " SMTPUTF8"
	}
	if eightBit {
		if !c.eightBit {
			v := invalid(mail.PhaseMail, "5.6.3", "the message is not in 7 bits, and the relay takes no other")
			v.Category = mail.CategoryContent
			return "", &v
		}
		params += " BODY=8BITMIME"
	}
	return params + utf8, nil
}

// invalid is the verdict on what cannot be put on the wire.
func invalid(phase mail.Phase, status, detail string) mail.Verdict {
	return mail.Verdict{
		Outcome: mail.Permanent, Phase: phase, Scope: mail.ScopeRecipient, EnhancedCode: status,
		Category: mail.CategoryInvalid, Detail: limit(status + " " + detail),
	}
}
