package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

// The conditions as one line each: "True Completed". One that is absent is missing.
func TestConditions(t *testing.T) {
	t.Parallel()
	sealed := created.Add(time.Second)
	before := created.Add(-time.Hour)
	for _, tc := range []struct {
		name  string
		given given
		err   error
		want  map[string]string
	}{
		{
			name:  "a source is missing",
			given: aCampaign(),
			err:   &stalledError{reason: v1alpha1.ReasonConfigMapNotFound, err: errors.New("ConfigMap \"list\" does not exist")},
			want: map[string]string{
				"Accepted": "False ConfigMapNotFound", "Materialized": "False Pending", "Enqueued": "Unknown Pending",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False ConfigMapNotFound", "Stalled": "True ConfigMapNotFound",
			},
		},
		{
			name:  "the database is away from the beginning",
			given: aCampaign(),
			err:   &dependencyError{dependency: "database", reason: v1alpha1.ReasonDatabaseUnavailable, err: errOutage},
			want: map[string]string{
				"Accepted": "Unknown Pending", "Materialized": "False DatabaseUnavailable", "Enqueued": "Unknown Pending",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False DependencyNotReady", "Reconciling": "True DependencyNotReady",
			},
		},
		{
			name:  "the queue is away",
			given: aCampaign().written(sealed).counting(campaign.Tally{Pending: 10}),
			err:   &dependencyError{dependency: "queue", reason: v1alpha1.ReasonQueueUnavailable, err: errOutage},
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "False QueueUnavailable",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False DependencyNotReady", "Reconciling": "True DependencyNotReady",
			},
		},
		{
			name:  "being sent, ready when handed off",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 4, Active: 1, Accepted: 5}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "True Sending",
			},
		},
		{
			name:  "being sent, ready when completed",
			given: aCampaign(readyWhenCompleted).written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 4, Accepted: 6}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False Sending", "Reconciling": "True Sending",
			},
		},
		{
			name:  "everybody left waits for another attempt",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Deferred: 2, Accepted: 8}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "True Deferred",
			},
		},
		{
			name:  "suspended before it began",
			given: aCampaign(suspended).written(sealed).counting(campaign.Tally{Pending: 10}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "False Pending",
				"Suspended": "True SuspendedBySpec", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "True SuspendedBySpec",
			},
		},
		{
			name: "the relay refuses the credentials",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 10}).
				heldUntil(now.Add(5 * time.Minute)),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "True AuthenticationFailed", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False AuthenticationFailed", "Stalled": "True AuthenticationFailed",
			},
		},
		{
			name:  "the relay is away",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 10}).relayAway(10 * time.Second),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "False DependencyNotReady", "Reconciling": "True DependencyNotReady",
			},
		},
		{
			name:  "the relay was away some time ago",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 10}).relayAway(time.Hour),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
				"Ready": "True Sending",
			},
		},
		{
			name:  "everybody accepted",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 10}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "True Completed", "Failed": "False NotFailed",
				"Ready": "True Completed",
			},
		},
		{
			name:  "some bounced",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 9, Bounced: 1}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "True CompletedWithFailures", "Failed": "False NotFailed",
				"Ready": "True CompletedWithFailures",
			},
		},
		{
			name:  "not one accepted",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Failed: 10}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "True AllRecipientsFailed",
				"Ready": "False AllRecipientsFailed", "Stalled": "True AllRecipientsFailed",
			},
		},
		{
			name:  "some suppressed",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 9, Suppressed: 1}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "True Completed", "Failed": "False NotFailed",
				"Ready": "True Completed",
			},
		},
		{
			name:  "everybody suppressed",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Suppressed: 10}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "True Completed", "Failed": "False NotFailed",
				"Ready": "True Completed",
			},
		},
		{
			name:  "the others failed",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Failed: 1, Suppressed: 9}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "True AllRecipientsFailed",
				"Ready": "False AllRecipientsFailed", "Stalled": "True AllRecipientsFailed",
			},
		},
		{
			name: "cancelled",
			given: aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 3, Cancelled: 7}).
				cancelledAt(now),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "True Cancelled",
				"Ready": "False Cancelled", "Stalled": "True Cancelled",
			},
		},
		{
			name: "applied again after it had ended",
			given: aCampaign().written(before).openedBy("other-uid").enqueuedNow().
				counting(campaign.Tally{Accepted: 10, LastCompletedAt: &before}),
			want: map[string]string{
				"Accepted": "True Accepted", "Materialized": "True Adopted", "Enqueued": "True Enqueued",
				"Suspended": "False NotSuspended", "Complete": "True AlreadyCompleted", "Failed": "False NotFailed",
				"Ready": "True AlreadyCompleted",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			computeStatus(tc.given.scope, tc.err, telemetry.Redact, DefaultNoProgressAfter)
			if diff := cmp.Diff(tc.want, conditionLines(tc.given.object)); diff != "" {
				t.Error(diff)
			}
			keepsState(t, tc.name, tc.given.object)
			for _, c := range tc.given.object.Status.Conditions {
				if c.Message == "" || c.ObservedGeneration != 3 {
					t.Errorf("%s has message %q and generation %d", c.Type, c.Message, c.ObservedGeneration)
				}
			}
		})
	}
}

