package facade_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
)

func TestJobRecipients(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if got := f.send(`{"subject":"Hi","body":"text","recipients":["a@example.com",{"email":"b@example.com","name":"Bea"},"c@example.com"]}`); got.Status != http.StatusAccepted {
		t.Fatalf("answer %d: %s", got.Status, got.Body)
	}
	f.work(map[int]campaign.State{0: campaign.StateAccepted, 1: campaign.StateBounced})
	id := func(position int) string {
		return campaign.RecipientID(job(0), position, string(rune('a'+position))+"@example.com")
	}
	rows := []string{
		`{"id":"` + id(0) + `","email":"a@example.com","state":"accepted","attempts":1,"completedAt":"2026-03-01T12:00:01.000Z"}`,
		`{"id":"` + id(1) + `","email":"b@example.com","name":"Bea","state":"bounced","attempts":1,"completedAt":"2026-03-01T12:00:01.000Z"}`,
		`{"id":"` + id(2) + `","email":"c@example.com","state":"active","attempts":0}`,
	}
	page := func(next string, rows ...string) reply {
		return reply{http.StatusOK, headers(), `{"ok":true,"recipients":[` + strings.Join(rows, ",") + `],"next":` + next + `}`}
	}
	unfit := func(msg, kind string) reply {
		return reply{http.StatusUnprocessableEntity, headers(), fmt.Sprintf(
			`{"ok":false,"error":"limit: %s","detail":[{"loc":["query","limit"],"msg":"%[1]s","type":"%s"}]}`, msg, kind)}
	}
	for path, want := range map[string]reply{
		job(0) + "/recipients":                               page("null", rows...),
		job(0) + "/recipients?limit=3":                       page("null", rows...),
		job(0) + "/recipients?limit=2":                       page(`"`+id(1)+`"`, rows[:2]...),
		job(0) + "/recipients?limit=2&after=" + id(1):        page("null", rows[2]),
		job(0) + "/recipients?after=" + id(2):                page("null"),
		job(0) + "/recipients?limit=0":                       unfit("must be at least 1", "greater_than_equal"),
		job(0) + "/recipients?limit=1001":                    unfit("must be at most 1000", "less_than_equal"),
		job(0) + "/recipients?limit=many":                    unfit("must be a whole number", "int_parsing"),
		"x/recipients":                                       problemReply(http.StatusNotFound, "there is no such job"),
		strings.Repeat("x", 192) + "/recipients":             problemReply(http.StatusNotFound, "there is no such job"),
		job(0) + "/recipients?after=%27%20OR%20%271%27=%271": page("null", rows...),
	} {
		f.is(path, want, f.do(get("/jobs/"+path)))
	}
}

func TestJobRecipientsWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.Jobs = jobsAway{} })
	want := reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`}
	f.is("recipients", want, f.do(get("/jobs/x/recipients")))
	f.is("cancel", want, f.do(to("/jobs/x/cancel", "")))
}

// cancelled is the answer to the cancelling of small, of whose recipients so many are cancelled, being sent and accepted.
func cancelled(id string, cancelled, active, accepted int) reply {
	return reply{http.StatusOK, headers(), fmt.Sprintf(`{"ok":true,"id":"%s","jobs":2,"total":4,"sent":%d,"failed":%d,"pending":%d,`+
		`"states":{"pending":0,"active":%[4]d,"deferred":0,"accepted":%[2]d,"bounced":0,"failed":0,"suppressed":0,"cancelled":%[3]d,"inDoubt":0},`+
		`"cancelledAt":"2026-03-01T12:00:00.000Z","note":"mails that are being handed to the SMTP server right now are not stopped"}`,
		id, accepted, cancelled, active)}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("before anybody was mailed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.send(small)
		for range 2 { // again is the same
			f.is("the second job's", cancelled(job(1), 4, 0, 0), f.do(to("/jobs/"+job(1)+"/cancel", "")))
		}
		if got := f.do(get("/jobs/" + job(0))); !strings.Contains(got.Body, `"status":"FAILED","total":3,"sent":0,"failed":3,"pending":0`) {
			t.Errorf("the first job: %s", got.Body)
		}
	})
	t.Run("half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.send(small)
		f.work(map[int]campaign.State{0: campaign.StateAccepted})
		got := f.do(to("/jobs/"+job(0)+"/cancel", ""))
		// Two of the first job are on the wire, and stay there; the second job was not begun.
		f.is("the answer", cancelled(job(0), 1, 2, 1), got)
	})
	t.Run("whose client goes away", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.send(small)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		f.is("the answer", cancelled(job(0), 4, 0, 0), f.do(to("/jobs/"+job(0)+"/cancel", "").WithContext(ctx)))
	})
}

func TestCancelIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	foreign := f.foreign(campaign.OriginKubernetes, true)
	unsealed := f.foreign(campaign.OriginHTTP, false)
	legacy := f.legacy()
	for path, want := range map[string]reply{
		"x": problemReply(http.StatusNotFound, "there is no such job"),
		foreign: problemReply(http.StatusConflict,
			"the job belongs to an EmailCampaign object: delete or suspend that"),
		unsealed: problemReply(http.StatusNotFound, "there is no such job"),
		legacy:   problemReply(http.StatusConflict, "the job was written by another program, which alone can cancel it"),
	} {
		f.is(path, want, f.do(to("/jobs/"+path+"/cancel", "")))
	}
	for _, id := range []string{foreign, legacy} {
		if got := f.do(get("/jobs/" + id)); !strings.Contains(got.Body, `"pending":1`) {
			t.Errorf("%s was touched: %s", id, got.Body)
		}
	}
}

// foreign writes a campaign of one job and one recipient, and returns the job's id.
func (f *fixture) foreign(origin campaign.Origin, seal bool) string {
	f.t.Helper()
	ctx, campaignKey := f.t.Context(), "written/"+string(origin)
	_, err := f.store.Open(ctx, campaign.Draft{
		Key: campaignKey, Origin: origin, ListHash: "list", JobSize: 1, CreatedAt: at,
		Content: campaign.Content{From: mail.Address{Address: "news@example.com"}, Subject: "s", Text: "t"},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	recipients := []campaign.Recipient{{Address: "a@example.com"}}
	if err := f.store.WriteShard(ctx, campaign.Shard{Key: campaignKey, Recipients: recipients}); err != nil {
		f.t.Fatal(err)
	}
	if seal {
		if _, err := f.store.Seal(ctx, campaignKey, campaign.Totals{Recipients: 1, Jobs: 1}, at.Add(time.Second)); err != nil {
			f.t.Fatal(err)
		}
	}
	return campaign.JobID(campaignKey, 0)
}

// legacy writes a job of one recipient as the Node backend does, and returns its id.
func (f *fixture) legacy() string {
	f.t.Helper()
	db, err := sql.Open("sqlite", f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	const id = "7a1f6f0e-3c55-4f3e-9d0f-5b6f3d1c2b10"
	for _, statement := range []string{
		"INSERT INTO EmailJob (id, subject, body, totalEmails, createdAt) VALUES ('" + id + "', 's', 'b', 1, '2026-03-01 12:00:00.000')",
		"INSERT INTO Recipient (id, jobId, email) VALUES ('legacy', '" + id + "', 'a@example.com')",
	} {
		if _, err := db.ExecContext(f.t.Context(), statement); err != nil {
			f.t.Fatal(err)
		}
	}
	return id
}
