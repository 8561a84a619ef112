package mail

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of an addr-spec in octets (RFC 5321 section 4.5.3.1, with erratum 1690 for the whole).
const (
	maxLocalPart = 64
	maxAddress   = 254
)

// Reasons why an address cannot be put on the wire. None of them quotes the address.
var (
	ErrAddressSyntax = errors.New("not of the form local-part@domain with a dot-atom on each side")
	ErrAddressLength = errors.New("longer than 64 octets before the @, or than 254 altogether")
)

// CheckAddress reports whether an addr-spec is safe to put into an SMTP command or a header field: a dot-atom, in which
// UTF-8 is allowed (RFC 6531), "@", and a host name. Quoted local parts and address literals are refused on purpose:
// nobody subscribes with one, and they are how commands were smuggled (CVE-2025-59937).
func CheckAddress(address string) error {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 {
		return ErrAddressSyntax
	}
	local, domain := address[:at], address[at+1:]
	if len(local) > maxLocalPart || len(address) > maxAddress {
		return ErrAddressLength
	}
	if !atoms.dotted(local) || !hosts.dotted(domain) {
		return ErrAddressSyntax
	}
	return nil
}

// IsASCII reports whether s is free of bytes with the eighth bit set: an address that is needs no SMTPUTF8.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// alphabet is a set of runes. Most are asked for in ASCII, which a table answers.
type alphabet struct {
	ascii  [utf8.RuneSelf]bool
	allows func(rune) bool
}

// What a local part and a host name are made of, between the dots.
var (
	atoms = newAlphabet(isAtomRune)
	hosts = newAlphabet(isHostRune)
)

func newAlphabet(allows func(rune) bool) *alphabet {
	a := &alphabet{allows: allows}
	for r := range a.ascii {
		a.ascii[r] = allows(rune(r))
	}
	return a
}

// dotted reports whether s is one or more non-empty runs of runes of the alphabet with a dot between them.
func (a *alphabet) dotted(s string) bool {
	previous := byte('.')
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			return a.dottedRunes(s)
		case c == '.' && previous == '.' || c != '.' && !a.ascii[c]:
			return false
		}
		previous = c
	}
	return previous != '.'
}

// dottedRunes is dotted for any text.
func (a *alphabet) dottedRunes(s string) bool {
	previous := '.'
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		}
		if r == '.' && previous == '.' || r != '.' && !a.allows(r) {
			return false
		}
		previous = r
	}
	return previous != '.'
}

// isAtomRune is atext of RFC 5322 section 3.2.3, extended by RFC 6532 section 3.2.
func isAtomRune(r rune) bool {
	if r < utf8.RuneSelf {
		return isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return unicode.IsPrint(r)
}

// isHostRune is what a label of a host name holds: letters, digits, hyphen, and the underscore that some zones use.
func isHostRune(r rune) bool {
	if r < utf8.RuneSelf {
		return isAlphanumeric(r) || r == '-' || r == '_'
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
