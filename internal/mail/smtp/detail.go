package smtp

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/internal/mail"
)

// maxDetail is the length of a verdict's detail in octets.
const maxDetail = 300

// addressLike is anything around an at sign, in the forms in which relays quote addresses, URLs included.
var addressLike = regexp.MustCompile(`(?i)[^\s<>()"',;:\[\]]*(?:@|＠|%40|=40)[^\s<>()"',;:\[\]]*`)

// sanitize is a reply as a sentence for people: the codes and the text, with addresses masked.
func sanitize(r reply) string {
	head := strconv.Itoa(r.code)
	if r.enhanced != "" {
		head += " " + r.enhanced
	}
	return limit(strings.TrimSpace(head + " " + maskAddresses(r.text)))
}

func maskAddresses(text string) string { return addressLike.ReplaceAllString(text, "***") }

// limit makes a text printable, valid UTF-8 and at most maxDetail octets long.
func limit(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) <= maxDetail {
		return text
	}
	cut := maxDetail - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// masker removes what a relay may quote and nobody may read: credentials, and the recipient's local part on its own.
type masker struct{ secrets []string }

func newMasker(username, password string) masker {
	var m masker
	for _, secret := range []string{"\x00" + username + "\x00" + password, password, username} {
		// Shorter ones would mask every other word.
		if len(secret) >= 3 {
			m.secrets = append(m.secrets, secret, base64.StdEncoding.EncodeToString([]byte(secret)))
		}
	}
	return m
}

// mask returns the text without the secrets and without words that are the local part of one of the addresses.
func (m masker) mask(text string, env mail.Envelope) string {
	for _, secret := range m.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	for _, address := range []string{env.To, env.From} {
		if local, _, found := strings.Cut(address, "@"); found {
			text = maskWord(text, local)
		}
	}
	return text
}

// maskWord masks word wherever it stands between characters that could not be part of it.
func maskWord(text, word string) string {
	if word == "" || len(text) > 4*maxReplyText {
		return text
	}
	lower, target := strings.ToLower(text), strings.ToLower(word)
	if len(lower) != len(text) || !strings.Contains(lower, target) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if strings.HasPrefix(lower[i:], target) && !wordAt(text, i-1) && !wordAt(text, i+len(target)) {
			b.WriteString("***")
			i += len(target)
			continue
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String()
}

// wordAt reports whether the octet at i continues a word.
func wordAt(text string, i int) bool {
	if i < 0 || i >= len(text) {
		return false
	}
	c := text[i]
	return c >= utf8.RuneSelf || isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z'
}
