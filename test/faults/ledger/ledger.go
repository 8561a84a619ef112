package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// Config is how a relay is.
type Config struct {
	// Path is the book's file, which may be there already; it is made if not.
	Path string
	// Address to listen at; empty for a free port of 127.0.0.1.
	Address string
	// Features are the EHLO keywords; nil for PIPELINING and 8BITMIME.
	Features []string
	// Username and Password, if set, are demanded with AUTH PLAIN.
	Username, Password string
	// React, if set, is asked before all scripts what to do at a step, as in smtptest.Script.
	React func(step smtptest.Step, recipient string) *smtptest.Reaction
	// OnData, if set, is called for each final dot once it is in the book, before the reply. It may block.
	OnData func(Entry)
}

// Server is a relay. Its methods are safe for concurrent use.
type Server struct {
	*smtptest.Server

	config Config
	book   *book

	mu sync.Mutex
	// scripts are those of the recipients seen so far, by address; next is everybody's.
	scripts map[string]*script
	next    script
	// numbers are those of the last entry of each session.
	numbers map[int]int
	err     error
}

// New starts a relay.
func New(config Config) (*Server, error) {
	b, err := openBook(config.Path)
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, book: b, scripts: map[string]*script{}, numbers: map[int]int{}}
	features := config.Features
	if features == nil {
		features = []string{"PIPELINING", "8BITMIME"}
	}
	smtp := smtptest.Script{
		Features: features, Username: config.Username, Password: config.Password,
		React: s.react, OnEntry: s.entered, OnReplied: s.replied, OnRead: s.read,
	}
	if config.Username != "" {
		smtp.Mechanisms = []string{"PLAIN"}
	}
	address := config.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	if s.Server, err = smtptest.Listen(address, smtp); err != nil {
		_ = b.file.Close()
		return nil, err
	}
	return s, nil
}

// Start starts a relay for a test, with its book in a directory of the test's unless the config says otherwise. At the
// end of the test it is stopped; the test fails if a client broke the protocol, or the book could not be written.
func Start(t interface {
	smtptest.TB
	TempDir() string
}, config Config,
) *Server {
	t.Helper()
	if config.Path == "" {
		config.Path = filepath.Join(t.TempDir(), "ledger.jsonl")
	}
	s, err := New(config)
	if err != nil {
		t.Fatalf("starting the relay: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("the relay's book: %v", err)
		}
		for _, violation := range s.Violations() {
			t.Errorf("the client broke the protocol: %s", violation)
		}
	})
	return s
}

// Next gives a script to the mails that come next, whoever they are for, in place of what is left of the script before.
// An empty one makes the relay friendly.
func (s *Server) Next(text string) error {
	var next script
	if text != "" {
		var err error
		if next, err = parseScript(text); err != nil {
			return fmt.Errorf("reading the script: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
	return nil
}

// Entries returns what the book has.
func (s *Server) Entries() ([]Entry, error) {
	entries, _, err := Read(s.config.Path)
	return entries, err
}

// Path is the book's file.
func (s *Server) Path() string { return s.config.Path }

// Env are the settings of a cartero that sends to the relay.
func (s *Server) Env() map[string]string {
	host, port, _ := net.SplitHostPort(s.Addr())
	env := map[string]string{"SMTP_SERVER": host, "SMTP_PORT": port, "SMTP_USE_TLS": "false", "SMTP_HELO_NAME": "worker.example.com"}
	if s.config.Username != "" {
		env["SMTP_USERNAME"], env["SMTP_PASSWORD"] = s.config.Username, s.config.Password
	}
	return env
}

// Close stops the relay, and returns the first error that its book had. It may be called twice.
func (s *Server) Close() error {
	s.Server.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.book.file.Close()
	return s.err
}

// Key is what the book has in place of an address: the same for the same mailbox, whatever the case of its letters.
func Key(address string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(address)))
	return hex.EncodeToString(sum[:16])
}

func (s *Server) react(step smtptest.Step, recipient string) *smtptest.Reaction {
	if s.config.React != nil {
		if r := s.config.React(step, recipient); r != nil {
			return r
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if recipient != "" {
		own := s.scripts[recipient]
		if own == nil {
			own = new(scriptOf(recipient))
			if len(*own) > 0 {
				s.scripts[recipient] = own
			}
		}
		if r := own.take(step); r != nil {
			return r
		}
	}
	return s.next.take(step)
}

// entered writes an end of data, and does not return before it is on the disk. A relay that can't keep its book
// accepts nothing more: it ends.
func (s *Server) entered(e smtptest.Entry) {
	entry := Entry{
		Session: e.Session, MessageID: e.MessageID, Accepted: e.Accepted, Size: len(e.Data), Mails: len(e.To),
	}
	sum := sha256.Sum256(e.Data)
	entry.Body = hex.EncodeToString(sum[:])
	if len(e.To) > 0 {
		entry.Key = Key(e.To[len(e.To)-1])
	}
	number, err := s.book.data(entry)
	if err != nil {
		s.fail(err)
		panic(err) // a reply now would be a lie
	}
	entry.Number = number
	s.mu.Lock()
	s.numbers[e.Session] = number
	s.mu.Unlock()
	if s.config.OnData != nil {
		s.config.OnData(entry)
	}
}

func (s *Server) replied(e smtptest.Entry) { s.note(e, eventReplied, e.Reply) }

func (s *Server) read(e smtptest.Entry) { s.note(e, eventRead, "") }

func (s *Server) note(e smtptest.Entry, event, reply string) {
	s.mu.Lock()
	number := s.numbers[e.Session]
	s.mu.Unlock()
	if err := s.book.note(number, event, reply); err != nil {
		s.fail(err)
	}
}

func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}
