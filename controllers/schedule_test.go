package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
)

// loop runs one loop and returns after how long the next one comes.
func (w *world) loop(t *testing.T, key client.ObjectKey) time.Duration {
	t.Helper()
	result, err := w.reconciler(t).Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

// Monday, 1 March 2027, 07:59:50 in Madrid.
var beforeEight = time.Date(2027, 3, 1, 6, 59, 50, 0, time.UTC)

func officeHours(c *v1alpha1.EmailCampaign) {
	c.Spec.Schedule = &v1alpha1.Schedule{TimeZone: "Europe/Madrid", Windows: []v1alpha1.Window{
		{Days: []v1alpha1.Day{"Monday", "Tuesday"}, Start: "08:00", End: "18:00"},
	}}
}

// Windows are rolled on at the very moment, and jobs are rung when one opens.
func TestWindows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now, w.quiet = beforeEight, 1000*time.Hour
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").With(officeHours).Obj())
	if got := w.outcomeOf(t, key); got.Ready != "True OutsideWindow" || got.Queued != nil {
		t.Errorf("Before the window: %+v", got)
	}
	for _, tc := range []struct {
		name    string
		now     time.Time
		ready   string
		control campaign.Control
		next    time.Duration
		queued  int
	}{
		{
			name: "ten seconds before", now: beforeEight, ready: "True OutsideWindow", next: 10 * time.Second,
			control: campaign.Control{OpensAt: beforeEight.Add(10 * time.Second), ClosesAt: beforeEight.Add(10*time.Second + 10*time.Hour)},
		},
		{
			name: "when it opens", now: beforeEight.Add(10 * time.Second), ready: "True Sending", next: progressInterval, queued: 1,
			control: campaign.Control{OpensAt: beforeEight.Add(10 * time.Second), ClosesAt: beforeEight.Add(10*time.Second + 10*time.Hour)},
		},
		{
			name: "a second before it closes", now: beforeEight.Add(9*time.Second + 10*time.Hour), ready: "True Sending", next: time.Second, queued: 1,
			control: campaign.Control{OpensAt: beforeEight.Add(10 * time.Second), ClosesAt: beforeEight.Add(10*time.Second + 10*time.Hour)},
		},
		{
			name: "when it closes", now: beforeEight.Add(10*time.Second + 10*time.Hour), ready: "True OutsideWindow", next: idleInterval, queued: 1,
			control: campaign.Control{OpensAt: beforeEight.Add(10*time.Second + 24*time.Hour), ClosesAt: beforeEight.Add(10*time.Second + 34*time.Hour)},
		},
		{
			name: "a day off, the operator was away", now: beforeEight.Add(72 * time.Hour), ready: "True OutsideWindow", next: idleInterval, queued: 1,
			control: campaign.Control{OpensAt: beforeEight.Add(10*time.Second + 7*24*time.Hour), ClosesAt: beforeEight.Add(10*time.Second + 7*24*time.Hour + 10*time.Hour)},
		},
	} {
		w.now = tc.now
		got := w.outcomeOf(t, key)
		if got.Ready != tc.ready || len(got.Queued) != tc.queued {
			t.Errorf("%s: %+v", tc.name, got)
		}
		if diff := cmp.Diff(tc.control, got.Control); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if next := w.loop(t, key); next != tc.next {
			t.Errorf("%s: the next loop comes in %s, want %s", tc.name, next, tc.next)
		}
	}
}

// A schedule can be changed while the campaign runs; a zone that nobody knows is told, and changes nothing.
func TestASchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = beforeEight
	key := applied()(t, w)
	w.update(t, key, officeHours)
	if got := w.outcomeOf(t, key); got.Ready != "True OutsideWindow" || got.Control.OpensAt.IsZero() {
		t.Errorf("With windows: %+v", got)
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Schedule.TimeZone = "Europe/Mardid" })
	object := w.mustSettle(t, key)
	if got := conditionLines(object)["Stalled"]; got != "True UnknownTimeZone" {
		t.Errorf("Stalled is %q", got)
	}
	if text := message(object, "Ready"); !strings.Contains(text, "spec.schedule.timeZone") || !strings.Contains(text, "Europe/Mardid") {
		t.Errorf("It says %q", text)
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = new(true) })
	if w.mustSettle(t, key); !w.record(t, key).Control.Suspended {
		t.Error("It can't be suspended with a bad zone")
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Schedule, c.Spec.Suspend = nil, nil })
	if got := w.outcomeOf(t, key); got.Ready != "True Sending" || !got.Control.OpensAt.IsZero() || !got.Control.ClosesAt.IsZero() {
		t.Errorf("Without a schedule: %+v", got)
	}
}

func startsAt(at time.Time, deadline int64) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) {
		c.Spec.Schedule = &v1alpha1.Schedule{StartTime: new(metav1.NewTime(at)), StartingDeadlineSeconds: deadline}
	}
}

func TestStartTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.now.Add(10 * time.Second).Truncate(time.Second)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").With(startsAt(start, 60)).Obj())
	got := w.outcomeOf(t, key)
	want := outcome{
		Rows: []string{"ada@example.com: pending"}, Ready: "True Scheduled", Progress: "0/1",
		Control: campaign.Control{OpensAt: start, StartBefore: start.Add(time.Minute)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if next := w.loop(t, key); next != start.Sub(w.now) {
		t.Errorf("The next loop comes in %s, want %s", next, start.Sub(w.now))
	}
	w.now = start
	if got := w.outcomeOf(t, key); got.Ready != "True Sending" || len(got.Queued) != 1 {
		t.Errorf("At its time: %+v", got)
	}
}

// What could not start in time is not sent; while it is suspended that waits.
func TestStartingDeadline(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		suspended bool
		started   bool
		ready     string
	}{
		{"not started", false, false, "False StartDeadlineExceeded"},
		{"suspended", true, false, "True SuspendedBySpec"},
		{"started", false, true, "True Sending"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			start := w.now.Add(time.Minute).Truncate(time.Second)
			key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").
				With(startsAt(start, 60)).WithSuspend(tc.suspended).Obj())
			w.mustSettle(t, key)
			if tc.started {
				w.now = start
				w.start(t, w.namespace+"/launch")
			}
			w.now = start.Add(59 * time.Second)
			if got := w.outcomeOf(t, key).Ready; strings.Contains(got, "Deadline") {
				t.Errorf("Before the deadline: %s", got)
			}
			w.now = start.Add(time.Minute)
			if got := w.outcomeOf(t, key); got.Ready != tc.ready {
				t.Errorf("After the deadline: %+v", got)
			}
			if !tc.suspended {
				return
			}
			w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = nil })
			if got := w.outcomeOf(t, key); got.Ready != "False StartDeadlineExceeded" || got.Queued != nil {
				t.Errorf("Resumed too late: %+v", got)
			}
		})
	}
}

// The deadline counts open time only, and neither while the campaign is suspended.
func TestActiveDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.quiet = 1000 * time.Hour
	w.now = beforeEight.Add(10 * time.Second) // the window is open until 17:00 UTC
	key := applied(officeHours, func(c *v1alpha1.EmailCampaign) { c.Spec.ActiveDeadlineSeconds = new(int64(9 * 3600)) })(t, w)
	started := w.now
	w.start(t, w.namespace+"/launch")
	w.mustSettle(t, key)
	if got := w.record(t, key).Control.ClosesAt; !got.Equal(started.Add(9 * time.Hour)) {
		t.Errorf("It closes at %s", got)
	}
	w.now = started.Add(time.Hour)
	w.annotate(t, key, v1alpha1.AnnotationHold, "ana: the price is wrong")
	if got := w.outcomeOf(t, key).Ready; got != "True Held" {
		t.Errorf("On hold it is %s", got)
	}
	w.now = started.Add(4 * time.Hour)
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Annotations = nil })
	w.mustSettle(t, key)
	record := w.record(t, key)
	if record.Idle != 3*time.Hour || record.Control.Suspended {
		t.Errorf("Idle %s, suspended %t", record.Idle, record.Control.Suspended)
	}
	if want := started.Add(10 * time.Hour); !record.Control.ClosesAt.Equal(want) { // the window; two hours are left for tomorrow
		t.Errorf("It closes at %s, want %s", record.Control.ClosesAt, want)
	}
	w.now = started.Add(24 * time.Hour)
	w.mustSettle(t, key)
	end := started.Add(26 * time.Hour)
	if got := w.record(t, key).Control.ClosesAt; !got.Equal(end) {
		t.Errorf("It closes at %s, want %s", got, end)
	}
	w.now = end.Add(-time.Second)
	if got := w.outcomeOf(t, key).Ready; got != "True Sending" {
		t.Errorf("A second before its deadline it is %s", got)
	}
	if next := w.loop(t, key); next != time.Second {
		t.Errorf("The next loop comes in %s", next)
	}
	w.now = end
	if got := w.outcomeOf(t, key); got.Ready != "False DeadlineExceeded" || got.EndReason != campaign.EndDeadlineExceeded ||
		!cmp.Equal(got.Rows, all("cancelled"), sorted) {
		t.Errorf("After its deadline: %+v", got)
	}
}

