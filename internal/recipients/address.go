package recipients

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Limits of an address, in octets of UTF-8 with the domain as A-labels.
const (
	// MaxLocalPart is the limit of the part before the @ (RFC 5321 section 4.5.3.1.1).
	MaxLocalPart = 64
	// MaxDomain is the limit of the domain: RFC 5321 section 4.5.3.1.2 allows 255 octets, the DNS 253 characters.
	MaxDomain = 253
	// MaxMailbox is the limit of the whole address (RFC 5321 section 4.5.3.1.3: a path of 256 octets with its brackets).
	MaxMailbox = 254
	// MaxStored is what the column Recipient.email of the shared table holds. It is the limit that counts.
	MaxStored = 191

	maxLabel = 63 // octets of one label of a domain (RFC 1035 section 2.3.4)
)

// Reason says in one CamelCase word why an entry of a list was dropped.
type Reason string

// The reasons.
const (
	ReasonEmpty         Reason = "Empty"         // there is no address
	ReasonEncoding      Reason = "Encoding"      // not UTF-8
	ReasonControl       Reason = "Control"       // a line break or another control character
	ReasonNoAt          Reason = "NoAt"          // no @
	ReasonQuoted        Reason = "Quoted"        // a quoted local part
	ReasonLocalPart     Reason = "LocalPart"     // a character or a dot where the local part can't have one
	ReasonLocalTooLong  Reason = "LocalTooLong"  // more than MaxLocalPart octets
	ReasonAddressLit    Reason = "AddressLit"    // an IP address in place of the domain
	ReasonDomain        Reason = "Domain"        // not a domain name
	ReasonSingleLabel   Reason = "SingleLabel"   // a domain without a dot
	ReasonTooLong       Reason = "TooLong"       // more than MaxMailbox octets
	ReasonTooLongStored Reason = "TooLongStored" // more than MaxStored octets

	// ReasonDuplicate: the address can be mailed, and was in the list before.
	ReasonDuplicate Reason = "Duplicate"
)

var reasonTexts = map[Reason]string{
	ReasonEmpty:         "there is no address",
	ReasonEncoding:      "it is not UTF-8",
	ReasonControl:       "it has a line break or another control character",
	ReasonNoAt:          "it has no @",
	ReasonQuoted:        "quoted local parts are not supported",
	ReasonLocalPart:     "the part before the @ has a character or a dot that it can't have",
	ReasonLocalTooLong:  "the part before the @ is longer than 64 octets",
	ReasonAddressLit:    "IP addresses in place of the domain are not supported",
	ReasonDomain:        "the part after the @ is not a domain name",
	ReasonSingleLabel:   "the domain has no dot",
	ReasonTooLong:       "it is longer than 254 octets",
	ReasonTooLongStored: "it is longer than the 191 octets that the database holds",
	ReasonDuplicate:     "it was in the list before",
}

// Text is the reason in words that begin in lower case and say it of the address; empty for what is no reason.
func (r Reason) Text() string { return reasonTexts[r] }

// AddressError is why an address can't be mailed. It never holds the address.
type AddressError struct {
	Reason Reason
}

func (e *AddressError) Error() string { return "invalid address: " + reasonTexts[e.Reason] }

func invalid(reason Reason) error { return &AddressError{Reason: reason} }

// ParseAddress checks an addr-spec and returns it as it goes on the wire: surrounding spaces removed, the local part in
// the case it was written in, the domain as lower-case A-labels (UTS #46, the Lookup profile). Errors are
// *AddressError.
//
// The local part is a dot-atom (RFC 5322 section 3.2.3). Letters and digits of any script are allowed in it (RFC 6531,
// RFC 6532), normalised to NFC; such an address needs a relay with SMTPUTF8. Quoted local parts, comments, IP literals
// and domains of a single label are refused: no mailing list has them on purpose.
func ParseAddress(s string) (string, error) {
	s = strings.TrimFunc(s, blank)
	if s == "" {
		return "", invalid(ReasonEmpty)
	}
	if len(s) > 4*MaxMailbox { // no normalisation makes this short enough; spare the work
		return "", invalid(ReasonTooLong)
	}
	if !utf8.ValidString(s) {
		return "", invalid(ReasonEncoding)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", invalid(ReasonControl)
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", invalid(ReasonNoAt)
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return "", err
	}
	domain, err := parseDomain(s[at+1:])
	if err != nil {
		return "", err
	}
	address := s
	if local != s[:at] || domain != s[at+1:] {
		address = local + "@" + domain
	}
	if err := checkLength(len(address)); err != nil {
		return "", err
	}
	return address, nil
}

