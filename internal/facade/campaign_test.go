package facade_test

import (
	"fmt"
	"net/http"
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
