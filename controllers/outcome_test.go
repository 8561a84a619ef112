package controllers

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/telemetry"
)

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
