package compose

import (
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
	// foldedLine is where header lines are folded; with encoded-words none may be longer (RFC 2047 section 2).
	foldedLine = 76
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
		return invalid("headers", "hold a name that is empty or longer than 76 characters")
	}
	for i := range len(name) {
		if c := name[i]; c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return invalid("headers", "hold a name with a character other than letters, digits and hyphens")
		}
	}
	lower := strings.ToLower(name)
	if _, denied := deniedHeaders[lower]; denied {
		return invalid(name, "is a header field that cannot be set")
	}
	for _, prefix := range deniedPrefixes {
		if strings.HasPrefix(lower, prefix) {
			return invalid(name, "is a header field that cannot be set")
		}
	}
	return nil
}

// validMessageID accepts a dot-atom on both sides, in ASCII (RFC 5322 section 3.6.4, without the obsolete forms).
func validMessageID(id string) bool {
	if len(id) > 250 || strings.Count(id, "@") != 1 || id[0] == '@' || id[len(id)-1] == '@' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[]\,;:"`, c) >= 0 {
			return false
		}
	}
	return true
}

// appendClean appends a text that is fit for one logical header line: valid UTF-8, every control character a space.
func appendClean[T string | []byte](dst []byte, text T) []byte {
	if isPrintable(text) {
		return append(dst, text...)
	}
	broken := false // a run of octets that are not UTF-8 becomes one character
	for i := 0; i < len(text); {
		r, size := decode(text[i:])
		wasBroken := broken
		broken = r == utf8.RuneError && size == 1
		switch {
		case broken && wasBroken:
		case broken:
			dst = append(dst, "\uFFFD"...)
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			dst = append(dst, ' ')
		default:
			dst = append(dst, text[i:i+size]...)
		}
		i += size
	}
	return dst
}

// decode reads the character that a text begins with.
func decode[T string | []byte](text T) (rune, int) {
	if c := text[0]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRune([]byte(text[:min(len(text), utf8.UTFMax)]))
}

// isPrintable reports whether a text has nothing but ASCII's printable characters and spaces.
func isPrintable[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// appendDisplayName appends a name: one line, single spaces, at most 256 octets.
func appendDisplayName(dst []byte, name string) []byte {
	from := len(dst)
	dst = collapse(appendClean(dst, name), from)
	if len(dst)-from > maxDisplayName {
		cut := from + maxDisplayName
		for !utf8.RuneStart(dst[cut]) {
			cut--
		}
		dst = dst[:cut]
		for len(dst) > from && dst[len(dst)-1] == ' ' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}

// collapse makes single spaces of the runs of white space behind from, and none at the ends.
func collapse(text []byte, from int) []byte {
	out := text[:from]
	for i := from; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case !unicode.IsSpace(r):
			out = append(out, text[i:i+size]...)
		case len(out) > from && out[len(out)-1] != ' ':
			out = append(out, ' ')
		}
		i += size
	}
	if len(out) > from && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return out
}

// appendUnstructured appends a clean text such as a subject behind a field's name, folded. What RFC 2047 would misread,
// or what folding would change, becomes encoded-words even if it is plain ASCII.
func appendUnstructured(dst []byte, column int, text []byte) []byte {
	if !isPrintable(text) || ambiguous(text) {
		return appendWords(dst, column, text, false)
	}
	return appendFolded(dst, column, text)
}

func ambiguous(text []byte) bool {
	word := 0
	for i, c := range text {
		if c != ' ' {
			if word++; word > foldAbove || c == '=' && i+1 < len(text) && text[i+1] == '?' {
				return true
			}
			continue
		}
		if i == 0 || i == len(text)-1 || text[i-1] == ' ' {
			return true
		}
		word = 0
	}
	return false
}

// appendFolded appends words with single spaces between them, folded before those that do not fit. The first stays
// beside the field's name.
func appendFolded(dst []byte, column int, text []byte) []byte {
	for i := 0; i < len(text); {
		end := i + 1
		for end < len(text) && text[end] != ' ' {
			end++
		}
		if i > 0 && column+end-i > foldedLine {
			dst = append(dst, '\r', '\n')
			column = 0
		}
		dst = append(dst, text[i:end]...)
		column += end - i
		i = end
	}
	return dst
}

