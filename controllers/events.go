package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// notice is one event to emit once the status that it tells of is written.
type notice struct {
	warning bool
	reason  string
	// action is what the controller was doing (events.k8s.io wants it).
	action  string
	message string
}

// transition is a change of one condition that is worth an event.
type transition struct {
	conditionType string
	// status and reason restrict it to one status and one reason; empty means any.
	status  metav1.ConditionStatus
	reason  string
	event   string
	action  string
	warning bool
}

// underway are the transitions of a campaign on its way, in the order in which they are told; endings come after them.
var underway = []transition{
	{
		conditionType: v1alpha1.ConditionAccepted, status: metav1.ConditionTrue,
		event: v1alpha1.EventCampaignAccepted, action: "Accept",
	},
	{
		conditionType: v1alpha1.ConditionAccepted, status: metav1.ConditionFalse,
		event: v1alpha1.EventSpecRejected, action: "Accept", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionMaterialized, status: metav1.ConditionTrue, reason: v1alpha1.ReasonMaterialized,
		event: v1alpha1.EventRecipientsMaterialized, action: "Materialize",
	},
	{
		conditionType: v1alpha1.ConditionMaterialized, status: metav1.ConditionTrue, reason: v1alpha1.ReasonAdopted,
		event: v1alpha1.EventCampaignAdopted, action: "Materialize",
	},
	{
		conditionType: v1alpha1.ConditionEnqueued, status: metav1.ConditionTrue,
		event: v1alpha1.EventJobEnqueued, action: "Enqueue",
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonSuspendedBySpec,
		event: v1alpha1.EventSendingSuspended, action: "Suspend",
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonHeld,
		event: v1alpha1.EventSendingSuspended, action: "Suspend",
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonAbortThresholdExceeded,
		event: v1alpha1.EventAbortThresholdExceeded, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonFailurePolicyMatched,
		event: v1alpha1.EventFailurePolicyMatched, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDataRegression,
		event: v1alpha1.EventDataRegression, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionReady, reason: v1alpha1.ReasonScheduled,
		event: v1alpha1.EventCampaignScheduled, action: "Schedule",
	},
	{
		conditionType: v1alpha1.ConditionReady, reason: v1alpha1.ReasonOutsideWindow,
		event: v1alpha1.EventCampaignScheduled, action: "Schedule",
	},
	{
		conditionType: v1alpha1.ConditionReady, status: metav1.ConditionTrue, reason: v1alpha1.ReasonPlanned,
		event: v1alpha1.EventCampaignPlanned, action: "Plan",
	},
	{
		conditionType: v1alpha1.ConditionReady, reason: v1alpha1.ReasonNoProgress,
		event: v1alpha1.EventNoProgress, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionReady, reason: v1alpha1.ReasonInternalError,
		event: v1alpha1.EventInternalError, action: "Reconcile", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonAuthenticationFailed,
		event: v1alpha1.EventSMTPAuthenticationFailed, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionSuspended, status: metav1.ConditionTrue, reason: v1alpha1.ReasonSenderRefused,
		event: v1alpha1.EventSenderRefused, action: "Send", warning: true,
	},
}

var endings = []transition{
	{
		conditionType: v1alpha1.ConditionComplete, status: metav1.ConditionTrue,
		event: v1alpha1.EventCampaignCompleted, action: "Complete",
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonCancelled,
		event: v1alpha1.EventCampaignCancelled, action: "Cancel", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDeleted,
		event: v1alpha1.EventCampaignCancelled, action: "Cancel", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonStartDeadlineExceeded,
		event: v1alpha1.EventCampaignFailed, action: "Schedule", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonDeadlineExceeded,
		event: v1alpha1.EventCampaignFailed, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonAbortThresholdExceeded,
		event: v1alpha1.EventAbortThresholdExceeded, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonFailurePolicyMatched,
		event: v1alpha1.EventFailurePolicyMatched, action: "Send", warning: true,
	},
	{
		conditionType: v1alpha1.ConditionFailed, status: metav1.ConditionTrue, reason: v1alpha1.ReasonAllRecipientsFailed,
		event: v1alpha1.EventCampaignFailed, action: "Complete", warning: true,
	},
}

