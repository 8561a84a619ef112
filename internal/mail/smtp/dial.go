package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
)

// handshakeBudget is how much a relay may send before the first mail. go-mail reads replies of any length.
const handshakeBudget = 1 << 20

// dial connects, and has go-mail greet, start TLS and authenticate. If it fails, it returns the reply that ended it, if
// there was one, and the error.
func dial(ctx context.Context, cfg Config) (*conn, reply, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.Connect+cfg.Timeouts.Handshake)
	defer cancel()
	dialer := net.Dialer{Timeout: cfg.Timeouts.Connect}
	tcp, err := dialer.DialContext(ctx, "tcp", cfg.address())
	if err != nil {
		return nil, reply{}, fmt.Errorf("connecting to the relay: %w", err)
	}
	// go-mail gives up neither the connection on an error nor its wait on a cancelled context.
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	c, r, err := greet(ctx, cfg, tcp)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		hardClose(tcp)
		if cause := context.Cause(ctx); cause != nil && r.code == 0 {
			err = cause
		}
		return nil, r, err
	}
	return c, reply{}, nil
}

// greet runs go-mail's part on the connection.
func greet(ctx context.Context, cfg Config, tcp net.Conn) (*conn, reply, error) {
	meter := &meteredConn{Conn: newSocket(tcp), left: handshakeBudget}
	tlsConfig := &tls.Config{ServerName: cfg.Host, RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	auth := &negotiatedAuth{
		username: cfg.Username, password: cfg.Password, host: cfg.Host, mechanism: cfg.Auth, loopback: isLoopback(tcp),
	}
	options := []gomail.Option{
		gomail.WithPort(cfg.Port), gomail.WithHELO(heloName(cfg, tcp)), gomail.WithTimeout(cfg.Timeouts.Handshake),
		gomail.WithTLSConfig(tlsConfig), gomail.WithTLSPolicy(gomail.NoTLS),
		gomail.WithDialContextFunc(func(ctx context.Context, _, _ string) (net.Conn, error) {
			if !cfg.implicitTLS() {
				return meter, nil
			}
			secure := tls.Client(meter, tlsConfig)
			return secure, secure.HandshakeContext(ctx)
		}),
	}
	if cfg.UseTLS && !cfg.implicitTLS() {
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	client, err := gomail.NewClient(cfg.Host, options...)
	if err != nil {
		return nil, reply{}, fmt.Errorf("setting up the SMTP client: %w", err)
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil && cfg.Username != "" {
		// Here rather than by go-mail's dial: channel binding needs the TLS session, which it has only now.
		auth.state, _ = session.GetTLSConnectionState()
		err = session.Auth(auth)
	}
	if err != nil {
		r, err := handshakeError(err, auth.started)
		return nil, r, err
	}
	meter.left = -1
	c := &conn{cfg: cfg, session: session, tcp: tcp, meter: meter, mask: newMasker(cfg.Username, cfg.Password), born: cfg.Now()}
	c.peeker.of(tcp)
	c.pipelining, _ = session.Extension("PIPELINING")
	c.eightBit, _ = session.Extension("8BITMIME")
	c.utf8, _ = session.Extension("SMTPUTF8")
	var size string
	if c.size, size = session.Extension("SIZE"); c.size {
		c.maxSize, _ = strconv.ParseInt(strings.TrimSpace(size), 10, 64)
	}
	return c, reply{}, nil
}

// handshakeError turns what go-mail reports into a reply of the relay, or an error with a meaning.
func handshakeError(err error, authenticating bool) (reply, error) {
	var refused *textproto.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused) && refused.Code/100 >= 4 && refused.Code/100 <= 5:
		text := strings.ReplaceAll(refused.Msg, "\n", " ")
		enhanced, rest := cutEnhanced(refused.Code, []byte(text))
		return reply{code: refused.Code, enhanced: string(enhanced), text: string(rest)}, errRefused
	case errors.As(err, &certificate):
		return reply{}, fmt.Errorf("%w: %s", errCertificate, certificate.Err)
	case isAuthError(err):
		return reply{}, err
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return reply{}, errNoSTARTTLS
	case authenticating && !isNetworkError(err):
		return reply{}, errAuthDialogue
	}
	return reply{}, fmt.Errorf("greeting the relay: %w", err)
}

// errRefused marks an error that is nothing but the reply beside it.
var errRefused = errors.New("the relay refused the connection")

func isNetworkError(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, errUnreadable)
}

// connectVerdict judges a connection that was not made.
func connectVerdict(r reply, err error) mail.Verdict {
	if r.code != 0 {
		err = nil
	}
	return classify(mail.PhaseConnect, r, err)
}

// heloName is the configured name, the host's if it is a full one, or else the address literal of the connection: a
// bare name such as that of a pod is what many relays refuse.
func heloName(cfg Config, tcp net.Conn) string {
	if cfg.HELO != "" {
		return cfg.HELO
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(strings.Trim(name, "."), ".") {
		return strings.Trim(name, ".")
	}
	local, ok := tcp.LocalAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case local.IP.To4() != nil:
		return "[" + local.IP.To4().String() + "]"
	}
	return "[IPv6:" + local.IP.String() + "]"
}

func isLoopback(c net.Conn) bool {
	remote, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && remote.IP.IsLoopback()
}

// hardClose ends the TCP connection at once. What is still unsent is dropped, so that nothing can complete a message
// that was given up; nothing like QUIT is sent, which could.
func hardClose(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// meteredConn counts the octets written, and stops reading when a relay has sent too much before the first mail.
type meteredConn struct {
	net.Conn
	// left is how much may still be read; unlimited if negative.
	left    int
	written int64
}

// Read implements io.Reader.
func (m *meteredConn) Read(p []byte) (int, error) {
	if m.left < 0 {
		return m.Conn.Read(p)
	}
	if m.left == 0 {
		return 0, errUnreadable
	}
	n, err := m.Conn.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// Write implements io.Writer.
func (m *meteredConn) Write(p []byte) (int, error) {
	n, err := m.Conn.Write(p)
	m.written += int64(n)
	return n, err
}
