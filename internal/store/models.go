package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// campaignRow is a row of Campaign.
type campaignRow struct {
	Key             string  `gorm:"column:key;primaryKey"`
	Origin          string  `gorm:"column:origin"`
	ContentHash     string  `gorm:"column:contentHash"`
	ListHash        string  `gorm:"column:listHash"`
	Content         string  `gorm:"column:content"`
	JobSize         int     `gorm:"column:jobSize"`
	TotalRecipients int64   `gorm:"column:totalRecipients"`
	TotalJobs       int     `gorm:"column:totalJobs"`
	Duplicates      int64   `gorm:"column:duplicates"`
	Invalid         int64   `gorm:"column:invalid"`
	InvalidLines    string  `gorm:"column:invalidLines"`
	Suspended       bool    `gorm:"column:suspended"`
	HoldReason      string  `gorm:"column:holdReason"`
	HoldMessage     string  `gorm:"column:holdMessage"`
	HoldUntil       stamp   `gorm:"column:holdUntil"`
	CreatedAt       stamp   `gorm:"column:createdAt;autoCreateTime:false"`
	SealedAt        stamp   `gorm:"column:sealedAt"`
	StartedAt       stamp   `gorm:"column:startedAt"`
	CancelledAt     stamp   `gorm:"column:cancelledAt"`
	Category        string  `gorm:"column:category"`
	Priority        int     `gorm:"column:priority"`
	CreatedBy       string  `gorm:"column:createdBy"`
	Owner           string  `gorm:"column:owner"`
	OwnerSeenAt     stamp   `gorm:"column:ownerSeenAt"`
	Revision        int     `gorm:"column:revision"`
	OpensAt         stamp   `gorm:"column:opensAt"`
	ClosesAt        stamp   `gorm:"column:closesAt"`
	StartBefore     stamp   `gorm:"column:startBefore"`
	SteeredAt       stamp   `gorm:"column:steeredAt"`
	SuspendedAt     stamp   `gorm:"column:suspendedAt"`
	EndReason       string  `gorm:"column:endReason"`
	Steering        *string `gorm:"column:steering"`
	Dropped         *string `gorm:"column:dropped"`
	Suppress        bool    `gorm:"column:suppress"`
	ListID          string  `gorm:"column:listId"`
}

// steering is what the column of this name holds, as JSON: NULL for the zero value.
type steering struct {
	Policy    campaign.Policy `json:"policy,omitzero"`
	Idle      time.Duration   `json:"idle,omitempty"`
	AbortBase campaign.Ended  `json:"abortBase,omitzero"`
	Verbs     campaign.Verbs  `json:"verbs,omitzero"`
}

func (s steering) column() (*string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the steering of the campaign: %w", err)
	}
	if string(text) == "{}" {
		return nil, nil //nolint:nilnil // NULL is a value
	}
	return new(string(text)), nil
}

func (r campaignRow) steering() (steering, error) {
	var s steering
	if r.Steering == nil {
		return s, nil
	}
	if err := json.Unmarshal([]byte(*r.Steering), &s); err != nil {
		return s, fmt.Errorf("reading the steering of the campaign: %w", err)
	}
	return s, nil
}

// control is the campaign's control but for its policy, which is in the steering.
func (r campaignRow) control() campaign.Control {
	return campaign.Control{
		Suspended: r.Suspended, OpensAt: r.OpensAt.Time, ClosesAt: r.ClosesAt.Time, StartBefore: r.StartBefore.Time,
	}
}

// TableName implements gorm's schema.Tabler.
func (campaignRow) TableName() string { return "Campaign" }

// recordColumns are the columns of a campaignRow that a campaign.Record is made of: all but the content.
var recordColumns = []string{
	"key", "origin", "contentHash", "listHash", "jobSize", "totalRecipients", "totalJobs", "duplicates", "invalid",
	"invalidLines", "suspended", "holdReason", "holdMessage", "holdUntil", "createdAt", "sealedAt", "startedAt",
	"cancelledAt", "createdBy", "owner", "ownerSeenAt", "revision", "opensAt", "closesAt", "startBefore", "steeredAt", "suspendedAt",
	"endReason", "steering", "dropped",
}