// appendExtra appends the value of an additional header field, which is clean. Its last part in angle brackets, an URI
// or an id, is left as it is: structured fields such as List-Id allow encoded-words only in the phrase before it.
func appendExtra(dst []byte, name string, value []byte) ([]byte, error) {
	value = collapseASCII(value)
	if longestWord(value) > maxWord {
		return nil, invalid(name, "holds a word of more than 900 characters")
	}
	column := len(name) + 2
	if isPrintable(value) {
		return appendFolded(dst, column, value), nil
	}
	open := -1
	for i, c := range value {
		if c == '<' {
			open = i
		}
	}
	if open <= 0 || value[len(value)-1] != '>' || !isPrintable(value[open:]) {
		return appendWords(dst, column, value, false), nil
	}
	phrase := value[:open]
	for len(phrase) > 0 && phrase[len(phrase)-1] == ' ' {
		phrase = phrase[:len(phrase)-1]
	}
	from := len(dst)
	dst = appendWords(dst, column, phrase, true)
	if column = lastColumn(dst, from, column); column+1+len(value)-open > foldedLine {
		dst = append(dst, '\r', '\n')
	}
	return append(append(dst, ' '), value[open:]...), nil
}

// collapseSpaces makes single spaces of runs of spaces, and none at the ends, in place: a variable without a value leaves
// two of them behind.
func collapseSpaces(text []byte) []byte {
	out := text[:0]
	for i, c := range text {
		if c != ' ' || len(out) > 0 && text[i-1] != ' ' {
			out = append(out, c)
		}
	}
	if len(out) > 0 && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return out
}

// collapseASCII is collapse for a clean text, in place. A text in other scripts keeps its inner spaces: encoded-words do.
func collapseASCII(text []byte) []byte {
	if isPrintable(text) {
		return collapse(text, 0)
	}
	for len(text) > 0 && text[0] == ' ' {
		text = text[1:]
	}
	for len(text) > 0 && text[len(text)-1] == ' ' {
		text = text[:len(text)-1]
	}
	return text
}

// lastColumn is the column at the end of what was appended behind from, where the column was another.
func lastColumn(dst []byte, from, column int) int {
	for i := len(dst) - 1; i >= from; i-- {
		if dst[i] == '\n' {
			return len(dst) - i - 1
		}
	}
	return column + len(dst) - from
}

func longestWord(text []byte) int {
	longest, word := 0, 0
	for _, c := range text {
		if word++; c == ' ' {
			word = 0
		}
		longest = max(longest, word)
	}
	return longest
}

// appendAddress appends a mailbox. The name is a display name already.
func appendAddress(dst []byte, column int, name []byte, address string) []byte {
	from := len(dst)
	switch {
	case len(name) == 0:
	case isPrintable(name) && !strings.Contains(string(name), "=?"):
		dst = appendQuoted(dst, column, name)
	default:
		dst = appendWords(dst, column, name, true)
	}
	if len(name) > 0 {
		if column = lastColumn(dst, from, column); column+len(address)+3 > foldedLine {
			dst = append(dst, '\r', '\n')
		}
		dst = append(dst, ' ')
	}
	return append(append(append(dst, '<'), address...), '>')
}

// appendQuoted appends a quoted-string, folded at its spaces.
func appendQuoted(dst []byte, column int, name []byte) []byte {
	dst = append(dst, '"')
	column++
	for i, c := range name {
		if c == ' ' {
			word := i + 1
			for word < len(name) && name[word] != ' ' {
				word++
			}
			if column+word-i > foldedLine {
				dst = append(dst, '\r', '\n')
				column = 0
			}
		}
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
			column++
		}
		dst = append(dst, c)
		column++
	}
	return append(dst, '"')
}

// asciiAddress checks an address and makes its domain A-labels (RFC 5890). Only the local part may be left in UTF-8.
func asciiAddress(field, address string) (string, error) {
	if at := strings.LastIndexByte(address, '@'); at >= 0 && !mail.IsASCII(address[at:]) {
		domain, err := lookupProfile.ToASCII(address[at+1:])
		if err != nil {
			return "", invalid(field, "is an address whose domain is not an internationalised host name")
		}
		address = address[:at+1] + domain
	}
	if err := mail.CheckAddress(address); err != nil {
		return "", invalid(field, "is "+err.Error())
	}
	return address, nil
}
