package smtp

import (
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
	errCleartextAuth = &authError{"the relay offers only PLAIN or LOGIN on a connection without TLS: credentials are not sent in clear"}
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

// negotiatedAuth picks the strongest mechanism that the relay offers. It serves one connection.
type negotiatedAuth struct {
	username, password, host string
	// loopback: the connection does not leave this machine, so clear text is as good as TLS.
	loopback bool
	// started is set once credentials are about to be used: what fails from then on is a matter of authentication.
	started bool
	chosen  gosmtp.Auth
}

// Start implements smtp.Auth of go-mail.
func (a *negotiatedAuth) Start(server *gosmtp.ServerInfo) (string, []byte, error) {
	a.started = true
	offered := make([]string, 0, len(server.Auth))
	for _, mechanism := range server.Auth {
		offered = append(offered, strings.ToUpper(mechanism))
	}
	safe := server.TLS || a.loopback
	switch {
	case slices.Contains(offered, "SCRAM-SHA-256"):
		a.chosen = gosmtp.ScramSHA256Auth(a.username, a.password)
	case slices.Contains(offered, "SCRAM-SHA-1"):
		a.chosen = gosmtp.ScramSHA1Auth(a.username, a.password)
	case safe && slices.Contains(offered, "PLAIN"):
		a.chosen = gosmtp.PlainAuth("", a.username, a.password, a.host, true)
	case safe && slices.Contains(offered, "LOGIN"):
		a.chosen = gosmtp.LoginAuth(a.username, a.password, a.host, true)
	case slices.Contains(offered, "CRAM-MD5"):
		a.chosen = gosmtp.CRAMMD5Auth(a.username, a.password)
	case slices.Contains(offered, "PLAIN"), slices.Contains(offered, "LOGIN"):
		return "", nil, errCleartextAuth
	default:
		return "", nil, errNoAuthOffered
	}
	return a.chosen.Start(server)
}

// Next implements smtp.Auth of go-mail.
func (a *negotiatedAuth) Next(fromServer []byte, more bool) ([]byte, error) {
	return a.chosen.Next(fromServer, more)
}
