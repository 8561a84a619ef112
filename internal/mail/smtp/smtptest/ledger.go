package smtptest

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strings"
)

// Entry is one message that arrived completely: its final dot was read.
type Entry struct {
	// Session numbers the connection, from 1.
	Session int
	// From and To are the envelope; MailParams are the parameters of MAIL.
	From       string
	To         []string
	MailParams string
	// Data is the message as sent, dots unstuffed, line ends CRLF.
	Data []byte
	// MessageID is the field's value without angle brackets; empty if there is none or the header cannot be read.
	MessageID string
	// Accepted: the relay took responsibility for the message.
	Accepted bool
	// Replied: a complete reply to the dot was handed to the network. Always false in OnEntry.
	Replied bool
	// Reply is that reply.
	Reply string
}

// Ledger returns everything that arrived completely, accepted or not, in order of arrival.
func (s *Server) Ledger() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// Accepts returns how often each recipient's mail was accepted.
func (s *Server) Accepts() map[string]int {
	accepts := map[string]int{}
	for _, entry := range s.Ledger() {
		if entry.Accepted {
			for _, to := range entry.To {
				accepts[to]++
			}
		}
	}
	return accepts
}

// Commands returns the command lines of each session, in order; a body is "<body>", the dot ".". Credentials are not
// in it.
func (s *Server) Commands() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([][]string, 0, len(s.commands))
	for _, lines := range s.commands {
		out = append(out, slices.Clone(lines))
	}
	return out
}

// Violations returns what clients did that RFC 5321 does not allow: bare CR or LF, lines that are too long, commands
// out of order or with a broken grammar.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Server) violation(session int, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, fmt.Sprintf("session %d: ", session)+fmt.Sprintf(format, args...))
}

func (s *Server) record(session int, line string) {
	if s.script.Discard {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands[session-1] = append(s.commands[session-1], line)
}

// enter adds an entry and returns its index.
func (s *Server) enter(e Entry) int {
	if s.script.OnEntry != nil {
		s.script.OnEntry(e)
	}
	if s.script.Discard {
		return -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = append(s.ledger, e)
	return len(s.ledger) - 1
}

func (s *Server) replied(index int, reply string) {
	if index < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger[index].Replied, s.ledger[index].Reply = true, reply
}

func messageID(data []byte) string {
	msg, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return ""
	}
	return strings.Trim(msg.Header.Get("Message-ID"), "<>")
}
