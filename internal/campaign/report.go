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
