package compose

import (
	"encoding/base64"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/mail"
)

const (
	// maxHeaderName is what fits on a line of 78 with its colon and a space.
	maxHeaderName = 76
	// maxDisplayName cuts off what is no longer a name; an unbroken one could exceed the line limit.
	maxDisplayName = 256
	// maxWord is the longest unbroken word that is put on a header line of its own.
	maxWord = 900
	// foldAbove is the longest unbroken word that Subject leaves unencoded.
	foldAbove = 200
	// encodedChunk is how many octets of UTF-8 one base64 encoded-word takes within its 75 characters.
	encodedChunk = 45
)

// deniedHeaders are the fields that the engine, the relay or the receiver writes, in lower case.
var deniedHeaders = map[string]struct{}{
	"from": {}, "to": {}, "cc": {}, "bcc": {}, "subject": {}, "date": {}, "message-id": {}, "reply-to": {}, "sender": {},
	"return-path": {}, "received": {}, "received-spf": {}, "dkim-signature": {}, "authentication-results": {},
	"delivered-to": {}, "envelope-to": {}, "envelope-from": {}, "apparently-to": {}, "errors-to": {}, "return-receipt-to": {},
	"user-agent": {},
}

// deniedPrefixes are families of such fields.
var deniedPrefixes = []string{"mime-", "content-", "resent-", "arc-", "dkim-", "domainkey-"}

// CheckHeaderName reports whether an additional header field may have this name: letters, digits and hyphens, at most
// 76, and not one that the engine writes itself. The error is of type *InvalidError.
func CheckHeaderName(name string) error {
	if name == "" || len(name) > maxHeaderName {
		return &InvalidError{"headers", "hold a name that is empty or longer than 76 characters"}
	}
	for i := range len(name) {
		if c := name[i]; c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return &InvalidError{"headers", "hold a name with a character other than letters, digits and hyphens"}
		}
	}
	lower := strings.ToLower(name)
	if _, denied := deniedHeaders[lower]; denied {
		return &InvalidError{name, "is a header field that cannot be set"}
	}
	for _, prefix := range deniedPrefixes {
		if strings.HasPrefix(lower, prefix) {
			return &InvalidError{name, "is a header field that cannot be set"}
		}
	}
	return nil
}

// validMessageID accepts a dot-atom on both sides, in ASCII (RFC 5322 section 3.6.4, without the obsolete forms).
func validMessageID(id string) bool {
	return len(id) <= 250 && mail.IsASCII(id) && strings.Count(id, "@") == 1 && !strings.ContainsFunc(id, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`<>()[]\,;:"`, r)
	}) && !strings.HasPrefix(id, "@") && !strings.HasSuffix(id, "@")
}

// clean makes a text fit for one logical header line: valid UTF-8, every control character a space.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

func displayName(name string) string {
	name = strings.Join(strings.Fields(clean(name)), " ")
	if len(name) <= maxDisplayName {
		return name
	}
	cut := maxDisplayName
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut]
}

// encodeUnstructured encodes a text such as a subject. What RFC 2047 would misread, or what folding would change,
// becomes encoded-words even if it is plain ASCII.
func encodeUnstructured(text string) string {
	text = clean(text)
	if !mail.IsASCII(text) {
		return encodeWords(text)
	}
	if strings.Contains(text, "=?") || strings.Contains(text, "  ") || strings.TrimSpace(text) != text ||
		longestWord(text) > foldAbove {
		return forceWords(text)
	}
	return text
}

// encodeExtra encodes the value of an additional header field. Its last part in angle brackets, an URI or an id, is
// left as it is: structured fields such as List-Id allow encoded-words only in the phrase before it.
func encodeExtra(name, value string) (string, error) {
	value = strings.TrimSpace(clean(value))
	if longestWord(value) > maxWord {
		return "", &InvalidError{name, "holds a word of more than 900 characters"}
	}
	if mail.IsASCII(value) {
		return strings.Join(strings.Fields(value), " "), nil
	}
	if open := strings.LastIndexByte(value, '<'); open > 0 && strings.HasSuffix(value, ">") && mail.IsASCII(value[open:]) {
		return encodeWords(strings.TrimSpace(value[:open])) + " " + value[open:], nil
	}
	return encodeWords(value), nil
}

// encodeWords picks the encoding by content, as for bodies: Q keeps Latin scripts legible, B is shorter for others.
func encodeWords(text string) string {
	if mail.IsASCII(text) {
		return text
	}
	high := 0
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			high++
		}
	}
	if high*3 > len(text) {
		return mime.BEncoding.Encode("UTF-8", text)
	}
	return mime.QEncoding.Encode("UTF-8", text)
}

// forceWords encodes a text that package mime would leave alone.
func forceWords(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		n := min(encodedChunk, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(text[:n])) + "?=")
		text = text[n:]
	}
	return b.String()
}

func longestWord(text string) int {
	longest := 0
	for word := range strings.FieldsSeq(text) {
		longest = max(longest, len(word))
	}
	return longest
}
