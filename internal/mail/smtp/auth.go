package smtp

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// authError is a failure to authenticate that is not a reply of the relay.
type authError struct{ reason string }

func (e *authError) Error() string { return e.reason }

var (
	errNoAuthOffered = &authError{"credentials are set but the relay offers no way to use them"}
	errCleartextAuth = &authError{"the relay offers only clear-text authentication on a connection without TLS: credentials are not sent in clear"}
	errAuthDialogue  = &authError{"the relay broke off the authentication"}
)

// isAuthError reports whether the credentials cannot be used until somebody changes a setting.
func isAuthError(err error) bool {
	var auth *authError
	return errors.As(err, &auth)
}

// Failures of TLS: the relay that we were told to talk to was not reached.
var (
	errNoSTARTTLS  = errors.New("TLS is required but the relay offers no STARTTLS")
	errCertificate = errors.New("the relay's certificate is not trusted")
)

// mechanisms are what can be used: those that are tried by themselves, the best first, and those that are used only when
// asked for by name. A password is not a token; and many a relay offers channel binding of a kind that TLS 1.3 has not.
var (
	mechanisms = append(slices.Clone(automatic), "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", mechanismXOAUTH2)
	automatic  = []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", "CRAM-MD5"}
)

const mechanismXOAUTH2 = "XOAUTH2"

// negotiatedAuth uses one mechanism, the strongest that the relay offers unless one is asked for by name. It serves one
// connection.
type negotiatedAuth struct {
	username, password, host string
	// mechanism is the one to use; empty for the best that is offered.
	mechanism string
	// state is that of the TLS connection, for channel binding; nil without TLS.
	state *tls.ConnectionState
	// loopback: the connection does not leave this machine, so clear text is as good as TLS.
	loopback bool
	// started is set once credentials are about to be used: what fails from then on is a matter of authentication.
	started bool
	chosen  gosmtp.Auth
}

// Start implements smtp.Auth of go-mail.
func (a *negotiatedAuth) Start(server *gosmtp.ServerInfo) (string, []byte, error) {
	a.started = true
	safe, exposed := server.TLS || a.loopback, false
	for _, mechanism := range mechanisms {
		switch {
		case !slices.ContainsFunc(server.Auth, func(s string) bool { return strings.EqualFold(s, mechanism) }):
			continue
		case a.mechanism != "" && a.mechanism != mechanism, a.mechanism == "" && !slices.Contains(automatic, mechanism):
			continue
		case strings.HasSuffix(mechanism, "-PLUS") && !bindable(a.state):
			continue
		case !safe && (mechanism == "PLAIN" || mechanism == "LOGIN" || mechanism == mechanismXOAUTH2):
			exposed = true
			continue
		}
		a.chosen = a.client(mechanism)
		return a.chosen.Start(server)
	}
	if exposed {
		return "", nil, errCleartextAuth
	}
	return "", nil, errNoAuthOffered
}

// bindable reports whether SCRAM can be bound to this TLS session: by tls-exporter (RFC 9266). Before TLS 1.3 go-mail would
// use tls-unique, which does not tell sessions apart.
func bindable(state *tls.ConnectionState) bool {
	return state != nil && state.Version >= tls.VersionTLS13
}

func (a *negotiatedAuth) client(mechanism string) gosmtp.Auth {
	switch mechanism {
	case "SCRAM-SHA-256-PLUS":
		return gosmtp.ScramSHA256PlusAuth(a.username, a.password, a.state)
	case "SCRAM-SHA-256":
		return gosmtp.ScramSHA256Auth(a.username, a.password)
	case "SCRAM-SHA-1-PLUS":
		return gosmtp.ScramSHA1PlusAuth(a.username, a.password, a.state)
	case "SCRAM-SHA-1":
		return gosmtp.ScramSHA1Auth(a.username, a.password)
	case "PLAIN":
		return gosmtp.PlainAuth("", a.username, a.password, a.host, true)
	case "LOGIN":
		return gosmtp.LoginAuth(a.username, a.password, a.host, true)
	case "CRAM-MD5":
		return gosmtp.CRAMMD5Auth(a.username, a.password)
	}
	return gosmtp.XOAuth2Auth(a.username, a.password)
}

// Next implements smtp.Auth of go-mail.
func (a *negotiatedAuth) Next(fromServer []byte, more bool) ([]byte, error) {
	return a.chosen.Next(fromServer, more)
}
