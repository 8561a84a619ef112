package inbox

import (
	"maps"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"

	"github.com/cartero-mail/cartero/internal/recipients"
)

// Rule says how the inbox answers RCPT TO for the recipients of a domain.
type Rule struct {
	// Domain is the recipients' domain, a reserved one (RFC 2606).
	Domain string
	// Code, EnhancedCode and Message are the reply (RFC 5321 section 4.2, RFC 3463).
	Code         int
	EnhancedCode [3]int
	Message      string
	// Once: only the first attempt of a recipient is answered so, the next one is accepted.
	Once bool
}

// Rules are the domains of practice: whoever writes a campaign sees with them how failures look.
var Rules = []Rule{
	{"bounce.example", 550, [3]int{5, 1, 1}, "No such mailbox here", false},
	{"full.example", 552, [3]int{5, 2, 2}, "Mailbox full", false},
	{"blocked.example", 554, [3]int{5, 7, 1}, "Message refused by policy: it looks like spam", false},
	{"later.example", 451, [3]int{4, 7, 1}, "Greylisted, please try again later", true},
}

// practice applies the rules and remembers whom it has put off and how often it refused.
type practice struct {
	mu      sync.Mutex
	putOff  map[string]bool
	refused map[string]int
}

func newPractice() *practice {
	return &practice{putOff: map[string]bool{}, refused: map[string]int{}}
}

// answer returns the refusal of a recipient, or nil.
func (p *practice) answer(address string) error {
	_, domain, _ := strings.Cut(mailboxKey(address), "@")
	for _, rule := range Rules {
		if rule.Domain != domain {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if rule.Once {
			if p.putOff[mailboxKey(address)] {
				return nil
			}
			p.putOff[mailboxKey(address)] = true
		}
		p.refused[rule.Domain]++
		return &smtp.SMTPError{Code: rule.Code, EnhancedCode: rule.EnhancedCode, Message: rule.Message}
	}
	return nil
}

func (p *practice) counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[string]int, len(p.refused))
	maps.Copy(counts, p.refused)
	return counts
}

// mailboxKey is what the ledger knows a recipient by.
func mailboxKey(address string) string {
	if normalised, err := recipients.ParseAddress(address); err == nil {
		return recipients.Key(normalised)
	}
	return strings.ToLower(address)
}
