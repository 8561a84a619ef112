package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// outcome is what a story ends with.
type outcome struct {
	Rows, Queued []string
	Ready        string
	Progress     string
	Control      campaign.Control
	EndReason    string
}

// outcomeOf settles and looks at everything.
func (w *world) outcomeOf(t *testing.T, key client.ObjectKey) outcome {
	t.Helper()
	object := w.mustSettle(t, key)
	of := outcome{Ready: conditionLines(object)["Ready"], Progress: object.Status.Progress}
	campaignKey := object.Status.CampaignKey
	if campaignKey == "" { // the object is gone
		campaignKey = key.Namespace + "/" + key.Name
	}
	of.Rows, of.Queued = w.states(t, campaignKey), w.queued(t, campaignKey)
	if record, err := w.store.Campaign(t.Context(), campaignKey); err == nil {
		of.Control, of.EndReason = record.Control, record.EndReason
		of.Control.Policy = campaign.Policy{}
	}
	return of
}

// states are the campaign's recipients as "address: state".
func (w *world) states(t *testing.T, key string) []string {
	t.Helper()
	var states []string
	for _, row := range w.rows(t, key) {
		_, state, _ := strings.Cut(row, "/")
		states = append(states, state)
	}
	return states
}

// sorted compares lists whatever their order.
var sorted = cmp.Options{cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()}

// record is what the ledger has of the object's campaign.
func (w *world) record(t *testing.T, key client.ObjectKey) campaign.Record {
	t.Helper()
	record, err := w.store.Campaign(t.Context(), campaignKey(w.get(t, key)))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// start does what a worker does first.
func (w *world) start(t *testing.T, campaignKey string) {
	t.Helper()
	if err := w.store.StartJob(t.Context(), campaign.JobID(campaignKey, 0), w.now); err != nil {
		t.Fatal(err)
	}
}

// annotate sets an annotation, as kubectl does.
func (w *world) annotate(t *testing.T, key client.ObjectKey, name, value string) {
	t.Helper()
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { metav1.SetMetaDataAnnotation(&c.ObjectMeta, name, value) })
}

func (w *world) remove(t *testing.T, key client.ObjectKey) {
	t.Helper()
	if err := w.cluster.Client.Delete(t.Context(), w.get(t, key)); err != nil {
		t.Fatal(err)
	}
}

func message(object *v1alpha1.EmailCampaign, conditionType string) string {
	if condition := meta.FindStatusCondition(object.Status.Conditions, conditionType); condition != nil {
		return condition.Message
	}
	return ""
}

