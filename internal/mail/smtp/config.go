package smtp

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The defaults of a Config.
const (
	DefaultPort           = 587
	DefaultMaxConnections = 10
	DefaultMaxAge         = 5 * time.Minute
	DefaultIdleTimeout    = time.Minute
	DefaultMaxMails       = 1000

	portImplicitTLS = 465
)

// Config says which relay to use, and how.
type Config struct {
	// Host is the relay's host name or IP address. Required.
	Host string
	// Port is the relay's port; 587 if 0.
	Port int
	// Username and Password are the credentials; both empty: no authentication.
	Username string
	Password string
	// Auth is the SASL mechanism to use: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5; SCRAM-SHA-256-PLUS or
	// SCRAM-SHA-1-PLUS, under TLS 1.3; or XOAUTH2, with an access token as the password. Empty is the best of the first
	// five that the relay offers, in this order.
	Auth string
	// UseTLS is implicit TLS on port 465 and mandatory STARTTLS on any other. Without it the connection is plain, even
	// if the relay offers STARTTLS; PLAIN, LOGIN and XOAUTH2 are then refused unless the relay is on the loopback interface.
	UseTLS bool
	// ImplicitTLS is implicit TLS on a port other than 465; it is ignored without UseTLS.
	ImplicitTLS bool
	// RootCAs verifies the relay's certificate; nil is the system's pool.
	RootCAs *x509.CertPool
	// MaxConnections is the most connections at a time; 10 if 0. The pool makes do with fewer while the relay asks for it.
	MaxConnections int
	// BodyWithDot is the largest message, in octets, whose body goes out in one write with its final dot, once beforeDot has
	// allowed that: a system call and a packet less for each mail. Larger ones, and all if it is 0, are on the wire, but
	// for the dot, when beforeDot is asked.
	BodyWithDot int
	// HELO is the name to introduce ourselves with. If empty, it is the host's name where that is a full one, else the
	// address literal of the connection (RFC 5321 section 4.1.4).
	HELO string
	// MaxAge is how old a connection may get before it is replaced, between two mails; 5 minutes if 0.
	MaxAge time.Duration
	// MaxMails is how many mails a connection carries before it is replaced; 1000 if 0, which is where Exim hangs up.
	MaxMails int
	// IdleTimeout is how long an unused connection is kept; 1 minute if 0.
	IdleTimeout time.Duration
	// Timeouts bounds the phases of the dialogue; zero fields take the defaults.
	Timeouts Timeouts
	// Now is the clock for ages and back-off; time.Now if nil. Deadlines of connections are always real.
	Now func() time.Time
}

// Timeouts are the longest waits for the relay (RFC 5321 section 4.5.3.2), none of which ends early. Those of a connection that
// is established may end a sixteenth later.
type Timeouts struct {
	// Connect is for the TCP connection; 30 seconds.
	Connect time.Duration
	// Handshake is for TLS, greeting, EHLO and AUTH together; 2 minutes: the RFC allows 5 for the greeting alone, but
	// nothing is lost by calling again.
	Handshake time.Duration
	// Command is for the reply to MAIL, RCPT and RSET; 5 minutes each.
	Command time.Duration
	// Data is for the reply to DATA; 2 minutes.
	Data time.Duration
	// Block is for writing each 64 KiB of the body; 3 minutes.
	Block time.Duration
	// Dot is for the reply to the final dot; 10 minutes. A shorter one makes mails uncertain that were accepted.
	Dot time.Duration
	// Quit is for the reply to QUIT; 5 seconds.
	Quit time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Connect:   cmp.Or(t.Connect, 30*time.Second),
		Handshake: cmp.Or(t.Handshake, 2*time.Minute),
		Command:   cmp.Or(t.Command, 5*time.Minute),
		Data:      cmp.Or(t.Data, 2*time.Minute),
		Block:     cmp.Or(t.Block, 3*time.Minute),
		Dot:       cmp.Or(t.Dot, 10*time.Minute),
		Quit:      cmp.Or(t.Quit, 5*time.Second),
	}
}

// withDefaults returns the configuration to use, or every reason why there is none, joined.
func (c Config) withDefaults() (Config, error) {
	c.Port = cmp.Or(c.Port, DefaultPort)
	c.MaxConnections = cmp.Or(c.MaxConnections, DefaultMaxConnections)
	c.MaxAge = cmp.Or(c.MaxAge, DefaultMaxAge)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.MaxMails = cmp.Or(c.MaxMails, DefaultMaxMails)
	c.Timeouts = c.Timeouts.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	var errs []error
	if c.Host == "" || strings.ContainsAny(c.Host, " \t\r\n/@") {
		errs = append(errs, errors.New("the relay's host name is missing or not a host name"))
	}
	if c.Port < 1 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("the relay's port %d is not between 1 and 65535", c.Port))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("%d connections are too few: at least 1 is needed", c.MaxConnections))
	}
	if c.MaxMails < 1 {
		errs = append(errs, fmt.Errorf("%d mails per connection are too few: at least 1 is needed", c.MaxMails))
	}
	if c.Username == "" && c.Password != "" {
		errs = append(errs, errors.New("there is a password for the relay but no user name"))
	}
	if c.Username != "" && c.Password == "" {
		errs = append(errs, errors.New("there is a user name for the relay but no password"))
	}
	c.Auth = strings.ToUpper(c.Auth)
	if c.Auth != "" && !slices.Contains(mechanisms, c.Auth) {
		errs = append(errs, fmt.Errorf("%q is not a way to authenticate: it must be one of %s", c.Auth, strings.Join(mechanisms, ", ")))
	}
	if strings.ContainsFunc(c.HELO, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		errs = append(errs, errors.New("the HELO name has characters that no host name has"))
	}
	return c, errors.Join(errs...)
}

func (c Config) implicitTLS() bool { return c.UseTLS && (c.ImplicitTLS || c.Port == portImplicitTLS) }

func (c Config) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }
