package v1alpha1

// This file is the vocabulary of status: condition types, their reasons, and the reasons of events. All of it is part of
// the API. Conditions are positive-polarity unless their doc says "abnormal-true". Every condition is present from the
// first status that the operator writes, except Reconciling and Stalled, which are present only while true. A reason
// that several conditions share is declared with the first of them.

// ConditionAccepted: the campaign can be sent as it is declared. False means that somebody has to edit something; the
// campaign is Stalled then.
const (
	ConditionAccepted = "Accepted"

	// ReasonAccepted (True): message and recipients could be read and are in order.
	ReasonAccepted = "Accepted"
	// ReasonInvalidSpec (False): the message can't be sent as it is declared.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonInvalidTemplate (False): a template is broken, or a recipient lacks a variable of it.
	ReasonInvalidTemplate = "InvalidTemplate"
	// ReasonFetchFailed (False): what a urlRef names could not be fetched, or is not what it should be; fetched again.
	ReasonFetchFailed = "FetchFailed"
	// ReasonInvalidRecipients (False): the list can't be read, or holds nobody that can be mailed.
	ReasonInvalidRecipients = "InvalidRecipients"
	// ReasonConfigMapNotFound (False): the ConfigMap of spec.recipients.configMapKeyRef does not exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonSecretNotFound (False): the Secret of spec.recipients.secretKeyRef does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonKeyNotFound (False): the ConfigMap or Secret exists and has no such key.
	ReasonKeyNotFound = "KeyNotFound"
	// ReasonKeyConflict (False): another content was sent, or is being sent, under the same campaign key.
	ReasonKeyConflict = "KeyConflict"
	// ReasonUnknownTimeZone (False): the operator's time zone database has no zone of the name spec.schedule.timeZone.
	ReasonUnknownTimeZone = "UnknownTimeZone"
	// ReasonSourceChanged (False): the message or the list changed while it was being written to the database.
	ReasonSourceChanged = "SourceChanged"
	// ReasonDataRegression (False; True of Suspended): the database knows less than the status has told: it was set back, or
	// is another one. With a campaign that it does not know nothing happens until it does; one of which it has forgotten mails
	// is resumed as with AbortThresholdExceeded.
	ReasonDataRegression = "DataRegression"
)

// ConditionMaterialized: every recipient is in the database, and the jobs are visible to workers. Once true, always true.
const (
	ConditionMaterialized = "Materialized"

	// ReasonPending (False, Unknown; also of Enqueued): its turn has not come yet.
	ReasonPending = "Pending"
	// ReasonWritingRows (False): jobs and recipients are being written.
	ReasonWritingRows = "WritingRows"
	// ReasonMaterialized (True): this object wrote them.
	ReasonMaterialized = "Materialized"
	// ReasonAdopted (True): the same content was in the database under this key already; this object follows it.
	ReasonAdopted = "Adopted"
	// ReasonDatabaseUnavailable (False, Unknown; also of other conditions): the database does not answer; retried.
	ReasonDatabaseUnavailable = "DatabaseUnavailable"
)

// ConditionEnqueued: every job that is due is in the queue, or worked off. False while the queue does not answer: one that
// is lost is filled again.
const (
	ConditionEnqueued = "Enqueued"

	// ReasonEnqueued (True): every job was put into the queue.
	ReasonEnqueued = "Enqueued"
	// ReasonQueueUnavailable (False): the queue does not answer; retried.
	ReasonQueueUnavailable = "QueueUnavailable"
)