// What workers do with mails can be changed while they do it.
func TestPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.start(t, w.namespace+"/launch")
	before := w.record(t, key)
	w.update(t, key, func(c *v1alpha1.EmailCampaign) {
		c.Spec.Throttle = &v1alpha1.Throttle{Rate: &v1alpha1.Rate{Messages: 600, PeriodSeconds: 60}}
		c.Spec.Retry = &v1alpha1.Retry{MaxAttempts: new(int32(3)), InitialBackoffSeconds: new(int32(30)), InDoubt: v1alpha1.InDoubtRetry}
		c.Spec.FailurePolicy = &v1alpha1.FailurePolicy{Rules: []v1alpha1.FailureRule{{
			Action: v1alpha1.ActionPauseCampaign, OnReplies: v1alpha1.ReplyMatch{
				Codes: []int32{554}, EnhancedCodes: []string{"5.7.1"}, Stages: []v1alpha1.ReplyStage{"Rcpt", "Dot"}, Pattern: "(?i)spam",
			},
		}}}
		c.Spec.AbortPolicy = &v1alpha1.AbortPolicy{Action: v1alpha1.AbortFail, MaxFailedPercent: new(int32(50))}
	})
	w.mustSettle(t, key)
	want := campaign.Policy{
		Retry: campaign.Retry{MaxAttempts: 3, InitialBackoff: 30 * time.Second, InDoubt: true},
		Rate:  campaign.Rate{Messages: 600, Period: time.Minute, Burst: 1},
		Rules: []campaign.Rule{{
			Action: campaign.ActionPauseCampaign, Codes: []int{554}, EnhancedCodes: []string{"5.7.1"},
			Stages: []string{string(mail.PhaseRcpt), string(mail.PhaseDot)}, Pattern: "(?i)spam",
		}},
		Abort: campaign.Abort{MinSample: 100, MaxHardBouncePercent: 5, MaxFailedPercent: 50, Fail: true},
	}
	after := w.record(t, key)
	if diff := cmp.Diff(want, after.Control.Policy); diff != "" {
		t.Error(diff)
	}
	if after.Revision != before.Revision+1 {
		t.Errorf("Revision %d after %d: workers must notice it once", after.Revision, before.Revision)
	}
}

// A pattern that the schema of an older CRD let through.
func TestAPatternThatIsNone(t *testing.T) {
	t.Parallel()
	_, err := policyOf(&v1alpha1.EmailCampaignSpec{FailurePolicy: &v1alpha1.FailurePolicy{Rules: []v1alpha1.FailureRule{
		{OnReplies: v1alpha1.ReplyMatch{Pattern: "spam"}}, {OnReplies: v1alpha1.ReplyMatch{Pattern: "spam("}},
	}}})
	stalled := asStalled(err)
	if stalled == nil || stalled.reason != v1alpha1.ReasonInvalidSpec ||
		!strings.Contains(err.Error(), "spec.failurePolicy.rules[1].onReplies.pattern") {
		t.Errorf("The error is %v", err)
	}
}

// Too many that fail pause the campaign until somebody resumes it, and are not counted twice.
func TestAbortPolicyPauses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied(func(c *v1alpha1.EmailCampaign) {
		c.Spec.JobSize = new(int32(1))
		c.Spec.AbortPolicy = &v1alpha1.AbortPolicy{MinSample: new(int32(1)), MaxHardBouncePercent: new(int32(50))}
	})(t, w)
	campaignKey := w.namespace + "/launch"
	w.deliverJob(t, campaignKey, 0, campaign.Result{State: campaign.StateBounced, Code: 550, Category: "BadMailbox"})
	object := w.mustSettle(t, key)
	if lines := conditionLines(object); lines["Suspended"] != "True AbortThresholdExceeded" || lines["Stalled"] != "True AbortThresholdExceeded" {
		t.Errorf("conditions %v", lines)
	}
	if text := message(object, "Suspended"); !strings.Contains(text, "Of 1 recipients 1 bounced") || !strings.Contains(text, v1alpha1.AnnotationResumeAt) {
		t.Errorf("It says %q", text)
	}
	if queued := w.queued(t, campaignKey); queued != nil {
		t.Errorf("Still in the queue: %v", queued)
	}
	w.annotate(t, key, v1alpha1.AnnotationResumeAt, "2027-03-01T08:00:00Z")
	object = w.mustSettle(t, key)
	if lines := conditionLines(object); lines["Ready"] != "True Sending" || object.Status.LastHandledResumeAt != "2027-03-01T08:00:00Z" {
		t.Errorf("Resumed: %v", lines)
	}
	if queued := w.queued(t, campaignKey); len(queued) != 2 {
		t.Errorf("queued %v", queued)
	}
	w.deliverJob(t, campaignKey, 1, campaign.Result{State: campaign.StateAccepted, Code: 250})
	if lines := conditionLines(w.mustSettle(t, key)); lines["Ready"] != "True Sending" {
		t.Errorf("The old bounce counts again: %v", lines)
	}
}

// With retry.inDoubt Retry nobody stays in doubt, even where the last one is.
func TestInDoubtRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied(func(c *v1alpha1.EmailCampaign) { c.Spec.Retry = &v1alpha1.Retry{InDoubt: v1alpha1.InDoubtRetry} })(t, w)
	w.deliver(t, w.namespace+"/launch", func(address string) campaign.Result {
		if strings.HasPrefix(address, "bob") {
			return campaign.Result{State: campaign.StateInDoubt}
		}
		return accepted(address)
	})
	got := w.outcomeOf(t, key)
	want := []string{"ada@example.com: accepted", "bob@example.com: pending", "cid@example.com: accepted"}
	if diff := cmp.Diff(want, got.Rows, sorted); diff != "" || got.Ready != "True Sending" || len(got.Queued) != 1 {
		t.Errorf("%s %v\n%s", got.Ready, got.Queued, diff)
	}
}
