package controllers

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

func held(c *v1alpha1.EmailCampaign) {
	c.Annotations = map[string]string{v1alpha1.AnnotationHold: "ana: the price is wrong"}
}

func dryRun(c *v1alpha1.EmailCampaign) { c.Spec.Mode = v1alpha1.ModeDryRun }

// plans is a dry run that came to this.
func (g given) plans(plan *v1alpha1.Plan) given {
	g.owner, g.planned, g.newPlan, g.planHash = false, true, plan, "p"
	g.totals = campaign.Totals{Duplicates: plan.Duplicates}
	return g
}

func startingAt(at time.Time) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) {
		c.Spec.Schedule = &v1alpha1.Schedule{StartTime: new(metav1.NewTime(at)), TimeZone: "Etc/UTC"}
	}
}

func (g given) open(from, to time.Time) given {
	g.record.Control.OpensAt, g.record.Control.ClosesAt = from, to
	return g
}

func (g given) startedAt(at time.Time) given {
	g.record.StartedAt = &at
	return g
}

func (g given) rate(messages int, period time.Duration) given {
	g.record.Control.Policy.Rate = campaign.Rate{Messages: messages, Period: period, Burst: 1}
	return g
}

func (g given) pausedBy(reason string) given {
	g.record.Hold = &campaign.Hold{Reason: reason, Message: "resume it with an annotation", Until: campaign.Forever}
	return g
}

func (g given) ended(reason string) given {
	g.record.CancelledAt, g.record.EndReason = new(now), reason
	return g
}

func (g given) steeredByAnother(suspended bool) given {
	g.owner, g.record.Control.Suspended = false, suspended
	return g
}

// state is what users and tools make of a campaign.
type state struct {
	Ready    string // of the condition: status and reason
	Kstatus  status.Status
	Next     string // status.nextTransitionTime, from now
	Ends     string // status.estimatedCompletionTime, from now
	Terminal v1alpha1.TerminalState
	// Others are the conditions besides Ready that are not what they are while a campaign is sent.
	Others map[string]string
}

// sent are the conditions besides Ready while a campaign is sent.
var sent = map[string]string{
	"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
	"Suspended": "False NotSuspended", "Complete": "False InProgress", "Failed": "False NotFailed",
}

func stateOf(t *testing.T, object *v1alpha1.EmailCampaign) state {
	t.Helper()
	lines := conditionLines(object)
	got := state{Ready: lines["Ready"], Kstatus: kstatusOf(t, object), Terminal: object.Status.TerminalState, Others: map[string]string{}}
	for conditionType, line := range lines {
		if conditionType != "Ready" && line != sent[conditionType] {
			got.Others[conditionType] = line
		}
	}
	for _, moment := range []struct {
		at   *metav1.Time
		into *string
	}{{object.Status.NextTransitionTime, &got.Next}, {object.Status.EstimatedCompletionTime, &got.Ends}} {
		if moment.at != nil {
			*moment.into = moment.at.Sub(now).String()
		}
	}
	return got
}

var update = flag.Bool("update", false, "write the states that config/gitops is tested with")

// gitOpsStates has an object in each state, for the tests of what Argo CD and Flux make of them.
const gitOpsStates = "../config/gitops/argocd/mail.cartero.dev/EmailCampaign/testdata"

// keepsState compares the object with what is kept of the state of this name.
func keepsState(t *testing.T, name string, object *v1alpha1.EmailCampaign) {
	t.Helper()
	object = object.DeepCopy()
	object.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "EmailCampaign"}
	for i := range object.Status.Conditions {
		object.Status.Conditions[i].LastTransitionTime = metav1.NewTime(now)
	}
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(gitOpsStates, strings.NewReplacer(" ", "-", ",", "").Replace(name)+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; go test ./controllers -short -run 'TestStates|TestConditions' -update writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; -update writes it (-want +got):\n%s", file, diff)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	sealed, hour := created.Add(time.Second), now.Add(time.Hour)
	waiting := campaign.Tally{Pending: 10}
	soon := now.Add(90 * time.Second)
	for _, tc := range []struct {
		name  string
		given given
		err   error
		want  state
	}{
		{
			name: "a dry run is done", given: aCampaign(dryRun).plans(&v1alpha1.Plan{
				Recipients: 8, Suppressed: 2, Duplicates: 1, TopDomains: []v1alpha1.DomainCount{{Domain: "example.org", Count: 10}},
				MessageBytes: 4321, Warnings: []string{"html shows the image cid:logo, and no attachment has that content id"},
			}),
			want: state{Ready: "True Planned", Kstatus: status.CurrentStatus, Others: map[string]string{
				"Materialized": "False Pending", "Enqueued": "False Pending",
			}},
		},
		{
			name: "waits for its start", given: aCampaign(startingAt(hour)).written(sealed).enqueuedNow().counting(waiting).open(hour, time.Time{}),
			want: state{Ready: "True Scheduled", Kstatus: status.CurrentStatus, Next: "1h0m0s", Others: map[string]string{"Enqueued": "False Pending"}},
		},
		{
			name:  "waits for its start, ready when completed",
			given: aCampaign(readyWhenCompleted, startingAt(hour)).written(sealed).enqueuedNow().counting(waiting).open(hour, time.Time{}),
			want: state{
				Ready: "False Scheduled", Kstatus: status.InProgressStatus, Next: "1h0m0s",
				Others: map[string]string{"Enqueued": "False Pending", "Reconciling": "True Scheduled"},
			},
		},
		{
			name: "between two windows", given: aCampaign().written(sealed).enqueuedNow().counting(waiting).open(hour, hour.Add(time.Hour)),
			want: state{Ready: "True OutsideWindow", Kstatus: status.CurrentStatus, Next: "1h0m0s", Others: map[string]string{"Enqueued": "False Pending"}},
		},
		{
			name: "behind a window that nobody moved on", given: aCampaign().written(sealed).enqueuedNow().counting(waiting).open(sealed, now),
			want: state{Ready: "True OutsideWindow", Kstatus: status.CurrentStatus, Others: map[string]string{"Enqueued": "False Pending"}},
		},
		{
			name: "in its window", given: aCampaign().written(sealed).enqueuedNow().counting(waiting).open(sealed, hour),
			want: state{Ready: "True Sending", Kstatus: status.CurrentStatus},
		},
		{
			name: "on its way, and half of it done",
			given: aCampaign().written(sealed).startedAt(now.Add(-50 * time.Second)).enqueuedNow().
				counting(campaign.Tally{Pending: 500, Accepted: 500}),
			want: state{Ready: "True Sending", Kstatus: status.CurrentStatus, Ends: "50s"},
		},
		{
			name: "as fast as it may", given: aCampaign().written(sealed).startedAt(now.Add(-50*time.Second)).enqueuedNow().
				counting(campaign.Tally{Pending: 50, Accepted: 50}).rate(60, time.Minute),
			want: state{Ready: "True Throttled", Kstatus: status.CurrentStatus, Ends: "50s"},
		},
		{
			name: "slower than it may", given: aCampaign().written(sealed).startedAt(now.Add(-50*time.Second)).enqueuedNow().
				counting(campaign.Tally{Pending: 50, Accepted: 50}).rate(600, time.Minute),
			want: state{Ready: "True Sending", Kstatus: status.CurrentStatus, Ends: "50s"},
		},
		{
			name: "waits for a retry", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Deferred: 1, Accepted: 9, NextAttemptAt: &soon, AttemptsUntil: &soon}),
			want: state{Ready: "True Deferred", Kstatus: status.CurrentStatus, Next: "1m30s", Ends: "1m30s"},
		},
		{
			name: "most wait for their turn", given: aCampaign().written(sealed).startedAt(now.Add(-50 * time.Second)).enqueuedNow().
				counting(campaign.Tally{Deferred: 80, Accepted: 20, NextAttemptAt: &soon, AttemptsUntil: &soon}),
			want: state{Ready: "True Deferred", Kstatus: status.CurrentStatus, Next: "1m30s", Ends: "3m20s"},
		},
		{
			name: "held by a person", given: aCampaign(held).written(sealed).enqueuedNow().counting(waiting),
			want: state{
				Ready: "True Held", Kstatus: status.CurrentStatus,
				Others: map[string]string{"Suspended": "True Held", "Enqueued": "False Pending"},
			},
		},
		{
			name: "suspended while it was sent", given: aCampaign(suspended).written(sealed).startedAt(sealed).enqueuedNow().counting(waiting),
			want: state{
				Ready: "True SuspendedBySpec", Kstatus: status.CurrentStatus,
				Others: map[string]string{"Suspended": "True SuspendedBySpec", "Enqueued": "False Pending"},
			},
		},
		{
			name: "follows an object that is suspended", given: aCampaign().written(sealed).enqueuedNow().counting(waiting).steeredByAnother(true),
			want: state{
				Ready: "True SuspendedBySpec", Kstatus: status.CurrentStatus,
				Others: map[string]string{"Suspended": "True SuspendedBySpec", "Enqueued": "False Pending"},
			},
		},
		{
			name:  "suspended, and follows an object that is not",
			given: aCampaign(suspended).written(sealed).enqueuedNow().counting(waiting).steeredByAnother(false),
			want: state{
				Ready: "True Sending", Kstatus: status.CurrentStatus,
			},
		},
		{
			name: "too many failed", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Pending: 10, Bounced: 90}).pausedBy(v1alpha1.ReasonAbortThresholdExceeded),
			want: state{
				Ready: "False AbortThresholdExceeded", Kstatus: status.FailedStatus,
				Others: map[string]string{"Suspended": "True AbortThresholdExceeded", "Stalled": "True AbortThresholdExceeded"},
			},
		},
		{
			name: "stopped by a rule", given: aCampaign().written(sealed).enqueuedNow().counting(waiting).
				pausedBy(v1alpha1.ReasonFailurePolicyMatched),
			want: state{
				Ready: "False FailurePolicyMatched", Kstatus: status.FailedStatus,
				Others: map[string]string{"Suspended": "True FailurePolicyMatched", "Stalled": "True FailurePolicyMatched"},
			},
		},
		{
			name: "nobody ends", given: aCampaign().written(now.Add(-time.Hour)).enqueuedNow().counting(waiting),
			want: state{Ready: "False NoProgress", Kstatus: status.FailedStatus, Others: map[string]string{"Stalled": "True NoProgress"}},
		},
		{
			name: "could not start in time", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Cancelled: 10}).ended(campaign.EndStartDeadlineExceeded),
			want: state{
				Ready: "False StartDeadlineExceeded", Kstatus: status.FailedStatus, Terminal: v1alpha1.TerminalFailed,
				Others: map[string]string{"Failed": "True StartDeadlineExceeded", "Stalled": "True StartDeadlineExceeded"},
			},
		},
		{
			name: "took too long", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Accepted: 4, Cancelled: 6}).ended(campaign.EndDeadlineExceeded),
			want: state{
				Ready: "False DeadlineExceeded", Kstatus: status.FailedStatus, Terminal: v1alpha1.TerminalFailed,
				Others: map[string]string{"Failed": "True DeadlineExceeded", "Stalled": "True DeadlineExceeded"},
			},
		},
		{
			name: "cancelled with its object, and applied again", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Accepted: 4, Cancelled: 6}).ended(campaign.EndDeleted),
			want: state{
				Ready: "False Deleted", Kstatus: status.FailedStatus, Terminal: v1alpha1.TerminalCancelled,
				Others: map[string]string{"Failed": "True Deleted", "Stalled": "True Deleted"},
			},
		},
		{
			name: "its deadline came when everybody had been sent to", given: aCampaign().written(sealed).enqueuedNow().
				counting(campaign.Tally{Accepted: 10}).ended(campaign.EndDeadlineExceeded),
			want: state{
				Ready: "True Completed", Kstatus: status.CurrentStatus, Terminal: v1alpha1.TerminalCompleted,
				Others: map[string]string{"Complete": "True Completed"},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			computeStatus(tc.given.scope, tc.err, telemetry.Redact, DefaultNoProgressAfter)
			if tc.want.Others == nil {
				tc.want.Others = map[string]string{}
			}
			if diff := cmp.Diff(tc.want, stateOf(t, tc.given.object)); diff != "" {
				t.Error(diff)
			}
			keepsState(t, tc.name, tc.given.object)
		})
	}
}