func conditionLines(object *v1alpha1.EmailCampaign) map[string]string {
	lines := map[string]string{}
	for _, c := range object.Status.Conditions {
		lines[c.Type] = string(c.Status) + " " + c.Reason
	}
	return lines
}

// What was true stays said while it can't be found out anew.
func TestConditionsOutliveAnOutage(t *testing.T) {
	t.Parallel()
	g := aCampaign().written(created.Add(time.Second)).enqueuedNow().counting(campaign.Tally{Pending: 10})
	computeStatus(g.scope, nil, telemetry.Redact, DefaultNoProgressAfter)

	later := newScope(g.object, now.Add(time.Minute))
	computeStatus(later, &dependencyError{dependency: "database", reason: v1alpha1.ReasonDatabaseUnavailable, err: errOutage},
		telemetry.Redact, DefaultNoProgressAfter)
	want := map[string]string{
		"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
		"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
		"Ready": "False DependencyNotReady", "Reconciling": "True DependencyNotReady",
	}
	if diff := cmp.Diff(want, conditionLines(later.object)); diff != "" {
		t.Error(diff)
	}
	if later.object.Status.Recipients.Pending != 10 {
		t.Errorf("the counts were lost: %+v", later.object.Status.Recipients)
	}
}

// An ended campaign is ended, whatever answers.
func TestAnEndSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	g := aCampaign().written(created.Add(time.Second)).enqueuedNow().counting(campaign.Tally{Accepted: 10})
	computeStatus(g.scope, nil, telemetry.Redact, DefaultNoProgressAfter)

	later := newScope(g.object.DeepCopy(), now.Add(time.Minute))
	computeStatus(later, &dependencyError{dependency: "database", reason: v1alpha1.ReasonDatabaseUnavailable, err: errOutage},
		telemetry.Redact, DefaultNoProgressAfter)
	if diff := cmp.Diff(g.object.Status, later.object.Status); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesNameNoAddress(t *testing.T) {
	t.Parallel()
	g := aCampaign()
	computeStatus(g.scope, errors.New("duplicate entry ada@example.com"), telemetry.Redact, DefaultNoProgressAfter)
	for _, c := range g.object.Status.Conditions {
		if telemetry.Redact(c.Message) != c.Message {
			t.Errorf("%s says %q", c.Type, c.Message)
		}
	}
}

