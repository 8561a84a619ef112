package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// halfSent is a campaign of three jobs of one recipient each, of which one is accepted.
func halfSent(t *testing.T) (*world, client.ObjectKey, string) {
	t.Helper()
	w := newWorld(t)
	key := applied(func(c *v1alpha1.EmailCampaign) { c.Spec.JobSize = new(int32(1)) })(t, w)
	w.deliverJob(t, key.String(), 0, campaign.Result{State: campaign.StateAccepted, Code: 250})
	w.mustSettle(t, key)
	return w, key, key.String()
}

// TestADatabaseThatKnowsNothing: another database, or an empty one in the place of a lost one, is not written to again.
func TestADatabaseThatKnowsNothing(t *testing.T) {
	t.Parallel()
	w, key, campaignKey := halfSent(t)
	before := w.get(t, key)

	other := newBackend(t)
	other.cluster, other.namespace = w.cluster, w.namespace
	object := other.mustSettle(t, key)
	lines := conditionLines(object)
	for condition, want := range map[string]string{
		"Accepted": "False DataRegression", "Materialized": "True Materialized", "Ready": "False DataRegression", "Stalled": "True DataRegression",
	} {
		if lines[condition] != want {
			t.Errorf("%s is %s, want %s", condition, lines[condition], want)
		}
	}
	if text := message(object, "Ready"); !strings.Contains(text, "1 of 3 accepted") || !strings.Contains(text, "DATABASE_URL") {
		t.Errorf("It says %q", text)
	}
	if diff := cmp.Diff(before.Status.Recipients, object.Status.Recipients); diff != "" {
		t.Errorf("counts (-before +after):\n%s", diff)
	}
	if _, err := other.store.Campaign(t.Context(), campaignKey); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("It was written again: %v", err)
	}

	object = w.mustSettle(t, key) // the right one is back
	if lines := conditionLines(object); lines["Ready"] != "True Sending" || lines["Accepted"] != "True Accepted" {
		t.Errorf("With its database: %v", lines)
	}
	w.deliverJob(t, campaignKey, 1, campaign.Result{State: campaign.StateAccepted, Code: 250})
	if counts := w.mustSettle(t, key).Status.Recipients; counts.Accepted != 2 {
		t.Errorf("counts %+v", counts)
	}
}

// TestADatabaseThatWasSetBack: fewer are accepted than were told. Somebody has to say that it goes on.
func TestADatabaseThatWasSetBack(t *testing.T) {
	t.Parallel()
	w, key, campaignKey := halfSent(t)
	object := w.get(t, key) // as if two had been accepted when it was written
	object.Status.Recipients.Accepted, object.Status.Recipients.Pending = 2, 1
	if err := w.cluster.Client.Status().Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	w.events()

	object = w.mustSettle(t, key)
	if lines := conditionLines(object); lines["Suspended"] != "True DataRegression" || lines["Stalled"] != "True DataRegression" {
		t.Errorf("conditions %v", lines)
	}
	text := message(object, "Suspended")
	if !strings.Contains(text, "told of 2 accepted") || !strings.Contains(text, "has 1") || !strings.Contains(text, v1alpha1.AnnotationResumeAt) {
		t.Errorf("It says %q", text)
	}
	if queued := w.queued(t, campaignKey); queued != nil {
		t.Errorf("Still in the queue: %v", queued)
	}
	if !w.told("Warning DataRegression") {
		t.Error("There is no event of it")
	}
	if lines := conditionLines(w.mustSettle(t, key)); lines["Suspended"] != "True DataRegression" {
		t.Errorf("Later: %v", lines)
	}
	w.annotate(t, key, v1alpha1.AnnotationResumeAt, "yes")
	if lines := conditionLines(w.mustSettle(t, key)); lines["Ready"] != "True Sending" {
		t.Errorf("Resumed: %v", lines)
	}
}

func TestAPausedQueueIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		paused bool
		err    error
		want   string
	}{
		"paused":   {true, nil, "True QueuePaused"},
		"at work":  {false, nil, "True Sending"},
		"is away":  {true, errAway, "True Sending"},
		"no asker": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.want != "" {
				w.paused = func(context.Context) (bool, error) { return test.paused, test.err }
			} else {
				test.want = "True Sending"
			}
			object := w.get(t, applied()(t, w))
			if got := conditionLines(object)["Ready"]; got != test.want {
				t.Errorf("Ready is %s, want %s", got, test.want)
			}
			if test.paused && test.err == nil && !strings.Contains(message(object, "Ready"), "cartero queue resume") {
				t.Errorf("It says %q", message(object, "Ready"))
			}
		})
	}
}
