package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

func requestOf(key client.ObjectKey) ctrl.Request { return ctrl.Request{NamespacedName: key} }

// mixedEnd delivers to ada, has bob bounce, and fails cid.
func mixedEnd(address string) campaign.Result {
	switch address[:3] {
	case "bob":
		return campaign.Result{State: campaign.StateBounced, Code: 550, Category: "BadMailbox"}
	case "cid":
		return campaign.Result{State: campaign.StateFailed, Code: 552, Category: "MailboxFull"}
	default:
		return accepted(address)
	}
}

// Failed recipients are tried again once for each token, also after the end, and then the campaign ends again.
func TestRetryFailed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		categories string
		want       []string
	}{
		{"all that failed", "", []string{"ada@example.com: accepted", "bob@example.com: bounced", "cid@example.com: pending"}},
		{"a bounce by its name", "BadMailbox, Content", []string{"ada@example.com: accepted", "bob@example.com: pending", "cid@example.com: failed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.quiet = 1000 * time.Hour
			key := applied(func(c *v1alpha1.EmailCampaign) { c.Spec.ActiveDeadlineSeconds = new(int64(3600)) })(t, w)
			w.deliver(t, w.namespace+"/launch", mixedEnd)
			w.mustSettle(t, key)
			w.now = w.now.Add(24 * time.Hour) // longer ago than the deadline
			if tc.categories != "" {
				w.annotate(t, key, v1alpha1.AnnotationRetryCategories, tc.categories)
			}
			w.annotate(t, key, v1alpha1.AnnotationRetryFailedAt, "monday")
			object := w.mustSettle(t, key)
			if diff := cmp.Diff(tc.want, w.states(t, w.namespace+"/launch"), sorted); diff != "" {
				t.Error(diff)
			}
			if object.Status.TerminalState != "" || object.Status.LastHandledRetryFailedAt != "monday" || conditionLines(object)["Ready"] != "True Sending" {
				t.Errorf("%s, answered %q, %v", object.Status.TerminalState, object.Status.LastHandledRetryFailedAt, conditionLines(object))
			}
			w.deliver(t, w.namespace+"/launch", mixedEnd)
			w.now = w.now.Add(time.Minute)
			object = w.mustSettle(t, key)
			if object.Status.TerminalState != v1alpha1.TerminalCompletedWithFailures || len(object.Finalizers) != 0 {
				t.Errorf("It ends as %s, finalizers %v", object.Status.TerminalState, object.Finalizers)
			}
		})
	}
}

func TestResolveInDoubt(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"Sent@1": "accepted", "Failed@1": "failed", "Resend@1": "pending"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := applied()(t, w)
			w.deliver(t, w.namespace+"/launch", func(string) campaign.Result { return campaign.Result{State: campaign.StateInDoubt} })
			w.mustSettle(t, key)
			w.annotate(t, key, v1alpha1.AnnotationResolveInDoubt, value)
			object := w.mustSettle(t, key)
			if diff := cmp.Diff(all(want), w.states(t, w.namespace+"/launch"), sorted); diff != "" {
				t.Error(diff)
			}
			if object.Status.LastHandledResolveInDoubt != value || object.Status.Recipients.InDoubt != 0 {
				t.Errorf("answered %q, %+v", object.Status.LastHandledResolveInDoubt, object.Status.Recipients)
			}
			if queued := w.queued(t, w.namespace+"/launch"); (len(queued) == 2) != (want == "pending") {
				t.Errorf("queued %v", queued)
			}
		})
	}
}

