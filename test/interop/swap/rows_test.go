package swap

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/store"
)

// list is a campaign.List of these recipients.
type list []campaign.Recipient

func (l *list) Next(context.Context) (campaign.Recipient, error) {
	if len(*l) == 0 {
		return campaign.Recipient{}, io.EOF
	}
	next := (*l)[0]
	*l = (*l)[1:]
	return next, nil
}

func (l *list) Totals() campaign.Totals { return campaign.Totals{} }

const campaignKey = "interop/prisma"

// at returns a moment of the campaign's life, in another zone than UTC.
func at(second, ms int) time.Time {
	return time.Date(2026, 2, 28, 23, 59, second, ms*int(time.Millisecond), time.UTC).In(time.FixedZone("", -5*3600))
}

// materialize writes a campaign of two jobs as operator and facade do.
func materialize(t *testing.T, db *store.Store) {
	t.Helper()
	people := list{
		{Address: "ada@example.org", Name: oddText, Variables: map[string]string{"code": "A1"}},
		{Address: "bob@example.org"},
		{Address: "cleo@example.org"},
		{Address: "dora@example.org", Name: "Dora"},
		{Address: strings.Repeat("x", 60) + "@" + strings.Repeat(strings.Repeat("y", 62)+".", 3) + "example.org"},
	}
	loader := campaign.NewLoader(db, func() time.Time { return at(1, 7) })
	_, err := loader.Load(t.Context(), campaign.Draft{
		Key: campaignKey, Origin: campaign.OriginHTTP, ListHash: "list", JobSize: 4, CreatedAt: at(0, 999),
		Content: campaign.Content{From: mail.Address{Address: "news@example.com"}, Subject: strings.Repeat("👍", 192), HTML: oddBody},
	}, &people)
	if err != nil {
		t.Fatal(err)
	}
}

// deliver does to the first job what a worker does: one recipient of each outcome.
func deliver(t *testing.T, db *store.Store) {
	t.Helper()
	id := campaign.JobID(campaignKey, 0)
	if err := db.StartJob(t.Context(), id, at(2, 500)); err != nil {
		t.Fatal(err)
	}
	claimed, err := db.Claim(t.Context(), campaign.Claim{JobID: id, Token: "token", Limit: 10, Now: at(3, 0), LeaseUntil: at(59, 0)})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(claimed))
	for i, c := range claimed {
		ids[i] = c.ID
	}
	if _, err := db.Announce(t.Context(), "token", ids, at(4, 0)); err != nil {
		t.Fatal(err)
	}
	outcomes := []campaign.Result{
		{State: campaign.StateAccepted, Code: 250, Detail: "ok"},
		{State: campaign.StateBounced, Code: 550, EnhancedCode: "5.1.1", Detail: "550 5.1.1 no such user: " + oddText},
		{State: campaign.StateDeferred, Code: 452, Detail: "452 4.2.2 full", NextAttemptAt: new(at(30, 0))},
		{State: campaign.StateInDoubt, Detail: "the connection was lost"},
	}
	for i := range outcomes {
		outcomes[i].RecipientID, outcomes[i].At, outcomes[i].CountAttempt = ids[i], at(5, 123), true
	}
	if _, err := db.Record(t.Context(), "token", outcomes); err != nil {
		t.Fatal(err)
	}
	if _, err := db.FinishJob(t.Context(), id, at(6, 0)); err != nil {
		t.Fatal(err)
	}
}