// verbs are the requests of people that are told as answered once their token is in the status.
var verbs = []struct {
	token                  func(*v1alpha1.EmailCampaignStatus) string
	event, action, message string
}{
	{
		func(s *v1alpha1.EmailCampaignStatus) string { return s.LastHandledRetryFailedAt },
		v1alpha1.EventRetryRequested, "Retry", "Recipients that had failed are tried again",
	},
	{
		func(s *v1alpha1.EmailCampaignStatus) string { return s.LastHandledResolveInDoubt },
		v1alpha1.EventInDoubtResolved, "Resolve", "What became of the recipients in doubt was decided",
	},
	{
		func(s *v1alpha1.EmailCampaignStatus) string { return s.LastHandledTestSendAt },
		v1alpha1.EventTestMailsQueued, "Test", "Test mails were put into the queue",
	},
}

// eventsFor tells what changed between two statuses. outage is the event of the dependency that does not answer now;
// empty for none.
func eventsFor(before, after *v1alpha1.EmailCampaignStatus, outage string) []notice {
	found := told(underway, before, after)
	if outage != "" {
		found = append(found, told([]transition{{
			conditionType: v1alpha1.ConditionReady, status: metav1.ConditionFalse, reason: v1alpha1.ReasonDependencyNotReady,
			event: outage, action: "Connect", warning: true,
		}}, before, after)...)
	}
	if before.StartTime == nil && after.StartTime != nil {
		found = append(found, notice{
			reason: v1alpha1.EventSendingStarted, action: "Send", message: "A worker took up the first recipient",
		})
	}
	if resumed(before, after) {
		found = append(found, notice{
			reason: v1alpha1.EventSendingResumed, action: "Resume", message: "What suspended the campaign is gone",
		})
	}
	for _, verb := range verbs {
		if token := verb.token(after); token != "" && token != verb.token(before) {
			found = append(found, notice{reason: verb.event, action: verb.action, message: verb.message})
		}
	}
	if n := inDoubt(after) - inDoubt(before); n > 0 {
		found = append(found, notice{warning: true, reason: v1alpha1.EventRecipientsInDoubt, action: "Send", message: fmt.Sprintf(
			"%s in doubt: the connection was lost between the end of the mail and the reply; not sent again",
			count(n, "more recipient"))})
	}
	return append(found, told(endings, before, after)...)
}

// told are the events of the transitions that happened.
func told(transitions []transition, before, after *v1alpha1.EmailCampaignStatus) []notice {
	var found []notice
	for _, t := range transitions {
		if condition := t.happened(before, after); condition != nil {
			found = append(found, notice{warning: t.warning, reason: t.event, action: t.action, message: condition.Message})
		}
	}
	return found
}

// happened returns the condition if it came to the transition's status and reason between the two statuses.
func (t transition) happened(before, after *v1alpha1.EmailCampaignStatus) *metav1.Condition {
	condition := meta.FindStatusCondition(after.Conditions, t.conditionType)
	if condition == nil || t.status != "" && condition.Status != t.status || t.reason != "" && condition.Reason != t.reason {
		return nil
	}
	old := meta.FindStatusCondition(before.Conditions, t.conditionType)
	if old != nil && (t.status == "" || old.Status == condition.Status) && old.Reason == condition.Reason {
		return nil
	}
	return condition
}

// outageEvent is the event of the dependency that does not answer; empty for none.
func outageEvent(s *scope, stepErr error) string {
	switch dependency := asDependency(stepErr); {
	case dependency != nil && dependency.reason == v1alpha1.ReasonQueueUnavailable:
		return v1alpha1.EventQueueUnavailable
	case dependency != nil:
		return v1alpha1.EventDatabaseUnavailable
	case s.relayAway():
		return v1alpha1.EventRelayUnavailable
	default:
		return ""
	}
}

func resumed(before, after *v1alpha1.EmailCampaignStatus) bool {
	return after.TerminalState == "" &&
		meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionSuspended) &&
		meta.IsStatusConditionFalse(after.Conditions, v1alpha1.ConditionSuspended)
}

func inDoubt(status *v1alpha1.EmailCampaignStatus) int64 {
	if status.Recipients == nil {
		return 0
	}
	return status.Recipients.InDoubt
}
