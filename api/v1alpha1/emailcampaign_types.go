package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Finalizer keeps an EmailCampaign in the cluster until the ledger has cancelled what was not sent yet.
const Finalizer = "mail.cartero.dev/ledger"

// ReadinessPolicy says when an EmailCampaign is Ready.
// +kubebuilder:validation:Enum=HandedOff;Completed
type ReadinessPolicy string

// The readiness policies.
const (
	// ReadinessHandedOff: Ready once rows and queue are durable; sending goes on.
	ReadinessHandedOff ReadinessPolicy = "HandedOff"
	// ReadinessCompleted: Ready once every recipient has ended.
	ReadinessCompleted ReadinessPolicy = "Completed"
)

// ConflictPolicy says what becomes of an object whose key has a campaign already.
// +kubebuilder:validation:Enum=Adopt;Fail
type ConflictPolicy string

// The conflict policies.
const (
	// ConflictAdopt: follow the campaign that is there, if its content is the same.
	ConflictAdopt ConflictPolicy = "Adopt"
	// ConflictFail: send nothing, and say so.
	ConflictFail ConflictPolicy = "Fail"
)

// Shutdown ends a campaign before its time.
// +kubebuilder:validation:Enum=None;Stop
type Shutdown string

// The ways to shut down.
const (
	// ShutdownNone: the campaign runs to its end.
	ShutdownNone Shutdown = "None"
	// ShutdownStop: mails on the wire are finished; whoever was not mailed yet is cancelled.
	ShutdownStop Shutdown = "Stop"
)

// DeletionPolicy says what becomes of a campaign whose object is deleted.
// +kubebuilder:validation:Enum=Stop;Orphan
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionStop: whoever was not mailed yet is cancelled.
	DeletionStop DeletionPolicy = "Stop"
	// DeletionOrphan: the campaign goes on.
	DeletionOrphan DeletionPolicy = "Orphan"
)

