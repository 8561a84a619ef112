package options

import (
	"errors"
	netmail "net/mail"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/domains"
)

// Sender says who mails are from where neither a campaign nor a request does.
type Sender struct {
	// From is an address, with a display name where wanted: News <news@example.com>. Empty for none.
	From string
}

// Bind implements Area.
func (o *Sender) Bind(b *Binder) {
	b.Area("Sender")
	b.String(&o.From, Spec{Variable: "SMTP_FROM", Meaning: "default sender, such as news@example.com or News <news@example.com>"})
}

// Validate implements Area.
func (o *Sender) Validate() error {
	if o.From == "" {
		return nil
	}
	parsed, err := netmail.ParseAddress(o.From)
	if err != nil || !plainAddress(parsed.Address) {
		return SettingError{"SMTP_FROM", "must be one e-mail address, such as news@example.com or News <news@example.com>"}
	}
	return nil
}

// Address is the default sender; the zero value where there is none.
func (o *Sender) Address() mail.Address {
	parsed, err := netmail.ParseAddress(o.From)
	if err != nil {
		return mail.Address{}
	}
	return mail.Address{Name: parsed.Name, Address: parsed.Address}
}

// plainAddress refuses what net/mail accepts and MAIL FROM must not be given: quoted local parts, blanks, non-ASCII.
func plainAddress(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && local != "" && domain != "" && len(local) <= 64 && len(address) <= 254 &&
		!strings.ContainsFunc(address, func(r rune) bool {
			return r > unicode.MaxASCII || r <= ' ' || strings.ContainsRune(`"<>()[],;:\`, r)
		})
}

// SMTP says which relay takes the mails.
type SMTP struct {
	Server   string
	Port     int
	Username string
	Password string
	// Auth is the SASL mechanism, in upper case; empty for the best that the relay offers.
	Auth string
	// UseTLS means implicit TLS on port 465, else mandatory STARTTLS; false means plain.
	UseTLS bool
	// SendInterval is the least time between two mails of this account, over all workers together.
	SendInterval time.Duration
	// MaxConnections is the number of connections of one worker process.
	MaxConnections int
	// Domains are the limits of groups of recipient domains.
	Domains []domains.Group
	// HELOName is the name given in EHLO.
	HELOName string
	// Embedded is set by commands that bring a relay of their own where no server is given.
	Embedded bool
	// Optional is set by commands that do without a relay.
	Optional bool

	domainLimits string
}

// Bind implements Area.
func (o *SMTP) Bind(b *Binder) {
	b.Area("SMTP")
	b.String(&o.Server, Spec{
		Variable: "SMTP_SERVER", Required: !o.Embedded && !o.Optional, Embedded: o.Embedded,
		Meaning: "host name or IP address of the relay",
	})
	b.Int(&o.Port, Spec{Variable: "SMTP_PORT", Default: "587", Meaning: "port of the relay; 465 means implicit TLS"}, 1, 65535)
	b.String(&o.Username, Spec{Variable: "SMTP_USERNAME", Meaning: "user of the relay, together with SMTP_PASSWORD"})
	b.Password(&o.Password, Spec{Variable: "SMTP_PASSWORD", Meaning: "password of the relay, together with SMTP_USERNAME"})
	b.String(&o.Auth, Spec{
		Variable: "SMTP_AUTH",
		Meaning: "SASL mechanism: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5, XOAUTH2 (with an access token as password) and others " +
			"(see docs/smtp.md); the best that the relay offers unless set",
	})
	b.Bool(&o.UseTLS, Spec{
		Variable: "SMTP_USE_TLS", Default: "true",
		Meaning: "true: implicit TLS on port 465, else mandatory STARTTLS; false: plain",
	})
	b.Duration(&o.SendInterval, Spec{
		Variable: "SMTP_SEND_INTERVAL", Default: "0s",
		Meaning: "least time between two mails of this account, over all workers together",
	}, 0, 24*time.Hour)
	b.Int(&o.MaxConnections, Spec{
		Variable: "SMTP_MAX_CONNECTIONS", Default: "10",
		Meaning: "SMTP connections of one worker process",
	}, 1, 1000)
	b.String(&o.domainLimits, Spec{
		Variable: "SMTP_DOMAIN_LIMITS",
		Meaning: "limits of groups of recipient domains, over all workers together: gmail.com,googlemail.com=600/1m;*.example.com=20/1s,connections=5 " +
			"(see docs/limits.md)",
	})
	b.String(&o.HELOName, Spec{
		Variable: "SMTP_HELO_NAME",
		Meaning:  "name given in EHLO; the machine's host name unless set",
	})
}

// saslMechanisms are what SMTP_AUTH may be.
var saslMechanisms = []string{
	"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2",
}

// Validate implements Area.
func (o *SMTP) Validate() error {
	var problems []error
	switch {
	case o.Server == "" && !o.Embedded && !o.Optional:
		problems = append(problems, SettingError{"SMTP_SERVER", "is required: the host name or IP address of the relay, such as smtp.example.com"})
	case strings.ContainsAny(o.Server, "/@ \t\r\n"):
		problems = append(problems, SettingError{"SMTP_SERVER", "must be a host name or IP address alone: no scheme, user or path (the port is SMTP_PORT)"})
	case strings.Count(o.Server, ":") == 1:
		problems = append(problems, SettingError{"SMTP_SERVER", "must be a host name or IP address alone: the port belongs into SMTP_PORT"})
	}
	if o.Username != "" && o.Password == "" {
		problems = append(problems, SettingError{"SMTP_PASSWORD", "is required where SMTP_USERNAME is set: set both or none"})
	}
	var err error
	if o.Domains, err = domains.Parse(o.domainLimits); err != nil {
		problems = append(problems, SettingError{"SMTP_DOMAIN_LIMITS", strings.ReplaceAll(err.Error(), "\n", "; ")})
	}
	o.Auth = strings.ToUpper(o.Auth)
	if o.Auth != "" && !slices.Contains(saslMechanisms, o.Auth) {
		problems = append(problems, SettingError{"SMTP_AUTH", "must be one of " + strings.Join(saslMechanisms, ", ")})
	}
	if o.Username == "" && o.Password != "" {
		problems = append(problems, SettingError{"SMTP_USERNAME", "is required where SMTP_PASSWORD is set: set both or none"})
	}
	if o.HELOName == "" {
		o.HELOName = hostname()
	} else if strings.ContainsFunc(o.HELOName, func(r rune) bool { return r <= ' ' || r > '~' }) {
		problems = append(problems, SettingError{"SMTP_HELO_NAME", "must be a host name in ASCII, without blanks"})
	}
	return errors.Join(problems...)
}

func (o *SMTP) secrets() []string {
	if o.Password == "" {
		return nil
	}
	return []string{o.Password}
}
