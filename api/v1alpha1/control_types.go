package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Schedule says when a campaign may send.
type Schedule struct {
	// startTime is the moment before which nothing is sent. The list is read and checked when the object is applied. Frozen
	// once status.startTime is set.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// startingDeadlineSeconds is how late the campaign may start after startTime, or after the first window that opens then.
	// One that could not start by then, for whatever reason, is not sent at all: it has Failed with StartDeadlineExceeded. It
	// has no meaning without startTime.
	// +optional
	// +default=86400
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=31536000
	StartingDeadlineSeconds int64 `json:"startingDeadlineSeconds,omitempty"`

	// timeZone is the zone of the windows, as the IANA time zone database names it, such as Europe/Madrid.
	// +optional
	// +default="Etc/UTC"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local'",message="spec.schedule.timeZone must be the name of a zone of the IANA time zone database, such as Europe/Madrid"
	TimeZone string `json:"timeZone,omitempty"`

	// windows are the times of the week in which mails are sent, retries among them; without any, always. Can be changed
	// at any time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=14
	Windows []Window `json:"windows,omitempty"`
}

// Day is a day of the week.
// +kubebuilder:validation:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
type Day string

// Window is a time of the day on some days of the week.
// +kubebuilder:validation:XValidation:rule="self.start != self.end",message="spec.schedule.windows must have a start and an end that differ; 00:00 to 24:00 is the whole day"
type Window struct {
	// days are the days on which the window begins; without any, every day.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	Days []Day `json:"days,omitempty"`

	// start is when the window opens, HH:MM in timeZone.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:XValidation:rule="self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",message="spec.schedule.windows.start must be a time of the day, HH:MM from 00:00 to 23:59"
	Start string `json:"start,omitempty"`

	// end is when it closes, HH:MM in timeZone; 24:00 is the end of the day. One that is not after start is on the next day.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:XValidation:rule="self.matches('^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$')",message="spec.schedule.windows.end must be a time of the day, HH:MM from 00:00 to 24:00"
	End string `json:"end,omitempty"`
}

// Throttle limits how fast a campaign is sent.
// +kubebuilder:validation:MinProperties=1
type Throttle struct {
	// rate is the most mails in a time, over all workers together. SMTP_SEND_INTERVAL of the workers holds as well.
	// +optional
	Rate *Rate `json:"rate,omitempty"`
}

// Rate is a number of mails in a time.
// +kubebuilder:validation:XValidation:rule="!has(self.burst) || self.burst <= self.messages",message="spec.throttle.rate.burst must be at most spec.throttle.rate.messages"
type Rate struct {
	// messages is the number of mails in periodSeconds.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Messages int32 `json:"messages,omitempty"`

	// periodSeconds is the time that messages are spread over.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`

	// burst is the number of mails that may be sent at once after a quiet time; 1 spreads them evenly.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Burst *int32 `json:"burst,omitempty"`
}

// InDoubtPolicy says what becomes of a mail of which nobody can know whether it was accepted.
// +kubebuilder:validation:Enum=Hold;Retry
type InDoubtPolicy string

// The policies of doubt.
const (
	// InDoubtHold: it is not sent again; a person decides.
	InDoubtHold InDoubtPolicy = "Hold"
	// InDoubtRetry: it is sent again, as a mail server does; some get it twice.
	InDoubtRetry InDoubtPolicy = "Retry"
)

// Retry is the schedule of attempts at a recipient that the server put off.
// +kubebuilder:validation:XValidation:rule="!has(self.initialBackoffSeconds) || !has(self.maxBackoffSeconds) || self.initialBackoffSeconds <= self.maxBackoffSeconds",message="spec.retry.initialBackoffSeconds must be at most spec.retry.maxBackoffSeconds"
type Retry struct {
	// maxAttempts is the number of attempts per recipient, the first included. Default: RETRY_MAX_ATTEMPTS of the workers, 6.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=50
	MaxAttempts *int32 `json:"maxAttempts,omitempty"`

	// initialBackoffSeconds bounds the wait before the second attempt; it doubles from there, and a random part of it is
	// waited. Default: RETRY_INITIAL_BACKOFF of the workers, 60.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	InitialBackoffSeconds *int32 `json:"initialBackoffSeconds,omitempty"`

	// maxBackoffSeconds bounds the wait between two attempts. Default: RETRY_MAX_BACKOFF of the workers, 14400.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	MaxBackoffSeconds *int32 `json:"maxBackoffSeconds,omitempty"`

	// maxAgeSeconds is the time after the first attempt at which a recipient is given up. Default: RETRY_MAX_AGE of the
	// workers, 172800.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	MaxAgeSeconds *int32 `json:"maxAgeSeconds,omitempty"`

	// inDoubt says what becomes of a mail whose connection was lost between its end and the server's reply. Hold: it is not
	// sent again, and counted. Retry: it is sent again, and some recipients get it twice.
	// +optional
	// +default="Hold"
	InDoubt InDoubtPolicy `json:"inDoubt,omitempty"`
}

