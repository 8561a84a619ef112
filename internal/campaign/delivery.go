package campaign

import "time"

// Job is one shard as a worker sees it.
type Job struct {
	ID string
	// Key is the campaign's key; empty for a job that a legacy program wrote.
	Key       string
	Status    JobStatus
	Content   Content
	CreatedAt time.Time
	// These are the campaign's; a legacy job is always sealed and started.
	Sealed    bool
	Started   bool
	Control   Control
	Cancelled bool
	Hold      *Hold
	Revision  int
	// Priority is the campaign's; 0 for none.
	Priority int
}

// Runnable reports whether a worker may claim recipients of this job at this time.
func (j Job) Runnable(now time.Time) bool {
	return j.Sealed && !j.Cancelled && (j.Hold == nil || !now.Before(j.Hold.Until)) && j.Control.open(now, j.Started)
}

// Claimed is a recipient that a worker holds under a lease.
type Claimed struct {
	ID string
	Recipient
	// Attempts is the number of attempts that counted before this one.
	Attempts int
	// FirstAttemptAt is when the first attempt began; nil before it.
	FirstAttemptAt *time.Time
	// Again tells a recipient that was put off, be it by the relay or because its turn was far away, and whose time has come.
	Again bool
	// Position is the recipient's place, from 1, in the claim: consecutive positions are consecutive ids among those that
	// the claim took. 0 where nobody counted.
	Position int
}

// Claim asks for recipients of a job that are due: pending ones, and deferred ones whose next attempt has come.
type Claim struct {
	JobID string
	// Token fences the claim: only who holds it announces and records. One token is used for one claim or several.
	Token string
	Limit int
	Now   time.Time
	// LeaseUntil is when others may take the recipients over, unless the lease is renewed.
	LeaseUntil time.Time
	// Announce has the recipients announced at Now in the same transaction: all of them may be sent at once. The token must
	// be of this claim alone.
	Announce bool
}

// Result is what becomes of one claimed recipient.
type Result struct {
	RecipientID string
	// State is the state to write: accepted, deferred, bounced, failed or inDoubt; or pending, which gives the
	// recipient back as if it had never been claimed.
	State State
	// CountAttempt adds one to the recipient's attempts.
	CountAttempt bool
	// NextAttemptAt is set for deferred.
	NextAttemptAt *time.Time
	// Code, EnhancedCode, Category and Detail are the verdict's; Detail goes to the legacy column error.
	Code         int
	EnhancedCode string
	Category     string
	Detail       string
	// At is when the verdict was reached; it becomes sentAt of an accepted recipient, to a tenth of a second.
	At time.Time
	// Position is that of the claim in which the recipient was taken, if its token is of no other claim; else 0. It changes
	// nothing but how much work recording the result is.
	Position int
}

// JobProgress is how a job stands after a run.
type JobProgress struct {
	Status JobStatus
	Tally  Tally
	// Finished reports whether this job has no recipient left to try.
	Finished bool
	// ResumeAt is when the queue's own entry of the job must run it again: a job that a legacy program added is not
	// over for that program before its recipients are. Zero for a finished job, and where the outbox sees to it.
	ResumeAt time.Time
	// HeldUntil is the end of the hold that kept the job from being run at all; zero where it was run.
	HeldUntil time.Time
}

// DueJob is a sealed, unfinished job with recipients that are due, no live lease, and no recent ring.
type DueJob struct {
	ID string
	// Rings is how often the job was put into the queue; the next ring uses BullID(ID, Rings).
	Rings int
	// Priority is Bull's: 1 runs before all larger numbers, 0 after them.
	Priority int
	// First tells a campaign's first job, before it was ever rung.
	First bool
}
