package campaign_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// The ids are in every database and in mailboxes: these values must never change.
func TestIDsAreDerived(t *testing.T) {
	t.Parallel()
	job := campaign.JobID("growth/launch", 0)
	timed := campaign.JobID("http/01980f4e-4a7c-7123-8456-789abcdef012", 0)
	for _, tc := range []struct{ name, got, want string }{
		{"job", job, "16598541-0b8b-563d-bedc-e8ff9a8d14ce"},
		{"next shard", campaign.JobID("growth/launch", 1), "61a84af7-75a8-5518-b029-5cb92a6b22ce"},
		{"recipient", campaign.RecipientID(job, 0, "ada@example.com"), "5ad085c4-0000-8000-a61c-9d5286dd6e9d"},
		{"job of a key with a time", timed, "01980f4e-4a7c-8123-891e-7b5b33bdf040"},
		{"its next shard", campaign.JobID("http/01980f4e-4a7c-7123-8456-789abcdef012", 1), "01980f4e-4a7c-8123-a577-d8bf1cbcbae6"},
		{"its recipient", campaign.RecipientID(timed, 3, "ada@example.com"), "01980f4e-4a7c-8123-8000-d0cc71938830"},
		{"job of a key with a random id", campaign.JobID("http/7d4bb5a6-0c2e-4c8c-b0a4-3f0f6c1d2e3f", 0), "13b46cb7-746c-5f49-bcf0-891d4e07956a"},
		{"first ring", campaign.BullID(job, 0), job},
		{"third ring", campaign.BullID(job, 2), job + "-r2"},
		{"message", campaign.MessageID(job, "ada@example.com", "news@example.org"), "eyoj2uug3vxj3m53txdbirt6qej6vpwo@example.org"},
		{"message of a sender without domain", campaign.MessageID(job, "ada@example.com", ""), "eyoj2uug3vxj3m53txdbirt6qej6vpwo@localhost"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestIDsOfTimedKeysSortByTime(t *testing.T) {
	t.Parallel()
	var jobs, recipients []string
	for range 1000 {
		key := "http/" + uuid.Must(uuid.NewV7()).String()
		jobs = append(jobs, campaign.JobID(key, 0))
		for position := range 2 {
			recipients = append(recipients, campaign.RecipientID(jobs[len(jobs)-1], position, "same@example.com"))
		}
	}
	for what, ids := range map[string][]string{"jobs": jobs, "recipients": recipients} {
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Errorf("the ids of %s are not ascending", what)
		}
	}
}

func TestRecipientIDsSortByPosition(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"growth/launch", "http/01980f4e-4a7c-7123-8456-789abcdef012"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			sortByPosition(t, campaign.JobID(key, 7))
		})
	}
}

func sortByPosition(t *testing.T, job string) {
	t.Helper()
	var ids []string
	for position := range 10_000 {
		ids = append(ids, campaign.RecipientID(job, position, "same@example.com"))
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort by position")
	}
	if distinct := slices.Compact(slices.Clone(ids)); len(distinct) != len(ids) {
		t.Errorf("%d distinct ids of %d", len(distinct), len(ids))
	}
	for _, id := range ids[:3] {
		parsed, err := uuid.Parse(id)
		if err != nil || parsed.Version() != 8 || parsed.Variant() != uuid.RFC4122 {
			t.Errorf("%s is no UUIDv8: version %d, variant %s, %v", id, parsed.Version(), parsed.Variant(), err)
		}
	}
}

func TestRecipientIDsDifferByAddressAndJob(t *testing.T) {
	t.Parallel()
	a, b := campaign.JobID("growth/launch", 0), campaign.JobID("growth/launch", 1)
	ids := []string{
		campaign.RecipientID(a, 0, "ada@example.com"),
		campaign.RecipientID(a, 0, "bob@example.com"),
		campaign.RecipientID(a, 1, "ada@example.com"),
		campaign.RecipientID(b, 0, "ada@example.com"),
	}
	slices.Sort(ids)
	if distinct := slices.Compact(ids); len(distinct) != 4 {
		t.Errorf("got %d distinct ids of 4: %v", len(distinct), ids)
	}
}
