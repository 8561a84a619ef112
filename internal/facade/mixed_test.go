package facade_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
)

func mixed(cfg *facade.Config) { cfg.MixedWorkers = true }

// shared begins what is wrong only because of Node workers.
const shared = "Node workers share the queue (QUEUE_WORKERS=mixed) and "

// TestMixedWorkersRefuse: what a Node worker would mail in another way is refused with the reason, and nothing is left.
func TestMixedWorkersRefuse(t *testing.T) {
	t.Parallel()
	const (
		list    = `"recipients":["ana@example.com"]`
		from    = shared + "send from an address of their own: leave it out, or give the one of SMTP_FROM"
		noFrom  = shared + "send from an address of their own, which this server must have as SMTP_FROM"
		subject = shared + "know the first 191 characters alone: shorten it"
		kind    = shared + "mail every body as HTML: it must be text/html"
		body    = shared + "mail every body as HTML, which this does not look like: give content_type text/html if it is"
	)
	unnamed := func(cfg *facade.Config) { cfg.DefaultFrom = mail.Address{} }
	tests := []struct {
		name, body string
		change     func(*facade.Config)
		error      string
		detail     []string
	}{
		{
			"text", `{"subject":"Hi","body":"plain text",` + list + `}`, mixed, "body: " + body,
			[]string{problem("mixed_workers", body, `,"body"`)},
		},
		{
			"declared text", `{"subject":"Hi","body":"<p>Hi</p>","content_type":"text/plain",` + list + `}`, mixed, "content_type: " + kind,
			[]string{problem("mixed_workers", kind, `,"content_type"`)},
		},
		{
			"all of it", `{"subject":"` + strings.Repeat("ñ", 192) + `","body":"text","from":"other@example.com",` + list + `}`, mixed,
			"from: " + from + " (and 2 more: see detail)",
			[]string{
				problem("mixed_workers", from, `,"from"`), problem("mixed_workers", subject, `,"subject"`),
				problem("mixed_workers", body, `,"body"`),
			},
		},
		{
			"another name of the sender", `{"subject":"Hi","body":"<p>Hi</p>","from":"Else <news@example.com>",` + list + `}`, mixed,
			"from: " + from,
			[]string{problem("mixed_workers", from, `,"from"`)},
		},
		{
			"a sender where none is known", `{"subject":"Hi","body":"<p>Hi</p>","from":"news@example.com",` + list + `}`, unnamed,
			"from: " + noFrom,
			[]string{problem("mixed_workers", noFrom, `,"from"`)},
		},
		{
			"what is wrong anyway is said once", `{"subject":"` + strings.Repeat("ñ", 999) + `","body":" ",` + list + `}`, mixed,
			"subject: must have at most 998 characters (and 1 more: see detail)",
			[]string{
				problem("string_too_long", "must have at most 998 characters", `,"subject"`),
				problem("string_too_short", "must not be empty", `,"body"`),
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, mixed, tt.change)
			want := reply{
				http.StatusUnprocessableEntity, headers(),
				fmt.Sprintf(`{"ok":false,"error":%q,"detail":[%s]}`, tt.error, strings.Join(tt.detail, ",")),
			}
			if diff := cmp.Diff(want, f.send(tt.body)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			f.nothingLeft()
		})
	}
}

// TestMixedWorkersAccept: what both kinds of worker mail alike is accepted.
func TestMixedWorkersAccept(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"HTML":                 `{"subject":"Hi","body":"<p>Hi</p>",`,
		"HTML that says so":    `{"subject":"Hi","body":"Hi","content_type":"text/html",`,
		"the known sender":     `{"subject":"Hi","body":"<p>Hi</p>","from":"News <news@example.com>",`,
		"as long as it fits":   `{"subject":"` + strings.Repeat("ñ", 191) + `","body":"<p>Hi</p>",`,
		"variables are stored": `{"subject":"Hi","body":"<p>Hi</p>","extra":1,`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, mixed)
			want := reply{
				http.StatusAccepted, headers("Location", "/jobs/"+job(0)),
				`{"ok":true,"jobId":"` + job(0) + `","accepted":1,"duplicates":0,"invalid":0,"queued":true}`,
			}
			got := f.send(body + `"recipients":[{"email":"ana@example.com","name":"Ana","variables":{"code":"A1"}}]}`)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