// A campaign is stuck only when workers should be sending and nothing that it waits for is to come.
func TestStuck(t *testing.T) {
	t.Parallel()
	old := now.Add(-time.Hour)
	for _, tc := range []struct {
		name  string
		given given
		want  bool
	}{
		{"nobody has ended for an hour", aCampaign().written(old).counting(campaign.Tally{Pending: 1}), true},
		{"somebody is on the wire for an hour", aCampaign().written(old).counting(campaign.Tally{Active: 1}), true},
		{"somebody ended just now", aCampaign().written(old).counting(campaign.Tally{Pending: 1, Accepted: 1, LastCompletedAt: new(now)}), false},
		{"sealed just now", aCampaign().written(now).counting(campaign.Tally{Pending: 1}), false},
		{"all wait for a retry", aCampaign().written(old).counting(campaign.Tally{Deferred: 1}), false},
		{"suspended", aCampaign(suspended).written(old).counting(campaign.Tally{Pending: 1}), false},
		{"held", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).heldUntil(now.Add(time.Hour)), false},
		{"held until just now", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).heldUntil(now), false},
		{"the relay is away", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).relayAway(time.Second), false},
		{"the window opened just now", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).open(now, time.Time{}), false},
		{"no window is open", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).open(now.Add(time.Hour), time.Time{}), false},
		{"one mail an hour", aCampaign().written(old).counting(campaign.Tally{Pending: 1}).rate(1, time.Hour), false},
		{"ended", aCampaign().written(old).counting(campaign.Tally{Accepted: 1}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := !tc.given.stuckSince(DefaultNoProgressAfter).IsZero(); got != tc.want {
				t.Errorf("stuck: %v, want %v", got, tc.want)
			}
		})
	}
}

