package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Submission is a mail to a few recipients that a program hands in: a campaign of one job, written whole in one
// transaction. Its key makes it one mail, however often it is handed in.
type Submission struct {
	Key     string
	Content Content
	// Category is what the program calls this kind of mail; at most 191 characters, empty for none.
	Category string
	// Recipients are 1 to MaxSubmission, each address once.
	Recipients []Recipient
	// Priority is Bull's: 1 runs before all larger numbers, 0 after them.
	Priority  int
	CreatedAt time.Time
}

// MaxSubmission is the largest number of recipients of a Submission.
const MaxSubmission = 100

// ListHash identifies the recipients, in their order: SHA-256 in hex.
func (s Submission) ListHash() string {
	text, err := json.Marshal(s.Recipients)
	if err != nil { // strings and maps of strings always marshal
		panic(fmt.Sprintf("marshalling recipients: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// JobID is the id of its one job.
func (s Submission) JobID() string { return JobID(s.Key, 0) }

// Lease is a claim that a submission's recipients are born under: nobody else ever sees them waiting.
type Lease struct {
	Token string
	// Until is when others may take the recipients over, unless the lease is renewed.
	Until time.Time
}

// Submitted is what became of a submission.
type Submitted struct {
	// Created is false if the key was known: then nothing was written, and Record is the one that is there.
	Created bool
	Record  Record
	// Claimed are the recipients in their order; only of a submission that was born under a lease.
	Claimed []Claimed
}

// Matches reports whether the record is of this very mail.
func (s Submission) Matches(record Record) bool {
	return record.ContentHash == s.Content.Hash() && record.ListHash == s.ListHash()
}

// SubmittedResult is what becomes of one recipient of a submission that was born under a lease with this token.
type SubmittedResult struct {
	Token string
	Result
}