// TestPrismaReadsWhatCarteroWrote: exactly the legacy columns, times in UTC to the millisecond, and each finer state as
// the legacy one that is true of it. What Prisma then writes, Cartero counts.
func TestPrismaReadsWhatCarteroWrote(t *testing.T) {
	t.Parallel()
	services := newServices(t)
	migrate(t, services)
	db := openStore(t, services)
	materialize(t, db)
	deliver(t, db)

	p := startPrisma(t, services)
	first, second := campaign.JobID(campaignKey, 0), campaign.JobID(campaignKey, 1)
	recipient := func(job string, position int, address string, name, err, sentAt any, status string) object {
		return object{
			"id": campaign.RecipientID(job, position, address), "jobId": job, "email": address, "name": name, "status": status,
			"error": err, "sentAt": sentAt,
		}
	}
	long := strings.Repeat("x", 60) + "@" + strings.Repeat(strings.Repeat("y", 62)+".", 3) + "example.org"
	unmailable := recipient(second, 0, long, nil, nil, nil, "PENDING")
	unmailable["email"] = "" // it does not fit, and a part of it would be somebody else
	job := func(id, status string, total int, startedAt any, recipients ...object) object {
		return object{
			"id": id, "subject": strings.Repeat("👍", 191), "body": oddBody, "status": status, "totalEmails": total,
			"sentEmails": 0, "failedEmails": 0, "createdAt": "2026-02-28T23:59:00.999Z", "startedAt": startedAt,
			"completedAt": nil, "recipients": recipients,
		}
	}
	p.want([]object{
		job(first, "PROCESSING", 4, "2026-02-28T23:59:02.500Z",
			recipient(first, 0, "ada@example.org", oddText, nil, "2026-02-28T23:59:05.123Z", "SENT"),
			recipient(first, 1, "bob@example.org", nil, "550 5.1.1 no such user: "+oddText, nil, "FAILED"),
			recipient(first, 2, "cleo@example.org", nil, "452 4.2.2 full", nil, "PENDING"),
			recipient(first, 3, "dora@example.org", "Dora", "in doubt: the connection was lost", nil, "FAILED")),
		job(second, "PENDING", 1, nil, unmailable),
	}, "emailJob", "findMany", object{
		"orderBy": object{"totalEmails": "desc"}, "include": object{"recipients": object{"orderBy": object{"id": "asc"}}},
	})
	for _, id := range []string{first, campaign.RecipientID(first, 0, "ada@example.org")} {
		if len(id) != 36 {
			t.Errorf("the id %q has %d characters, want 36", id, len(id))
		}
	}
	p.legacyWrites(first)

	tally, err := db.Tally(t.Context(), campaignKey)
	if err != nil {
		t.Fatal(err)
	}
	tally.Failures, tally.LastCompletedAt = nil, nil
	if diff := cmp.Diff(campaign.Tally{Total: 5, Accepted: 3, Bounced: 1, Pending: 1}, tally); diff != "" {
		t.Errorf("counted by Cartero after Prisma wrote (-want +got):\n%s", diff)
	}
	p.want(object{"count": 1}, "emailJob", "deleteMany", object{"where": object{"id": first}})
	p.want(1, "recipient", "count", object{})
	if _, err := db.JobReport(t.Context(), first); err == nil {
		t.Error("Cartero still finds the job that Prisma deleted")
	}
}

// legacyWrites counts, groups and changes the first job's recipients in the ways that Prisma has.
func (p prisma) legacyWrites(job string) {
	p.Helper()
	where := object{"jobId": job}
	p.want(object{"_count": object{"recipients": 4}, "status": "PROCESSING"}, "emailJob", "findUnique", object{
		"where": object{"id": job}, "select": object{"status": true, "_count": object{"select": object{"recipients": true}}},
	})
	p.want([]object{
		{"_count": object{"_all": 1}, "status": "PENDING"},
		{"_count": object{"_all": 1}, "status": "SENT"},
		{"_count": object{"_all": 2}, "status": "FAILED"},
	}, "recipient", "groupBy", object{"by": []string{"status"}, "where": where, "_count": object{"_all": true}, "orderBy": object{"status": "asc"}})
	p.want(1, "recipient", "count", object{"where": object{"sentAt": object{"gte": "2026-02-28T23:59:05.123Z"}}})
	p.want(0, "recipient", "count", object{"where": object{"sentAt": object{"gt": "2026-02-28T23:59:05.123Z"}}})
	p.want(object{"count": 1}, "recipient", "updateMany", object{
		"where": object{"jobId": job, "status": "PENDING"}, "data": object{"status": "SENT", "sentAt": created, "error": nil},
	})
	// A person has asked the relay's log: the mail in doubt had arrived.
	p.want(object{"count": 1}, "recipient", "updateMany", object{
		"where": object{"jobId": job, "error": object{"startsWith": "in doubt"}}, "data": object{"status": "SENT", "sentAt": created},
	})
}
