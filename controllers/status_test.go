package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

var (
	created   = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	now       = created.Add(time.Minute)
	errOutage = errors.New("dial tcp 10.0.0.7:3306: connection refused")
)

// given builds what a loop found.
type given struct{ *scope }

func aCampaign(mutate ...func(*v1alpha1.EmailCampaign)) given {
	builder := kubetest.NewCampaign("growth", "launch")
	for _, m := range mutate {
		builder = builder.With(m)
	}
	object := builder.Obj()
	object.Generation = 3
	object.CreationTimestamp = metav1.NewTime(created)
	s := newScope(object, now)
	s.owner, s.heldBy = true, object.Annotations[v1alpha1.AnnotationHold]
	return given{s}
}

func (g given) written(at time.Time) given {
	g.record = &campaign.Record{
		Key: g.key, ContentHash: "c", ListHash: "l", CreatedAt: created, SealedAt: &at,
		Totals: campaign.Totals{Recipients: 10, Jobs: 1},
	}
	return g
}

func (g given) openedBy(other time.Time) given {
	g.record.CreatedAt = other
	return g
}

func (g given) enqueuedNow() given {
	g.enqueued = true
	return g
}

func (g given) counting(tally campaign.Tally) given {
	for _, n := range []int64{
		tally.Pending, tally.Active, tally.Deferred, tally.Accepted, tally.Bounced, tally.Failed,
		tally.Suppressed, tally.Cancelled, tally.InDoubt,
	} {
		tally.Total += n
	}
	if tally.LastCompletedAt == nil && tally.Done() {
		at := now.Add(-time.Second)
		tally.LastCompletedAt = &at
	}
	g.tally = &tally
	return g
}

func (g given) heldUntil(until time.Time) given {
	g.record.Hold = &campaign.Hold{Reason: v1alpha1.ReasonAuthenticationFailed, Message: "check SMTP_PASSWORD", Until: until}
	return g
}

func (g given) relayAway(since time.Duration) given {
	g.record.Hold = &campaign.Hold{
		Reason: v1alpha1.ReasonRelayUnavailable, Message: "connecting to the relay failed", Until: now.Add(-since),
	}
	return g
}

func (g given) cancelledAt(at time.Time) given {
	g.record.CancelledAt = &at
	return g
}

func suspended(c *v1alpha1.EmailCampaign) { yes := true; c.Spec.Suspend = &yes }