// Test mails go to whom the operator says, once for each token, and a crash in between does not double them.
func TestTestSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.testers = []string{"qa@example.com", "ana@example.com"}
	key := applied(suspendedBySpec)(t, w)
	w.annotate(t, key, v1alpha1.AnnotationTestSendAt, "today")
	w.effects.restart()
	w.effects.crashAt = 1 // before the token is noted
	if _, err := w.settle(t, key); err == nil {
		t.Fatal("no crash")
	}
	w.effects.restart()
	object := w.mustSettle(t, key)
	w.mustSettle(t, key)
	if object.Status.LastHandledTestSendAt != "today" || len(w.mailed.mails) != 2 || w.mailed.mails[0].Key != w.mailed.mails[1].Key {
		t.Fatalf("answered %q, mails %+v", object.Status.LastHandledTestSendAt, w.mailed.mails)
	}
	test := w.mailed.mails[0]
	want := campaign.Submission{
		Key: test.Key, Content: campaign.Content{From: test.Content.From, ReplyTo: []string{}, Subject: "[Test] News", Text: "There is news."},
		Recipients: []campaign.Recipient{{Address: "qa@example.com"}, {Address: "ana@example.com"}}, Priority: 1, CreatedAt: w.now,
	}
	if diff := cmp.Diff(want, test); diff != "" || !strings.HasPrefix(test.Key, "test:"+w.namespace+"/launch:") || len(test.Key) > 320 {
		t.Errorf("key %q\n%s", test.Key, diff)
	}
	if lines := conditionLines(object); lines["Ready"] != "True SuspendedBySpec" {
		t.Errorf("conditions %v", lines)
	}
}

func TestTestKeysFit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 317)
	first, second := testKey(long, strings.Repeat("t", 128)), testKey(long[1:]+"x", strings.Repeat("t", 128))
	if len(first) > 320 || first == second {
		t.Errorf("%d characters: %s and %s", len(first), first, second)
	}
}

// What can't be followed is said once for each value, in words, and nothing is done.
func TestRefusedVerbs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	for _, tc := range []struct {
		name, annotation, value, with, says string
	}{
		{"an empty token", v1alpha1.AnnotationResumeAt, "", "", "its value is empty"},
		{"a long token", v1alpha1.AnnotationRetryFailedAt, long, "", "longer than 128 characters"},
		{"a token of control characters", v1alpha1.AnnotationTestSendAt, "a\nb", "", "can't be shown"},
		{"no resolution", v1alpha1.AnnotationResolveInDoubt, "Maybe@1", "", "Sent@<token>, Failed@<token> or Resend@<token>"},
		{"a resolution without token", v1alpha1.AnnotationResolveInDoubt, "Sent@", "", "its value is empty"},
		{"no category", v1alpha1.AnnotationRetryFailedAt, "1", "Bad Mailbox!", "must be categories of status.failures"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.testers = []string{"qa@example.com"}
			key := applied()(t, w)
			w.deliver(t, w.namespace+"/launch", func(address string) campaign.Result {
				if strings.HasPrefix(address, "ada") {
					return campaign.Result{State: campaign.StateInDoubt}
				}
				return mixedEnd(address)
			})
			w.mustSettle(t, key)
			w.events()
			before := w.record(t, key)
			if tc.with != "" {
				w.annotate(t, key, v1alpha1.AnnotationRetryCategories, tc.with)
			}
			w.annotate(t, key, tc.annotation, tc.value)
			r := w.reconciler(t)
			for range 3 {
				if _, err := r.Reconcile(t.Context(), requestOf(key)); err != nil {
					t.Fatal(err)
				}
			}
			told := w.events()
			if len(told) != 1 || !strings.HasPrefix(told[0], "Warning VerbRejected") || !strings.Contains(told[0], tc.says) || !strings.Contains(told[0], tc.annotation) {
				t.Errorf("Events %q", told)
			}
			if diff := cmp.Diff(before, w.record(t, key)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVerbsThatNobodyCanFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied(shutdown)(t, w)
	w.events()
	w.annotate(t, key, v1alpha1.AnnotationRetryFailedAt, "1")
	w.annotate(t, key, v1alpha1.AnnotationTestSendAt, "1")
	r := w.reconciler(t)
	for range 4 {
		if _, err := r.Reconcile(t.Context(), requestOf(key)); err != nil {
			t.Fatal(err)
		}
	}
	told := strings.Join(w.events(), "\n")
	for _, want := range []string{"the campaign was cancelled", "TEST_RECIPIENTS"} {
		if strings.Count(told, want) != 1 {
			t.Errorf("Told %q, want %q once", told, want)
		}
	}
	if object := w.get(t, key); object.Status.TerminalState != v1alpha1.TerminalCancelled || len(object.Finalizers) != 0 {
		t.Errorf("%s, finalizers %v", object.Status.TerminalState, object.Finalizers)
	}
}
