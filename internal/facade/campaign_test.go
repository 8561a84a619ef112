package facade_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/recipients"
)

func job(shard int) string { return campaign.JobID(campaignKey, shard) }

func TestSendCampaign(t *testing.T) {
	t.Parallel()
	from := mail.Address{Name: "News", Address: "news@example.com"}
	tests := []struct {
		name       string
		body       string
		want       string // the answer's body
		content    campaign.Content
		recipients []campaign.Recipient // of the first job
	}{
		{
			name:       "addresses",
			body:       `{"subject":"Hi","body":"plain < text","recipients":["ana@example.com","Bob@Example.ORG"]}`,
			want:       `{"ok":true,"jobId":"` + job(0) + `","accepted":2,"duplicates":0,"invalid":0,"queued":true}`,
			content:    campaign.Content{From: from, Subject: "Hi", Text: "plain < text"},
			recipients: []campaign.Recipient{{Address: "ana@example.com"}, {Address: "Bob@example.org"}},
		},
		{
			name: "objects, duplicates, invalid ones, several jobs",
			body: `{"subject":"¡Hola!","body":"<p>Hola</p>","recipients":[
				{"email":"ana@example.com","name":"Ana López","variables":{"code":"A1","n":7,"ok":true,"none":null}},
				"not an address", {"email":"ANA@EXAMPLE.COM","name":null}, {"email":"b@españa.example","variables":null,"age":3},
				"c@example.com", "", "d@example.com"]}`,
			want: `{"ok":true,"jobId":"` + job(0) + `","jobIds":["` + job(0) + `","` + job(1) + `"],` +
				`"accepted":4,"duplicates":1,"invalid":2,"invalidIndexes":[1,5],"queued":true}`,
			content: campaign.Content{From: from, Subject: "¡Hola!", HTML: "<p>Hola</p>"},
			recipients: []campaign.Recipient{
				{
					Address: "ana@example.com", Name: "Ana López",
					Variables: map[string]string{"code": "A1", "n": "7", "ok": "true", "none": ""},
				},
				{Address: "b@xn--espaa-rta.example"},
				{Address: "c@example.com"},
			},
		},
		{
			name: "the list first, a sender, a content type, members that mean nothing here",
			body: `{"recipients":["ana@example.com"],"extra":{"recipients":[1]},"content_type":"text/plain; charset=utf-8",` +
				`"body":"<p>as text</p>","from":"Año <hola@Example.com>","subject":"Hi"}  `,
			want: `{"ok":true,"jobId":"` + job(0) + `","accepted":1,"duplicates":0,"invalid":0,"queued":true}`,
			content: campaign.Content{
				From: mail.Address{Name: "Año", Address: "hola@example.com"}, Subject: "Hi", Text: "<p>as text</p>",
			},
			recipients: []campaign.Recipient{{Address: "ana@example.com"}},
		},
		{
			name:       "HTML by content type, optional members null",
			body:       `{"subject":"Hi","body":"text","recipients":["ana@example.com"],"content_type":"text/html","from":null}`,
			want:       `{"ok":true,"jobId":"` + job(0) + `","accepted":1,"duplicates":0,"invalid":0,"queued":true}`,
			content:    campaign.Content{From: from, Subject: "Hi", HTML: "text"},
			recipients: []campaign.Recipient{{Address: "ana@example.com"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			want := reply{http.StatusAccepted, headers("Location", "/jobs/"+job(0)), tt.want}
			if diff := cmp.Diff(want, f.send(tt.body)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{campaignKey}, f.bell.keys); diff != "" {
				t.Errorf("rung (-want +got):\n%s", diff)
			}
			record, err := f.store.Campaign(t.Context(), campaignKey)
			if err != nil {
				t.Fatal(err)
			}
			wantRecord := campaign.Record{
				Key: campaignKey, Origin: campaign.OriginHTTP, ContentHash: tt.content.Hash(), JobSize: 3,
				CreatedAt: at, SealedAt: &at,
			}
			ignore := cmpopts.IgnoreFields(campaign.Record{}, "ListHash", "Totals") // the answer has the totals
			if diff := cmp.Diff(wantRecord, record, ignore); diff != "" {
				t.Errorf("campaign (-want +got):\n%s", diff)
			}
			stored, err := f.store.Job(t.Context(), job(0))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.content, stored.Content); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.recipients, f.recipients()); diff != "" {
				t.Errorf("recipients (-want +got):\n%s", diff)
			}
		})
	}
}

// problem is one element of detail.
func problem(kind, msg, path string) string {
	return fmt.Sprintf(`{"loc":["body"%s],"msg":%q,"type":%q}`, path, msg, kind)
}

func TestSendCampaignRefuses(t *testing.T) {
	t.Parallel()
	const rest = `"subject":"Hi","body":"text"`
	const entries = "must be an address, or {email, name, variables}"
	const everybody = `"recipients":["ana@example.com"]`
	tests := []struct {
		name   string
		body   string
		error  string
		detail []string
	}{
		{"nothing", ``, "position 0: the JSON object ends too early", []string{problem("json_invalid", "the JSON object ends too early", ",0")}},
		{
			"no JSON", `subject=Hi`, "position 1: this is not JSON: invalid character 's' looking for beginning of value",
			[]string{problem("json_invalid", "this is not JSON: invalid character 's' looking for beginning of value", ",1")},
		},
		{
			"cut off", `{` + rest + `,"recipients":["ana@example.com"`, "position 61: the JSON object ends too early",
			[]string{problem("json_invalid", "the JSON object ends too early", ",61")},
		},
		{
			"two objects", `{` + rest + `,` + everybody + `}{}`, "position 63: something follows the JSON object",
			[]string{problem("json_invalid", "something follows the JSON object", ",63")},
		},
		{"a list", `["ana@example.com"]`, "must be a JSON object", []string{problem("model_attributes_type", "must be a JSON object", "")}},
		{"an empty object", `{}`, "subject: is required (and 2 more: see detail)", []string{
			problem("missing", "is required", `,"subject"`), problem("missing", "is required", `,"body"`),
			problem("missing", "is required", `,"recipients"`),
		}},
		{
			"wrong types", `{"subject":1,"body":null,"recipients":[],"content_type":["a"],"from":{}}`,
			"subject: must be a text (and 4 more: see detail)",
			[]string{
				problem("string_type", "must be a text", `,"subject"`), problem("string_type", "must be a text", `,"body"`),
				problem("string_type", "must be a text", `,"content_type"`), problem("string_type", "must be a text", `,"from"`),
				problem("too_short", "must have at least 1 entry", `,"recipients"`),
			},
		},
		{
			"wrong values", `{"subject":"a\r\nBcc: b","body":"a\u0000b",` + everybody + `,"content_type":"text/x","from":"a@b, c@d"}`,
			"subject: must be one line without control characters (and 3 more: see detail)",
			[]string{
				problem("value_error", "must be one line without control characters", `,"subject"`),
				problem("value_error", "must be one address, such as news@example.com or News <news@example.com>", `,"from"`),
				problem("value_error", "must not have NUL characters", `,"body"`),
				problem("literal_error", "must be text/plain or text/html", `,"content_type"`),
			},
		},
		{"empty texts", `{"subject":" ","body":"\n",` + everybody + `}`, "subject: must not be empty (and 1 more: see detail)", []string{
			problem("string_too_short", "must not be empty", `,"subject"`), problem("string_too_short", "must not be empty", `,"body"`),
		}},
		{
			"a long subject", `{"subject":"` + strings.Repeat("é", 999) + `","body":"text",` + everybody + `}`,
			"subject: must have at most 998 characters",
			[]string{problem("string_too_long", "must have at most 998 characters", `,"subject"`)},
		},
		{
			"twice", `{` + rest + `,` + everybody + `,` + everybody + `,"subject":"b"}`, "recipients: is given twice (and 1 more: see detail)",
			[]string{problem("duplicate", "is given twice", `,"recipients"`), problem("duplicate", "is given twice", `,"subject"`)},
		},
		{
			"no list", `{` + rest + `,"recipients":"ana@example.com"}`,
			"recipients: must be a list of addresses, or of {email, name, variables}",
			[]string{problem("list_type", "must be a list of addresses, or of {email, name, variables}", `,"recipients"`)},
		},
		{
			"wrong entries", `{` + rest + `,"recipients":["ok@example.com",1,{},{"email":2},{"email":"a@b.cd","name":[]},` +
				`{"email":"a@b.cd","variables":"x"},{"email":"a@b.cd","variables":{"x":{}}}]}`,
			"recipients[1]: " + entries + " (and 5 more: see detail)",
			[]string{
				problem("string_type", entries, `,"recipients",1`),
				problem("missing", "is required", `,"recipients",2,"email"`),
				problem("string_type", "must be a text", `,"recipients",3,"email"`),
				problem("string_type", "must be a text", `,"recipients",4,"name"`),
				problem("dict_type", "must be an object of texts", `,"recipients",5,"variables"`),
				problem("string_type", "must have texts, numbers, true, false or null as values", `,"recipients",6,"variables"`),
			},
		},
		{
			"too many wrong entries", `{` + rest + `,"recipients":[` + strings.Repeat("1,", 50) + `1]}`,
			"recipients[0]: " + entries + " (and 19 more: see detail)", func() (all []string) {
				for i := range 20 {
					all = append(all, problem("string_type", entries, fmt.Sprintf(`,"recipients",%d`, i)))
				}
				return all
			}(),
		},
		{
			"too many entries", `{` + rest + `,"recipients":[` + strings.Repeat(`"",`, 100) + `""]}`,
			"recipients: has more than 100 entries",
			[]string{problem("too_long", "has more than 100 entries", `,"recipients"`)},
		},
		{
			"a huge value", `{` + rest + `,"recipients":["` + strings.Repeat("a", 9<<20) + `"]}`,
			"position 44: the value that begins here has more than 2097152 bytes",
			[]string{problem("too_long", "the value that begins here has more than 2097152 bytes", ",44")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(cfg *facade.Config) { cfg.MaxRecipients = 100 })
			want := reply{
				http.StatusUnprocessableEntity, headers(),
				fmt.Sprintf(`{"ok":false,"error":%q,"detail":[%s]}`, tt.error, strings.Join(tt.detail, ",")),
			}
			if diff := cmp.Diff(want, f.send(tt.body)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if n := f.ledger.opened.Load(); n > 0 {
				t.Errorf("%d campaigns were opened for a request that is wrong", n)
			}
		})
	}
}

