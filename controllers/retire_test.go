package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// finished is a campaign that has ended.
func finished(t *testing.T, w *world, with ...func(*v1alpha1.EmailCampaign)) client.ObjectKey {
	t.Helper()
	key := applied(with...)(t, w)
	w.deliver(t, w.namespace+"/launch", accepted)
	w.mustSettle(t, key)
	return key
}

// At its end a campaign lets go of everything, and costs nothing any more, after a restart either.
func TestAFinishedCampaignCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := finished(t, w)
	object := w.get(t, key)
	if object.Status.TerminalState != v1alpha1.TerminalCompleted || len(object.Finalizers) != 0 {
		t.Errorf("%s, finalizers %v", object.Status.TerminalState, object.Finalizers)
	}
	if owner := w.record(t, key).Owner.ID; owner != "" {
		t.Errorf("It is still owned by %s", owner)
	}
	w.effects.reads = 0
	effects := w.effects.count()
	if next := w.loop(t, key); next != 0 || w.effects.reads != 0 || w.effects.count() != effects {
		t.Errorf("next loop in %s, %d reads, %d effects", next, w.effects.reads, w.effects.count()-effects)
	}
	w.effects.away = "database"
	w.remove(t, key)
	w.mustSettle(t, key)
	if !w.isGone(t, key) {
		t.Error("It can't be deleted without the database")
	}
}

func TestTimeToLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := finished(t, w, func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(3600)) })
	completed := w.get(t, key).Status.CompletionTime.Time
	w.now = completed.Add(time.Hour - time.Second)
	w.effects.reads = 0
	if next := w.loop(t, key); next != time.Second || w.effects.reads != 0 {
		t.Errorf("The next loop comes in %s, %d reads", next, w.effects.reads)
	}
	w.now = completed.Add(time.Hour)
	w.effects.away = "database"
	if _, err := w.settle(t, key); err == nil || w.isGone(t, key) {
		t.Error("It is deleted before the ledger has said that the campaign has ended")
	}
	w.effects.away = ""
	w.mustSettle(t, key)
	if !w.isGone(t, key) || !cmp.Equal(w.states(t, w.namespace+"/launch"), all("accepted"), sorted) {
		t.Errorf("gone %t, rows %v", w.isGone(t, key), w.states(t, w.namespace+"/launch"))
	}
}

func TestTimeToLiveZeroAndChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = w.now.Add(-time.Minute) // the API server's clock must not be before ours
	key := finished(t, w)
	w.now = w.now.Add(time.Hour)
	w.mustSettle(t, key)
	if w.isGone(t, key) {
		t.Fatal("It is deleted though nobody asked")
	}
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(0)) })
	w.mustSettle(t, key)
	if !w.isGone(t, key) {
		t.Error("It is still there")
	}
}

// withEverything is a campaign that has ended in doubt, with something in every field that the operator or people may set.
func withEverything() *v1alpha1.EmailCampaign {
	c := kubetest.NewCampaign("growth", "launch").WithInline("ada@example.com").Obj()
	c.UID, c.ResourceVersion, c.Generation = "uid", "42", 3
	c.CreationTimestamp, c.DeletionTimestamp = metav1.NewTime(created), new(metav1.NewTime(now))
	c.Labels, c.Finalizers = map[string]string{"team": "growth"}, []string{"example.com/other", v1alpha1.Finalizer}
	c.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	c.Annotations = map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": "{}", "example.com/note": "-", v1alpha1.AnnotationResumeAt: "1",
	}
	c.Spec.CampaignKey, c.Spec.DeletionPolicy, c.Spec.TTLSecondsAfterFinished = "key", v1alpha1.DeletionOrphan, new(int32(60))
	c.Status = v1alpha1.EmailCampaignStatus{
		TerminalState: v1alpha1.TerminalCompletedWithFailures, ObservedGeneration: 3, CampaignKey: "key", ContentHash: "hash",
		Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted},
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCompleted, Message: "1/1"},
		},
		StartTime: new(metav1.NewTime(created)), CompletionTime: new(metav1.NewTime(now)),
		LastHandledResumeAt: "1", LastHandledRetryFailedAt: "2", LastHandledResolveInDoubt: "Sent@3", LastHandledTestSendAt: "4",
		Recipients: &v1alpha1.RecipientCounts{Total: 1, InDoubt: 1}, Progress: "1/1", List: &v1alpha1.ListSummary{},
	}
	return c
}

