package inbox

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	// MaxMessageBytes is the size of a mail that the inbox accepts, announced with SIZE (RFC 1870).
	MaxMessageBytes = 32 << 20

	maxRecipients = 100
	// maxLine is far beyond the 998 octets of RFC 5322: a sender's slip should be seen in the inbox, not as a lost
	// connection.
	maxLine     = 1 << 20
	idleTimeout = 5 * time.Minute // RFC 5321 section 4.5.3.2.7
)

func newSMTPServer(backend smtp.Backend, log *slog.Logger) *smtp.Server {
	server := smtp.NewServer(backend)
	server.Domain = "inbox.cartero.test"
	server.MaxMessageBytes = MaxMessageBytes
	server.MaxRecipients = maxRecipients
	server.MaxLineLength = maxLine
	server.ReadTimeout = idleTimeout
	server.WriteTimeout = idleTimeout
	server.EnableSMTPUTF8 = true
	server.ErrorLog = smtpLog{log}
	return server
}

// session is one SMTP connection.
type session struct {
	store    *store
	practice *practice
	log      *slog.Logger
	now      func() time.Time

	sender     string
	recipients []string
	buffer     bytes.Buffer
}

var _ smtp.Session = (*session)(nil)

func (s *session) Reset() { s.sender, s.recipients = "", nil }

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.sender = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.practice.answer(to); err != nil {
		return err
	}
	s.recipients = append(s.recipients, to)
	return nil
}

// Data stores the mail. A connection that ends before the final dot fails the reading, and nothing is stored.
func (s *session) Data(r io.Reader) error {
	s.buffer.Reset()
	if _, err := s.buffer.ReadFrom(r); err != nil {
		return err // not wrapped: the SMTP server tells its own errors by their type
	}
	raw := s.buffer.Bytes()
	meta := describe(raw)
	meta.Sender, meta.Recipients, meta.Received = s.sender, s.recipients, s.now().UTC()
	if _, err := s.store.add(meta, raw); err != nil {
		s.log.Error("Storing a mail failed", slog.Any("error", err))
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "The inbox can't store the mail"}
	}
	if s.buffer.Cap() > 1<<20 {
		s.buffer = bytes.Buffer{}
	}
	return nil
}

// describe reads what the list shows from a mail's header. A mail without a readable header has no description.
func describe(raw []byte) Message {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Message{}
	}
	return Message{
		From:      decodeHeader(parsed.Header.Get("From")),
		To:        decodeHeader(parsed.Header.Get("To")),
		Subject:   decodeHeader(parsed.Header.Get("Subject")),
		MessageID: strings.Trim(strings.TrimSpace(parsed.Header.Get("Message-Id")), "<>"),
	}
}

// decodeHeader decodes encoded words (RFC 2047); what can't be decoded stays as it is.
func decodeHeader(value string) string {
	var decoder mime.WordDecoder
	decoded, err := decoder.DecodeHeader(value)
	if err != nil {
		decoded = value
	}
	return strings.ToValidUTF8(decoded, "\ufffd")
}

// smtpLog hands the SMTP server's rare messages to our log, without the text, which may quote addresses.
type smtpLog struct{ log *slog.Logger }

func (l smtpLog) Printf(format string, _ ...any) {
	l.log.Debug("The SMTP server had an error", slog.String("kind", strings.TrimSpace(format)))
}

func (l smtpLog) Println(v ...any) {
	l.log.Debug("The SMTP server had an error", slog.String("kind", fmt.Sprintf("%T", v)))
}