func TestSendCampaignRefusesLists(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, list, error, detail string }{
		{
			"nobody valid", `"x","y@",""`, "recipients: none of the 3 addresses can be mailed",
			problem("value_error", "none of the 3 addresses can be mailed", `,"recipients"`),
		},
		{
			"a name that is too long", `"a@example.com","b@example.com","c@example.com","d@example.com",{"email":"e@example.com","name":"` +
				strings.Repeat("n", recipients.MaxName+1) + `"}`,
			fmt.Sprintf("recipients[4]: the name is longer than %d characters", recipients.MaxName),
			problem("value_error", fmt.Sprintf("the name is longer than %d characters", recipients.MaxName), `,"recipients",4`),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			want := reply{http.StatusUnprocessableEntity, headers(), fmt.Sprintf(`{"ok":false,"error":%q,"detail":[%s]}`, tt.error, tt.detail)}
			if diff := cmp.Diff(want, f.send(`{"subject":"Hi","body":"text","recipients":[`+tt.list+`]}`)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			f.nothingLeft()
		})
	}
}

// small is a campaign of two jobs.
const small = `{"subject":"Hi","body":"text","recipients":["a@example.com","b@example.com","c@example.com","d@example.com"]}`

func acceptedSmall(queued bool) reply {
	return reply{http.StatusAccepted, headers("Location", "/jobs/"+job(0)), fmt.Sprintf(
		`{"ok":true,"jobId":"%s","jobIds":["%[1]s","%s"],"accepted":4,"duplicates":0,"invalid":0,"queued":%t}`, job(0), job(1), queued)}
}

