package campaign

import (
	"context"
	"errors"
	"time"
)

// ErrStarted tells that a worker took the campaign up: its message and recipients can't be changed any more.
var ErrStarted = errors.New("the campaign has started")

// Control is what steers a campaign from outside: everything about it that may change while it runs.
type Control struct {
	// Suspended has nothing new sent.
	Suspended bool
	// OpensAt and ClosesAt bound when recipients are claimed and announced: not before OpensAt, and before ClosesAt. The
	// zero time is no bound. Whoever steers moves them on to the next window.
	OpensAt  time.Time
	ClosesAt time.Time
	// StartBefore: a campaign that no worker took up before then is not taken up any more. The zero time is no bound.
	StartBefore time.Time
	Policy      Policy
}

// open reports whether recipients may be claimed and announced at this time, as far as the control goes.
func (c Control) open(now time.Time, started bool) bool {
	return !c.Suspended && !now.Before(c.OpensAt) && (c.ClosesAt.IsZero() || now.Before(c.ClosesAt)) &&
		(started || c.StartBefore.IsZero() || now.Before(c.StartBefore))
}

// Policy is what workers do with the campaign's mails. The zero value of each part leaves it to the worker's configuration.
type Policy struct {
	Retry Retry  `json:"retry,omitzero"`
	Rate  Rate   `json:"rate,omitzero"`
	Rules []Rule `json:"rules,omitempty"`
	Abort Abort  `json:"abort,omitzero"`
}

// Retry is the schedule of attempts. Each zero value leaves it to the worker's configuration.
type Retry struct {
	MaxAttempts    int           `json:"maxAttempts,omitempty"`
	InitialBackoff time.Duration `json:"initialBackoff,omitempty"`
	MaxBackoff     time.Duration `json:"maxBackoff,omitempty"`
	MaxAge         time.Duration `json:"maxAge,omitempty"`
	// InDoubt has mails in doubt sent again.
	InDoubt bool `json:"inDoubt,omitempty"`
}

// Rate is the most mails in a period, over all workers; the zero value is no limit.
type Rate struct {
	Messages int           `json:"messages,omitempty"`
	Period   time.Duration `json:"period,omitempty"`
	// Burst is the number of mails that may be sent at once after a quiet time, at least 1.
	Burst int `json:"burst,omitempty"`
}

// Action is what a Rule does.
type Action string

// The actions, as the API names them.
const (
	ActionFailRecipient  Action = "FailRecipient"
	ActionRetryRecipient Action = "RetryRecipient"
	ActionPauseCampaign  Action = "PauseCampaign"
	ActionFailCampaign   Action = "FailCampaign"
)

// Rule gives refusals a meaning; all that is set must match.
type Rule struct {
	Action        Action   `json:"action"`
	Codes         []int    `json:"codes,omitempty"`
	EnhancedCodes []string `json:"enhancedCodes,omitempty"`
	// Stages are mail.Phase values: mail, rcpt, data, dot.
	Stages []string `json:"stages,omitempty"`
	// Pattern is a regular expression (RE2) that the verdict's Detail matches anywhere; empty for any.
	Pattern string `json:"pattern,omitempty"`
}

// Abort says when too many recipients fail. The shares are of the recipients that were accepted, bounced or failed since
// the campaign began or was resumed.
type Abort struct {
	// MinSample is the number of them before the shares count; 0 means that nothing is ever aborted.
	MinSample            int `json:"minSample,omitempty"`
	MaxHardBouncePercent int `json:"maxHardBouncePercent,omitempty"`
	MaxFailedPercent     int `json:"maxFailedPercent,omitempty"`
	// Fail ends the campaign; else it is paused until somebody resumes it.
	Fail bool `json:"fail,omitempty"`
}

// Ended counts the recipients that ended by the word of a server.
type Ended struct {
	Accepted int64 `json:"accepted,omitempty"`
	Bounced  int64 `json:"bounced,omitempty"`
	Failed   int64 `json:"failed,omitempty"`
}

// Total is their number.
func (e Ended) Total() int64 { return e.Accepted + e.Bounced + e.Failed }

// Minus is what came after an earlier count.
func (e Ended) Minus(before Ended) Ended {
	return Ended{Accepted: e.Accepted - before.Accepted, Bounced: e.Bounced - before.Bounced, Failed: e.Failed - before.Failed}
}

