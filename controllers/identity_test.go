package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
)

func twin(w *world, name string, with ...func(*v1alpha1.EmailCampaign)) *v1alpha1.EmailCampaign {
	builder := kubetest.NewCampaign(w.namespace, name).WithKey(w.namespace+"/launch").WithInline("ada@example.com", "bob@example.com")
	for _, mutate := range with {
		builder = builder.With(mutate)
	}
	return builder.Obj()
}

func failing(c *v1alpha1.EmailCampaign) { c.Spec.OnConflict = v1alpha1.ConflictFail }

// What onConflict says counts for campaigns of others; its own an object knows again, whatever happened meanwhile.
func TestOnConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.apply(t, twin(w, "first", failing))
	if got := conditionLines(w.mustSettle(t, first))["Ready"]; got != "True Sending" {
		t.Errorf("The first one is %s", got)
	}
	second := w.apply(t, twin(w, "second", failing))
	object := w.mustSettle(t, second)
	if got := conditionLines(object)["Stalled"]; got != "True KeyConflict" {
		t.Errorf("The second one with onConflict Fail: Stalled is %q", got)
	}
	if text := message(object, "Ready"); !strings.Contains(text, "spec.onConflict is Fail") || object.Status.Recipients != nil {
		t.Errorf("It says %q, and counts %v", text, object.Status.Recipients)
	}
	third := w.apply(t, twin(w, "third"))
	if got := conditionLines(w.mustSettle(t, third))["Materialized"]; got != "True Materialized" && got != "True Adopted" {
		t.Errorf("The third one with onConflict Adopt: Materialized is %q", got)
	}
	w.update(t, first, suspendedBySpec)
	if got := conditionLines(w.mustSettle(t, first))["Ready"]; got != "True SuspendedBySpec" {
		t.Errorf("The first one, edited, is %s", got)
	}
	if diff := cmp.Diff([]string{"ada@example.com: pending", "bob@example.com: pending"}, w.states(t, w.namespace+"/launch"), sorted); diff != "" {
		t.Error(diff)
	}
}

// Of objects with the same key one steers; the others show the status, and going they take nothing with them.
func TestOnlyTheOwnerSteers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, follower := w.apply(t, twin(w, "first")), w.apply(t, twin(w, "second"))
	w.mustSettle(t, owner)
	w.mustSettle(t, follower)

	w.update(t, follower, suspendedBySpec)
	w.mustSettle(t, follower)
	if w.record(t, owner).Control.Suspended {
		t.Error("The follower suspended the campaign")
	}
	w.update(t, follower, shutdown)
	w.mustSettle(t, follower)
	w.remove(t, follower)
	w.mustSettle(t, follower)
	pending := []string{"ada@example.com: pending", "bob@example.com: pending"}
	if diff := cmp.Diff(pending, w.states(t, w.namespace+"/launch"), sorted); diff != "" {
		t.Errorf("The follower ended the campaign: %s", diff)
	}

	third := w.apply(t, twin(w, "third", suspendedBySpec))
	w.mustSettle(t, third)
	w.update(t, owner, func(c *v1alpha1.EmailCampaign) { c.Finalizers = nil })
	w.remove(t, owner) // by force: nobody says that it is gone
	w.now = w.now.Add(campaign.OwnerPatience - time.Second)
	w.mustSettle(t, third)
	if w.record(t, third).Control.Suspended {
		t.Error("The third took over too soon")
	}
	w.now = w.now.Add(2 * time.Second)
	w.mustSettle(t, third)
	if record := w.record(t, third); !record.Control.Suspended || record.Owner.ID != string(w.get(t, third).UID) {
		t.Errorf("The third did not take over: %+v", record.Owner)
	}
	w.remove(t, third)
	w.mustSettle(t, third)
	cancelled := []string{"ada@example.com: cancelled", "bob@example.com: cancelled"}
	if diff := cmp.Diff(cancelled, w.states(t, w.namespace+"/launch"), sorted); diff != "" {
		t.Error(diff)
	}
}

// A campaign that names no sender is the same campaign when SMTP_FROM changes, or is gone.
func TestADefaultSenderIsNoPartOfTheCampaign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.from = mail.Address{Address: "old@example.com"}
	anonymous := func(name string) *v1alpha1.EmailCampaign {
		return twin(w, name, func(c *v1alpha1.EmailCampaign) { c.Spec.Message.From = nil })
	}
	key := w.apply(t, anonymous("first"))
	w.mustSettle(t, key)
	before := w.record(t, key)

	for _, from := range []mail.Address{{Address: "new@example.com"}, {}} {
		w.from = from
		w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Suspend = new(c.Spec.Suspend == nil || !*c.Spec.Suspend) })
		if lines := conditionLines(w.mustSettle(t, key)); lines["Stalled"] != "" {
			t.Errorf("With the default %q: %v", from.Address, lines)
		}
	}
	w.from = mail.Address{Address: "new@example.com"}
	again := w.apply(t, anonymous("again"))
	if lines := conditionLines(w.mustSettle(t, again)); lines["Accepted"] != "True Accepted" {
		t.Errorf("Applied again: %v", lines)
	}
	if after := w.record(t, key); after.ContentHash != before.ContentHash || !after.SealedAt.Equal(*before.SealedAt) {
		t.Error("The campaign was written anew")
	}
}

