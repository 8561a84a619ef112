package v1alpha1

// Mode says whether a campaign is sent.
// +kubebuilder:validation:Enum=Send;DryRun
type Mode string

// The modes.
const (
	// ModeSend: it is sent.
	ModeSend Mode = "Send"
	// ModeDryRun: everything is read, checked and rendered, and nothing is sent.
	ModeDryRun Mode = "DryRun"
)

// Category is a kind of mail.
// +kubebuilder:validation:Enum=Marketing;Transactional
type Category string

// The categories.
const (
	// CategoryMarketing: recipients can unsubscribe.
	CategoryMarketing Category = "Marketing"
	// CategoryTransactional: it answers what the recipient did, such as a receipt.
	CategoryTransactional Category = "Transactional"
)

// SuppressionPolicy says what the suppression list means for a campaign.
// +kubebuilder:validation:Enum=Enforce;Ignore
type SuppressionPolicy string

// The suppression policies.
const (
	// SuppressionEnforce: who is on it is not mailed.
	SuppressionEnforce SuppressionPolicy = "Enforce"
	// SuppressionIgnore: everybody is mailed.
	SuppressionIgnore SuppressionPolicy = "Ignore"
)

// UnsubscribeMode says who takes the word of a recipient that unsubscribes.
// +kubebuilder:validation:Enum=Managed;External;None
type UnsubscribeMode string

// The modes of unsubscribing.
const (
	// UnsubscribeManaged: Cartero's facade.
	UnsubscribeManaged UnsubscribeMode = "Managed"
	// UnsubscribeExternal: another program, at a URL that is a variable of the recipient.
	UnsubscribeExternal UnsubscribeMode = "External"
	// UnsubscribeNone: nobody.
	UnsubscribeNone UnsubscribeMode = "None"
)

// Unsubscribe says how recipients unsubscribe (RFC 8058).
// +kubebuilder:validation:XValidation:rule="self.mode != 'External' || has(self.urlVariable) || has(self.mailto)",message="spec.unsubscribe.mode External needs urlVariable, mailto, or both"
// +kubebuilder:validation:XValidation:rule="self.mode == 'External' || !has(self.urlVariable)",message="spec.unsubscribe.urlVariable is for mode External only"
type Unsubscribe struct {
	// mode says how: Managed, by a page of Cartero's; External, by a URL in each recipient's variables; None, not at all.
	// +optional
	// +default="Managed"
	Mode UnsubscribeMode `json:"mode,omitempty"`

	// listID is the identifier of the list (RFC 2919), such as news.example.com: who unsubscribes is left out of the
	// campaigns with the same one. Without it, of all marketing mail.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$')",message="spec.unsubscribe.listID must be like a domain name, such as news.example.com"
	ListID string `json:"listID,omitempty"`

	// urlVariable names the variable that holds the recipient's own https URL; a POST to it unsubscribes (RFC 8058).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_.-]{0,63}$')",message="spec.unsubscribe.urlVariable must be a variable's name"
	URLVariable string `json:"urlVariable,omitempty"`

	// mailto is an address that takes unsubscribing mails, such as unsubscribe@example.com.
	// +optional
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9.!#$%&*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$')",message="spec.unsubscribe.mailto must be a plain address in ASCII, like unsubscribe@example.com"
	Mailto string `json:"mailto,omitempty"`
}

// Plan is what a dry run came to. It holds no address.
type Plan struct {
	// recipients would be mailed.
	// +required
	// +kubebuilder:validation:Minimum=0
	Recipients int64 `json:"recipients"`

	// duplicates are entries that were dropped because their address was in the list already.
	// +required
	// +kubebuilder:validation:Minimum=0
	Duplicates int64 `json:"duplicates"`

	// invalid entries have an address that can't be mailed.
	// +required
	// +kubebuilder:validation:Minimum=0
	Invalid int64 `json:"invalid"`

	// suppressed are on the suppression list.
	// +required
	// +kubebuilder:validation:Minimum=0
	Suppressed int64 `json:"suppressed"`

	// topDomains are the largest domains.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	TopDomains []DomainCount `json:"topDomains,omitempty"`

	// messageBytes is the size of the largest mail.
	// +required
	// +kubebuilder:validation:Minimum=0
	MessageBytes int64 `json:"messageBytes"`

	// estimatedDurationSeconds is how long sending takes as far as spec.throttle says; absent where nothing can be said.
	// +optional
	// +kubebuilder:validation:Minimum=0
	EstimatedDurationSeconds *int64 `json:"estimatedDurationSeconds,omitempty"`

	// warnings are what is allowed, and better otherwise.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Warnings []string `json:"warnings,omitempty"`
}

// DomainCount is a number of recipients of a domain.
type DomainCount struct {
	// domain is the domain, in A-labels.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Domain string `json:"domain,omitempty"`

	// count is the number of recipients.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int64 `json:"count"`
}
