package v1alpha1

// RecipientFormat is how a list in a ConfigMap or Secret is written.
// +kubebuilder:validation:Enum=CSV;JSONLines;Lines
type RecipientFormat string

// The formats of a list.
const (
	// FormatCSV: RFC 4180 with a header line; one column is the address.
	FormatCSV RecipientFormat = "CSV"
	// FormatJSONLines: one JSON object a line.
	FormatJSONLines RecipientFormat = "JSONLines"
	// FormatLines: one address a line.
	FormatLines RecipientFormat = "Lines"
)

// RecipientSource says where the list is; exactly one of inline, configMapKeyRef, secretKeyRef and urlRef is set.
// +kubebuilder:validation:XValidation:rule="[has(self.inline), has(self.configMapKeyRef), has(self.secretKeyRef), has(self.urlRef)].filter(x, x).size() == 1",message="spec.recipients must have exactly one of inline, configMapKeyRef, secretKeyRef and urlRef"
// +kubebuilder:validation:MinProperties=1
type RecipientSource struct {
	// inline is the list itself, at most 500 entries. Whoever may read the object may read the addresses; prefer
	// secretKeyRef for real ones.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=500
	Inline []InlineRecipient `json:"inline,omitempty"`

	// configMapKeyRef is the key of a ConfigMap of this namespace that holds the list.
	// +optional
	ConfigMapKeyRef *ConfigMapKeyReference `json:"configMapKeyRef,omitempty"`

	// secretKeyRef is the key of a Secret of this namespace that holds the list.
	// +optional
	SecretKeyRef *SecretKeyReference `json:"secretKeyRef,omitempty"`

	// urlRef is where the list is fetched from, once. It is for lists that are too large for a Secret: up to millions.
	// +optional
	URLRef *URLReference `json:"urlRef,omitempty"`

	// format is how the list in the ConfigMap, in the Secret or at the URL is written: CSV (with a header line), JSONLines (an object a
	// line) or Lines (an address a line). It has no meaning for inline.
	// +optional
	// +default="CSV"
	Format RecipientFormat `json:"format,omitempty"`
}

// InlineRecipient is one recipient of an inline list.
type InlineRecipient struct {
	// address is the bare address, at most 320 characters. One that can't be mailed is counted in status.list.invalid;
	// the others are sent.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=320
	Address string `json:"address,omitempty"`

	// name is the display name, at most 256 characters.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// variables are further values of this recipient, at most 32, by name.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_.-]{0,63}$'))",message="spec.recipients.inline.variables must have names of letters, digits and _.- that begin with a letter or _ and have at most 64 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) <= 1024)",message="spec.recipients.inline.variables must have values of at most 1024 characters"
	Variables map[string]string `json:"variables,omitempty"`
}

// URLReference names a file on the web. It is fetched over https from public addresses only, unless the operator is
// configured otherwise (FETCH_ALLOW_HOSTS).
type URLReference struct {
	// url is where the file is: https, without user name. It may be compressed with gzip.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@ ]+([/?#][^ ]*)?$')",message="urlRef.url must be an https URL without user name and spaces"
	URL string `json:"url,omitempty"`

	// sha256 is the SHA-256 of the file as it is served, in hex. With it, another file is refused.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="urlRef.sha256 must be 64 hexadecimal digits in lower case"
	SHA256 string `json:"sha256,omitempty"`
}

// ConfigMapKeyReference names a key of a ConfigMap in the campaign's namespace.
type ConfigMapKeyReference struct {
	// name is the name of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="configMapKeyRef.name must be the name of a ConfigMap: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`

	// key is the key in the data of the ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="configMapKeyRef.key must be a key of a ConfigMap: letters, digits and -._"
	Key string `json:"key,omitempty"`
}

// SecretKeyReference names a key of a Secret in the campaign's namespace.
type SecretKeyReference struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="secretKeyRef.name must be the name of a Secret: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`

	// key is the key in the data of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="secretKeyRef.key must be a key of a Secret: letters, digits and -._"
	Key string `json:"key,omitempty"`
}
