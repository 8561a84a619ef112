// Package mail says what the engine knows of one mail: its message, its envelope, and the verdict on its delivery.
package mail

import (
	"context"
	"time"
)

// Address is a mailbox with an optional display name (RFC 5322 section 3.4).
type Address struct {
	// Name is the display name in UTF-8; empty for none.
	Name string
	// Address is the addr-spec, its domain an IDNA A-label.
	Address string
}

// Message is one mail to one recipient, ready to be composed.
type Message struct {
	From    Address
	ReplyTo []string
	To      Address
	Subject string
	// Text and HTML are the bodies; at least one is set. With both, the mail is multipart/alternative.
	Text string
	HTML string
	// Headers are additional header fields; none of them may be one that the engine writes itself.
	Headers map[string]string
	// MessageID is the Message-ID without angle brackets. It is the same on every attempt.
	MessageID string
	// Date is the same on every attempt, so that a retry is byte-identical.
	Date time.Time
}

// Content is what all mails of a job have in common. Package compose compiles it once and then composes a mail for each
// recipient.
type Content struct {
	From    Address
	ReplyTo []string
	Subject string
	// Text and HTML are the bodies; at least one is set.
	Text string
	HTML string
	// Headers are additional header fields. None of them may be one that the engine always writes; List-Id,
	// Auto-Submitted, List-Unsubscribe and List-Unsubscribe-Post take the place of what the engine would write.
	Headers map[string]string
	// Mustache says that subject, bodies and the values of headers are templates; else they are sent as they are.
	Mustache bool
	// DeriveText adds a text body, made from HTML, where Text is empty.
	DeriveText bool
	// Attachments are at most 10 MiB altogether.
	Attachments []Attachment
	// ListID is the identifier of the list, such as news.example.com (RFC 2919); empty for none. ListName describes it.
	ListID   string
	ListName string
	// AutoSubmitted marks mails that answer what the recipient did, such as receipts (RFC 3834).
	AutoSubmitted bool
	// OneClick says that a POST to the recipient's unsubscribe URL unsubscribes (RFC 8058).
	OneClick bool
}

// Attachment is a file that comes with every mail of a job.
type Attachment struct {
	// Name is the file's name, without a path.
	Name string
	// ContentType is the media type, such as application/pdf; neither multipart nor message.
	ContentType string
	// ContentID makes an image of the HTML body out of it, which shows it with src="cid:CONTENTID"; empty for a file.
	ContentID string
	Data      []byte
}

// Envelope is the SMTP envelope of one transaction (RFC 5321 section 2.3.1): one sender, one recipient.
type Envelope struct {
	From string
	To   string
	// Urgent has the mail go before others that wait for a connection.
	Urgent bool
}

// Phase is the step of the SMTP dialogue that a transaction reached.
type Phase string

// The phases, in the order in which a transaction passes them.
const (
	PhaseConnect Phase = "connect" // dial, TLS, greeting, EHLO, AUTH
	PhaseMail    Phase = "mail"    // MAIL FROM
	PhaseRcpt    Phase = "rcpt"    // RCPT TO
	PhaseData    Phase = "data"    // DATA and the body, up to but without the final dot
	PhaseDot     Phase = "dot"     // the final dot was handed to the network
)

// Outcome is what a transaction means for its recipient.
type Outcome string

// The outcomes. The zero value is none of them.
const (
	// Sent: the server replied 250 to the final dot. Nothing that happens later changes it.
	Sent Outcome = "sent"
	// Temporary: certainly not accepted; trying again is right.
	Temporary Outcome = "temporary"
	// Permanent: certainly not accepted; trying again is pointless.
	Permanent Outcome = "permanent"
	// Uncertain: the final dot went out and no readable reply came back. The mail may have been accepted.
	Uncertain Outcome = "uncertain"
)

// Scope says whose fault a refusal is, and therefore what has to wait.
type Scope string

// The scopes of a refusal.
const (
	ScopeRecipient Scope = "recipient" // this recipient only
	ScopeSender    Scope = "sender"    // the sender was refused: the whole campaign must stop
	ScopeRelay     Scope = "relay"     // the relay is away or refuses to talk: nobody's attempt is counted
)

// Verdict is the judgement on one transaction.
type Verdict struct {
	Outcome Outcome
	Phase   Phase
	Scope   Scope
	// Code is the SMTP reply code; 0 where no reply was read.
	Code int
	// EnhancedCode is the enhanced status code of RFC 3463, such as "5.1.1"; empty where there was none.
	EnhancedCode string
	// Category is the reason in one CamelCase word, one of the Category constants; empty if Sent.
	Category string
	// Detail is a sentence for people, free of addresses and credentials; empty if Sent.
	Detail string
	// RetryAfter is the least time before the next attempt; 0 leaves it to the retry schedule.
	RetryAfter time.Duration
}

// Categories of failures: a closed list, part of the API (status.failures).
const (
	CategoryBadMailbox    = "BadMailbox"    // the mailbox does not exist
	CategoryMailboxFull   = "MailboxFull"   // over quota
	CategoryDisabled      = "Disabled"      // the mailbox is disabled
	CategoryContent       = "Content"       // size or content refused
	CategoryRateLimited   = "RateLimited"   // throttled or greylisted
	CategoryPolicy        = "Policy"        // refused by policy or as spam
	CategorySenderRefused = "SenderRefused" // the sender was refused
	CategoryRelayAuth     = "RelayAuth"     // the relay refuses our credentials
	CategoryNetwork       = "Network"       // the relay was not reached, or the connection was lost before the final dot
	CategoryInDoubt       = "InDoubt"       // the connection was lost after the final dot
	CategoryInvalid       = "Invalid"       // the address or message could not be put on the wire
	CategoryOther         = "Other"         // any other refusal
)

// Sender performs SMTP transactions. It is safe for concurrent use.
type Sender interface {
	// Send hands raw, a complete message with CRLF line ends, to the relay in one transaction and judges it.
	// beforeDot is called once the relay waits for the body and before the final dot may leave; a small body may go out
	// with the dot, and only then. Once it has returned nil, the verdict may be Uncertain; if it returns an error, the
	// connection is closed hard, nothing was delivered, and the verdict is Temporary in PhaseData.
	Send(ctx context.Context, envelope Envelope, raw []byte, beforeDot func() error) Verdict
	// Close ends the kept connections. Transactions in flight are finished first.
	Close() error
}
