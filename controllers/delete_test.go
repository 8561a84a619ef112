package controllers

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

func (w *world) isGone(t *testing.T, key client.ObjectKey) bool {
	t.Helper()
	err := w.cluster.Client.Get(t.Context(), key, &v1alpha1.EmailCampaign{})
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return apierrors.IsNotFound(err)
}

// told reports whether an event of this type and reason was told since the last look.
func (w *world) told(prefix string) bool {
	return slices.ContainsFunc(w.events(), func(e string) bool { return strings.HasPrefix(e, prefix) })
}

func TestOrphanGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied(func(c *v1alpha1.EmailCampaign) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })(t, w)
	w.events()
	w.remove(t, key)
	w.mustSettle(t, key)
	if !w.isGone(t, key) || !w.told("Normal "+v1alpha1.EventCampaignReleased) {
		t.Error("The object is not gone, or nobody said that its campaign goes on")
	}
	w.deliver(t, w.namespace+"/launch", accepted)
	again := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(2).
		WithInline("ada@example.com", "bob@example.com", "cid@example.com").Obj())
	if got := w.outcomeOf(t, again); !cmp.Equal(got.Rows, all("accepted"), sorted) || !strings.HasPrefix(got.Ready, "True ") {
		t.Errorf("Applied again: %+v", got)
	}
}

// A deletion waits for the database and says so, but not for ever.
func TestDeletionWithoutDatabase(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		hurry  func(*testing.T, *world, client.ObjectKey)
		gone   bool
		reason string
	}{
		{name: "waits", hurry: func(*testing.T, *world, client.ObjectKey) {}},
		{
			name: "goes when somebody wants it gone", gone: true, reason: v1alpha1.AnnotationForget,
			hurry: func(t *testing.T, w *world, key client.ObjectKey) {
				t.Helper()
				w.annotate(t, key, v1alpha1.AnnotationForget, "the database is gone for good")
			},
		},
		{
			name: "goes when its time is over", gone: true, reason: "DELETION_PATIENCE",
			hurry: func(_ *testing.T, w *world, _ client.ObjectKey) { w.now = w.now.Add(2 * time.Hour) }, // the API server stamps the deletion by its own clock
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := applied()(t, w)
			w.effects.away = "database"
			w.remove(t, key)
			if _, err := w.settle(t, key); err == nil {
				t.Fatal("The deletion is not tried again")
			}
			object := w.get(t, key)
			if lines := conditionLines(object); lines["Ready"] != "False Deleting" || !strings.Contains(message(object, "Ready"), "the database does not answer") {
				t.Errorf("conditions %v, it says %q", lines, message(object, "Ready"))
			}
			w.events()
			tc.hurry(t, w, key)
			_, err := w.settle(t, key)
			if gone := w.isGone(t, key); gone != tc.gone || gone == (err != nil) {
				t.Fatalf("Gone: %t, error %v", gone, err)
			}
			if told := w.events(); tc.gone && !slices.ContainsFunc(told, func(e string) bool {
				return strings.HasPrefix(e, "Warning "+v1alpha1.EventCampaignReleased) && strings.Contains(e, tc.reason)
			}) {
				t.Errorf("Events %q", told)
			}
			w.effects.away = ""
			if !tc.gone {
				w.mustSettle(t, key)
			}
			want := map[bool]string{true: "pending", false: "cancelled"}[tc.gone]
			if diff := cmp.Diff(all(want), w.states(t, w.namespace+"/launch"), sorted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A queue that is away keeps nobody.
func TestDeletionWithoutQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.effects.away = "queue"
	w.remove(t, key)
	w.mustSettle(t, key)
	if !w.isGone(t, key) || !cmp.Equal(w.states(t, w.namespace+"/launch"), all("cancelled"), sorted) {
		t.Errorf("gone %t, rows %v", w.isGone(t, key), w.states(t, w.namespace+"/launch"))
	}
}

// A half-written list leaves nothing behind, whatever became of its source.
func TestDeletionOfAHalfWrittenList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(1).WithInline("ada@example.com", "bob@example.com").Obj())
	w.effects.crashAt = 4
	if _, err := w.settle(t, key); err == nil {
		t.Fatal("no crash")
	}
	w.effects.restart()
	w.remove(t, key)
	w.mustSettle(t, key)
	if _, err := w.store.Campaign(t.Context(), w.namespace+"/launch"); !errors.Is(err, campaign.ErrNotFound) || !w.isGone(t, key) {
		t.Errorf("gone %t, %v", w.isGone(t, key), err)
	}
}

// A namespace that is deleted takes the Secret away first, and forbids new objects.
func TestDeletionOfTheNamespace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "audience"}, StringData: map[string]string{"list.txt": "ada@example.com\n"},
	}
	if err := w.cluster.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithSecret("audience", "list.txt", v1alpha1.FormatLines).Obj())
	w.mustSettle(t, key)
	for _, object := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, secret} {
		if err := w.cluster.Client.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	w.remove(t, key) // as the namespace's controller does
	w.mustSettle(t, key)
	if !w.isGone(t, key) || !cmp.Equal(w.states(t, w.namespace+"/launch"), []string{"ada@example.com: cancelled"}) {
		t.Errorf("gone %t, rows %v", w.isGone(t, key), w.states(t, w.namespace+"/launch"))
	}
}