func (r campaignRow) record() (campaign.Record, error) {
	lines := []int{}
	if r.InvalidLines != "[]" { // of most campaigns it is: of every single mail
		if err := json.Unmarshal([]byte(r.InvalidLines), &lines); err != nil {
			return campaign.Record{}, fmt.Errorf("reading the invalid lines of the campaign: %w", err)
		}
	}
	var dropped []campaign.Dropped
	if r.Dropped != nil {
		if err := json.Unmarshal([]byte(*r.Dropped), &dropped); err != nil {
			return campaign.Record{}, fmt.Errorf("reading what of the list was dropped: %w", err)
		}
	}
	steering, err := r.steering()
	if err != nil {
		return campaign.Record{}, err
	}
	control := r.control()
	control.Policy = steering.Policy
	return campaign.Record{
		Key:         r.Key,
		Origin:      campaign.Origin(r.Origin),
		ContentHash: r.ContentHash,
		ListHash:    r.ListHash,
		JobSize:     r.JobSize,
		Totals: campaign.Totals{
			Recipients:   r.TotalRecipients,
			Jobs:         r.TotalJobs,
			Duplicates:   r.Duplicates,
			Invalid:      r.Invalid,
			InvalidLines: lines,
			Dropped:      dropped,
		},
		Control:     control,
		Revision:    r.Revision,
		SteeredAt:   r.SteeredAt.pointer(),
		SuspendedAt: r.SuspendedAt.pointer(),
		Idle:        steering.Idle,
		Hold:        r.hold(),
		AbortBase:   steering.AbortBase,
		Verbs:       steering.Verbs,
		Owner:       campaign.Owner{ID: r.Owner, SeenAt: r.OwnerSeenAt.Time},
		CreatedAt:   r.CreatedAt.Time,
		CreatedBy:   r.CreatedBy,
		SealedAt:    r.SealedAt.pointer(),
		StartedAt:   r.StartedAt.pointer(),
		CancelledAt: r.CancelledAt.pointer(),
		EndReason:   r.ending(),
	}, nil
}

// ending is why the campaign was ended. Programs that know no reasons cancelled it, and wrote none.
func (r campaignRow) ending() string {
	if r.EndReason == "" && !r.CancelledAt.IsZero() {
		return campaign.EndCancelled
	}
	return r.EndReason
}

func (r campaignRow) hold() *campaign.Hold {
	if r.HoldUntil.IsZero() {
		return nil
	}
	return &campaign.Hold{Reason: r.HoldReason, Message: r.HoldMessage, Until: r.HoldUntil.Time}
}

// jobRow is a row of EmailJob.
type jobRow struct {
	ID           string  `gorm:"column:id;primaryKey"`
	Subject      string  `gorm:"column:subject"`
	Body         string  `gorm:"column:body"`
	Status       string  `gorm:"column:status"`
	TotalEmails  int64   `gorm:"column:totalEmails"`
	SentEmails   int64   `gorm:"column:sentEmails"`
	FailedEmails int64   `gorm:"column:failedEmails"`
	CreatedAt    stamp   `gorm:"column:createdAt;autoCreateTime:false"`
	StartedAt    stamp   `gorm:"column:startedAt"`
	CompletedAt  stamp   `gorm:"column:completedAt"`
	CampaignKey  *string `gorm:"column:campaignKey"`
	Shard        *int    `gorm:"column:shard"`
	Rings        int     `gorm:"column:rings"`
	RungAt       stamp   `gorm:"column:rungAt"`
}

// TableName implements gorm's schema.Tabler.
func (jobRow) TableName() string { return "EmailJob" }

// finished reports whether the job's status is one of an end.
func (r jobRow) finished() bool {
	return r.Status == string(campaign.JobCompleted) || r.Status == string(campaign.JobFailed)
}

// recipientRow is a row of Recipient.
type recipientRow struct {
	ID             string  `gorm:"column:id;primaryKey"`
	JobID          string  `gorm:"column:jobId"`
	Email          string  `gorm:"column:email"`
	Name           *string `gorm:"column:name"`
	Status         string  `gorm:"column:status"`
	Error          *string `gorm:"column:error"`
	SentAt         stamp   `gorm:"column:sentAt"`
	State          *string `gorm:"column:state"`
	Attempts       int     `gorm:"column:attempts"`
	FirstAttemptAt stamp   `gorm:"column:firstAttemptAt"`
	NextAttemptAt  stamp   `gorm:"column:nextAttemptAt"`
	LeaseToken     *string `gorm:"column:leaseToken"`
	AnnouncedAt    stamp   `gorm:"column:announcedAt"`
	CompletedAt    stamp   `gorm:"column:completedAt"`
	SMTPCode       *int    `gorm:"column:smtpCode"`
	EnhancedCode   *string `gorm:"column:enhancedCode"`
	Category       *string `gorm:"column:category"`
	Variables      *string `gorm:"column:variables"`
	Address        *string `gorm:"column:address"`
}

// TableName implements gorm's schema.Tabler.
func (recipientRow) TableName() string { return "Recipient" }

// leaseRow is a row of Lease: the recipients of one job that one token holds. Renewing a lease changes this row alone.
type leaseRow struct {
	Token string `gorm:"column:token;primaryKey"`
	JobID string `gorm:"column:jobId;primaryKey"`
	// Until is NULL once nothing is active under the lease; the row stays while a recipient is in doubt under it.
	Until stamp `gorm:"column:until"`
}

// TableName implements gorm's schema.Tabler.
func (leaseRow) TableName() string { return "Lease" }

// effective is the state that the row is in, whoever wrote it.
func (r recipientRow) effective() campaign.State {
	return campaign.EffectiveState(campaign.LegacyStatus(r.Status), campaign.State(deref(r.State)), !r.AnnouncedAt.IsZero())
}

// deref returns what p points to, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// orNull returns a pointer to value, or nil, which is NULL, for the zero value.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}
