package controllers

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// kstatusOf is what Flux, Argo CD and kubectl make of the object.
func kstatusOf(t *testing.T, object *v1alpha1.EmailCampaign) status.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

func configMap(namespace, name, key, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: text}}
}

func TestAnAppliedCampaignIsWrittenEnqueuedAndFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := "email,name\nada@example.com,Ada\nnot an address,X\nADA@Example.com,Ada again\nbob@example.com,Bob\ncid@example.com,Cid\n"
	if err := w.cluster.Client.Create(t.Context(), configMap(w.namespace, "audience", "list.csv", list)); err != nil {
		t.Fatal(err)
	}
	fresh := kubetest.NewCampaign(w.namespace, "launch").WithConfigMap("audience", "list.csv", v1alpha1.FormatCSV).WithJobSize(2).Obj()
	key := w.apply(t, fresh)
	if got := kstatusOf(t, w.get(t, key)); got != status.InProgressStatus {
		t.Errorf("before the first loop kstatus is %s", got)
	}

	sending := w.mustSettle(t, key)
	campaignKey := w.namespace + "/launch"
	first, second := campaign.JobID(campaignKey, 0), campaign.JobID(campaignKey, 1)
	wantRows := []string{first + "/ada@example.com: pending", first + "/bob@example.com: pending", second + "/cid@example.com: pending"}
	if diff := cmp.Diff(wantRows, w.rows(t, campaignKey), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{first, second}, w.queued(t, campaignKey)); diff != "" {
		t.Error(diff)
	}
	wantList := &v1alpha1.ListSummary{Duplicates: 1, Invalid: 1, InvalidLines: []int32{3}, Dropped: []v1alpha1.DroppedEntries{
		{Reason: "NoAt", Count: 1, Lines: []int32{3}}, {Reason: "Duplicate", Count: 1, Lines: []int32{4}},
	}}
	if diff := cmp.Diff(wantList, sending.Status.List); diff != "" {
		t.Error(diff)
	}
	if sending.Status.Progress != "0/3" || sending.Status.Jobs != 2 || kstatusOf(t, sending) != status.CurrentStatus {
		t.Errorf("progress %s, jobs %d, kstatus %s", sending.Status.Progress, sending.Status.Jobs, kstatusOf(t, sending))
	}

	w.deliver(t, campaignKey, func(address string) campaign.Result {
		if strings.HasPrefix(address, "bob") {
			return campaign.Result{State: campaign.StateBounced, Code: 550, EnhancedCode: "5.1.1", Category: "BadMailbox"}
		}
		return accepted(address)
	})
	done := w.mustSettle(t, key)
	wantConditions := map[string]string{
		"Accepted": "True Accepted", "Materialized": "True Materialized", "Enqueued": "True Enqueued",
		"Suspended": "False NotSuspended", "Complete": "True CompletedWithFailures", "Failed": "False NotFailed",
		"Ready": "True CompletedWithFailures",
	}
	if diff := cmp.Diff(wantConditions, conditionLines(done)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&v1alpha1.RecipientCounts{Total: 3, Accepted: 2, Bounced: 1}, done.Status.Recipients); diff != "" {
		t.Error(diff)
	}
	var reasons []string
	for _, told := range w.events() {
		reasons = append(reasons, strings.Fields(told)[1])
	}
	wantEvents := []string{"CampaignAccepted", "RecipientsMaterialized", "JobEnqueued", "SendingStarted", "CampaignCompleted"}
	if diff := cmp.Diff(wantEvents, reasons); diff != "" {
		t.Error(diff)
	}
}

