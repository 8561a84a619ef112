// Package compose turns a mail.Message into the bytes of an RFC 5322 message. It is done before MAIL FROM, so that a
// message that cannot be built never starts a transaction. The same message always becomes the same bytes.
package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	netmail "net/mail"
	"strconv"
	"strings"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
)

// maxLine is the longest line without its CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// InvalidError says which part of a message cannot be composed, and why. It quotes no value.
type InvalidError struct {
	// Field is the part: a header field's name, "body", or "headers".
	Field string
	// Reason completes the sentence "Field …".
	Reason string
}

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + " " + e.Reason }

// Compose returns the message with CRLF line ends, in 7 bits unless an address itself is internationalised, no line
// longer than 998 octets, and a CRLF at its end. Errors are of type *InvalidError, and permanent.
func Compose(msg mail.Message) ([]byte, error) { return Append(nil, msg) }

// Append is Compose into a buffer that the caller reuses: it returns dst with the message appended to it, or nil and
// an error.
func Append(dst []byte, msg mail.Message) ([]byte, error) {
	out, err := build(msg)
	if err != nil {
		return nil, err
	}
	w := &appender{buf: dst}
	if _, err := out.WriteTo(w); err != nil {
		return nil, fmt.Errorf("composing the message: %w", err)
	}
	raw := w.buf
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		raw = append(raw, '\r', '\n')
	}
	if err := checkLines(raw[len(dst):]); err != nil {
		return nil, err
	}
	return raw, nil
}

// appender is an io.Writer that appends to a slice.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// build fills a go-mail message. It hands go-mail only values that are already clean and encoded: go-mail checks
// neither the names of header fields nor the length of words.
func build(msg mail.Message) (*gomail.Msg, error) {
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8),
		gomail.WithEncoding(gomail.EncodingQP), gomail.WithBoundary(boundary(msg)))
	for _, set := range []func(*gomail.Msg, mail.Message) error{setIdentity, setAddresses, setSubject, setExtra, setBody} {
		if err := set(out, msg); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// setIdentity sets what must be the same on every attempt: Message-ID and Date.
func setIdentity(out *gomail.Msg, msg mail.Message) error {
	if !validMessageID(msg.MessageID) {
		return &InvalidError{"Message-ID", "is not of the form left@right"}
	}
	if msg.Date.IsZero() {
		return &InvalidError{"Date", "is missing"}
	}
	out.SetMessageIDWithValue(msg.MessageID)
	out.SetDateWithValue(msg.Date.UTC())
	return nil
}

func setAddresses(out *gomail.Msg, msg mail.Message) error {
	from, err := address("From", msg.From)
	if err != nil {
		return err
	}
	to, err := address("To", msg.To)
	if err != nil {
		return err
	}
	out.FromMailAddress(from)
	out.ToMailAddress(to)
	if len(msg.ReplyTo) == 0 {
		return nil
	}
	replyTo := make([]*netmail.Address, 0, len(msg.ReplyTo))
	for _, text := range msg.ReplyTo {
		parsed, err := netmail.ParseAddress(text)
		if err != nil {
			return &InvalidError{"Reply-To", "holds something that is not an address"}
		}
		checked, err := address("Reply-To", mail.Address{Name: parsed.Name, Address: parsed.Address})
		if err != nil {
			return err
		}
		replyTo = append(replyTo, checked)
	}
	out.ReplyToMailAddress(replyTo...)
	return nil
}

func address(field string, a mail.Address) (*netmail.Address, error) {
	if err := mail.CheckAddress(a.Address); err != nil {
		return nil, &InvalidError{field, "is " + err.Error()}
	}
	return &netmail.Address{Name: displayName(a.Name), Address: a.Address}, nil
}

func setSubject(out *gomail.Msg, msg mail.Message) error {
	out.SetGenHeader(gomail.HeaderSubject, encodeUnstructured(msg.Subject))
	return nil
}

func setExtra(out *gomail.Msg, msg mail.Message) error {
	seen := make(map[string]struct{}, len(msg.Headers))
	for name, value := range msg.Headers {
		if err := CheckHeaderName(name); err != nil {
			return err
		}
		key := strings.ToLower(name)
		if _, twice := seen[key]; twice {
			return &InvalidError{name, "is given twice"}
		}
		seen[key] = struct{}{}
		encoded, err := encodeExtra(name, value)
		if err != nil {
			return err
		}
		out.SetGenHeader(gomail.Header(name), encoded)
	}
	return nil
}

func setBody(out *gomail.Msg, msg mail.Message) error {
	if msg.Text == "" && msg.HTML == "" {
		return &InvalidError{"body", "is empty: text, html or both must be set"}
	}
	if msg.Text != "" {
		out.SetBodyWriter(gomail.TypeTextPlain, bodyWriter(msg.Text), gomail.WithPartEncoding(transferEncoding(msg.Text)))
	}
	if msg.HTML != "" {
		// With no part before it, an alternative is the only part, and the message is not a multipart.
		out.AddAlternativeWriter(gomail.TypeTextHTML, bodyWriter(msg.HTML), gomail.WithPartEncoding(transferEncoding(msg.HTML)))
	}
	return nil
}

// bodyWriter writes a text with CRLF line ends and in valid UTF-8, whatever it came with.
func bodyWriter(text string) func(io.Writer) (int64, error) {
	return func(w io.Writer) (int64, error) {
		n, err := io.WriteString(w, normalize(text))
		return int64(n), err
	}
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

// transferEncoding is quoted-printable, which leaves what is readable readable, unless base64 is shorter: an escaped
// octet takes three, base64 takes four for three. Neither is ever 8 bit, so every relay takes the message.
func transferEncoding(text string) gomail.Encoding {
	escaped := 0
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf || c == '=' {
			escaped++
		}
	}
	if escaped*6 > len(text) {
		return gomail.EncodingB64
	}
	return gomail.EncodingQP
}

// boundary derives the multipart boundary from the Message-ID, so that a retry is byte-identical, and makes sure that
// the content does not contain it.
func boundary(msg mail.Message) string {
	for i := 0; ; i++ {
		sum := sha256.Sum256([]byte(msg.MessageID + "\x00" + strconv.Itoa(i)))
		candidate := "cartero-" + hex.EncodeToString(sum[:16])
		if !strings.Contains(msg.Text, candidate) && !strings.Contains(msg.HTML, candidate) {
			return candidate
		}
	}
}

// checkLines is the last gate: whatever was composed has CRLF line ends only and no line that is too long.
func checkLines(raw []byte) error {
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' || bytes.IndexByte(raw[:end-1], '\r') >= 0 {
			return &InvalidError{"headers", "hold a bare CR or LF"}
		}
		if end-1 > maxLine {
			return &InvalidError{"headers", "hold a line of more than 998 octets"}
		}
		raw = raw[end+1:]
	}
	return nil
}