// FailurePolicy is what replies of the SMTP server mean for this campaign.
type FailurePolicy struct {
	// rules are asked in order; the first that matches decides. A reply that none matches means what it means elsewhere.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	Rules []FailureRule `json:"rules,omitempty"`
}

// FailureAction is what a rule does.
// +kubebuilder:validation:Enum=FailRecipient;RetryRecipient;PauseCampaign;FailCampaign
type FailureAction string

// The actions of a rule.
const (
	// ActionFailRecipient: the recipient is given up.
	ActionFailRecipient FailureAction = "FailRecipient"
	// ActionRetryRecipient: the recipient is tried again, as spec.retry says.
	ActionRetryRecipient FailureAction = "RetryRecipient"
	// ActionPauseCampaign: the recipient waits, and so do all others, until a person resumes the campaign.
	ActionPauseCampaign FailureAction = "PauseCampaign"
	// ActionFailCampaign: the recipient is given up, and whoever was not mailed yet is cancelled.
	ActionFailCampaign FailureAction = "FailCampaign"
)

// FailureRule gives replies a meaning.
type FailureRule struct {
	// action is what is done.
	// +required
	Action FailureAction `json:"action,omitempty"`

	// onReplies are the replies that the rule is for: all that is set must match.
	// +required
	OnReplies ReplyMatch `json:"onReplies,omitzero"`
}

// ReplyStage is the command that a reply answers.
// +kubebuilder:validation:Enum=Mail;Rcpt;Data;Dot
type ReplyStage string

// ReplyMatch describes replies that refuse a mail for now or for good (4xx and 5xx); all that is set must match.
// +kubebuilder:validation:MinProperties=1
type ReplyMatch struct {
	// codes are reply codes, such as 452.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Minimum=400
	// +kubebuilder:validation:items:Maximum=599
	Codes []int32 `json:"codes,omitempty"`

	// enhancedCodes are enhanced status codes (RFC 3463), such as 5.7.1.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=16
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[45][.][0-9]{1,3}[.][0-9]{1,3}$')",message="spec.failurePolicy.rules.onReplies.enhancedCodes must be like 5.7.1 (RFC 3463)"
	EnhancedCodes []string `json:"enhancedCodes,omitempty"`

	// stages are the commands that the reply answers: Mail (MAIL FROM), Rcpt (RCPT TO), Data (DATA), Dot (the end of the mail).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Stages []ReplyStage `json:"stages,omitempty"`

	// pattern is a regular expression (RE2) that the text of the reply matches anywhere; addresses in it are masked.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="''.matches(self) in [true, false]",message="spec.failurePolicy.rules.onReplies.pattern must be a regular expression (RE2)"
	Pattern string `json:"pattern,omitempty"`
}

// AbortAction is what happens to a campaign that goes wrong.
// +kubebuilder:validation:Enum=Pause;Fail
type AbortAction string

// The actions of an abort policy.
const (
	// AbortPause: nothing more is sent until a person resumes the campaign.
	AbortPause AbortAction = "Pause"
	// AbortFail: whoever was not mailed yet is cancelled.
	AbortFail AbortAction = "Fail"
)

// AbortPolicy says when too many recipients fail. The shares are of the recipients that were accepted, bounced or failed.
type AbortPolicy struct {
	// minSample is the number of recipients that must have ended before the shares count.
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinSample *int32 `json:"minSample,omitempty"`

	// maxHardBouncePercent is the largest share of mailboxes that refuse the mail for good; 100 is no limit.
	// +optional
	// +default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxHardBouncePercent *int32 `json:"maxHardBouncePercent,omitempty"`

	// maxFailedPercent is the largest share of recipients that bounced or failed for whatever reason; 100 is no limit.
	// +optional
	// +default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxFailedPercent *int32 `json:"maxFailedPercent,omitempty"`

	// action is what happens then. Pause: nothing more is sent until somebody resumes the campaign. Fail: the campaign is
	// over.
	// +optional
	// +default="Pause"
	Action AbortAction `json:"action,omitempty"`
}