func TestStatusOfAFinishedCampaign(t *testing.T) {
	t.Parallel()
	sealed, started, ended := created.Add(time.Second), created.Add(2*time.Second), created.Add(40*time.Second)
	g := aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{
		Accepted: 8, Bounced: 2, LastCompletedAt: &ended,
		Failures: []campaign.FailureCount{{Category: "BadMailbox", EnhancedCode: "5.1.1", Count: 2}},
	})
	g.record.StartedAt = &started
	g.record.Totals.Duplicates, g.record.Totals.Invalid, g.record.Totals.InvalidLines = 3, 1, []int{17}
	g.record.Totals.Dropped = []campaign.Dropped{{Reason: "Duplicate", Count: 3, Lines: []int{5, 6, 9}}, {Reason: "NoAt", Count: 1, Lines: []int{17}}}
	computeStatus(g.scope, nil, telemetry.Redact, DefaultNoProgressAfter)

	got := g.object.Status
	got.Conditions = nil
	want := v1alpha1.EmailCampaignStatus{
		ObservedGeneration: 3,
		CampaignKey:        "growth/launch",
		ContentHash:        snapshotHash(*g.record),
		Jobs:               1,
		MaterializedTime:   timeOf(&sealed),
		StartTime:          timeOf(&started),
		CompletionTime:     timeOf(&ended),
		TerminalState:      v1alpha1.TerminalCompletedWithFailures,
		Progress:           "10/10",
		Recipients:         &v1alpha1.RecipientCounts{Total: 10, Accepted: 8, Bounced: 2},
		Failures:           []v1alpha1.FailureCount{{Category: "BadMailbox", EnhancedCode: "5.1.1", Count: 2}},
		List: &v1alpha1.ListSummary{Duplicates: 3, Invalid: 1, InvalidLines: []int32{17}, Dropped: []v1alpha1.DroppedEntries{
			{Reason: "Duplicate", Count: 3, Lines: []int32{5, 6, 9}}, {Reason: "NoAt", Count: 1, Lines: []int32{17}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Objects of the same second are told apart by their UIDs.
func TestWhoseCampaign(t *testing.T) {
	t.Parallel()
	ended := func(at time.Time) campaign.Tally { return campaign.Tally{Accepted: 10, LastCompletedAt: &at} }
	const other = "other-uid"
	mine := func(mutate ...func(*v1alpha1.EmailCampaign)) given {
		return aCampaign(append(mutate, func(c *v1alpha1.EmailCampaign) { c.UID = "launch-uid" })...)
	}
	saying := func(reason string) func(*v1alpha1.EmailCampaign) {
		return func(c *v1alpha1.EmailCampaign) {
			c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Reason: reason}}
		}
	}
	before, inTheSecond, aSecondLater := created.Add(-time.Hour), created.Add(900*time.Millisecond), created.Add(time.Second)
	for _, tc := range []struct {
		name  string
		given given
		want  [2]string // reasons of Materialized and Complete
	}{
		{"its own", mine().written(now).counting(ended(now)), [2]string{"Materialized", "Completed"}},
		{"its own, by a clock that is behind", mine().written(before).counting(ended(before)), [2]string{"Materialized", "Completed"}},
		{"another's, that ended before", mine().written(before).openedBy(other).counting(ended(before)), [2]string{"Adopted", "AlreadyCompleted"}},
		{
			"another's of the same second, ended in it", mine().written(created).openedBy(other).counting(ended(inTheSecond)),
			[2]string{"Adopted", "AlreadyCompleted"},
		},
		{
			"and looked at again", mine(saying("AlreadyCompleted")).written(created).openedBy(other).counting(ended(inTheSecond)),
			[2]string{"Adopted", "AlreadyCompleted"},
		},
		{
			"another's of the same second, seen to run, ended in it",
			mine(saying("InProgress")).written(created).openedBy(other).counting(ended(inTheSecond)),
			[2]string{"Adopted", "Completed"},
		},
		{
			"another's of the same second, ended after it", mine().written(created).openedBy(other).counting(ended(aSecondLater)),
			[2]string{"Adopted", "Completed"},
		},
		{
			"opened when this one was, by a version that did not note by whom", mine().written(now).openedAt(created).counting(ended(now)),
			[2]string{"Materialized", "Completed"},
		},
		{
			"opened before, by such a version", mine().written(now).openedAt(before).counting(ended(before)),
			[2]string{"Adopted", "AlreadyCompleted"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			computeStatus(tc.given.enqueuedNow().scope, nil, telemetry.Redact, DefaultNoProgressAfter)
			lines := conditionLines(tc.given.object)
			got := [2]string{strings.TrimPrefix(lines["Materialized"], "True "), strings.TrimPrefix(lines["Complete"], "True ")}
			if got != tc.want {
				t.Errorf("Materialized and Complete are %v, want %v", got, tc.want)
			}
		})
	}
}
