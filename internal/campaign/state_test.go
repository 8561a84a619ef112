package campaign_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
)

var states = []campaign.State{
	campaign.StatePending, campaign.StateActive, campaign.StateDeferred, campaign.StateAccepted, campaign.StateBounced,
	campaign.StateFailed, campaign.StateSuppressed, campaign.StateCancelled, campaign.StateInDoubt,
}

func TestLegacyStatusOfEachState(t *testing.T) {
	t.Parallel()
	got := map[campaign.State]campaign.LegacyStatus{}
	for _, s := range states {
		got[s] = s.Legacy()
	}
	want := map[campaign.State]campaign.LegacyStatus{
		campaign.StatePending:    campaign.LegacyPending,
		campaign.StateActive:     campaign.LegacyPending,
		campaign.StateDeferred:   campaign.LegacyPending,
		campaign.StateAccepted:   campaign.LegacySent,
		campaign.StateBounced:    campaign.LegacyFailed,
		campaign.StateFailed:     campaign.LegacyFailed,
		campaign.StateSuppressed: campaign.LegacyFailed,
		campaign.StateCancelled:  campaign.LegacyFailed,
		campaign.StateInDoubt:    campaign.LegacyFailed,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, s := range states {
		if s.Terminal() != (s.Legacy() != campaign.LegacyPending) {
			t.Errorf("%s: terminal is %t, legacy %s", s, s.Terminal(), s.Legacy())
		}
	}
}

// A Node worker writes only the legacy column: what it says outranks a fine state that still waits.
func TestEffectiveState(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		legacy    campaign.LegacyStatus
		state     campaign.State
		announced bool
		want      campaign.State
	}{
		{"a row of a legacy program", campaign.LegacyPending, "", false, campaign.StatePending},
		{"sent by a legacy worker", campaign.LegacySent, "", false, campaign.StateAccepted},
		{"sent by a legacy worker though pending here", campaign.LegacySent, campaign.StatePending, false, campaign.StateAccepted},
		{"failed by a legacy worker", campaign.LegacyFailed, "", false, campaign.StateFailed},
		{"failed by a legacy worker though deferred here", campaign.LegacyFailed, campaign.StateDeferred, false, campaign.StateFailed},
		{"claimed", campaign.LegacyPending, campaign.StateActive, false, campaign.StateActive},
		{"announced", campaign.LegacyFailed, campaign.StateActive, true, campaign.StateActive},
		{"claimed here, failed there", campaign.LegacyFailed, campaign.StateActive, false, campaign.StateFailed},
		{"bounced", campaign.LegacyFailed, campaign.StateBounced, false, campaign.StateBounced},
		{"in doubt", campaign.LegacyFailed, campaign.StateInDoubt, true, campaign.StateInDoubt},
		{"deferred", campaign.LegacyPending, campaign.StateDeferred, false, campaign.StateDeferred},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := campaign.EffectiveState(tc.legacy, tc.state, tc.announced); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestTallyIsDisjointAndAddsUp(t *testing.T) {
	t.Parallel()
	var tally campaign.Tally
	for i, s := range states {
		tally.Add(s, int64(i+1))
	}
	want := campaign.Tally{
		Total: 45, Pending: 1, Active: 2, Deferred: 3, Accepted: 4, Bounced: 5, Failed: 6,
		Suppressed: 7, Cancelled: 8, InDoubt: 9,
	}
	if diff := cmp.Diff(want, tally); diff != "" {
		t.Error(diff)
	}
	if tally.Finished() != 39 || tally.Unsuccessful() != 35 || tally.Done() || tally.Progress() != "39/45" {
		t.Errorf("finished %d, unsuccessful %d, done %t, progress %s",
			tally.Finished(), tally.Unsuccessful(), tally.Done(), tally.Progress())
	}
}

func TestContentHash(t *testing.T) {
	t.Parallel()
	base := campaign.Content{Subject: "Hola", HTML: "<p>Hola</p>", Headers: map[string]string{"X-A": "1", "X-B": "2"}}
	same := campaign.Content{Subject: "Hola", HTML: "<p>Hola</p>", Headers: map[string]string{"X-B": "2", "X-A": "1"}}
	other := campaign.Content{Subject: "Hola", Text: "<p>Hola</p>", Headers: base.Headers}
	if base.Hash() != same.Hash() {
		t.Error("the same content has two hashes")
	}
	if base.Hash() == other.Hash() {
		t.Error("two contents have the same hash")
	}
}
