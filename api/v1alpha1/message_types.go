package v1alpha1

// Message is the mail that every recipient gets.
// +kubebuilder:validation:XValidation:rule="has(self.text) || has(self.html)",message="spec.message needs a body: set text, html, or both"
type Message struct {
	// from is the sender. Defaults to the sender address that the engine is configured with.
	// +optional
	From *Mailbox `json:"from,omitempty"`

	// replyTo are the addresses that an answer goes to, at most 10.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[^\\\\x00-\\\\x20\\\\x7f@<>()\\\\[\\\\],;:\"\\\\\\\\]+@[^\\\\x00-\\\\x20\\\\x7f@<>()\\\\[\\\\],;:\"\\\\\\\\]+$')",message="spec.message.replyTo must hold plain addresses, like help@example.com, without display name"
	ReplyTo []string `json:"replyTo,omitempty"`

	// subject is the subject line, in UTF-8, at most 998 characters.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=998
	// +kubebuilder:validation:XValidation:rule="!self.matches('[\\\\x00-\\\\x08\\\\x0a-\\\\x1f\\\\x7f]')",message="spec.message.subject must be one line: remove line breaks and control characters"
	Subject string `json:"subject,omitempty"`

	// text is the plain text body, at most 131072 bytes of UTF-8. With text and html, the mail has both as alternatives.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 131072",message="spec.message.text must be at most 131072 bytes of UTF-8"
	Text string `json:"text,omitempty"`

	// html is the HTML body, at most 131072 bytes of UTF-8.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 131072",message="spec.message.html must be at most 131072 bytes of UTF-8"
	HTML string `json:"html,omitempty"`

	// headers are additional header fields, at most 20, such as X-Campaign. Fields that the engine writes itself are
	// refused.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=20
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z0-9-]{1,76}$'))",message="spec.message.headers must have names of at most 76 letters, digits and -"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) <= 998)",message="spec.message.headers must have values of at most 998 characters"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, self[k].matches('[\\r\\n]'))",message="spec.message.headers must have values of one line: remove line breaks"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.matches('(?i)^(from|sender|reply-to|to|cc|bcc|subject|date|message-id|mime-.*|content-.*|dkim-signature|arc-.*|authentication-results|return-path|received|resent-.*|list-unsubscribe.*|auto-submitted)$'))",message="spec.message.headers must not have a field that the engine writes itself: From, Sender, Reply-To, To, Cc, Bcc, Subject, Date, Message-ID, MIME-*, Content-*, DKIM-Signature, ARC-*, Authentication-Results, Return-Path, Received, Resent-*, List-Unsubscribe* and Auto-Submitted; use the fields of spec.message, or leave it out"
	Headers map[string]string `json:"headers,omitempty"`
}

// Mailbox is an address with an optional display name.
type Mailbox struct {
	// address is the bare address, at most 254 characters.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^\\\\x00-\\\\x20\\\\x7f@<>()\\\\[\\\\],;:\"\\\\\\\\]+@[^\\\\x00-\\\\x20\\\\x7f@<>()\\\\[\\\\],;:\"\\\\\\\\]+$')",message="spec.message.from.address must be a plain address, like news@example.com; the display name goes into spec.message.from.name"
	Address string `json:"address,omitempty"`

	// name is the display name in UTF-8, at most 256 characters.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.matches('[\\\\x00-\\\\x1f\\\\x7f]')",message="spec.message.from.name must be one line: remove line breaks and control characters"
	Name string `json:"name,omitempty"`
}