// Sources that are not there or not in order: one clear message, nothing written, and the campaign goes on by itself.
func TestABadSourceStallsTheCampaignUntilItIsMended(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		source     v1alpha1.RecipientSource
		before     client.Object // there from the beginning
		reason     string
		message    string
		mend       client.Object // created, or updated if it is there
		namespaced func(ns string)
	}{
		{
			name:    "the ConfigMap is missing",
			source:  v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "list", Key: "a.csv"}, Format: v1alpha1.FormatCSV},
			reason:  v1alpha1.ReasonConfigMapNotFound,
			message: `ConfigMap "list" (spec.recipients.configMapKeyRef) does not exist`,
			mend:    configMap("", "list", "a.csv", "email\nada@example.com\n"),
		},
		{
			name:    "the Secret is missing",
			source:  v1alpha1.RecipientSource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "list", Key: "a.txt"}, Format: v1alpha1.FormatLines},
			reason:  v1alpha1.ReasonSecretNotFound,
			message: `Secret "list" (spec.recipients.secretKeyRef) does not exist`,
			mend:    &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "list"}, StringData: map[string]string{"a.txt": "ada@example.com\n"}},
		},
		{
			name:    "the key is missing",
			source:  v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "list", Key: "a.csv"}, Format: v1alpha1.FormatCSV},
			before:  configMap("", "list", "b.csv", "email\nada@example.com\n"),
			reason:  v1alpha1.ReasonKeyNotFound,
			message: `has no key "a.csv"`,
			mend:    configMap("", "list", "a.csv", "email\nada@example.com\n"),
		},
		{
			name:    "the list can't be read",
			source:  v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "list", Key: "a.jsonl"}, Format: v1alpha1.FormatJSONLines},
			before:  configMap("", "list", "a.jsonl", "{\"email\":\"ada@example.com\"}\n{\"email\":\n"),
			reason:  v1alpha1.ReasonInvalidRecipients,
			message: "line 2",
			mend:    configMap("", "list", "a.jsonl", "{\"email\":\"ada@example.com\"}\n"),
		},
		{
			name:    "nobody in the list can be mailed",
			source:  v1alpha1.RecipientSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "list", Key: "a.txt"}, Format: v1alpha1.FormatLines},
			before:  configMap("", "list", "a.txt", "ada@\nbob@@example.com\n"),
			reason:  v1alpha1.ReasonInvalidRecipients,
			message: "2 invalid addresses, lines 1, 2",
			mend:    configMap("", "list", "a.txt", "ada@example.com\n"),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.before != nil {
				tc.before.SetNamespace(w.namespace)
				if err := w.cluster.Client.Create(t.Context(), tc.before); err != nil {
					t.Fatal(err)
				}
			}
			key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithRecipients(tc.source).Obj())
			stalled := w.mustSettle(t, key)
			got := conditionLines(stalled)
			if got["Stalled"] != "True "+tc.reason || got["Accepted"] != "False "+tc.reason || got["Ready"] != "False "+tc.reason {
				t.Errorf("conditions %v, want reason %s", got, tc.reason)
			}
			for _, c := range stalled.Status.Conditions {
				if c.Type == "Ready" && !strings.Contains(c.Message, tc.message) {
					t.Errorf("message %q does not say %q", c.Message, tc.message)
				}
			}
			if kstatusOf(t, stalled) != status.FailedStatus {
				t.Errorf("kstatus is %s", kstatusOf(t, stalled))
			}
			if _, err := w.store.Campaign(t.Context(), stalled.Status.CampaignKey); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("something was written: %v", err)
			}

			tc.mend.SetNamespace(w.namespace)
			if err := w.cluster.Client.Create(t.Context(), tc.mend); apierrors.IsAlreadyExists(err) {
				err = w.cluster.Client.Update(t.Context(), tc.mend)
				if err != nil {
					t.Fatal(err)
				}
			}
			if mended := w.mustSettle(t, key); mended.Status.Progress != "0/1" || kstatusOf(t, mended) != status.CurrentStatus {
				t.Errorf("after mending: %v", conditionLines(mended))
			}
		})
	}
}

func TestASenderThatCanNotBeUsedStallsTheCampaign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").With(func(c *v1alpha1.EmailCampaign) { c.Spec.Message.From = nil }).Obj())
	stalled := w.mustSettle(t, key)
	if got := conditionLines(stalled)["Stalled"]; got != "True InvalidSpec" {
		t.Fatalf("Stalled is %q", got)
	}
}

