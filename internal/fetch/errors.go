package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cartero-mail/cartero/internal/gunzip"
)

// Reason says in one CamelCase word why a file was not fetched.
type Reason string

// The reasons.
const (
	ReasonInvalidURL       Reason = "InvalidURL"       // the URL can't be one of a file to fetch
	ReasonInvalidChecksum  Reason = "InvalidChecksum"  // the expected sha256 is not one
	ReasonForbiddenHost    Reason = "ForbiddenHost"    // the operator doesn't allow the host or port
	ReasonForbiddenAddress Reason = "ForbiddenAddress" // the host's address is not public
	ReasonRedirects        Reason = "Redirects"        // too many of them
	ReasonUnreachable      Reason = "Unreachable"      // no connection, or one that broke
	ReasonCertificate      Reason = "Certificate"      // the server's is not valid
	ReasonTimeout          Reason = "Timeout"          // too slow
	ReasonStatus           Reason = "Status"           // the server answers, but not with the file
	ReasonEncoding         Reason = "Encoding"         // a content encoding that wasn't asked for
	ReasonTooLarge         Reason = "TooLarge"         // beyond a limit, compressed or not
	ReasonDamaged          Reason = "Damaged"          // broken gzip
	ReasonChecksumMismatch Reason = "ChecksumMismatch" // another file than expected
)

// Error is why a file was not fetched. Its text says what to change, and holds neither the URL but for its host, nor
// anything that the server sent, nor addresses of the network.
type Error struct {
	Reason Reason
	// Host is whom the file was asked of; empty where the URL has none that is fit to be shown.
	Host string
	// Temporary tells that the same request may succeed later, with nothing changed.
	Temporary bool

	message string
}

func (e *Error) Error() string {
	if e.Host == "" {
		return e.message
	}
	return e.Host + ": " + e.message
}

func refuse(reason Reason, host, format string, args ...any) error {
	return &Error{Reason: reason, Host: host, message: fmt.Sprintf(format, args...)}
}

func forbidden(host string) error {
	return refuse(ReasonForbiddenAddress, host,
		"its address is not a public one: serve the file publicly, or have the operator allow the host (FETCH_ALLOW_HOSTS)")
}

func temporary(reason Reason, host, format string, args ...any) error {
	return &Error{Reason: reason, Host: host, Temporary: true, message: fmt.Sprintf(format, args...)}
}

// explain puts what the standard library failed with into an *Error that quotes nothing. Its causes are left behind: they
// hold the URL or addresses of the network.
func explain(err error, host string) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		if name.IsNotFound {
			return temporary(ReasonUnreachable, host, "no such host")
		}
		return temporary(ReasonUnreachable, host, "the name can't be resolved now")
	}
	if text := certificateProblem(err); text != "" {
		return refuse(ReasonCertificate, host, "%s", text)
	}
	timeout := net.Error(nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return temporary(ReasonTimeout, host, "the server is too slow")
	case errors.Is(err, syscall.ECONNREFUSED):
		return temporary(ReasonUnreachable, host, "it refuses connections")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return temporary(ReasonUnreachable, host, "the connection broke off")
	}
	return temporary(ReasonUnreachable, host, "it can't be reached")
}

func certificateProblem(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the server's certificate is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is signed by nobody who is trusted here (FETCH_CA_FILE)"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "the server's certificate has expired, or is not valid yet"
		}
		return "the server's certificate is not valid"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS there"
	}
	return ""
}

// explainContent does the same for what decompressing failed with.
func explainContent(err error, host string) error {
	switch {
	case errors.Is(err, gunzip.ErrTooLarge):
		return refuse(ReasonTooLarge, host, "%v: split the file", gunzip.ErrTooLarge)
	case errors.Is(err, gunzip.ErrRatio):
		return refuse(ReasonTooLarge, host, "%v", gunzip.ErrRatio)
	case errors.Is(err, gunzip.ErrDamaged):
		return refuse(ReasonDamaged, host, "%v: write the file anew", gunzip.ErrDamaged)
	default:
		return fmt.Errorf("reading the fetched file: %w", err)
	}
}
