// Package compose turns what is to be mailed into the bytes of an RFC 5322 message. It is done before MAIL FROM, so that
// a message that cannot be built never starts a transaction. The same message always becomes the same bytes.
//
// A Template is compiled once for a job: header fields and bodies are encoded, but for what depends on the recipient,
// and attachments too. A mail is then mostly copied. What depends on the recipient is encoded as it is appended, so that
// a mail takes no memory but its own.
package compose

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/render"
)

// maxLine is the longest line without its CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// InvalidError says which part of a message cannot be composed, and why. It quotes no value.
type InvalidError struct {
	// Field is the part: a header field's name, a template's, "body", "headers" or "attachments".
	Field string
	// Reason completes the sentence "Field …".
	Reason string
	// Err is the error of package render, where it is one: it knows line and column.
	Err error
}

// Error implements error.
func (e *InvalidError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Field + " " + e.Reason
}

// Unwrap returns the error of package render, if it is one.
func (e *InvalidError) Unwrap() error { return e.Err }

func invalid(field, reason string) *InvalidError { return &InvalidError{Field: field, Reason: reason} }

// rendering turns an error of package render into ours.
func rendering(err error) *InvalidError {
	out := &InvalidError{Reason: "cannot be rendered", Err: err}
	if e, ok := errors.AsType[*render.SyntaxError](err); ok {
		out.Field = e.Field
	} else if e, ok := errors.AsType[*render.MissingError](err); ok {
		out.Field = e.Field
	} else if e, ok := errors.AsType[*render.ValueError](err); ok {
		out.Field = e.Field
	} else if e, ok := errors.AsType[*render.SizeError](err); ok {
		out.Field = e.Field
	}
	return out
}

// Recipient is what differs from mail to mail.
type Recipient struct {
	// Address is the addr-spec. A domain in Unicode becomes A-labels.
	Address string
	// Name is the display name in UTF-8; empty for none.
	Name string
	// Variables are the templates'.
	Variables map[string]string
	// MessageID is the Message-ID without angle brackets, and Date the mail's date: the same on every attempt.
	MessageID string
	Date      time.Time
	// UnsubscribeURL is an https URI, and UnsubscribeMailto a mailto URI, for List-Unsubscribe; empty for none.
	UnsubscribeURL    string
	UnsubscribeMailto string
}

// variables are what templates can say of the recipient.
func (r *Recipient) variables() render.Recipient {
	return render.Recipient{Address: r.Address, Name: r.Name, Variables: r.Variables, UnsubscribeURL: r.UnsubscribeURL}
}

// Mail is a composed message.
type Mail struct {
	// Raw is the buffer that was handed to Append, with the message appended: CRLF line ends, in 7 bits unless an address
	// itself is internationalised, no line longer than 998 octets, and a CRLF at the end.
	Raw []byte
	// Envelope is that of the transaction, with the domains in A-labels.
	Envelope mail.Envelope
	// SMTPUTF8 tells that the header has an address in UTF-8: the relay must offer SMTPUTF8 (RFC 6531).
	SMTPUTF8 bool
}

// Compose returns the message of a mail that is no template, as in Mail.Raw. Errors are of type *InvalidError, and
// permanent.
func Compose(msg mail.Message) ([]byte, error) { return Append(nil, msg) }

// Append is Compose into a buffer that the caller reuses: it returns dst with the message appended to it, or nil and
// an error. Who sends one content to many recipients is better served by a Template.
func Append(dst []byte, msg mail.Message) ([]byte, error) {
	t, err := NewTemplate(mail.Content{
		From: msg.From, ReplyTo: msg.ReplyTo, Subject: msg.Subject, Text: msg.Text, HTML: msg.HTML, Headers: msg.Headers,
	})
	if err != nil {
		return nil, err
	}
	m, err := t.Append(dst, Recipient{Address: msg.To.Address, Name: msg.To.Name, MessageID: msg.MessageID, Date: msg.Date})
	return m.Raw, err
}

// normalize makes every line end CRLF and replaces bytes that are not UTF-8.
func normalize(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if !strings.ContainsAny(text, "\r\n") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/32)
	for len(text) > 0 {
		i := strings.IndexAny(text, "\r\n")
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		b.WriteString("\r\n")
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
	return b.String()
}
