package facade_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
)

// record is a facade.Messages that remembers what it was asked.
type record struct {
	asked campaign.MessageQuery
	found []campaign.Message
	err   error
}

func (r *record) Messages(_ context.Context, query campaign.MessageQuery) ([]campaign.Message, error) {
	r.asked = query
	return r.found, r.err
}

func withMessages(messages facade.Messages) func(*facade.Config) {
	return func(cfg *facade.Config) { cfg.Messages = messages }
}

func TestMessagesQuery(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	since := time.Date(2026, 3, 1, 12, 30, 0, 500_000_000, time.UTC)
	for query, want := range map[string]campaign.MessageQuery{
		"":                             {Limit: 101},
		"recipient=Ada%40example.com":  {Recipient: "Ada@example.com", Limit: 101},
		"success=true&limit=1000":      {Success: &yes, Limit: 1001},
		"success=false&limit=1":        {Success: &no, Limit: 2},
		"after=1772368200500.an.id":    {After: campaign.MessageCursor{At: since, ID: "an.id"}, Limit: 101},
		"since=2026-03-01T12:30:00.5Z": {Since: since, Limit: 101},
		"since=1969-12-31T23:59:59Z&until=2026-03-01T13:30:00.5%2B01:00": {Since: time.Unix(0, 0), Until: since, Limit: 101},
	} {
		t.Run(strings.ReplaceAll(query, "%", "_"), func(t *testing.T) {
			t.Parallel()
			r := &record{}
			got := newFixture(t, withMessages(r)).do(get("/messages?" + query))
			if diff := cmp.Diff(reply{http.StatusOK, headers(), `{"ok":true,"messages":[],"next":null}`}, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want, r.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMessagesRefused(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]any{
		"recipient=ada":                          {"query", "recipient"},
		"recipient=ada%40example.com%0d%0a":      nil, // blanks around it are nobody's
		"recipient=a%00da%40example.com":         {"query", "recipient"},
		"since=yesterday":                        {"query", "since"},
		"until=2026-03-01":                       {"query", "until"},
		"since=2026-03-01T12:00:00+01:00":        {"query", "since"},
		"success=perhaps":                        {"query", "success"},
		"limit=0":                                {"query", "limit"},
		"limit=1001":                             {"query", "limit"},
		"limit=all":                              {"query", "limit"},
		"after=x":                                {"query", "after"},
		"after=1.":                               {"query", "after"},
		"after=-1.id":                            {"query", "after"},
		"after=99999999999999999.id":             {"query", "after"},
		"after=" + strings.Repeat("1", 300):      {"query", "after"},
		"recipient=" + strings.Repeat("a", 2000): {"query", "recipient"},
	} {
		t.Run(strings.ReplaceAll(query, "%", "_"), func(t *testing.T) {
			t.Parallel()
			got := newFixture(t, withMessages(&record{})).do(get("/messages?" + query))
			var body struct {
				OK     bool
				Error  string
				Detail []struct{ Loc []any }
			}
			if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				if got.Status != http.StatusOK {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.Status != http.StatusUnprocessableEntity || body.OK || body.Error == "" || len(body.Detail) == 0 {
				t.Fatalf("got %+v", got)
			}
			if diff := cmp.Diff(want, body.Detail[0].Loc); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got.Body, "example.com") {
				t.Errorf("the answer repeats the address: %s", got.Body)
			}
		})
	}
}

func TestMessagesNeedAKeyAndADatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withMessages(&record{err: errAway}))
	if got := f.do(get("/messages")); got.Status != http.StatusServiceUnavailable || got.Header["Retry-After"] == "" {
		t.Errorf("got %+v", got)
	}
	request := get("/messages")
	request.Header.Del("X-API-Key")
	if got := f.do(request); got.Status != http.StatusUnauthorized {
		t.Errorf("got %+v", got)
	}
	f = newFixture(t, withMessages(&record{err: errors.New("a secret")}))
	if got := f.do(get("/messages")); got.Status != http.StatusInternalServerError || strings.Contains(got.Body, "secret") {
		t.Errorf("got %+v", got)
	}
}

func TestMessagesAnswer(t *testing.T) {
	t.Parallel()
	end := at.Add(time.Second)
	report := func(state campaign.State, detail string) campaign.RecipientReport {
		r := campaign.RecipientReport{ID: "an-id", Address: "ada@example.com", State: state, Attempts: 1, Detail: detail}
		if state.Terminal() {
			r.CompletedAt = &end
		}
		return r
	}
	const completed = `"completedAt":"2026-03-01T12:00:01.000Z",`
	for name, test := range map[string]struct {
		message campaign.Message
		want    string
	}{
		"accepted": {
			campaign.Message{
				Report: report(campaign.StateAccepted, ""), At: at, JobID: "a-job", Subject: "A <subject>", Category: "otp",
				Campaign: "http/secret", Origin: campaign.OriginHTTP, From: "news@example.com",
			},
			`"subject":"A <subject>","category":"otp","at":"2026-03-01T12:00:00.000Z",` + completed + `"success":true,"error":null,` +
				`"jobId":"a-job","messageId":"<` + campaign.MessageID("a-job", "ada@example.com", "news@example.com") + `>",` +
				`"state":"accepted","attempts":1,"campaign":null`,
		},
		"refused": {
			campaign.Message{Report: report(campaign.StateBounced, "550 no"), At: at, Campaign: "ns/name", Origin: campaign.OriginKubernetes},
			`"subject":"","category":null,"at":"2026-03-01T12:00:00.000Z",` + completed +
				`"success":false,"error":"the mail was refused: 550 no","jobId":"","messageId":null,"state":"bounced","attempts":1,"campaign":"ns/name"`,
		},
		"tried again": {
			campaign.Message{Report: report(campaign.StateDeferred, "451 later"), At: at},
			`"subject":"","category":null,"at":"2026-03-01T12:00:00.000Z","completedAt":null,` +
				`"success":null,"error":"451 later","jobId":"","messageId":null,"state":"deferred","attempts":1,"campaign":null`,
		},
		"in doubt": {
			campaign.Message{Report: report(campaign.StateInDoubt, "x"), At: at},
			`"subject":"","category":null,"at":"2026-03-01T12:00:00.000Z",` + completed + `"success":false,"inDoubt":true,` +
				`"error":"in doubt: the connection was lost after the mail was handed over, so that it may have been sent; it is not sent again",` +
				`"jobId":"","messageId":null,"state":"inDoubt","attempts":1,"campaign":null`,
		},
		"cancelled between two attempts": {
			campaign.Message{Report: report(campaign.StateCancelled, "cancelled"), At: at},
			`"subject":"","category":null,"at":"2026-03-01T12:00:00.000Z",` + completed +
				`"success":false,"error":"cancelled","jobId":"","messageId":null,"state":"cancelled","attempts":1,"campaign":null`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, withMessages(&record{found: []campaign.Message{test.message}}))
			want := `{"ok":true,"messages":[{"recipient":"ada@example.com",` + test.want + `}],"next":null}`
			if diff := cmp.Diff(reply{http.StatusOK, headers(), want}, f.do(get("/messages"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Page after page, over a real store.
func TestMessagesPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.Messages, _ = cfg.Jobs.(facade.Messages) })
	var want []string
	for i := range 5 {
		m := campaign.Submission{
			Key: fmt.Sprintf("http/%d", i), Recipients: []campaign.Recipient{{Address: fmt.Sprintf("ada%d@example.com", i)}}, CreatedAt: at,
		}
		moment := at.Add(time.Duration(i) * time.Minute)
		lease := &campaign.Lease{Token: m.Key, Until: moment.Add(time.Minute)}
		submitted, err := f.store.Submit(t.Context(), []campaign.Submission{m}, lease, moment)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.store.Record(t.Context(), m.Key, []campaign.Result{{
			RecipientID: submitted[0].Claimed[0].ID, State: campaign.StateAccepted, CountAttempt: true, At: moment,
		}})
		if err != nil {
			t.Fatal(err)
		}
		want = append([]string{m.Recipients[0].Address}, want...)
	}
	var got []string
	for query := "/messages?limit=2&since=2026-03-01T12:00:00Z"; ; {
		var body struct {
			Messages []struct{ Recipient string }
			Next     *string
		}
		answered := f.do(get(query))
		if err := json.Unmarshal([]byte(answered.Body), &body); err != nil || answered.Status != http.StatusOK {
			t.Fatalf("got %+v", answered)
		}
		for _, m := range body.Messages {
			got = append(got, m.Recipient)
		}
		if body.Next == nil {
			break
		}
		query = "/messages?limit=2&since=2026-03-01T12:00:00Z&after=" + url.QueryEscape(*body.Next)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
