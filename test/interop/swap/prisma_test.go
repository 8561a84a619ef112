package swap

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

// object is JSON as Prisma's rows are.
type object = map[string]any

// prisma is a Node program that calls its Prisma client as it is told.
type prisma struct {
	*testing.T
	node *nodejs.Process
}

func startPrisma(t *testing.T, services harness.Services) prisma {
	t.Helper()
	return prisma{t, startProgram(t, "prisma.js", services)}
}

// call is prisma.<model>.<method>(args), its result as JSON.
func (p prisma) call(model, method string, args object) any {
	p.Helper()
	var result any
	p.node.Do("call", object{"model": model, "method": method, "args": args}, &result)
	return result
}

// everything are all rows, in order.
func (p prisma) everything() any {
	p.Helper()
	return p.call("emailJob", "findMany", object{
		"orderBy": object{"subject": "asc"}, "include": object{"recipients": object{"orderBy": object{"email": "asc"}}},
	})
}

// want fails the test unless a call has this result, which is compared as JSON.
func (p prisma) want(want any, model, method string, args object) {
	p.Helper()
	if diff := cmp.Diff(asJSON(p.T, want), p.call(model, method, args)); diff != "" {
		p.Errorf("%s.%s (-want +got):\n%s", model, method, diff)
	}
}