// Rows that were written when the default sender was hashed with the rest are found again.
func TestADefaultSenderOfOldRows(t *testing.T) {
	t.Parallel()
	content := campaign.Content{From: mail.Address{Address: "news@example.com"}, Subject: "News", Text: "There is news."}
	old := campaign.Record{ContentHash: content.Hash(), ListHash: "list", JobSize: 1}
	draft := campaign.Draft{Content: content, DefaultSender: true, ListHash: "list", JobSize: 1}
	if err := campaign.SameSource(old, draft); err != nil {
		t.Error(err)
	}
	draft.Content.From.Address = "other@example.com"
	if err := campaign.SameSource(campaign.Record{ContentHash: draft.ContentHash(), ListHash: "list", JobSize: 1}, draft); err != nil {
		t.Error(err)
	}
	if err := campaign.SameSource(old, draft); !errors.Is(err, campaign.ErrSourceChanged) {
		t.Errorf("Another sender that was hashed: %v", err)
	}
}

// An edit that comes when a worker was first is refused, and says so.
func TestAnEditAfterTheStartIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.start(t, w.namespace+"/launch") // the status does not tell yet, so the schema lets the edit through
	w.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.Message.Subject = "Other news" })
	object := w.mustSettle(t, key)
	if lines := conditionLines(object); lines["Stalled"] != "True KeyConflict" {
		t.Errorf("conditions %v", lines)
	}
	if text := message(object, "Ready"); !strings.Contains(text, "a worker had taken up the campaign already") {
		t.Errorf("It says %q", text)
	}
	if diff := cmp.Diff(all("pending"), w.states(t, w.namespace+"/launch"), sorted); diff != "" {
		t.Error(diff)
	}
}

// An edit that can't be followed keeps what the object no longer says from being sent.
func TestAnEditThatCanNotBeFollowedSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.update(t, key, func(c *v1alpha1.EmailCampaign) {
		c.Spec.Recipients = v1alpha1.RecipientSource{
			ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "audience", Key: "list.txt"}, Format: v1alpha1.FormatLines,
		}
	})
	for range 2 { // also when it is looked at again
		if lines := conditionLines(w.mustSettle(t, key)); lines["Stalled"] != "True ConfigMapNotFound" {
			t.Errorf("conditions %v", lines)
		}
		if record := w.record(t, key); record.Sealed() {
			t.Error("The old list is still there to be sent")
		}
	}
	if err := w.cluster.Client.Create(t.Context(), configMap(w.namespace, "audience", "list.txt", "dan@example.com\n")); err != nil {
		t.Fatal(err)
	}
	want := outcome{Rows: []string{"dan@example.com: pending"}, Queued: []string{campaign.JobID(w.namespace+"/launch", 0)}, Ready: "True Sending", Progress: "0/1"}
	if diff := cmp.Diff(want, w.outcomeOf(t, key), sorted); diff != "" {
		t.Error(diff)
	}
}

// An edit is not lost while a dependency is away.
func TestAnEditDuringAnOutage(t *testing.T) {
	t.Parallel()
	for _, away := range []string{"database", "queue"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := applied()(t, w)
			w.update(t, key, func(c *v1alpha1.EmailCampaign) {
				c.Spec.Recipients.Inline = []v1alpha1.InlineRecipient{{Address: "dan@example.com"}}
			})
			w.effects.away = away
			for range 2 {
				if _, err := w.settle(t, key); err == nil {
					t.Fatal("no outage")
				}
			}
			w.effects.away = ""
			if got := w.outcomeOf(t, key); got.Ready != "True Sending" || len(got.Rows) != 1 || got.Rows[0] != "dan@example.com: pending" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A list that changes while it is written is written anew: nothing of it was ever sent.
func TestAHalfWrittenListWhoseSourceChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := configMap(w.namespace, "audience", "list.txt", "ada@example.com\nbob@example.com\ncid@example.com\n")
	if err := w.cluster.Client.Create(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	key := w.apply(t, kubetest.NewCampaign(w.namespace, "launch").WithJobSize(1).WithConfigMap("audience", "list.txt", v1alpha1.FormatLines).Obj())
	w.effects.crashAt = 5 // finalizer, campaign, control, two jobs
	if _, err := w.settle(t, key); err == nil {
		t.Fatal("no crash")
	}
	if record := w.record(t, key); record.Sealed() {
		t.Fatal("the list is written")
	}
	w.effects.restart()
	list.Data["list.txt"] = "dan@example.com\n"
	if err := w.cluster.Client.Update(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if got := w.outcomeOf(t, key); got.Ready != "True Sending" || !cmp.Equal(got.Rows, []string{"dan@example.com: pending"}) {
		t.Errorf("%+v", got)
	}
}

// A finished campaign whose rows are gone is not sent again.
func TestAFinishedCampaignWhoseRowsAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := applied()(t, w)
	w.deliver(t, w.namespace+"/launch", accepted)
	w.mustSettle(t, key)

	other := newBackend(t) // an empty database
	other.cluster, other.namespace = w.cluster, w.namespace
	other.update(t, key, func(c *v1alpha1.EmailCampaign) { c.Spec.TTLSecondsAfterFinished = new(int32(3600)) })
	if _, err := other.reconciler(t).Reconcile(t.Context(), requestOf(key)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.store.Campaign(t.Context(), w.namespace+"/launch"); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("It was written again: %v", err)
	}
}