func TestSendCampaignWithoutASender(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.DefaultFrom = mail.Address{} })
	want := reply{
		http.StatusUnprocessableEntity, headers(),
		`{"ok":false,"error":"from: is required","detail":[` + problem("missing", "is required", `,"from"`) + `]}`,
	}
	if diff := cmp.Diff(want, f.send(small)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestSendCampaignAndTheQueue(t *testing.T) {
	t.Parallel()
	full := reply{
		http.StatusServiceUnavailable, headers("Retry-After", "5"),
		`{"ok":false,"error":"the queue is full: try again later"}`,
	}
	tests := []struct {
		name    string
		waiting int64
		err     error
		bell    error
		want    reply
	}{
		{name: "room for one more", waiting: 99, want: acceptedSmall(true)},
		{name: "full", waiting: 100, want: full},
		{name: "away", err: errAway, bell: errAway, want: acceptedSmall(false)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.waiting, f.queueErr, f.bell.err = tt.waiting, tt.err, tt.bell
			if diff := cmp.Diff(tt.want, f.send(small)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if tt.want.Status != http.StatusAccepted {
				f.nothingLeft()
			}
		})
	}
}

func TestSendCampaignAndTheDatabase(t *testing.T) {
	t.Parallel()
	failSecond := func(cause error) func(func(context.Context, campaign.Shard) error, context.Context, campaign.Shard) error {
		return func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			if shard.Number == 1 {
				return cause
			}
			return next(ctx, shard)
		}
	}
	t.Run("away half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = failSecond(errAway)
		want := reply{
			http.StatusServiceUnavailable, headers("Retry-After", "5"),
			`{"ok":false,"error":"the database is not available: try again later"}`,
		}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("broken half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = failSecond(errors.New("column of a@example.com missing"))
		want := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"internal error"}`}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("sealed, but the reply was lost", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.seal = func(campaign.Record, error) (campaign.Record, error) { return campaign.Record{}, errAway }
		if diff := cmp.Diff(acceptedSmall(true), f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{campaignKey}, f.bell.keys); diff != "" {
			t.Errorf("rung (-want +got):\n%s", diff)
		}
	})
	t.Run("the process dies half-way", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ledger.writeShard = func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			if shard.Number == 1 {
				panic("as good as dead, with a@example.com in hand")
			}
			return next(ctx, shard)
		}
		want := reply{http.StatusInternalServerError, headers(), `{"ok":false,"error":"internal error"}`}
		if diff := cmp.Diff(want, f.send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if due, err := f.store.DueJobs(t.Context(), "", at, at, 10); err != nil || len(due) > 0 {
			t.Errorf("jobs of an unsealed campaign are due: %v, %v", due, err)
		}
		if got := f.recipients(); len(got) > 0 {
			t.Errorf("recipients of an unsealed campaign were claimed: %d", len(got))
		}
	})
}

func TestSendCampaignClientGoesAway(t *testing.T) {
	t.Parallel()
	t.Run("during the upload", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		cut := io.MultiReader(strings.NewReader(small[:len(small)-20]), failingReader{})
		want := reply{http.StatusBadRequest, headers("Connection", "close"), `{"ok":false,"error":"the body could not be read"}`}
		if diff := cmp.Diff(want, f.do(post(cut))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if n := f.ledger.opened.Load(); n > 0 {
			t.Errorf("%d campaigns were opened", n)
		}
	})
	t.Run("while the rows are written", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		ctx, leave := context.WithCancel(t.Context())
		f.ledger.writeShard = func(next func(context.Context, campaign.Shard) error, ctx context.Context, shard campaign.Shard) error {
			defer leave()
			return next(ctx, shard)
		}
		f.do(post(strings.NewReader(small)).WithContext(ctx))
		f.nothingLeft()
	})
	t.Run("after the seal", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		ctx, leave := context.WithCancel(t.Context())
		f.ledger.seal = func(record campaign.Record, err error) (campaign.Record, error) {
			leave()
			return record, err
		}
		f.do(post(strings.NewReader(small)).WithContext(ctx))
		if diff := cmp.Diff([]string{campaignKey}, f.bell.keys); diff != "" {
			t.Errorf("rung (-want +got):\n%s", diff)
		}
	})
}

// failingReader is a connection that breaks.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func TestSendCampaignLimitsTheBody(t *testing.T) {
	t.Parallel()
	limit := func(cfg *facade.Config) { cfg.MaxBody = 50 }
	want := reply{http.StatusRequestEntityTooLarge, headers("Connection", "close"), `{"ok":false,"error":"the body is larger than 50 bytes"}`}
	t.Run("announced", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff(want, newFixture(t, limit).send(small)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
	t.Run("not announced", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, limit)
		if diff := cmp.Diff(want, f.do(post(io.MultiReader(strings.NewReader(small))))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		f.nothingLeft()
	})
	t.Run("compressed", func(t *testing.T) {
		t.Parallel()
		r := post(strings.NewReader(small))
		r.Header.Set("Content-Encoding", "gzip")
		want := reply{http.StatusUnsupportedMediaType, headers(), `{"ok":false,"error":"send the body without Content-Encoding"}`}
		if diff := cmp.Diff(want, newFixture(t).do(r)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
}

// TestSendCampaignLargeList takes a list that does not fit into the spool's memory.
func TestSendCampaignLargeList(t *testing.T) {
	t.Parallel()
	const entries = 30_000
	dir := t.TempDir()
	f := newFixture(t, func(cfg *facade.Config) { cfg.SpoolDir, cfg.JobSize = dir, 3000 })
	var body strings.Builder
	body.WriteString(`{"recipients":[`)
	for i := range entries {
		fmt.Fprintf(&body, `{"email":"somebody-%d@example.com","name":"Somebody"},`, i%(entries-7))
	}
	body.WriteString(`"invalid"],"subject":"Hi","body":"text"}`)
	if got := f.send(body.String()); got.Status != http.StatusAccepted {
		t.Fatalf("answer %d: %s", got.Status, got.Body)
	}
	record, err := f.store.Campaign(t.Context(), campaignKey)
	if err != nil {
		t.Fatal(err)
	}
	want := campaign.Totals{Recipients: entries - 7, Jobs: 10, Duplicates: 7, Invalid: 1, InvalidLines: []int{entries + 1}}
	if diff := cmp.Diff(want, record.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the spool's directory: %v, %v", left, err)
	}
}

func TestSendCampaignWithoutRoomForTheList(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *facade.Config) { cfg.SpoolDir = "/does/not/exist" })
	body := `{"subject":"Hi","body":"text","recipients":[` + strings.Repeat(`"somebody@example.com",`, 50_000) + `"x"]}`
	want := reply{
		http.StatusServiceUnavailable, headers("Retry-After", "5"),
		`{"ok":false,"error":"the server has no room for a list of this size: try again later"}`,
	}
	if diff := cmp.Diff(want, f.send(body)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	f.nothingLeft()
}
