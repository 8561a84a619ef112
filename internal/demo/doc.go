// Package demo is what `make demo` shows: the samples applied with kubectl, their progress, a summary, and the proof
// that the inbox holds exactly the mails that the database calls accepted.
package demo