func readyWhenCompleted(c *v1alpha1.EmailCampaign) {
	c.Spec.ReadinessPolicy = v1alpha1.ReadinessCompleted
}

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
			given: aCampaign().written(before).openedBy(before).enqueuedNow().
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
		List:               &v1alpha1.ListSummary{Duplicates: 3, Invalid: 1, InvalidLines: []int32{17}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNextLoop(t *testing.T) {
	t.Parallel()
	sealed := created.Add(time.Second)
	for _, tc := range []struct {
		name    string
		given   given
		err     error
		want    ctrl.Result
		wantErr error
	}{
		{name: "only the user can help", given: aCampaign(), err: &stalledError{reason: "InvalidSpec", err: errors.New("x")}},
		{
			name: "a source may appear", given: aCampaign(),
			err:  &stalledError{reason: "SecretNotFound", err: errors.New("x"), recheckAfter: recheckSource},
			want: ctrl.Result{RequeueAfter: recheckSource},
		},
		{
			name: "an outage is retried with backoff", given: aCampaign(),
			err: &dependencyError{dependency: "queue", err: errOutage}, wantErr: errOutage,
		},
		{name: "any other error is retried with backoff", given: aCampaign(), err: errOutage, wantErr: errOutage},
		{
			name: "sending", given: aCampaign().written(sealed).counting(campaign.Tally{Pending: 1, Accepted: 1}),
			want: ctrl.Result{RequeueAfter: progressInterval},
		},
		{name: "suspended, the last mail still on the wire", given: aCampaign(suspended).written(sealed).
			counting(campaign.Tally{Pending: 1, Active: 1}), want: ctrl.Result{RequeueAfter: progressInterval}},
		{
			name: "suspended", given: aCampaign(suspended).written(sealed).counting(campaign.Tally{Pending: 1}),
			want: ctrl.Result{RequeueAfter: idleInterval},
		},
		{
			name: "held", given: aCampaign().written(sealed).counting(campaign.Tally{Pending: 1}).heldUntil(now.Add(time.Hour)),
			want: ctrl.Result{RequeueAfter: idleInterval},
		},
		{
			name: "all deferred", given: aCampaign().written(sealed).counting(campaign.Tally{Deferred: 1}),
			want: ctrl.Result{RequeueAfter: idleInterval},
		},
		{name: "ended", given: aCampaign().written(sealed).counting(campaign.Tally{Accepted: 1})},
		{
			name:  "ended with a doubt that a worker may still resolve",
			given: aCampaign().written(sealed).counting(campaign.Tally{Accepted: 1, InDoubt: 1}),
			want:  ctrl.Result{RequeueAfter: time.Minute},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := nextLoop(tc.given.scope, tc.err, progressInterval)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("got %v, %v; want %v, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestEventsTellWhatChanged(t *testing.T) {
	t.Parallel()
	sealed := created.Add(time.Second)
	var before v1alpha1.EmailCampaignStatus
	var told []string
	for _, loop := range []struct {
		given given
		err   error
	}{
		{aCampaign(), &stalledError{reason: v1alpha1.ReasonSecretNotFound, err: errors.New("no Secret")}},
		{aCampaign(), &dependencyError{dependency: "database", reason: v1alpha1.ReasonDatabaseUnavailable, err: errOutage}},
		{aCampaign(suspended).written(sealed).counting(campaign.Tally{Pending: 10}), nil},
		{aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 10}), nil},
		{aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 9, InDoubt: 1}), nil},
		{aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Pending: 9, InDoubt: 1}).relayAway(10 * time.Second), nil},
		{aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 9, InDoubt: 1}), nil},
		{aCampaign().written(sealed).enqueuedNow().counting(campaign.Tally{Accepted: 9, InDoubt: 1}), nil},
	} {
		loop.given.object.Status = *before.DeepCopy()
		computeStatus(loop.given.scope, loop.err, telemetry.Redact, DefaultNoProgressAfter)
		for _, e := range eventsFor(&before, &loop.given.object.Status, outageEvent(loop.given.scope, loop.err)) {
			told = append(told, e.reason)
		}
		before = loop.given.object.Status
	}
	want := []string{
		"SpecRejected", "DatabaseUnavailable",
		"CampaignAccepted", "RecipientsMaterialized", "SendingSuspended",
		"JobEnqueued", "SendingResumed", "RecipientsInDoubt", "RelayUnavailable", "CampaignCompleted",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// steered has all that a Node worker does not go by.
func steered(c *v1alpha1.EmailCampaign) {
	c.Spec.Schedule = &v1alpha1.Schedule{Windows: []v1alpha1.Window{{Start: "08:00", End: "18:00"}}}
	c.Spec.Throttle = &v1alpha1.Throttle{}
	c.Spec.Retry = &v1alpha1.Retry{}
	c.Spec.FailurePolicy = &v1alpha1.FailurePolicy{}
}

func TestWhatNodeWorkersCanNotMailIsRefused(t *testing.T) {
	t.Parallel()
	from := mail.Address{Name: "News", Address: "news@example.com"}
	plain := campaign.Content{From: from, Subject: "Hola", HTML: "<p>Hola</p>"}
	for _, tc := range []struct {
		name   string
		mixed  bool
		mutate func(*campaign.Content)
		spec   func(*v1alpha1.EmailCampaign)
		want   []string
	}{
		{"what they can", true, func(*campaign.Content) {}, startingAt(now), nil},
		{"everything, where none is there", false, func(c *campaign.Content) { c.Text = "Hola" }, steered, nil},
		{"how it is sent", true, func(*campaign.Content) {}, steered, []string{
			"spec.schedule.windows", "spec.throttle", "spec.retry", "spec.failurePolicy",
		}},
		{
			"all of what is in it", true, func(c *campaign.Content) {
				*c = campaign.Content{
					From: mail.Address{Address: "other@example.com"}, ReplyTo: []string{"a@example.com"},
					Headers: map[string]string{"X-A": "1"}, Text: "Hola", Subject: strings.Repeat("ñ", 192),
					Mustache: true, AutoSubmitted: true, ListID: "news.example.com",
				}
			},
			func(*v1alpha1.EmailCampaign) {},
			[]string{
				"spec.message.from (other than SMTP_FROM)", "spec.message.replyTo", "spec.message.headers",
				"spec.message.text", "all of spec.message.subject (191 characters)",
				"the variables of spec.message.engine Mustache", "the Auto-Submitted field of spec.category Transactional", "spec.unsubscribe",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newScope(kubetest.NewCampaign("growth", "launch").With(tc.spec).Obj(), now)
			s.content = plain
			tc.mutate(&s.content)
			r := &EmailCampaignReconciler{DefaultFrom: from, MixedWorkers: tc.mixed}
			if diff := cmp.Diff(tc.want, r.beyondNodeWorkers(s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
