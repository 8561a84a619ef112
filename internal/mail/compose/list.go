package compose

import (
	"strings"

	"github.com/cartero-mail/cartero/internal/mail"
)

// oneClickPrefix begins the second line of an unsubscribe field.
var oneClickPrefix = []byte("List-Unsubscribe-Post: ")

const oneClick = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"

// isUnsubscribe reports whether a field is one that receivers compare octet by octet: it is not folded, since relays that
// fold otherwise broke signatures.
func isUnsubscribe(name string) bool {
	return strings.EqualFold(name, "List-Unsubscribe") || strings.EqualFold(name, "List-Unsubscribe-Post")
}

// appendUnfolded appends a clean value on one line.
func appendUnfolded(dst []byte, name string, value []byte) ([]byte, error) {
	if !isPrintable(value) {
		return nil, invalid(name, "holds characters other than ASCII's")
	}
	value = collapse(value, 0)
	if len(name)+2+len(value) > maxLine {
		return nil, invalid(name, "is longer than 998 octets")
	}
	return append(dst, value...), nil
}

// appendUnsubscribe appends List-Unsubscribe (RFC 2369), https first, and List-Unsubscribe-Post where a POST to the
// https URI unsubscribes (RFC 8058); nothing where the recipient has no URI.
func (t *Template) appendUnsubscribe(dst []byte, to *Recipient) ([]byte, error) {
	link, mailto := to.UnsubscribeURL, to.UnsubscribeMailto
	if link == "" && mailto == "" {
		return dst, nil
	}
	from := len(dst)
	dst = append(dst, "List-Unsubscribe: "...)
	if link != "" {
		if !isLink(link, "https://") {
			return nil, invalid("List-Unsubscribe", "needs an https URI in ASCII, without spaces and angle brackets")
		}
		dst = append(append(append(dst, '<'), link...), '>')
	}
	if mailto != "" {
		if !isLink(mailto, "mailto:") {
			return nil, invalid("List-Unsubscribe", "needs a mailto URI in ASCII, without spaces and angle brackets")
		}
		if link != "" {
			dst = append(dst, ", "...)
		}
		dst = append(append(append(dst, '<'), mailto...), '>')
	}
	if len(dst)-from > maxLine {
		return nil, invalid("List-Unsubscribe", "is longer than 998 octets")
	}
	if link != "" && t.oneClick {
		dst = append(append(dst, '\r', '\n'), oneClick...)
	}
	return dst, nil
}

// isLink reports whether a URI has the scheme, something behind it, and no character that would end it in the field.
// A comma is one: the field is a list.
func isLink(uri, scheme string) bool {
	if len(uri) <= len(scheme) || !strings.HasPrefix(uri, scheme) {
		return false
	}
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c > '~' || c == '<' || c == '>' || c == ',' {
			return false
		}
	}
	return true
}

// listID is the List-Id field (RFC 2919): a dot-atom of two labels or more, described by a phrase.
func listID(id, name string) ([]byte, error) {
	if !strings.Contains(id, ".") || !mail.IsASCII(id) || mail.CheckAddress("x@"+id) != nil { // at most 252 with that
		return nil, invalid("List-Id", "needs an identifier such as news.example.com: letters, digits, hyphens and dots, at most 252")
	}
	phrase := appendDisplayName(nil, name)
	line := appendAddress([]byte("List-Id: "), len("List-Id: "), phrase, id)
	return append(line, crlf...), nil
}