// While a dependency is away the status says which, nothing is lost, and the campaign goes on when it is back.
func TestOutages(t *testing.T) {
	t.Parallel()
	for away, message := range map[string]string{"database": "The database does not answer", "queue": "The queue does not answer"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").Obj())
			w.effects.away = away
			if _, err := w.settle(t, key); err == nil {
				t.Fatal("an outage must be retried with backoff: no error was returned")
			}
			object := w.get(t, key)
			lines := conditionLines(object)
			if lines["Ready"] != "False DependencyNotReady" || lines["Reconciling"] == "" || lines["Stalled"] != "" {
				t.Errorf("conditions %v", lines)
			}
			for _, c := range object.Status.Conditions {
				if c.Type == "Ready" && !strings.HasPrefix(c.Message, message) {
					t.Errorf("message %q", c.Message)
				}
			}
			w.effects.away = ""
			if object := w.mustSettle(t, key); conditionLines(object)["Ready"] != "True Sending" {
				t.Errorf("after the outage: %v", conditionLines(object))
			}
			if queued := w.queued(t, object.Status.CampaignKey); len(queued) != 1 {
				t.Errorf("queued %v", queued)
			}
		})
	}
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com", "bob@example.com").WithSuspend(true).Obj())
	object := w.mustSettle(t, key)
	campaignKey := object.Status.CampaignKey
	if lines := conditionLines(object); lines["Suspended"] != "True SuspendedBySpec" || lines["Materialized"] != "True Materialized" {
		t.Errorf("conditions %v", lines)
	}
	if queued := w.queued(t, campaignKey); queued != nil {
		t.Errorf("queued while suspended: %v", queued)
	}
	w.deliver(t, campaignKey, accepted)
	if object := w.mustSettle(t, key); object.Status.Progress != "0/2" {
		t.Errorf("a worker sent while suspended: %s", object.Status.Progress)
	}

	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = nil })
	if object := w.mustSettle(t, key); conditionLines(object)["Ready"] != "True Sending" {
		t.Errorf("after resuming: %v", conditionLines(object))
	}
	if queued := w.queued(t, campaignKey); len(queued) != 1 {
		t.Errorf("queued after resuming: %v", queued)
	}
}

// A running campaign can be suspended whatever became of its source, and goes on sending what was sealed.
func TestASourceThatChangesAfterTheStartIsIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := configMap(w.namespace, "audience", "list.txt", "ada@example.com\n")
	if err := w.cluster.Client.Create(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithConfigMap("audience", "list.txt", v1alpha1.FormatLines).Obj())
	campaignKey := w.mustSettle(t, key).Status.CampaignKey
	if err := w.store.StartJob(t.Context(), campaign.JobID(campaignKey, 0), w.now); err != nil {
		t.Fatal(err)
	}
	if err := w.cluster.Client.Delete(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { yes := true; c.Spec.Suspend = &yes })
	if lines := conditionLines(w.mustSettle(t, key)); lines["Suspended"] != "True SuspendedBySpec" || lines["Stalled"] != "" {
		t.Errorf("conditions %v", lines)
	}
}

// Deleting and applying the same manifest again, as GitOps does, sends nothing again.
func TestTheSameManifestAgainIsTheSameCampaign(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		delivered bool
		wantRow   string
		wantReady string
	}{
		{"deleted after its end", true, "accepted", "True AlreadyCompleted"},
		{"deleted before it was sent", false, "cancelled", "False Deleted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			manifest := func() *v1alpha1.EmailCampaign {
				return kubetest.NewCampaign(w.namespace, "launch").WithInline("ada@example.com").Obj()
			}
			key := w.apply(t, manifest())
			first := w.mustSettle(t, key)
			campaignKey := first.Status.CampaignKey
			if tc.delivered {
				w.now = w.now.Add(-time.Hour) // it is a second ahead of the API server's clock
				w.deliver(t, campaignKey, accepted)
				w.now = w.now.Add(time.Hour)
			}
			if err := w.cluster.Client.Delete(t.Context(), manifest()); err != nil {
				t.Fatal(err)
			}
			w.mustSettle(t, key)
			if err := w.cluster.Client.Get(t.Context(), key, manifest()); !apierrors.IsNotFound(err) {
				t.Fatalf("the object is still there: %v", err)
			}

			again := w.mustSettle(t, w.apply(t, manifest()))
			wantRows := []string{campaign.JobID(campaignKey, 0) + "/ada@example.com: " + tc.wantRow}
			if diff := cmp.Diff(wantRows, w.rows(t, campaignKey)); diff != "" {
				t.Error(diff)
			}
			if got := conditionLines(again)["Ready"]; got != tc.wantReady {
				t.Errorf("Ready is %q, want %q", got, tc.wantReady)
			}
		})
	}
}

