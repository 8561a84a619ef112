package worker

import (
	"context"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Store is what the worker needs of the database. Its writes are fenced: a row is changed only while it carries the
// token that the caller claimed it with. A row that ends, or is given back, loses its token; one in doubt keeps it.
//
// Two rules hold wherever a recipient goes back to waiting (Record, Release, Rescue): in a cancelled campaign it becomes
// cancelled; in a job that a legacy program wrote it becomes deferred and due at once, so that the outbox rings the job.
type Store interface {
	Leases
	Submissions
	Campaigns
	// Job returns the job with its campaign's flags, or campaign.ErrNotFound.
	Job(ctx context.Context, id string) (campaign.Job, error)
	// StartJob sets PROCESSING and startedAt on a PENDING job, and the campaign's startedAt if it has none.
	StartJob(ctx context.Context, id string, now time.Time) error
	// Claim leases up to claim.Limit due recipients, by compare-and-set, in id order. It returns none while the job's
	// campaign is unsealed, suspended, cancelled or held. With claim.Announce they are announced as well.
	Claim(ctx context.Context, claim campaign.Claim) ([]campaign.Claimed, error)
	// Announce marks claimed recipients as being about to be sent: from now on their mail may be on the wire, and the
	// legacy column says FAILED until the outcome is known. It returns the ids that still carried the token and whose
	// campaign may still send; only these may be sent.
	Announce(ctx context.Context, token string, ids []string, now time.Time) ([]string, error)
	// Record writes results, in one transaction, to the recipients that still carry the token. A recipient that was
	// meanwhile put in doubt, under the same token, takes the certain result. It returns how many rows it changed.
	Record(ctx context.Context, token string, results []campaign.Result) (int, error)
	// RecordLost writes results of claims that the database has lost: of these recipients, those who were accepted and wait
	// under nobody's token. It returns how many.
	RecordLost(ctx context.Context, results []campaign.Result) (int, error)
	// FinishJob completes the job if no recipient is left to try: status, completedAt and the legacy counters. On a
	// job that is finished already it counts again, since a certain result may have replaced a doubt; if that result
	// left a recipient to try, the job is PROCESSING again.
	FinishJob(ctx context.Context, id string, now time.Time) (campaign.JobProgress, error)
	// PostponeRing says that the queue has these jobs until then: the outbox leaves them alone.
	PostponeRing(ctx context.Context, jobs []campaign.DueJob, until time.Time) error
}

// Campaigns is what a worker needs of the database to follow the course of campaigns, and to change it.
type Campaigns interface {
	// Runnable returns those of the jobs whose recipients may be sent now, each with the revision of its campaign: a run
	// whose job is missing ends, one whose campaign has another revision reads its job anew.
	Runnable(ctx context.Context, jobIDs []string, now time.Time) (map[string]int, error)
	// Ended counts how the recipients of a campaign ended that its abort policy counts: since it began or was resumed.
	Ended(ctx context.Context, key string) (campaign.Ended, error)
	// Cancel ends the job's campaign, for a reason that is one of campaign's End constants.
	Cancel(ctx context.Context, key, reason string, now time.Time) error
	// HoldCampaign stops the job's campaign until hold.Until; one whose Until has come is a note that stops nobody, and
	// the zero Hold clears. A hold in force that ends later stays. A legacy job, with no key, is not held.
	HoldCampaign(ctx context.Context, key string, hold campaign.Hold) error
}

// Leases is what a worker needs of the database to keep its claims, and to end those of the dead.
type Leases interface {
	// Time is the database's time, by which leases run.
	Time(ctx context.Context) (time.Time, error)
	// RenewLeases extends the leases under these tokens, and returns the tokens without a lease that runs: it was ended, or
	// is not taken yet.
	RenewLeases(ctx context.Context, tokens []string, until time.Time) (ended []string, err error)
	// Release gives back what is left under the token: recipients that were claimed and not announced become pending
	// or deferred again, as they were. It returns how many.
	Release(ctx context.Context, token string) (int, error)
	// Unclaim gives back what a claim has taken of which nobody knows whether it was carried out: nobody under the token was
	// sent, announced or not. It returns how many.
	Unclaim(ctx context.Context, token, jobID string) (int, error)
	// Held returns the ids of the recipients that are active or in doubt under the token, and whether each is
	// announced; one in doubt is.
	Held(ctx context.Context, token string) (map[string]bool, error)
	// Rescue ends the leases that ran out: recipients not announced are given back, announced ones become inDoubt.
	Rescue(ctx context.Context, now time.Time) (Rescued, error)
}

// Submissions is what a worker needs of the database to send what is submitted.
type Submissions interface {
	// Submit writes mails in one transaction; each new one is claimed and announced under the lease at now. Made again with
	// the same lease, it grants the same mails.
	Submit(ctx context.Context, mails []campaign.Submission, lease *campaign.Lease, now time.Time) ([]campaign.Submitted, error)
	// RecordSubmitted is Record for recipients of many submissions, under many tokens, in one transaction. It also finishes
	// their jobs that have nobody left to try, and ends their leases that hold nobody.
	RecordSubmitted(ctx context.Context, results []campaign.SubmittedResult, now time.Time) error
}

// Rescued is what a rescue came to.
type Rescued struct {
	// Released counts the recipients given back, InDoubt those whose mail may have been accepted.
	Released int
	InDoubt  int
	// JobIDs are the jobs of these recipients, each once: the caller finishes those that have nobody left to try.
	JobIDs []string
}
