package v1alpha1

// Annotations are the verbs that don't belong into Git: what a person asks of a campaign once. Argo CD and Flux leave
// annotations alone that the manifest doesn't have. Those that end in -at bear a token, any text of at most 128 characters,
// such as the time: a token that is not the one of status.lastHandled* is a new request, and each is answered there once.
const (
	// AnnotationHold suspends the campaign while it is there, whatever spec.suspend says. Its value says who holds it, and
	// why.
	AnnotationHold = "mail.cartero.dev/hold"
	// AnnotationResumeAt ends a pause that Cartero imposed: AbortThresholdExceeded or FailurePolicyMatched. The shares of
	// spec.abortPolicy are counted anew from there.
	AnnotationResumeAt = "mail.cartero.dev/resume-at"
	// AnnotationRetryFailedAt has recipients that failed tried again, also after the end of the campaign.
	AnnotationRetryFailedAt = "mail.cartero.dev/retry-failed-at"
	// AnnotationRetryCategories restricts retry-failed-at to failures of these categories of status.failures, separated
	// by commas. Without it, all that have the state failed; bounced ones only where their category is named.
	AnnotationRetryCategories = "mail.cartero.dev/retry-categories"
	// AnnotationResolveInDoubt ends the doubts: Sent@<token>, Failed@<token> or Resend@<token>.
	AnnotationResolveInDoubt = "mail.cartero.dev/resolve-in-doubt"
	// AnnotationTestSendAt has the message sent to the operator's TEST_RECIPIENTS, marked as a test.
	AnnotationTestSendAt = "mail.cartero.dev/test-send-at"
	// AnnotationForget on an object that is being deleted lets it go though the database does not answer: the campaign is
	// left running. Its value is the reason.
	AnnotationForget = "mail.cartero.dev/forget"
)

// Resolution is what becomes of the recipients in doubt.
type Resolution string

// The resolutions.
const (
	// ResolutionSent: they were accepted.
	ResolutionSent Resolution = "Sent"
	// ResolutionFailed: they were not, and are given up.
	ResolutionFailed Resolution = "Failed"
	// ResolutionResend: they are tried again.
	ResolutionResend Resolution = "Resend"
)
