package campaign

import "time"

// MessageQuery says which messages are asked for. Its zero value, but for Limit, asks for all of Cartero's own.
type MessageQuery struct {
	// Recipient is an address as people write it; empty means everybody's. Only with it, messages that a legacy worker sent
	// are among them: such a worker doesn't note when it failed.
	Recipient string
	// Since and Until bound the time of the first attempt: not before Since, and before Until. Zero is no bound.
	Since, Until time.Time
	// Success asks for those that were accepted, or for those that have ended otherwise; nil for both, and for those that
	// are tried again.
	Success *bool
	// After is the last message of the page before; the zero value asks for the first page.
	After MessageCursor
	// Limit is the most messages that are returned, at least 1.
	Limit int
}

// MessageCursor is the place of a message in the order of all: by time and id, the newest first.
type MessageCursor struct {
	At time.Time
	ID string
}

// Message is the record of a mail that was handed to an SMTP server at least once.
type Message struct {
	// Report is what became of it. Its ID is the recipient's.
	Report RecipientReport
	// At is the time of the first attempt; of a legacy worker's message it is when it was sent, or its job was started.
	At    time.Time
	JobID string
	// Subject is the campaign's, whole; of a legacy program's job, as far as the column goes.
	Subject string
	// Campaign is the campaign's key and Origin its origin; both are empty for a legacy program's job.
	Campaign string
	Origin   Origin
	// Category is what the program that handed the mail in calls this kind of mail.
	Category string
	// From is the sender's address; empty for the default of the worker that sent it.
	From string
}

// Cursor is the message's place.
func (m Message) Cursor() MessageCursor { return MessageCursor{At: m.At, ID: m.Report.ID} }
