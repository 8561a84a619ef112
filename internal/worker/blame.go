package worker

import (
	"sync"

	"github.com/cartero-mail/cartero/internal/mail"
)

const (
	// closingsToBlame is how many times in a row a relay closes the channel over one mail before the mail is to blame.
	closingsToBlame = 3
	// maxClosings bounds how many mails are remembered; those of all the others are forgotten beyond it.
	maxClosings = 10_000
)

// closings are the mails that the relay has answered with 421, which closes the channel (RFC 5321 section 3.8), since it
// last answered them otherwise. One such reply is the relay's trouble, and costs nobody an attempt. A mail that gets nothing
// else is what troubles the relay: it would be tried for ever, and have each try end a connection that others need.
type closings struct {
	mu sync.Mutex
	of map[string]int // by recipient
}

// judge returns the verdict on a recipient's mail, as one on this mail alone where it is to blame.
func (c *closings) judge(recipient string, v mail.Verdict) mail.Verdict {
	closed := v.Code == 421 && v.Scope == mail.ScopeRelay && v.Phase != mail.PhaseConnect && v.Phase != mail.PhaseMail
	c.mu.Lock()
	defer c.mu.Unlock()
	if closed && c.of[recipient]+1 < closingsToBlame {
		if len(c.of) >= maxClosings {
			clear(c.of)
		}
		c.of[recipient]++
		return v
	}
	if len(c.of) > 0 {
		delete(c.of, recipient)
	}
	if closed {
		v.Scope = mail.ScopeRecipient
	}
	return v
}
