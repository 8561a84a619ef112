package v1alpha1

// Message is the mail that every recipient gets.
// +kubebuilder:validation:XValidation:rule="has(self.text) || has(self.html) || has(self.textFrom) || has(self.htmlFrom)",message="spec.message needs a body: set text or textFrom, html or htmlFrom, or both"
// +kubebuilder:validation:XValidation:rule="!(has(self.text) && has(self.textFrom))",message="spec.message must have text or textFrom, not both",fieldPath=".textFrom"
// +kubebuilder:validation:XValidation:rule="!(has(self.html) && has(self.htmlFrom))",message="spec.message must have html or htmlFrom, not both",fieldPath=".htmlFrom"
type Message struct {
	// engine says whether subject, bodies and the values of headers are templates. None: they are sent as they are. Mustache:
	// {{name}} stands for a variable of the recipient.
	// +optional
	// +default="None"
	Engine TemplateEngine `json:"engine,omitempty"`

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

	// textFrom has the plain text body in a ConfigMap or Secret of this namespace.
	// +optional
	TextFrom *BodySource `json:"textFrom,omitempty"`

	// htmlFrom has the HTML body in a ConfigMap or Secret of this namespace.
	// +optional
	HTMLFrom *BodySource `json:"htmlFrom,omitempty"`

	// attachments come with every mail, at most 10 MiB together.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Attachments []Attachment `json:"attachments,omitempty"`

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

// TemplateEngine is what makes the mails of a message.
// +kubebuilder:validation:Enum=None;Mustache
type TemplateEngine string

// The engines.
const (
	// EngineNone: the message is sent as it is.
	EngineNone TemplateEngine = "None"
	// EngineMustache: the message is a Mustache template.
	EngineMustache TemplateEngine = "Mustache"
)

// BodySource says where a body is; exactly one of its fields is set. It is read once.
// +kubebuilder:validation:XValidation:rule="has(self.configMapKeyRef) != has(self.secretKeyRef)",message="a body must come from exactly one of configMapKeyRef and secretKeyRef"
// +kubebuilder:validation:MinProperties=1
type BodySource struct {
	// configMapKeyRef is the key of a ConfigMap of this namespace that holds the body.
	// +optional
	ConfigMapKeyRef *ConfigMapKeyReference `json:"configMapKeyRef,omitempty"`

	// secretKeyRef is the key of a Secret of this namespace that holds the body.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`
}

// Attachment is a file that comes with every mail; exactly one of its sources is set.
// +kubebuilder:validation:XValidation:rule="[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.urlRef)].filter(x, x).size() == 1",message="spec.message.attachments must have exactly one of configMapKeyRef, secretKeyRef and urlRef"
// +kubebuilder:validation:XValidation:rule="!has(self.urlRef) || has(self.urlRef.sha256)",message="spec.message.attachments.urlRef must have a sha256: what is attached must not change"
type Attachment struct {
	// name is the file's name, without a path.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.matches('[\\\\x00-\\\\x1f\\\\x7f/\\\\\\\\]')",message="spec.message.attachments.name must be a file name: without slashes, line breaks and control characters"
	Name string `json:"name,omitempty"`

	// contentType is the media type, such as application/pdf; neither multipart nor message.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=127
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$')",message="spec.message.attachments.contentType must be a media type, such as application/pdf"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(?i)^(multipart|message)/')",message="spec.message.attachments.contentType must be neither multipart nor message"
	ContentType string `json:"contentType,omitempty"`

	// contentID makes an image of the HTML body out of it, which shows it with src="cid:CONTENTID".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._+@-]+$')",message="spec.message.attachments.contentID must be letters, digits and ._+@-"
	ContentID string `json:"contentID,omitempty"`

	// configMapKeyRef is the key of a ConfigMap of this namespace that holds the file.
	// +optional
	ConfigMapKeyRef *ConfigMapKeyReference `json:"configMapKeyRef,omitempty"`

	// secretKeyRef is the key of a Secret of this namespace that holds the file.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`

	// urlRef is where the file is fetched from; its sha256 is required.
	// +optional
	URLRef *URLReference `json:"urlRef,omitempty"`
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