func TestSlim(t *testing.T) {
	t.Parallel()
	ended, running := withEverything(), withEverything()
	running.Status.TerminalState = ""

	wantRunning := running.DeepCopy()
	wantRunning.ManagedFields = nil
	wantRunning.Annotations = map[string]string{"example.com/note": "-", v1alpha1.AnnotationResumeAt: "1"}

	wantEnded := &v1alpha1.EmailCampaign{TypeMeta: ended.TypeMeta}
	wantEnded.Namespace, wantEnded.Name, wantEnded.UID = ended.Namespace, ended.Name, ended.UID
	wantEnded.ResourceVersion, wantEnded.Generation = ended.ResourceVersion, ended.Generation
	wantEnded.CreationTimestamp, wantEnded.DeletionTimestamp = ended.CreationTimestamp, ended.DeletionTimestamp
	wantEnded.Annotations = map[string]string{v1alpha1.AnnotationResumeAt: "1"}
	wantEnded.Finalizers = []string{v1alpha1.Finalizer}
	wantEnded.Spec.TTLSecondsAfterFinished = new(int32(60))
	wantEnded.Status = v1alpha1.EmailCampaignStatus{
		TerminalState: v1alpha1.TerminalCompletedWithFailures, ObservedGeneration: 3,
		Conditions:          []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: v1alpha1.ReasonCompleted}},
		CompletionTime:      ended.Status.CompletionTime,
		LastHandledResumeAt: "1", LastHandledRetryFailedAt: "2", LastHandledResolveInDoubt: "Sent@3", LastHandledTestSendAt: "4",
		Recipients: &v1alpha1.RecipientCounts{InDoubt: 1},
	}
	for object, want := range map[*v1alpha1.EmailCampaign]*v1alpha1.EmailCampaign{running: wantRunning, ended: wantEnded} {
		for _, times := range []string{"once", "twice"} { // client-go may do so
			got, err := Slim(object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", times, diff)
			}
		}
	}
}

// What is decided by what the cache keeps is what the whole object would decide.
func TestSlimDecidesAsTheWhole(t *testing.T) {
	t.Parallel()
	r := &EmailCampaignReconciler{Now: func() time.Time { return now }}
	type decision struct {
		Rests, Asked, First bool
		Again               time.Duration
		Expiry              *time.Time
		State               string
	}
	decide := func(c *v1alpha1.EmailCampaign) decision {
		res, rests := r.rests(c, now)
		return decision{
			Rests: rests, Again: res.RequeueAfter, Asked: r.asked(c), Expiry: expiry(c), State: stateInMetrics(c),
			First: r.wanted().Create(event.CreateEvent{Object: c}),
		}
	}
	resting := func(c *v1alpha1.EmailCampaign) {
		c.DeletionTimestamp, c.Finalizers, c.Status.Recipients, c.Spec.TTLSecondsAfterFinished = nil, nil, nil, nil
	}
	for _, tc := range []struct {
		name   string
		mutate func(*v1alpha1.EmailCampaign)
		want   decision
	}{
		{"at rest", func(*v1alpha1.EmailCampaign) {}, decision{Rests: true}},
		{
			"to be deleted in a minute", func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(60)) },
			decision{Rests: true, First: true, Again: time.Minute, Expiry: new(now.Add(time.Minute))},
		},
		{"to be deleted now", func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(0)) }, decision{First: true, Expiry: &now}},
		{"being deleted", func(c *v1alpha1.EmailCampaign) { c.DeletionTimestamp = new(metav1.NewTime(now)) }, decision{First: true}},
		{"with our finalizer", func(c *v1alpha1.EmailCampaign) { c.Finalizers = []string{v1alpha1.Finalizer} }, decision{First: true}},
		{"with another's finalizer", func(c *v1alpha1.EmailCampaign) { c.Finalizers = []string{"example.com/other"} }, decision{Rests: true}},
		{"in doubt", func(c *v1alpha1.EmailCampaign) { c.Status.Recipients = &v1alpha1.RecipientCounts{InDoubt: 1} }, decision{First: true}},
		{"edited", func(c *v1alpha1.EmailCampaign) { c.Generation++ }, decision{First: true}},
		{"asked for something", func(c *v1alpha1.EmailCampaign) { c.Annotations[v1alpha1.AnnotationRetryFailedAt] = "3" }, decision{First: true, Asked: true}},
		{"answered", func(c *v1alpha1.EmailCampaign) { c.Annotations[v1alpha1.AnnotationRetryFailedAt] = "2" }, decision{Rests: true}},
	} {
		c := withEverything()
		resting(c)
		tc.mutate(c)
		tc.want.State = v1alpha1.ReasonCompleted
		whole := decide(c)
		if _, err := Slim(c); err != nil {
			t.Fatal(err)
		}
		for of, got := range map[string]decision{"whole": whole, "slim": decide(c)} {
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", tc.name, of, diff)
			}
		}
	}
}