func asJSON(t *testing.T, value any) (plain any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

// Texts that a wrong character set, a wrong escape or a short column would change.
var (
	oddText = "¡Hola, O'Brien! \"\\\" 👩‍👩‍👧 𝒳 漢字 \t% _ \u200d"
	oddBody = "<p>" + oddText + "</p>" + strings.Repeat("ñ👍\r\n", 50_000)
)

const (
	created   = "2024-02-29T23:59:59.999Z"
	started   = "2024-03-31T01:30:00.001Z" // in the gap of a time zone's change to summer
	completed = "1999-12-31T23:00:00.500Z"
)

// legacyRows are rows of each kind, as a Node program writes them. They are sorted as everything is.
func legacyRows() []object {
	recipient := func(n int, more object) object {
		row := object{
			"id": uuid.NewString(), "email": strings.Repeat("a", n) + "@example.org", "name": nil, "status": "PENDING",
			"error": nil, "sentAt": nil,
		}
		maps.Copy(row, more)
		return row
	}
	job := func(subject string, more object, recipients ...object) object {
		row := object{
			"id": uuid.NewString(), "subject": subject, "body": "<p>Hola</p>", "status": "PENDING", "totalEmails": len(recipients),
			"sentEmails": 0, "failedEmails": 0, "createdAt": created, "startedAt": nil, "completedAt": nil,
			"recipients": append([]object{}, recipients...),
		}
		maps.Copy(row, more)
		for _, r := range recipients {
			r["jobId"] = row["id"]
		}
		return row
	}
	return []object{
		job("1 "+oddText, object{"body": oddBody},
			recipient(1, object{"name": oddText}), recipient(2, object{"name": ""}), recipient(3, nil)),
		job("2", object{"status": "PROCESSING", "startedAt": started},
			recipient(1, object{"status": "SENT", "sentAt": completed}), recipient(2, nil)),
		job("3", object{"status": "COMPLETED", "startedAt": started, "completedAt": completed, "sentEmails": 1, "failedEmails": 1},
			recipient(1, object{"status": "FAILED", "error": oddText + strings.Repeat("x", 60_000)}),
			recipient(2, object{"status": "SENT", "sentAt": created})),
		job("4", object{"status": "FAILED", "startedAt": started, "completedAt": completed, "failedEmails": 1},
			recipient(1, object{"status": "FAILED", "error": ""})),
		job("5", object{"body": ""}),
		job("6 "+strings.Repeat("ñ", 189), nil, recipient(179, object{"name": strings.Repeat("é", 191)})),
	}
}

// insert creates the rows with a nested write.
func (p prisma) insert(rows []object) {
	p.Helper()
	for _, row := range rows {
		data, ok := asJSON(p.T, row).(object)
		if !ok {
			p.Fatal("a row is no object")
		}
		nested, _ := data["recipients"].([]any)
		for _, r := range nested {
			if r, ok := r.(object); ok {
				delete(r, "jobId")
			}
		}
		data["recipients"] = object{"create": nested}
		p.call("emailJob", "create", object{"data": data})
	}
}

// TestPrismaThroughAMigration: an installation that exists, with a program on it that never rests, is migrated. The
// program does not notice, and its rows are what they were.
func TestPrismaThroughAMigration(t *testing.T) {
	t.Parallel()
	services := newServices(t)
	before := startPrisma(t, services)
	rows := legacyRows()
	before.insert(rows)
	if diff := cmp.Diff(asJSON(t, rows), before.everything()); diff != "" {
		t.Fatalf("before the migration (-written +read):\n%s", diff)
	}

	during := startPrisma(t, services)
	during.node.Do("busy", object{"loops": 2}, nil)
	goOn := func() {
		t.Helper()
		var from int
		during.node.Do("rounds", nil, &from)
		harness.Eventually(t, "the program works on", func() bool {
			var now int
			during.node.Do("rounds", nil, &now)
			return now >= from+6
		})
	}
	goOn()
	migrate(t, services)
	goOn()
	var result struct {
		Rounds, Deadlocks int
		Errors            []string
	}
	during.node.Do("rest", nil, &result)
	t.Logf("%d rounds while the tables were migrated; %d calls made again after a deadlock", result.Rounds, result.Deadlocks)
	if len(result.Errors) > 0 {
		t.Errorf("%d rounds failed during the migration, the first with: %s", len(result.Errors), result.Errors[0])
	}

	for name, p := range map[string]prisma{"the old client": before, "a new client": startPrisma(t, services)} {
		if diff := cmp.Diff(asJSON(t, rows), p.everything()); diff != "" {
			t.Errorf("%s after the migration (-written +read):\n%s", name, diff)
		}
	}
	readByCartero(t, services, rows)
}

// readByCartero compares the rows with what Cartero's store makes of them.
func readByCartero(t *testing.T, services harness.Services, rows []object) {
	t.Helper()
	db := openStore(t, services)
	for _, row := range rows {
		id, subject, body := text(row, "id"), text(row, "subject"), text(row, "body")
		wantJob := campaign.Job{
			ID: id, Sealed: true, Started: true, Status: campaign.JobStatus(text(row, "status")), CreatedAt: *instant(t, created),
			Content: campaign.Content{Subject: subject, HTML: body},
		}
		job, err := db.Job(t.Context(), id)
		if diff := cmp.Diff(wantJob, job); diff != "" || err != nil {
			t.Errorf("job %s (-written by Prisma +read by Cartero): %v\n%s", subject, err, diff)
		}

		wantReport := campaign.JobReport{
			ID: id, Status: wantJob.Status, CreatedAt: wantJob.CreatedAt,
			StartedAt: instant(t, text(row, "startedAt")), CompletedAt: instant(t, text(row, "completedAt")),
		}
		var due []campaign.Recipient
		recipients, _ := row["recipients"].([]object)
		for _, r := range recipients {
			status := campaign.LegacyStatus(text(r, "status"))
			wantReport.Tally.Add(campaign.EffectiveState(status, "", false), 1)
			if status == campaign.LegacyPending {
				due = append(due, campaign.Recipient{Address: text(r, "email"), Name: text(r, "name")})
			}
		}
		report, err := db.JobReport(t.Context(), id)
		onlyCounts := cmpopts.IgnoreFields(campaign.Tally{}, "Failures", "LastCompletedAt")
		if diff := cmp.Diff(wantReport, report, onlyCounts); diff != "" || err != nil {
			t.Errorf("job %s (-written by Prisma +counted by Cartero): %v\n%s", subject, err, diff)
		}
		byAddress := cmpopts.SortSlices(func(a, b campaign.Recipient) bool { return a.Address < b.Address })
		if diff := cmp.Diff(due, claimAll(t, db, id), byAddress); diff != "" {
			t.Errorf("job %s (-pending by Prisma +claimed by Cartero):\n%s", subject, diff)
		}
	}
}

// text is a member of an object that is a text; empty for null.
func text(o object, name string) string {
	value, _ := o[name].(string)
	return value
}

// claimAll claims everybody in the job who is due.
func claimAll(t *testing.T, db *store.Store, jobID string) []campaign.Recipient {
	t.Helper()
	claimed, err := db.Claim(t.Context(), campaign.Claim{
		JobID: jobID, Token: "claimed by the test", Limit: 100, Now: time.Now(), LeaseUntil: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []campaign.Recipient
	for _, c := range claimed {
		all = append(all, c.Recipient)
	}
	return all
}

func openStore(t *testing.T, services harness.Services) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), services.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// instant reads a time as JSON has it; nil for the empty text.
func instant(t *testing.T, text string) *time.Time {
	t.Helper()
	if text == "" {
		return nil
	}
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return &when
}
