package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
)

// DefaultJobSize is the number of recipients of one job where a campaign does not say.
const DefaultJobSize = 1000

// Errors that callers decide on.
var (
	// ErrNotFound: the ledger has no such campaign or job.
	ErrNotFound = errors.New("not found in the database")
	// ErrSealed: the campaign is sealed; its list can't be written or discarded any more.
	ErrSealed = errors.New("the campaign is sealed")
	// ErrSourceChanged: the list or message read now is not the one of which a part is already written.
	ErrSourceChanged = errors.New("the message or the recipients changed while they were being written")
	// ErrUncertain: the database was asked to commit and did not answer, then or later. What was to be written may be there.
	ErrUncertain = errors.New("whether it was written is not known")
	// ErrKeyConflict: another content is sealed under the same key.
	ErrKeyConflict = errors.New("another content is sealed under the same campaign key")
)

// Content is what a campaign says: the snapshot that every one of its mails is made from.
type Content struct {
	From    mail.Address      `json:"from"`
	ReplyTo []string          `json:"replyTo,omitempty"`
	Subject string            `json:"subject"`
	Text    string            `json:"text,omitempty"`
	HTML    string            `json:"html,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	// Mustache says that subject, bodies and the values of headers are templates.
	Mustache bool `json:"mustache,omitempty"`
	// DeriveText adds a text body, made of HTML, where Text is empty.
	DeriveText  bool         `json:"deriveText,omitempty"`
	Attachments []Attachment `json:"attachments,omitempty"`
	// AutoSubmitted marks mails that answer what the recipient did (RFC 3834).
	AutoSubmitted bool `json:"autoSubmitted,omitempty"`
	// ListID is the identifier of the list (RFC 2919), and what unsubscribing is from; empty for none.
	ListID string `json:"listID,omitempty"`
	// Unsubscribe says how recipients unsubscribe.
	Unsubscribe Unsubscribe `json:"unsubscribe,omitzero"`
	// Suppress has recipients left out that are on the suppression list.
	Suppress bool `json:"suppress,omitempty"`
}

// Attachment is a file that comes with every mail.
type Attachment struct {
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	// ContentID makes an image of the HTML out of it; empty for a file.
	ContentID string `json:"contentID,omitempty"`
	Data      []byte `json:"data"`
}

// Unsubscribe says how recipients unsubscribe; the zero value is not at all.
type Unsubscribe struct {
	// Managed: at Cartero's own address.
	Managed bool `json:"managed,omitempty"`
	// URLVariable names the variable with the recipient's own https URL.
	URLVariable string `json:"urlVariable,omitempty"`
	// Mailto is an address that takes unsubscribing mails.
	Mailto string `json:"mailto,omitempty"`
}

// MailtoURI is Mailto as a URI (RFC 6068); empty where there is none.
func (u Unsubscribe) MailtoURI() string {
	local, domain, found := strings.Cut(u.Mailto, "@")
	if !found {
		return ""
	}
	return "mailto:" + url.QueryEscape(local) + "@" + domain
}

// Mail is what package compose compiles.
func (c Content) Mail() mail.Content {
	attachments := make([]mail.Attachment, len(c.Attachments))
	for i, a := range c.Attachments {
		attachments[i] = mail.Attachment{Name: a.Name, ContentType: a.ContentType, ContentID: a.ContentID, Data: a.Data}
	}
	return mail.Content{
		From: c.From, ReplyTo: c.ReplyTo, Subject: c.Subject, Text: c.Text, HTML: c.HTML, Headers: c.Headers,
		Mustache: c.Mustache, DeriveText: c.DeriveText, Attachments: attachments, ListID: c.ListID,
		AutoSubmitted: c.AutoSubmitted, OneClick: c.Unsubscribe.Managed || c.Unsubscribe.URLVariable != "",
	}
}

// Hash identifies the content: SHA-256 over its JSON, in hex.
func (c Content) Hash() string {
	text, err := json.Marshal(c)
	if err != nil { // strings and maps of strings always marshal
		panic(fmt.Sprintf("marshalling content: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// LegacyBody is what EmailJob.body holds: the HTML where there is one, else the text.
func (c Content) LegacyBody() string {
	if c.HTML != "" {
		return c.HTML
	}
	return c.Text
}

// Recipient is one entry of a list, checked and normalised.
type Recipient struct {
	// Address is the addr-spec as it goes on the wire: the local part as written, the domain a lower-case A-label.
	Address string
	// Name is the display name; empty for none.
	Name string
	// Variables are the entry's other fields.
	Variables map[string]string
}

// Origin says through which door a campaign came.
type Origin string

// The doors.
const (
	OriginKubernetes Origin = "kubernetes"
	OriginHTTP       Origin = "http"
)

// Draft is a campaign before its list is written.
type Draft struct {
	Key     string
	Origin  Origin
	Content Content
	// ListHash identifies the list that is being written: SHA-256 in hex over its source and its format.
	ListHash string
	JobSize  int
	// Control is in force from the moment of the seal.
	Control   Control
	CreatedAt time.Time
	// Owner is the id of who steers the campaign; empty for nobody.
	Owner string
	// DefaultSender tells that the campaign names no sender, and Content.From is whoever is the default now.
	DefaultSender bool
	// DefaultUnsubscribe tells that the campaign does not say how recipients unsubscribe, and Content.Unsubscribe is how
	// they do by default now.
	DefaultUnsubscribe bool
}

// ContentHash identifies what the campaign says. What follows from the configuration, as default senders do, is no part
// of it: the same campaign has another one once that is changed.
func (d Draft) ContentHash() string {
	content := d.declared()
	if d.DefaultSender {
		content.From = mail.Address{}
	}
	return content.Hash()
}

// declared is the content without what was added to every campaign. Campaigns of versions that knew nothing of it have the
// same hash: a text is derived wherever one is missing, and marketing mail always leaves out who is suppressed.
func (d Draft) declared() Content {
	content := d.Content
	content.DeriveText = false
	content.Suppress = content.Suppress && content.AutoSubmitted
	if d.DefaultUnsubscribe {
		content.Unsubscribe = Unsubscribe{}
	}
	return content
}

// SameContent reports whether the record was opened with the draft's content. One whose default sender was hashed with the
// rest is the same if the default is.
func (d Draft) SameContent(record Record) bool {
	return record.ContentHash == d.ContentHash() || record.ContentHash == d.declared().Hash()
}

// Shard is one job with its recipients.
type Shard struct {
	Key        string
	Number     int
	Recipients []Recipient
}

// Totals is what reading the list came to.
type Totals struct {
	// Recipients is the number of rows written; Jobs the number of shards.
	Recipients int64
	Jobs       int
	// Duplicates counts the entries dropped because their address was already in the list.
	Duplicates int64
	// Invalid counts the entries whose address can't be mailed; InvalidLines has the first of their line numbers.
	Invalid      int64
	InvalidLines []int
	// Dropped tells the same by reason, duplicates among them, the most frequent first; nil for a campaign of a version
	// that did not keep it.
	Dropped []Dropped
}

// Hold is a stop of a whole campaign that the engine imposed, such as refused credentials. One whose Until has come
// stops nobody: the reason RelayUnavailable is only ever noted so, with the time of the note.
type Hold struct {
	// Reason is a CamelCase word: AuthenticationFailed, SenderRefused or RelayUnavailable.
	Reason string
	// Message says what to do; no addresses, no credentials.
	Message string
	// Until is when the engine tries again by itself.
	Until time.Time
}

// Record is a campaign as the ledger knows it.
type Record struct {
	Key         string
	Origin      Origin
	ContentHash string
	ListHash    string
	JobSize     int
	Totals      Totals
	Control     Control
	// Revision counts the changes that workers must notice.
	Revision int
	// SteeredAt is when Control last changed; SuspendedAt is when it last became suspended, nil while it is not.
	SteeredAt   *time.Time
	SuspendedAt *time.Time
	// Idle is the time that does not count for a deadline, up to SuspendedAt.
	Idle time.Duration
	Hold *Hold
	// AbortBase is what is not counted for Policy.Abort: the recipients that had ended when the campaign was resumed.
	AbortBase Ended
	Verbs     Verbs
	Owner     Owner
	CreatedAt time.Time
	// CreatedBy is the Owner that the campaign was opened with; empty if that was nobody, or no version that notes it.
	CreatedBy string
	// SealedAt is nil while the list is being written: no worker touches the campaign's jobs before it is set.
	SealedAt *time.Time
	// StartedAt is the first claim of a recipient.
	StartedAt *time.Time
	// CancelledAt and EndReason are set once, by Cancel.
	CancelledAt *time.Time
	EndReason   string
}

// Sealed reports whether the list is complete and the jobs are visible to workers.
func (r Record) Sealed() bool { return r.SealedAt != nil }

// Ledger is the memory of campaigns. Every method is idempotent: repeated after a crash at any point, or run by two
// processes at once, it leaves the same rows.
type Ledger interface {
	// Open creates the campaign, unsealed, or returns the one that the key already has, whatever its hashes.
	Open(ctx context.Context, draft Draft) (Record, error)
	// WriteShard writes one job and its recipients in one transaction, with ids derived from the key, the shard's
	// number, positions and addresses. It fails with ErrSealed once the campaign is sealed.
	WriteShard(ctx context.Context, shard Shard) error
	// Seal sets the totals and makes the jobs visible, in one commit. Sealing a sealed campaign changes nothing. It
	// fails if the rows in the database are not as many as the totals say.
	Seal(ctx context.Context, key string, totals Totals, now time.Time) (Record, error)
	// Campaign returns the campaign with this key, or ErrNotFound.
	Campaign(ctx context.Context, key string) (Record, error)
	// Discard removes an unsealed campaign with its jobs and recipients. It fails with ErrSealed on a sealed one, and
	// does nothing on one that does not exist.
	Discard(ctx context.Context, key string) error
	Steering
	// Cancel ends the campaign: recipients that wait become cancelled, their jobs are finished. Those on the wire end
	// as they end. The campaign's row stays as its tombstone, with the first reason, one of the End constants.
	Cancel(ctx context.Context, key, reason string, now time.Time) error
	// Tally counts the campaign's recipients by state and its failures by category.
	Tally(ctx context.Context, key string) (Tally, error)
	// WorkedOff returns those of these campaigns that are sealed and whose jobs have all ended. It reads jobs only, for many
	// campaigns at once: whether nobody is left to try is for Tally to say.
	WorkedOff(ctx context.Context, keys []string) ([]string, error)
}