// Key is what two addresses are compared by: the local part exactly, but for the case of ASCII letters, and the
// domain. address must come from ParseAddress.
func Key(address string) string {
	for i := range len(address) {
		if c := address[i]; 'A' <= c && c <= 'Z' {
			return asciiLower(address)
		}
	}
	return address
}

func asciiLower(s string) string {
	lower := []byte(s)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// blank reports what surrounds addresses when people paste them: spaces of all kinds, and the zero-width ones.
func blank(r rune) bool { return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff' }

func checkLength(octets int) error {
	switch {
	case octets > MaxMailbox:
		return invalid(ReasonTooLong)
	case octets > MaxStored:
		return invalid(ReasonTooLongStored)
	default:
		return nil
	}
}

func parseLocal(local string) (string, error) {
	if strings.HasPrefix(local, `"`) {
		return "", invalid(ReasonQuoted)
	}
	if !ascii(local) {
		local = norm.NFC.String(local) // before the check: NFC turns a few characters into ASCII ones
	}
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return "", invalid(ReasonLocalPart)
	}
	for _, r := range local {
		if r != '.' && !atomText(r) {
			return "", invalid(ReasonLocalPart)
		}
	}
	if len(local) > MaxLocalPart {
		return "", invalid(ReasonLocalTooLong)
	}
	return local, nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// atomText is atext of RFC 5322 section 3.2.3; beyond ASCII, where RFC 6532 allows everything, it is what can be seen:
// no spaces, no format characters, no private or unassigned code points.
func atomText(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	case r < utf8.RuneSelf:
		return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	default:
		return r != utf8.RuneError && unicode.IsGraphic(r) && !unicode.IsSpace(r)
	}
}

func parseDomain(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") {
		return "", invalid(ReasonAddressLit)
	}
	if ascii(domain) {
		domain = Key(domain)
	}
	if !plainDomain(domain) {
		mapped, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return "", invalid(ReasonDomain)
		}
		// Some rules (bidi) see only what the mapping came to: a relay that checks the A-label would refuse it.
		if domain, err = idna.Lookup.ToASCII(mapped); err != nil || domain != mapped {
			return "", invalid(ReasonDomain)
		}
	}
	if err := checkDomain(domain); err != nil {
		return "", err
	}
	return domain, nil
}

// plainDomain reports whether UTS #46 leaves the domain as it is, so that the slow mapping can be spared: lower-case
// letters, digits, dots, and hyphens that begin no A-label.
func plainDomain(domain string) bool {
	for i := range len(domain) {
		switch c := domain[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.':
		case c == '-' && (i+1 == len(domain) || domain[i+1] != '-'):
		default:
			return false
		}
	}
	return true
}

// checkDomain holds what remains to be checked of a domain of ASCII letters, digits, hyphens and dots.
func checkDomain(domain string) error {
	if domain == "" || len(domain) > MaxDomain {
		return invalid(ReasonDomain)
	}
	labels := 0
	last := ""
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return invalid(ReasonDomain)
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return invalid(ReasonDomain)
			}
		}
		labels, last = labels+1, label
	}
	if strings.Trim(last, "0123456789") == "" { // no top-level domain is a number (RFC 3696 section 2)
		if labels == 4 {
			return invalid(ReasonAddressLit)
		}
		return invalid(ReasonDomain)
	}
	if labels < 2 {
		return invalid(ReasonSingleLabel)
	}
	return nil
}

// ReasonOf returns the reason of an *AddressError, and "" for any other error.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*AddressError](err); ok {
		return e.Reason
	}
	return ""
}
