package smtp

import "time"

const (
	// lockStepFor is how long a relay that mixed up its replies is spoken to one command at a time.
	lockStepFor = 10 * time.Minute
	// aloneFor is how long no mail follows another, after a connection ended between them with a mail in doubt.
	aloneFor = time.Minute
)

// trust remembers how far a relay that offers PIPELINING is to be believed. The pool's lock guards it.
type trust struct{ lockStep, alone time.Time }

// disorder records replies that did not fit the commands.
func (s *trust) disorder(now time.Time) { s.lockStep = now.Add(lockStepFor) }

// doubt records a final dot without a reply, with another mail behind it: a relay that hangs up on what it does not
// expect may take the reply to what it has accepted along.
func (s *trust) doubt(now time.Time) { s.alone = now.Add(aloneFor) }

// grouping reports whether the commands of a transaction may go out together.
func (s *trust) grouping(now time.Time) bool { return !now.Before(s.lockStep) }

// following reports whether a mail may be opened behind the final dot of another.
func (s *trust) following(now time.Time) bool { return s.grouping(now) && !now.Before(s.alone) }