// EmailCampaignSpec is what a campaign shall be.
// +kubebuilder:validation:XValidation:rule="self.category != 'Marketing' || self.suppression == 'Enforce'",message="spec.suppression Ignore is for spec.category Transactional only",fieldPath=".suppression"
// +kubebuilder:validation:XValidation:rule="self.category != 'Marketing' || !has(self.unsubscribe) || self.unsubscribe.mode != 'None'",message="spec.unsubscribe.mode None is for spec.category Transactional only: receivers want marketing mail to have it",fieldPath=".unsubscribe"
// +kubebuilder:validation:XValidation:rule="has(self.campaignKey) == has(oldSelf.campaignKey) && (!has(self.campaignKey) || self.campaignKey == oldSelf.campaignKey)",message="spec.campaignKey is immutable; apply a new campaign under another name for another key",fieldPath=".campaignKey",reason=FieldValueForbidden
type EmailCampaignSpec struct {
	// campaignKey is the identity of the campaign in the database, where it is kept for ever: an object with a key that
	// has been sent is never sent again, in whatever namespace or cluster it appears. Lower-case letters, digits, and -._/
	// in between. Defaults to <namespace>/<name>. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9./_]*[a-z0-9])?$')",message="spec.campaignKey must be lower-case letters, digits and -._/ and begin and end with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('http/')",message="spec.campaignKey must not begin with http/: those keys are of mails that come over HTTP"
	CampaignKey string `json:"campaignKey,omitempty"`

	// onConflict says what to do if the key has a campaign with the same content already. Adopt: follow it; nobody is mailed
	// again. Fail: the object is Stalled with KeyConflict. Another content under the key is always a KeyConflict. Immutable.
	// +optional
	// +default="Adopt"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.onConflict is immutable; apply a new campaign under another name to change it",reason=FieldValueForbidden
	OnConflict ConflictPolicy `json:"onConflict,omitempty"`

	// suspend stops the sending while it is true; mails on the wire are finished. Can be changed until the campaign has ended.
	// +optional
	// +default=false
	Suspend *bool `json:"suspend,omitempty"`

	// shutdown Stop cancels the campaign for good: whoever was not mailed yet is not mailed. It can't be taken back.
	// +optional
	// +default="None"
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'Stop' || self == 'Stop'",message="spec.shutdown Stop can't be taken back; apply a new campaign under another name and campaignKey to send again",reason=FieldValueForbidden
	Shutdown Shutdown `json:"shutdown,omitempty"`

	// mode DryRun reads, checks and renders everything, and sends nothing: status.plan has the result. Changed to Send, it
	// sends exactly that.
	// +optional
	// +default="Send"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf || self == 'Send'",message="spec.mode Send can't be taken back; apply a new campaign under another name for a dry run",reason=FieldValueForbidden
	Mode Mode `json:"mode,omitempty"`

	// category says what kind of mail it is. Marketing: recipients can unsubscribe, and those who did, or whose mailbox is
	// gone, are left out. Transactional: it answers what the recipient did, and says so (Auto-Submitted). Immutable.
	// +optional
	// +default="Marketing"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec.category is immutable; apply a new campaign under another name to change it",reason=FieldValueForbidden
	Category Category `json:"category,omitempty"`

	// suppression says whether addresses on the suppression list are left out. Ignore is for transactional mail only. Frozen
	// once status.startTime is set.
	// +optional
	// +default="Enforce"
	Suppression SuppressionPolicy `json:"suppression,omitempty"`

	// unsubscribe says how recipients unsubscribe. Without it, marketing mail has Cartero's own unsubscribe address if the
	// engine is configured with one (UNSUBSCRIBE_URL). Frozen once status.startTime is set.
	// +optional
	Unsubscribe *Unsubscribe `json:"unsubscribe,omitempty"`

	// schedule says when to send. Without it, at once and at any time.
	// +optional
	Schedule *Schedule `json:"schedule,omitempty"`

	// activeDeadlineSeconds is how long the campaign may take from status.startTime, not counting the time while it is
	// suspended or outside of its windows. Whoever was not mailed by then is not mailed, and the campaign has Failed with
	// DeadlineExceeded. Without it, there is no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=31536000
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`

	// throttle limits how fast the campaign is sent, over all workers together. Can be changed at any time.
	// +optional
	Throttle *Throttle `json:"throttle,omitempty"`

	// retry says when a recipient that the server put off is tried again. What it leaves out is as the workers are
	// configured. Can be changed at any time.
	// +optional
	Retry *Retry `json:"retry,omitempty"`

	// failurePolicy overrides what a server's reply means. Can be changed at any time.
	// +optional
	FailurePolicy *FailurePolicy `json:"failurePolicy,omitempty"`

	// abortPolicy stops a campaign that goes wrong. Can be changed at any time.
	// +optional
	// +default={}
	AbortPolicy *AbortPolicy `json:"abortPolicy,omitempty"`

	// deletionPolicy says what becomes of the campaign when the object is deleted. Stop: whoever was not mailed yet is not
	// mailed. Orphan: it goes on without the object; applied again, the object follows it.
	// +optional
	// +default="Stop"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// ttlSecondsAfterFinished is when the object is deleted after the campaign has ended, in seconds. Its memory in the
	// database stays: applied again, nothing is sent. Without it, the object is kept.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// jobSize is the number of recipients of one job, the unit that workers share a campaign in. Frozen once
	// status.startTime is set.
	// +optional
	// +default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	JobSize *int32 `json:"jobSize,omitempty"`

	// readinessPolicy says when the condition Ready is true. HandedOff: once the recipients are in the database and the
	// jobs in the queue. Completed: once every recipient has ended, for hooks and pipelines that wait for the end.
	// +optional
	// +default="HandedOff"
	ReadinessPolicy ReadinessPolicy `json:"readinessPolicy,omitempty"`

	// message is the mail that every recipient gets. Frozen once status.startTime is set.
	// +required
	Message Message `json:"message,omitzero"`

	// recipients says where the list of recipients is: inline, or in a key of a ConfigMap or Secret of this namespace.
	// It is read once. Frozen once status.startTime is set.
	// +required
	Recipients RecipientSource `json:"recipients,omitzero"`
}

// EmailCampaign is an e-mail campaign: one message to a list of recipients, sent once.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=emailcampaigns,singular=emailcampaign,scope=Namespaced,shortName=ecamp,categories=mail
// +kubebuilder:selectablefield:JSONPath=`.status.terminalState`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="what the campaign is doing"
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.progress`,description="recipients that have ended / all"
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.recipients.failed`,description="recipients that failed"
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspend`,description="whether spec.suspend is true"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Bounced",type=integer,JSONPath=`.status.recipients.bounced`,priority=1,description="recipients whose mailbox refused the mail for good"
// +kubebuilder:printcolumn:name="InDoubt",type=integer,JSONPath=`.status.recipients.inDoubt`,priority=1,description="recipients of which nobody can know whether the mail was accepted"
// +kubebuilder:printcolumn:name="Start",type=date,JSONPath=`.status.startTime`,priority=1,description="since when it sends"
// +kubebuilder:printcolumn:name="ETA",type=string,JSONPath=`.status.estimatedCompletionTime`,priority=1,description="when it ends if it goes on as it does"
// +kubebuilder:printcolumn:name="Jobs",type=integer,JSONPath=`.status.jobs`,priority=1,description="jobs in the queue and done"
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1,description="why, and until when"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || self.spec.message == oldSelf.spec.message",message="spec.message is frozen since status.startTime; apply a new campaign under another name or campaignKey",fieldPath=".spec.message",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || self.spec.recipients == oldSelf.spec.recipients",message="spec.recipients is frozen since status.startTime; apply a new campaign under another name or campaignKey",fieldPath=".spec.recipients",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || self.spec.suppression == oldSelf.spec.suppression",message="spec.suppression is frozen since status.startTime",fieldPath=".spec.suppression",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || has(self.spec.unsubscribe) == has(oldSelf.spec.unsubscribe) && (!has(self.spec.unsubscribe) || self.spec.unsubscribe == oldSelf.spec.unsubscribe)",message="spec.unsubscribe is frozen since status.startTime",fieldPath=".spec.unsubscribe",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || self.spec.jobSize == oldSelf.spec.jobSize",message="spec.jobSize is frozen since status.startTime; apply a new campaign under another name or campaignKey",fieldPath=".spec.jobSize",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.startTime) || self.spec.?schedule.?startTime == oldSelf.spec.?schedule.?startTime",message="spec.schedule.startTime is frozen since status.startTime: the campaign has started; use spec.suspend or spec.schedule.windows to hold it",fieldPath=".spec.schedule",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.terminalState) || self.spec.shutdown == oldSelf.spec.shutdown",message="spec.shutdown is frozen since the campaign has ended (status.terminalState)",fieldPath=".spec.shutdown",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.terminalState) || self.spec.suspend == oldSelf.spec.suspend",message="spec.suspend is frozen since the campaign has ended (status.terminalState); apply a new campaign under another name or campaignKey to send again",fieldPath=".spec.suspend",reason=FieldValueForbidden
type EmailCampaign struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the campaign shall be.
	// +required
	Spec EmailCampaignSpec `json:"spec,omitzero"`

	// status is how the campaign stands; only the operator writes it.
	// +optional
	// +default={"observedGeneration":-1}
	Status EmailCampaignStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the campaign.
func (c *EmailCampaign) GetConditions() []metav1.Condition { return c.Status.Conditions }

// SetConditions replaces the conditions of the campaign.
func (c *EmailCampaign) SetConditions(conditions []metav1.Condition) {
	c.Status.Conditions = conditions
}

// EmailCampaignList is a list of EmailCampaigns.
// +kubebuilder:object:root=true
type EmailCampaignList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the campaigns.
	// +required
	Items []EmailCampaign `json:"items"`
}