// ConditionSuspended: nothing new is sent until something changes. Abnormal-true.
const (
	ConditionSuspended = "Suspended"

	// ReasonNotSuspended (False): nothing holds the campaign.
	ReasonNotSuspended = "NotSuspended"
	// ReasonSuspendedBySpec (True): spec.suspend is true.
	ReasonSuspendedBySpec = "SuspendedBySpec"
	// ReasonHeld (True): the annotation mail.cartero.dev/hold is there.
	ReasonHeld = "Held"
	// ReasonAbortThresholdExceeded (True; also of Failed): more recipients fail than spec.abortPolicy allows. Somebody
	// resumes the campaign with the annotation mail.cartero.dev/resume-at, or cancels it.
	ReasonAbortThresholdExceeded = "AbortThresholdExceeded"
	// ReasonFailurePolicyMatched (True; also of Failed): a reply matched a rule of spec.failurePolicy that stops the
	// campaign. Resumed as AbortThresholdExceeded is.
	ReasonFailurePolicyMatched = "FailurePolicyMatched"
	// ReasonAuthenticationFailed (True): the SMTP server refuses the credentials. Tried again at status.nextTransitionTime.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonSenderRefused (True): the SMTP server refuses the sender. Tried again at status.nextTransitionTime.
	ReasonSenderRefused = "SenderRefused"
)

// ConditionComplete: every recipient has ended, and the campaign was not cancelled. Terminal: once true, always true, and
// Failed never is.
const (
	ConditionComplete = "Complete"

	// ReasonInProgress (False): recipients are still to be tried, or the campaign failed.
	ReasonInProgress = "InProgress"
	// ReasonCompleted (True): every recipient was accepted.
	ReasonCompleted = "Completed"
	// ReasonCompletedWithFailures (True): every recipient has ended, some otherwise than accepted.
	ReasonCompletedWithFailures = "CompletedWithFailures"
	// ReasonAlreadyCompleted (True): the same campaign had ended before this object was created; nothing was sent.
	ReasonAlreadyCompleted = "AlreadyCompleted"
)

// ConditionFailed: the campaign ended without being complete. Abnormal-true. Terminal: once true, always true, and
// Complete never is.
const (
	ConditionFailed = "Failed"

	// ReasonNotFailed (False): the campaign has not failed.
	ReasonNotFailed = "NotFailed"
	// ReasonCancelled (True): the campaign was cancelled before every recipient had been tried.
	ReasonCancelled = "Cancelled"
	// ReasonDeleted (True): an object of this campaign was deleted, with deletionPolicy Stop, before every recipient had been
	// tried. It is seen by objects that are applied later.
	ReasonDeleted = "Deleted"
	// ReasonStartDeadlineExceeded (True): the campaign could not start in time (spec.schedule.startingDeadlineSeconds).
	ReasonStartDeadlineExceeded = "StartDeadlineExceeded"
	// ReasonDeadlineExceeded (True): the campaign took longer than spec.activeDeadlineSeconds.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonAllRecipientsFailed (True): there were recipients that were not suppressed, and not one was accepted.
	ReasonAllRecipientsFailed = "AllRecipientsFailed"
)

// ConditionReady: the campaign is where spec.readinessPolicy wants it: HandedOff: materialized and enqueued; Completed:
// complete. Its reason is the campaign's state in one word: one of these, or the reason of the condition that decides,
// such as ReasonSuspendedBySpec, ReasonKeyConflict, ReasonCompleted or ReasonCancelled.
const (
	ConditionReady = "Ready"

	// ReasonMaterializing (False): recipients are being written, or jobs put into the queue.
	ReasonMaterializing = "Materializing"
	// ReasonPlanned (True): a dry run is done; status.plan has the result.
	ReasonPlanned = "Planned"
	// ReasonSending (True under HandedOff, False under Completed): workers have recipients to try now.
	ReasonSending = "Sending"
	// ReasonDeferred (as Sending): every recipient that has not ended waits for its next attempt, the first of them until
	// status.nextTransitionTime.
	ReasonDeferred = "Deferred"
	// ReasonScheduled (as Sending): the campaign waits for spec.schedule.startTime, until status.nextTransitionTime.
	ReasonScheduled = "Scheduled"
	// ReasonOutsideWindow (as Sending): no window of spec.schedule.windows is open; the next one opens at
	// status.nextTransitionTime.
	ReasonOutsideWindow = "OutsideWindow"
	// ReasonThrottled (as Sending): spec.throttle.rate is what holds the campaign back.
	ReasonThrottled = "Throttled"
	// ReasonQueuePaused (as Sending): somebody has paused the queue (Bull's queue.pause()), and no worker takes a job.
	ReasonQueuePaused = "QueuePaused"
	// ReasonNoProgress (False): workers should be sending, and nobody has ended for some time (NO_PROGRESS_AFTER). Stalled.
	ReasonNoProgress = "NoProgress"
	// ReasonDependencyNotReady (False): the database, the queue or the SMTP relay does not answer; the message says which.
	// Retried.
	ReasonDependencyNotReady = "DependencyNotReady"
	// ReasonRelayUnavailable is what workers note in the database while the SMTP relay does not take mails; conditions say
	// ReasonDependencyNotReady then.
	ReasonRelayUnavailable = "RelayUnavailable"
	// ReasonInternalError (False): the operator met a bug of its own over this campaign, and looks again every minute. Stalled.
	ReasonInternalError = "InternalError"
	// ReasonDeleting (False): the object is being deleted; what was not sent is being cancelled.
	ReasonDeleting = "Deleting"
)