// A campaign that has ended and is deleted is left as its spec says, which the cache does not keep.
func TestDeletingAFinishedCampaignFromTheCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied(func(c *v1alpha1.EmailCampaign) { c.Spec.CampaignKey = "spring" })(t, w)
	w.deliver(t, "spring", func(string) campaign.Result { return campaign.Result{State: campaign.StateInDoubt} })
	w.mustSettle(t, key)
	w.remove(t, key)
	w.mustSettle(t, key)
	record, err := w.store.Campaign(t.Context(), "spring")
	if err != nil || record.Owner.ID != "" || !w.isGone(t, key) {
		t.Errorf("gone %t, owned by %q: %v", w.isGone(t, key), record.Owner.ID, err)
	}
}

// A campaign that the cache keeps without its message is read as a whole where it matters, and never written without.
func TestAFinishedCampaignFromTheCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.testers = []string{"qa@example.com"}
	key := finished(t, w)
	w.annotate(t, key, v1alpha1.AnnotationTestSendAt, "1")
	for range 3 { // finalizer and test, status, finalizer
		if _, err := w.reconciler(t).Reconcile(t.Context(), requestOf(key)); err != nil {
			t.Fatal(err)
		}
	}
	object := w.get(t, key)
	if object.Spec.Message.Text != "There is news." || len(object.Spec.Recipients.Inline) != 3 || len(object.Finalizers) != 0 {
		t.Errorf("%+v", object)
	}
	if len(w.mailed.mails) != 1 || w.mailed.mails[0].Content.Text != "There is news." || object.Status.LastHandledTestSendAt != "1" {
		t.Errorf("tests %+v, answered %q", w.mailed.mails, object.Status.LastHandledTestSendAt)
	}
}

// Who changes what says nothing to the operator costs no loop.
func TestWanted(t *testing.T) {
	t.Parallel()
	r := &EmailCampaignReconciler{Now: time.Now}
	base := kubetest.NewCampaign("growth", "launch").Obj()
	base.Finalizers = []string{v1alpha1.Finalizer}
	bare := kubetest.NewCampaign("growth", "launch").Obj()
	if r.wanted().Update(event.UpdateEvent{ObjectOld: bare, ObjectNew: base}) {
		t.Error("our finalizer, which a loop adds and goes on: true")
	}
	for _, tc := range []struct {
		name   string
		mutate func(*v1alpha1.EmailCampaign)
		want   bool
	}{
		{"status", func(c *v1alpha1.EmailCampaign) { c.Status.Progress = "1/2" }, false},
		{"label", func(c *v1alpha1.EmailCampaign) { c.Labels = map[string]string{"team": "growth"} }, false},
		{"an annotation of others", func(c *v1alpha1.EmailCampaign) { c.Annotations = map[string]string{"argocd.argoproj.io/x": "1"} }, false},
		{"a verb", func(c *v1alpha1.EmailCampaign) { c.Annotations = map[string]string{v1alpha1.AnnotationResumeAt: "1"} }, true},
		{"hold", func(c *v1alpha1.EmailCampaign) { c.Annotations = map[string]string{v1alpha1.AnnotationHold: ""} }, true},
		{"a finalizer of others", func(c *v1alpha1.EmailCampaign) { c.Finalizers = append(c.Finalizers, "example.com/other") }, false},
		{"our finalizer taken away", func(c *v1alpha1.EmailCampaign) { c.Finalizers = nil }, true},
		{"our finalizer taken away, as we do at the end", func(c *v1alpha1.EmailCampaign) {
			c.Finalizers, c.Status.TerminalState, c.Status.ObservedGeneration = nil, v1alpha1.TerminalCompleted, c.Generation
		}, false},
		{"our finalizer taken away, with a doubt left", func(c *v1alpha1.EmailCampaign) {
			c.Finalizers, c.Status.TerminalState, c.Status.ObservedGeneration = nil, v1alpha1.TerminalCompletedWithFailures, c.Generation
			c.Status.Recipients = &v1alpha1.RecipientCounts{InDoubt: 1}
		}, true},
		{"spec", func(c *v1alpha1.EmailCampaign) { c.Generation++ }, true},
		{"another object of the same name", func(c *v1alpha1.EmailCampaign) { c.UID = "another" }, true},
	} {
		changed := base.DeepCopy()
		tc.mutate(changed)
		if got := r.wanted().Update(event.UpdateEvent{ObjectOld: base, ObjectNew: changed}); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// An object with doubts keeps its finalizer: they may be resolved.
func TestDoubtsKeepTheFinalizer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.deliver(t, w.namespace+"/launch", func(string) campaign.Result { return campaign.Result{State: campaign.StateInDoubt} })
	if object := w.mustSettle(t, key); len(object.Finalizers) != 1 || object.Status.Recipients.InDoubt != 3 {
		t.Errorf("finalizers %v, %+v", object.Finalizers, object.Status.Recipients)
	}
}
