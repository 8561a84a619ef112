package campaign

import "time"

// JobReport is how a job stands, for whoever asks.
type JobReport struct {
	ID string
	// Key is the campaign's key; empty for a job that a legacy program wrote.
	Key         string
	Status      JobStatus
	Tally       Tally
	CreatedAt   time.Time
	StartedAt   *time.Time
	CompletedAt *time.Time
}

// RecipientReport is what became of one recipient, for whoever asks.
type RecipientReport struct {
	ID      string
	Address string
	Name    string
	State   State
	// Attempts counts those that ended with a verdict of the relay's.
	Attempts int
	// Code, EnhancedCode and Category are the last verdict's; Detail says in words what is wrong, without an address.
	Code         int
	EnhancedCode string
	Category     string
	Detail       string
	// NextAttemptAt is set while the recipient is deferred, CompletedAt once it has ended.
	NextAttemptAt *time.Time
	CompletedAt   *time.Time
}
