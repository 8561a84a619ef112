package telemetry

import (
	"regexp"
	"slices"
	"strings"
)

// What stands in the place of masked text.
const (
	maskedAddress = "[address]"
	maskedSecret  = "[redacted]"
	maskedValue   = "[value]"
)

// minSecret is the length below which a value is not searched for: masking "a" would leave no readable line.
const minSecret = 4

var (
	// urlCredentials is user:password@ after a scheme, up to the last @ of the authority.
	urlCredentials = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]*@`)
	// dsnCredentials is user:password@ as go-sql-driver writes it: user:password@tcp(host:port).
	dsnCredentials = regexp.MustCompile(`\S+@(tcp|tcp6|unix)\(`)
	// mailbox is anything that reads like an address (RFC 5321 section 4.1.2), international ones included. It rather
	// masks too much than too little.
	mailbox = regexp.MustCompile(`(?:"[^"\s][^"]*"|[^\s@<>(),;:"'\[\]{}|\\]+)@[^\s@<>(),;:"'\[\]{}|\\/&?#]+`)
	// encodedMailbox is an address in a URL.
	encodedMailbox = regexp.MustCompile(`[^\s@<>(),;:"'\[\]{}|\\/&?#=]+%40[^\s@<>(),;:"'\[\]{}|\\/&?#]+`)
	// quotedValue is where MySQL and MariaDB quote a value of a row in an error: errors 1062, 1292 and 1366 among others. A
	// value may hold quotes itself.
	quotedValue = regexp.MustCompile(`(?s)(Duplicate entry |[Ii]ncorrect [^':]*value:? )'(?:.*'( for (?:key|column))|.*)`)
	// moduleVersion is a path in a Go stack trace, which reads like an address and is none.
	moduleVersion = regexp.MustCompile(`/[^@]*@v[0-9]+\.[0-9]+\.[0-9]+`)
)

// Redactor masks e-mail addresses, credentials in URLs and known secret values in text. The zero value knows no
// secret values. It is safe for concurrent use.
type Redactor struct {
	secrets []string
}

// NewRedactor returns a Redactor that masks the secrets too. Values under 4 bytes are not searched for.
func NewRedactor(secrets ...string) *Redactor {
	r := &Redactor{}
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			r.secrets = append(r.secrets, secret)
		}
	}
	// The longest first: one secret may be a part of another.
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	return r
}

// Redact returns the text with everything masked that must not leave the process.
func (r *Redactor) Redact(text string) string {
	if r != nil {
		for _, secret := range r.secrets {
			text = strings.ReplaceAll(text, secret, maskedSecret)
		}
	}
	return Redact(text)
}

// Redact masks e-mail addresses, credentials in URLs, and values that errors of a database quote.
func Redact(text string) string {
	if strings.Contains(text, "entry '") || strings.Contains(text, "value: '") || strings.Contains(text, "value '") {
		text = quotedValue.ReplaceAllString(text, "${1}'"+maskedValue+"'${2}")
	}
	if !strings.Contains(text, "@") && !strings.Contains(text, "%40") {
		return text
	}
	text = urlCredentials.ReplaceAllString(text, "${1}"+maskedSecret+"\x00")
	text = dsnCredentials.ReplaceAllString(text, maskedSecret+"\x00$1(")
	text = encodedMailbox.ReplaceAllString(text, maskedAddress)
	text = mailbox.ReplaceAllStringFunc(text, func(match string) string {
		if moduleVersion.MatchString(match) {
			return match
		}
		return maskedAddress
	})
	// The @ of masked credentials was hidden, so that what is left of them is not taken for an address.
	return strings.ReplaceAll(text, "\x00", "@")
}
