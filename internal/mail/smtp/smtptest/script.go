// Package smtptest is a scripted SMTP relay for tests: it misbehaves on purpose, at the command and in the way that the
// script says, and keeps a strict ledger of what it accepted and whether it said so.
//
// It listens on the loopback interface only and needs nothing installed. Tests use Start; other programs use New.
package smtptest

import "time"

// Step is a moment of the dialogue at which the relay can be told to react otherwise than usual.
type Step string

// The steps, in the order of a session.
const (
	Connect  Step = "connect"  // before the greeting
	EHLO     Step = "EHLO"     // also HELO
	STARTTLS Step = "STARTTLS" //
	AUTH     Step = "AUTH"     // the AUTH command, before any challenge
	MAIL     Step = "MAIL"     //
	RCPT     Step = "RCPT"     //
	DATA     Step = "DATA"     // the DATA command
	Body     Step = "body"     // the first line of the body has arrived
	Dot      Step = "dot"      // the final dot has arrived
	RSET     Step = "RSET"     //
	NOOP     Step = "NOOP"     //
	QUIT     Step = "QUIT"     //
	Idle     Step = "idle"     // a mail was accepted and its reply sent
)

// Then is what the relay does after its reply.
type Then int

// What happens after the reply.
const (
	Continue Then = iota // go on
	Close                // end the connection with FIN
	Reset                // end it with RST
)

// Reaction is what the relay does at a step instead of its usual reply. At Dot the mail is accepted if the reply is a
// 250, unless Accept or Refuse says otherwise; with no reply at all it is refused unless Accept is set.
type Reaction struct {
	// Reply is the reply without its last CRLF, such as "550 5.1.1 no such user"; lines are separated by "\r\n". Empty,
	// with Raw and Silent unset, is the usual reply.
	Reply string
	// Raw is written as it is, in place of a reply: half a line, garbage, two replies in one.
	Raw string
	// Silent sends no reply.
	Silent bool
	// Then is what comes after the reply, or after its absence.
	Then Then
	// Accept counts the mail as accepted at Dot, and the command as taken at MAIL and RCPT, whatever the reply; Refuse
	// counts the mail as refused.
	Accept, Refuse bool
	// Reached, if set, is closed when the step is reached, before Hang.
	Reached chan struct{}
	// Hang, if set, delays the reply until it is closed, or the server is.
	Hang <-chan struct{}
	// OneByte sends the reply one octet at a time, with this pause.
	OneByte time.Duration
}

// Security is how the relay does TLS.
type Security int

// The ways to do TLS.
const (
	Plain       Security = iota // no TLS
	StartTLS                    // offers STARTTLS
	ImplicitTLS                 // TLS from the first octet
)

// Certificate is the kind of certificate that the relay shows.
type Certificate int

// The certificates.
const (
	Valid     Certificate = iota // for 127.0.0.1 and localhost, signed by RootCAs
	Expired                      // as Valid, a day too old
	WrongHost                    // for relay.invalid
	Untrusted                    // as Valid, signed by an authority that is not in RootCAs
)

// Script says how the relay behaves. The zero value is a friendly one without TLS, AUTH and extensions.
type Script struct {
	Security    Security
	Certificate Certificate
	// Features are the EHLO keywords with their parameters, such as "8BITMIME" or "SIZE 1000". STARTTLS and AUTH are
	// added by themselves.
	Features []string
	// InClear, if not nil, are the keywords before STARTTLS instead of Features.
	InClear []string
	// Mechanisms are the SASL mechanisms that are offered: PLAIN, LOGIN, CRAM-MD5, XOAUTH2, and SCRAM with
	// SHA-1 and SHA-256, also -PLUS. With one or more, MAIL
	// is refused before authentication.
	Mechanisms []string
	// Username and Password are the only credentials that are taken.
	Username, Password string
	// On are reactions by step, used up one after the other over all sessions.
	On map[Step][]Reaction
	// Always are reactions by step that are never used up. On comes first.
	Always map[Step]Reaction
	// For are reactions at RCPT, DATA, Body and Dot to one recipient, used up one after the other. They come before On.
	For map[string]map[Step][]Reaction
	// React, if set, is asked before all others; recipient is empty before RCPT. It is called by many goroutines.
	React func(step Step, recipient string) *Reaction
	// MaxSessions, if not 0, is the most sessions at a time; further ones get 421.
	MaxSessions int
	// Discard keeps no ledger, and has no reactions to bodies: for benchmarks.
	Discard bool
	// OnEntry is called for each final dot, before the reply: a process that may be killed writes its ledger there.
	OnEntry func(Entry)
	// OnReplied is called once a complete reply to the final dot was handed to the network, which may lose it yet.
	OnReplied func(Entry)
	// OnRead is called once the client sends what it sends only after it has read that reply: the next body, RSET, NOOP or
	// QUIT. A client that goes away instead may have read it or not.
	OnRead func(Entry)
}
