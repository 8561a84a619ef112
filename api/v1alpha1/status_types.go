package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TerminalState is how a campaign ended; empty while it has not.
// +kubebuilder:validation:Enum=Completed;CompletedWithFailures;Cancelled;Failed
type TerminalState string

// The terminal states.
const (
	// TerminalCompleted: every recipient was accepted.
	TerminalCompleted TerminalState = "Completed"
	// TerminalCompletedWithFailures: every recipient has ended, some otherwise than accepted.
	TerminalCompletedWithFailures TerminalState = "CompletedWithFailures"
	// TerminalCancelled: the campaign was cancelled before every recipient had been tried.
	TerminalCancelled TerminalState = "Cancelled"
	// TerminalFailed: there were recipients, and not one was accepted.
	TerminalFailed TerminalState = "Failed"
)

// EmailCampaignStatus is how a campaign stands. It holds no address and nothing per recipient.
type EmailCampaignStatus struct {
	// conditions are the campaign's conditions: Accepted, Materialized, Enqueued, Suspended, Complete, Failed, Ready, and,
	// only while true, Reconciling or Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that this status is about; -1 before the first.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// campaignKey is the identity in the database: spec.campaignKey, or <namespace>/<name>.
	// +optional
	// +kubebuilder:validation:MaxLength=317
	CampaignKey string `json:"campaignKey,omitempty"`

	// contentHash identifies the message that is sent: SHA-256 in hex.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ContentHash string `json:"contentHash,omitempty"`

	// jobs is the number of jobs that the recipients were divided into.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Jobs int32 `json:"jobs,omitempty"`

	// materializedTime is when all recipients were in the database.
	// +optional
	MaterializedTime *metav1.Time `json:"materializedTime,omitempty"`

	// startTime is when the first recipient was taken up by a worker; it is not reset when a suspended campaign goes on.
	// From then on message, recipients and jobSize are frozen.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the campaign ended, however it did.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// nextTransitionTime is until when the campaign waits, for example for the next attempt at a deferred recipient.
	// +optional
	NextTransitionTime *metav1.Time `json:"nextTransitionTime,omitempty"`

	// estimatedCompletionTime is when the campaign ends if it goes on as it does; absent while nothing can be said.
	// +optional
	EstimatedCompletionTime *metav1.Time `json:"estimatedCompletionTime,omitempty"`

	// lastHandledResumeAt is the token of the last answered annotation mail.cartero.dev/resume-at.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	LastHandledResumeAt string `json:"lastHandledResumeAt,omitempty"`

	// lastHandledRetryFailedAt is the token of the last answered annotation mail.cartero.dev/retry-failed-at.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	LastHandledRetryFailedAt string `json:"lastHandledRetryFailedAt,omitempty"`

	// lastHandledResolveInDoubt is the last answered annotation mail.cartero.dev/resolve-in-doubt.
	// +optional
	// +kubebuilder:validation:MaxLength=140
	LastHandledResolveInDoubt string `json:"lastHandledResolveInDoubt,omitempty"`

	// lastHandledTestSendAt is the token of the last answered annotation mail.cartero.dev/test-send-at.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	LastHandledTestSendAt string `json:"lastHandledTestSendAt,omitempty"`

	// terminalState is how the campaign ended; absent while it has not.
	// +optional
	TerminalState TerminalState `json:"terminalState,omitempty"`

	// progress is "ended/all" recipients, such as 1234/5000.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Progress string `json:"progress,omitempty"`

	// recipients counts the recipients by state.
	// +optional
	Recipients *RecipientCounts `json:"recipients,omitempty"`

	// failures counts the recipients that ended otherwise than accepted, by category; the ten most frequent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failures []FailureCount `json:"failures,omitempty"`

	// plan is what a dry run came to.
	// +optional
	Plan *Plan `json:"plan,omitempty"`

	// list tells what reading the list came to.
	// +optional
	List *ListSummary `json:"list,omitempty"`
}

// RecipientCounts counts recipients by state. The states are disjoint: they add up to total.
type RecipientCounts struct {
	// total is the number of recipients.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total int64 `json:"total"`

	// pending were not tried yet.
	// +required
	// +kubebuilder:validation:Minimum=0
	Pending int64 `json:"pending"`

	// active are being sent to.
	// +required
	// +kubebuilder:validation:Minimum=0
	Active int64 `json:"active"`

	// deferred were put off by the server, and are tried again.
	// +required
	// +kubebuilder:validation:Minimum=0
	Deferred int64 `json:"deferred"`

	// accepted were taken by the SMTP server.
	// +required
	// +kubebuilder:validation:Minimum=0
	Accepted int64 `json:"accepted"`

	// bounced were refused for good because of their mailbox.
	// +required
	// +kubebuilder:validation:Minimum=0
	Bounced int64 `json:"bounced"`

	// failed were refused for another reason, or used up their attempts.
	// +required
	// +kubebuilder:validation:Minimum=0
	Failed int64 `json:"failed"`

	// suppressed are on the suppression list, and were not tried.
	// +required
	// +kubebuilder:validation:Minimum=0
	Suppressed int64 `json:"suppressed"`

	// cancelled were not tried because the campaign was cancelled.
	// +required
	// +kubebuilder:validation:Minimum=0
	Cancelled int64 `json:"cancelled"`

	// inDoubt lost the connection between the end of the mail and the server's reply: nobody can know whether it was
	// accepted, and it is not sent again.
	// +required
	// +kubebuilder:validation:Minimum=0
	InDoubt int64 `json:"inDoubt"`
}

// FailureCount is a number of recipients that ended for the same reason.
type FailureCount struct {
	// category is the reason in one word, such as BadMailbox.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Category string `json:"category,omitempty"`

	// enhancedCode is the enhanced status code of RFC 3463, such as 5.1.1; absent where the server gave none.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	EnhancedCode string `json:"enhancedCode,omitempty"`

	// count is the number of recipients.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int64 `json:"count"`
}

// ListSummary tells what reading the list came to.
type ListSummary struct {
	// duplicates is the number of entries that were dropped because their address was in the list already.
	// +required
	// +kubebuilder:validation:Minimum=0
	Duplicates int64 `json:"duplicates"`

	// invalid is the number of entries that were left out because their address can't be mailed.
	// +required
	// +kubebuilder:validation:Minimum=0
	Invalid int64 `json:"invalid"`

	// invalidLines are the line numbers (for an inline list, positions from 1) of the first 20 such entries.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Minimum=1
	InvalidLines []int32 `json:"invalidLines,omitempty"`

	// dropped are the entries that were left out, duplicates among them, by reason, the most frequent first.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=20
	Dropped []DroppedEntries `json:"dropped,omitempty"`
}

// DroppedEntries are entries of a list that were left out for the same reason.
type DroppedEntries struct {
	// reason is why, in one CamelCase word, such as Duplicate or NoAt.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// count is the number of them.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int64 `json:"count,omitempty"`

	// lines are the line numbers (for an inline list, positions from 1) of the first 20.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:Minimum=1
	Lines []int32 `json:"lines,omitempty"`
}
