package facade

import (
	"fmt"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// legacySubject is the width of the column EmailJob.subject, in characters.
const legacySubject = 191

// mixedKind is the type of the problems that only Node workers on the queue make.
const mixedKind = "mixed_workers"

// refuseBeyondNodeWorkers adds a problem for each member that a Node worker would mail in another way than Cartero's:
// it knows a job's subject and its body, which it takes for HTML, and has a sender of its own.
func (c *campaignRequest) refuseBeyondNodeWorkers(content campaign.Content, defaultFrom mail.Address) {
	const shared = "Node workers share the queue (QUEUE_WORKERS=mixed) "
	switch _, given := c.fields["from"]; {
	case !given || content.From == defaultFrom:
	case defaultFrom.Address == "":
		c.refuseOnce(shared+"and send from an address of their own, which this server must have as SMTP_FROM", "from")
	default:
		c.refuseOnce(shared+"and send from an address of their own: leave it out, or give the one of SMTP_FROM", "from")
	}
	if utf8.RuneCountInString(content.Subject) > legacySubject {
		c.refuseOnce(fmt.Sprintf(shared+"and know the first %d characters alone: shorten it", legacySubject), "subject")
	}
	if content.Text == "" {
		return
	}
	if _, given := c.fields["content_type"]; given {
		c.refuseOnce(shared+"and mail every body as HTML: it must be text/html", "content_type")
		return
	}
	c.refuseOnce(shared+"and mail every body as HTML, which this does not look like: give content_type text/html if it is", "body")
}

// refuseOnce adds a problem of a member that has none yet.
func (c *campaignRequest) refuseOnce(msg, field string) {
	if !c.blamed(field) {
		c.refuse(mixedKind, msg, field)
	}
}