// Exceeded reports whether more recipients failed than the policy allows.
func (a Abort) Exceeded(since Ended) bool {
	total := since.Total()
	if a.MinSample == 0 || total < int64(a.MinSample) {
		return false
	}
	return since.Bounced*100 > int64(a.MaxHardBouncePercent)*total ||
		(since.Bounced+since.Failed)*100 > int64(a.MaxFailedPercent)*total
}

// Forever is the end of a hold that only a person ends.
var Forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Reasons why a campaign was ended before everybody was tried, as the API names them.
const (
	EndCancelled              = "Cancelled"
	EndDeleted                = "Deleted"
	EndStartDeadlineExceeded  = "StartDeadlineExceeded"
	EndDeadlineExceeded       = "DeadlineExceeded"
	EndAbortThresholdExceeded = "AbortThresholdExceeded"
	EndFailurePolicyMatched   = "FailurePolicyMatched"
)

// Verbs are the requests of people that were answered, by their tokens; and what of them is still to be done.
type Verbs struct {
	ResumedAt string `json:"resumedAt,omitempty"`
	// RetriedAt is the last request to try failed recipients again. Until RetryDone, who failed before RetryTime is still
	// being given back.
	RetriedAt string    `json:"retriedAt,omitempty"`
	RetryTime time.Time `json:"retryTime,omitzero"`
	RetryDone bool      `json:"retryDone,omitempty"`
	Resolved  string    `json:"resolved,omitempty"`
	TestedAt  string    `json:"testedAt,omitempty"`
}

// RetryRequest has recipients that failed tried again.
type RetryRequest struct {
	Token string
	// Categories restricts it to failures of these categories, bounces among them; without any, all that have the state
	// failed.
	Categories []string
	Now        time.Time
}

// Resolution ends the doubts of a campaign.
type Resolution struct {
	// Token is empty for a resolution that the campaign's policy asks for; those are not remembered.
	Token string
	// State is what the recipients in doubt become: accepted, failed, or pending, which tries them again.
	State State
	Now   time.Time
}

// Owner is who steers a campaign: the object that speaks for it. Others that have the same key follow it.
type Owner struct {
	// ID is the object's UID; empty for nobody.
	ID string
	// SeenAt is when the owner was last at work.
	SeenAt time.Time
}

// OwnerPatience is how long an owner that is not at work keeps others from taking its place.
const OwnerPatience = 90 * time.Second

// Steered is a control as it is to be from now on.
type Steered struct {
	Control Control
	// Idle becomes Record.Idle.
	Idle time.Duration
	Now  time.Time
}

// Steering is what changes the course of a campaign. Every method is idempotent, like those of Ledger, and fails with
// ErrNotFound if there is no such campaign. Whatever workers must notice counts Record.Revision up.
type Steering interface {
	// Steer sets the control and the idle time, if they differ from what is there. SuspendedAt becomes Now when the
	// campaign becomes suspended, and nil when it no longer is.
	Steer(ctx context.Context, key string, to Steered) (Record, error)
	// Own makes ownerID the owner if nobody is, or if the owner was not seen for OwnerPatience; for the owner it notes that
	// it is at work. It returns who is the owner now.
	Own(ctx context.Context, key, ownerID string, now time.Time) (Owner, error)
	// Disown leaves the campaign without owner if ownerID is the owner.
	Disown(ctx context.Context, key, ownerID string) error
	// Reopen unseals a campaign that no worker has taken up, so that it can be discarded and written anew. It fails with
	// ErrStarted if one has.
	Reopen(ctx context.Context, key string) error
	// Resume ends a hold that lasts Forever, counts Record.AbortBase anew, and remembers the token. With the token that is
	// remembered it does nothing.
	Resume(ctx context.Context, key, token string) error
	// RetryFailed gives recipients that failed before request.Now back: they become pending, with no attempt counted, and
	// their jobs unfinished. It returns how many this call did. With the token that is remembered as done it does nothing;
	// cut short, it goes on with the same time. A cancelled campaign stays as it is.
	RetryFailed(ctx context.Context, key string, request RetryRequest) (int64, error)
	// ResolveInDoubt gives the recipients in doubt that state, and fences off what a lost worker may still tell of them. It
	// returns how many this call did. With the token that is remembered it does nothing. In a cancelled campaign a
	// recipient to try again becomes cancelled.
	ResolveInDoubt(ctx context.Context, key string, resolution Resolution) (int64, error)
	// HoldCampaign stops the campaign until hold.Until. A hold in force that ends later stays.
	HoldCampaign(ctx context.Context, key string, hold Hold) error
	// NoteTest remembers the token of a request for test mails.
	NoteTest(ctx context.Context, key, token string) error
}
