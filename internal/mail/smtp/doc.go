// Package smtp hands mails to a relay: a pool of kept connections, one transaction per recipient, and a verdict on each.
//
// go-mail dials, does TLS and AUTH, and asks for the capabilities. The transaction is driven here, on go-mail's
// connection: go-mail reports one error for a dozen situations that differ in whether the mail was accepted, its QUIT
// ends an unfinished DATA and has a truncated mail accepted, and it has one deadline for all phases. docs/smtp.md has
// the phases, the deadlines and the verdicts.
package smtp