// endsTheSame plays a story once as it is, and then killed before and after each of its side effects and restarted: it
// must end the same. prepare leaves a settled world; act is what the story is about.
func endsTheSame(t *testing.T, prepare func(*testing.T, *world) client.ObjectKey, act func(*testing.T, *world, client.ObjectKey), want outcome) {
	t.Helper()
	play := func(t *testing.T) (*world, client.ObjectKey) {
		t.Helper()
		w := newWorld(t)
		key := prepare(t, w)
		w.effects.restart()
		act(t, w, key)
		return w, key
	}
	w, key := play(t)
	got := w.outcomeOf(t, key)
	points := w.effects.count()
	clean := func(o outcome) outcome { // each world has a namespace and a clock of its own
		o.Control = campaign.Control{Suspended: o.Control.Suspended}
		o.Queued = make([]string, len(o.Queued))
		return o
	}
	if diff := cmp.Diff(clean(want), clean(got), sorted); diff != "" {
		t.Fatalf("The story ends otherwise (-want +got):\n%s", diff)
	}
	if points < 2 {
		t.Fatalf("%d side effects: nothing happened", points)
	}
	for point := 1; point <= points; point++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect %d, after %t", point, after), func(t *testing.T) {
				t.Parallel()
				w, key := play(t)
				w.effects.crashAt, w.effects.after = point, after
				if _, err := w.settle(t, key); err == nil {
					t.Fatal("the crash did not happen")
				}
				w.effects.restart()
				if diff := cmp.Diff(clean(want), clean(w.outcomeOf(t, key)), sorted); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func annotated(name, value string) func(*testing.T, *world, client.ObjectKey) {
	return func(t *testing.T, w *world, key client.ObjectKey) {
		t.Helper()
		w.annotate(t, key, name, value)
	}
}

func deleted(t *testing.T, w *world, key client.ObjectKey) {
	t.Helper()
	w.remove(t, key)
}

func applied(with ...func(*v1alpha1.EmailCampaign)) func(*testing.T, *world) client.ObjectKey {
	return func(t *testing.T, w *world) client.ObjectKey {
		t.Helper()
		builder := kubetest.NewCampaign(w.namespace, "launch").WithJobSize(2).WithInline("ada@example.com", "bob@example.com", "cid@example.com")
		for _, mutate := range with {
			builder = builder.With(mutate)
		}
		key := w.apply(t, builder.Obj())
		w.mustSettle(t, key)
		return key
	}
}

func edited(mutate func(*v1alpha1.EmailCampaign)) func(*testing.T, *world, client.ObjectKey) {
	return func(t *testing.T, w *world, key client.ObjectKey) {
		t.Helper()
		w.update(t, key, mutate)
	}
}

func suspendedBySpec(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = new(true) }
func goingOn(c *v1alpha1.EmailCampaign)         { c.Spec.Suspend = new(false) }
func shutdown(c *v1alpha1.EmailCampaign)        { c.Spec.Shutdown = v1alpha1.ShutdownStop }

func all(state string) []string {
	return []string{"ada@example.com: " + state, "bob@example.com: " + state, "cid@example.com: " + state}
}

// Killed anywhere, each of these ends as it would have.
func TestKilledAtAnyPointOfALife(t *testing.T) {
	t.Parallel()
	otherList := func(c *v1alpha1.EmailCampaign) {
		c.Spec.Message.Subject = "Other news"
		c.Spec.Recipients.Inline = []v1alpha1.InlineRecipient{{Address: "dan@example.com"}}
	}
	for _, tc := range []struct {
		name    string
		prepare func(*testing.T, *world) client.ObjectKey
		act     func(*testing.T, *world, client.ObjectKey)
		want    outcome
	}{
		{
			name: "suspended", prepare: applied(), act: edited(suspendedBySpec),
			want: outcome{
				Rows: all("pending"), Ready: "True SuspendedBySpec", Progress: "0/3", Control: campaign.Control{Suspended: true},
			},
		},
		{
			name: "resumed", prepare: applied(suspendedBySpec), act: edited(goingOn),
			want: outcome{Rows: all("pending"), Queued: []string{"", ""}, Ready: "True Sending", Progress: "0/3"},
		},
		{
			name: "edited in the queue", prepare: applied(), act: edited(otherList),
			want: outcome{Rows: []string{"dan@example.com: pending"}, Queued: []string{""}, Ready: "True Sending", Progress: "0/1"},
		},
		{
			name: "edited while suspended", prepare: applied(suspendedBySpec), act: edited(otherList),
			want: outcome{
				Rows: []string{"dan@example.com: pending"}, Ready: "True SuspendedBySpec", Progress: "0/1",
				Control: campaign.Control{Suspended: true},
			},
		},
		{
			name: "shut down", prepare: applied(), act: edited(shutdown),
			want: outcome{Rows: all("cancelled"), Ready: "False Cancelled", Progress: "3/3", EndReason: campaign.EndCancelled},
		},
		{
			name: "shut down while suspended", prepare: applied(suspendedBySpec), act: edited(shutdown),
			want: outcome{
				Rows: all("cancelled"), Ready: "False Cancelled", Progress: "3/3", EndReason: campaign.EndCancelled,
				Control: campaign.Control{Suspended: true},
			},
		},
		{
			name: "shut down before it was written",
			prepare: func(t *testing.T, w *world) client.ObjectKey {
				t.Helper()
				return w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(2).
					WithInline("ada@example.com", "bob@example.com", "cid@example.com").Obj())
			},
			act: edited(shutdown),
			want: outcome{
				Rows: all("cancelled"), Ready: "False Cancelled", Progress: "3/3", EndReason: campaign.EndCancelled,
				Control: campaign.Control{Suspended: true},
			},
		},
		{
			name: "on hold", prepare: applied(), act: annotated(v1alpha1.AnnotationHold, "ana: the price is wrong"),
			want: outcome{Rows: all("pending"), Ready: "True Held", Progress: "0/3", Control: campaign.Control{Suspended: true}},
		},
		{
			name: "resumed after too many failed", act: annotated(v1alpha1.AnnotationResumeAt, "1"),
			prepare: func(t *testing.T, w *world) client.ObjectKey {
				t.Helper()
				key := applied(func(c *v1alpha1.EmailCampaign) {
					c.Spec.AbortPolicy = &v1alpha1.AbortPolicy{MinSample: new(int32(1))}
				})(t, w)
				w.deliverJob(t, w.namespace+"/launch", 0, campaign.Result{State: campaign.StateBounced, Code: 550, Category: "BadMailbox"})
				w.mustSettle(t, key)
				return key
			},
			want: outcome{
				Rows:   []string{"ada@example.com: bounced", "bob@example.com: bounced", "cid@example.com: pending"},
				Queued: []string{""}, Ready: "True Sending", Progress: "2/3",
			},
		},
		{
			name: "doubts sent again after the end", act: annotated(v1alpha1.AnnotationResolveInDoubt, "Resend@1"),
			prepare: func(t *testing.T, w *world) client.ObjectKey {
				t.Helper()
				key := applied()(t, w)
				w.deliver(t, w.namespace+"/launch", func(string) campaign.Result { return campaign.Result{State: campaign.StateInDoubt} })
				w.mustSettle(t, key)
				return key
			},
			want: outcome{Rows: all("pending"), Queued: []string{"", ""}, Ready: "True Sending", Progress: "0/3"},
		},
		{
			name: "deleted", prepare: applied(),
			act:  deleted,
			want: outcome{Rows: all("cancelled"), EndReason: campaign.EndDeleted},
		},
		{
			name:    "deleted, and the campaign goes on",
			prepare: applied(func(c *v1alpha1.EmailCampaign) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }),
			act:     deleted,
			want:    outcome{Rows: all("pending"), Queued: []string{"", ""}},
		},
		{
			name: "failed recipients tried again after the end",
			prepare: func(t *testing.T, w *world) client.ObjectKey {
				t.Helper()
				key := applied()(t, w)
				w.deliver(t, w.namespace+"/launch", func(address string) campaign.Result {
					if strings.HasPrefix(address, "bob") {
						return campaign.Result{State: campaign.StateFailed, Code: 554, Category: "Content"}
					}
					return accepted(address)
				})
				w.mustSettle(t, key)
				w.now = w.now.Add(time.Minute)
				return key
			},
			act: annotated(v1alpha1.AnnotationRetryFailedAt, "1"),
			want: outcome{
				Rows:   []string{"ada@example.com: accepted", "bob@example.com: pending", "cid@example.com: accepted"},
				Queued: []string{""}, Ready: "True Sending", Progress: "2/3",
			},
		},
		{
			name: "too many fail",
			prepare: applied(func(c *v1alpha1.EmailCampaign) {
				c.Spec.AbortPolicy = &v1alpha1.AbortPolicy{MinSample: new(int32(1)), Action: v1alpha1.AbortFail}
			}),
			act: func(t *testing.T, w *world, _ client.ObjectKey) {
				t.Helper()
				w.deliverJob(t, w.namespace+"/launch", 0, campaign.Result{State: campaign.StateBounced, Code: 550, Category: "BadMailbox"})
			},
			want: outcome{
				Rows:  []string{"ada@example.com: bounced", "bob@example.com: bounced", "cid@example.com: cancelled"},
				Ready: "False AbortThresholdExceeded", Progress: "3/3", EndReason: campaign.EndAbortThresholdExceeded,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endsTheSame(t, tc.prepare, tc.act, tc.want)
		})
	}
}

// deliverJob does what a worker does to one job.
func (w *world) deliverJob(t *testing.T, key string, shard int, end campaign.Result) {
	t.Helper()
	w.deliverJobs(t, []string{campaign.JobID(key, shard)}, func(string) campaign.Result { return end })
}