func TestAKeyThatIsTakenStallsTheCampaignAndLeavesTheOtherAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.apply(t, kubetest.NewCampaign(w.namespace, "first").WithKey(w.namespace+"/launch").WithInline("ada@example.com").Obj())
	w.mustSettle(t, first)
	other := kubetest.NewCampaign(w.namespace, "second").WithKey(w.namespace + "/launch").WithInline("bob@example.com").Obj()
	second := w.apply(t, other)
	if lines := conditionLines(w.mustSettle(t, second)); lines["Stalled"] != "True KeyConflict" {
		t.Errorf("conditions %v", lines)
	}
	if err := w.cluster.Client.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.mustSettle(t, second)
	want := []string{campaign.JobID(w.namespace+"/launch", 0) + "/ada@example.com: pending"}
	if diff := cmp.Diff(want, w.rows(t, w.namespace+"/launch")); diff != "" {
		t.Errorf("deleting the loser touched the winner: %s", diff)
	}
}

// Killed before or after any of its side effects, and restarted, the operator ends with the same rows, the same queue
// and the same status as one that was never killed.
func TestKilledAtAnyPointItEndsTheSame(t *testing.T) {
	t.Parallel()
	const name = "launch"
	manifest := func(w *world) *v1alpha1.EmailCampaign {
		return kubetest.NewCampaign(w.namespace, name).WithKey("crash/test").WithJobSize(2).
			WithInline("a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com").Obj()
	}
	type end struct {
		Rows, Queued []string
		Conditions   map[string]string
		Progress     string
	}
	endOf := func(t *testing.T, w *world, key client.ObjectKey) end {
		t.Helper()
		object := w.mustSettle(t, key)
		return end{w.rows(t, "crash/test"), w.queued(t, "crash/test"), conditionLines(object), object.Status.Progress}
	}

	reference := newWorld(t)
	want := endOf(t, reference, reference.apply(t, manifest(reference)))
	points := reference.effects.count()
	if points < 8 || want.Progress != "0/5" {
		t.Fatalf("the reference run is not one: %d effects, %+v", points, want)
	}
	for point := 1; point <= points; point++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect %d, after %t", point, after), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				key := w.apply(t, manifest(w))
				w.effects.crashAt, w.effects.after = point, after
				if _, err := w.settle(t, key); err == nil {
					t.Fatal("the crash did not happen")
				}
				w.effects.restart()
				if diff := cmp.Diff(want, endOf(t, w, key)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Two operators at once, as when leader election is off or a leader does not know yet that it is none.
func TestTwoOperatorsAtOnceEndTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var addresses []string
	for i := range 200 {
		addresses = append(addresses, fmt.Sprintf("r%d@example.com", i))
	}
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(7).WithInline(addresses...).Obj())
	campaignKey := w.namespace + "/launch"

	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 6 {
				_, _ = w.reconciler(t).Reconcile(t.Context(), ctrl.Request{NamespacedName: key}) // conflicts are retried
			}
		})
	}
	both.Wait()
	object := w.mustSettle(t, key)
	if object.Status.Progress != "0/200" || object.Status.Jobs != 29 || len(w.rows(t, campaignKey)) != 200 {
		t.Errorf("progress %s, %d jobs, %d rows", object.Status.Progress, object.Status.Jobs, len(w.rows(t, campaignKey)))
	}
	if diff := cmp.Diff(w.jobs(t, campaignKey), w.queued(t, campaignKey)); diff != "" {
		t.Error(diff)
	}
}

func TestSetupNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	err := (&EmailCampaignReconciler{}).SetupWithManager(nil, Options{})
	for _, name := range []string{"Client", "Reader", "Recorder", "Ledger", "Doorbell", "IsUnavailable", "Redact"} {
		if err == nil || !strings.Contains(err.Error(), name+" is required") {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}