// The kstatus pair. Both are abnormal-true, present only while true, and never present together. Their reason is that
// of Ready.
const (
	// ConditionReconciling: the operator is at work on this generation, and needs nobody's help.
	ConditionReconciling = "Reconciling"
	// ConditionStalled: the campaign does not go on by itself: somebody has to edit something, or it has failed.
	ConditionStalled = "Stalled"
)

// Reasons of Normal events. No event bears an address.
const (
	EventCampaignAccepted       = "CampaignAccepted"       // the campaign can be sent as it is declared
	EventRecipientsMaterialized = "RecipientsMaterialized" // every recipient is in the database
	EventCampaignAdopted        = "CampaignAdopted"        // the key's campaign was in the database already
	EventJobEnqueued            = "JobEnqueued"            // the jobs were put into the queue
	EventSendingStarted         = "SendingStarted"         // a worker took up the first recipient
	EventSendingSuspended       = "SendingSuspended"       // spec.suspend became true, or somebody holds the campaign
	EventSendingResumed         = "SendingResumed"         // what suspended the campaign is gone
	EventCampaignPlanned        = "CampaignPlanned"        // a dry run is done
	EventCampaignScheduled      = "CampaignScheduled"      // it waits for its start, or for a window
	EventRetryRequested         = "RetryRequested"         // somebody had failed recipients tried again
	EventInDoubtResolved        = "InDoubtResolved"        // somebody decided what became of those in doubt
	EventTestMailsQueued        = "TestMailsQueued"        // somebody asked for test mails
	EventCampaignReleased       = "CampaignReleased"       // the object goes, and the campaign goes on
	EventCampaignCompleted      = "CampaignCompleted"      // every recipient has ended
)

// Reasons of Warning events. No event bears an address.
const (
	EventSpecRejected             = "SpecRejected"             // somebody has to edit something; the message says what
	EventDatabaseUnavailable      = "DatabaseUnavailable"      // the database does not answer
	EventQueueUnavailable         = "QueueUnavailable"         // the queue does not answer
	EventRelayUnavailable         = "RelayUnavailable"         // the SMTP relay does not take mails
	EventSMTPAuthenticationFailed = "SmtpAuthenticationFailed" // the SMTP server refuses the credentials
	EventSenderRefused            = "SenderRefused"            // the SMTP server refuses the sender
	EventAbortThresholdExceeded   = "AbortThresholdExceeded"   // more recipients fail than spec.abortPolicy allows
	EventFailurePolicyMatched     = "FailurePolicyMatched"     // a reply stopped the campaign
	EventNoProgress               = "NoProgress"               // nobody has ended for some time
	EventInternalError            = "InternalError"            // the operator met a bug of its own over this campaign
	EventDataRegression           = "DataRegression"           // the database has fewer accepted mails than the status told
	EventVerbRejected             = "VerbRejected"             // an annotation asks for what can't be done; the message says why
	EventRecipientsInDoubt        = "RecipientsInDoubt"        // mails of which nobody can know whether they were accepted
	EventCampaignCancelled        = "CampaignCancelled"        // cancelled before every recipient had been tried
	EventCampaignFailed           = "CampaignFailed"           // ended, and not one recipient was accepted
)