// However often a campaign is looked at, its status is written every 2 s at most, unless somebody edits it.
func TestStatusIsWrittenEvery2Seconds(t *testing.T) {
	t.Parallel()
	var writes statusWrites
	g := aCampaign().written(created).enqueuedNow()
	g.object.UID = "1"
	written := 0
	for i := range 100 { // every 100 ms, more have ended
		loop := newScope(g.object.DeepCopy(), now.Add(time.Duration(i)*100*time.Millisecond))
		loop.owner, loop.record, loop.enqueued = true, g.record, true
		loop.tally = &campaign.Tally{Total: 1000, Pending: int64(1000 - i), Accepted: int64(i)}
		computeStatus(loop, nil, telemetry.Redact, DefaultNoProgressAfter)
		if wait := writes.wait(loop); wait > 0 {
			if left := statusInterval - time.Duration(i%20)*100*time.Millisecond; wait != left {
				t.Fatalf("at %d00 ms it waits for %v, want %v", i, wait, left)
			}
			continue
		}
		writes.note(loop)
		written++
		g.object = loop.object
	}
	if written != 5 { // at 0, 2, 4, 6 and 8 s
		t.Errorf("written %d times in 10 s, want 5", written)
	}

	edited := newScope(g.object.DeepCopy(), now.Add(8100*time.Millisecond))
	edited.object.Generation++
	edited.owner, edited.record = true, g.record
	computeStatus(edited, nil, telemetry.Redact, DefaultNoProgressAfter)
	if wait := writes.wait(edited); wait != 0 {
		t.Errorf("after an edit it waits for %v", wait)
	}
}
