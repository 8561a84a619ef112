// Package inbox is the SMTP server of `cartero dev`: it accepts every mail, keeps it in a directory, and shows it on a web
// page. It listens on loopback addresses only and asks for no password.
//
// A mail is in its file before the server says 250, so that killing the process loses none that was acknowledged; the
// file system's cache is enough for that, a power cut may cost the last seconds. The inbox also keeps a ledger: a mail
// with the same Message-ID that arrives twice for one recipient is kept, shown and counted as a duplicate.
//
// Domains of practice refuse mails as real servers do; see Rules.
package inbox
