package facade_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mailTo is a request for these recipients, as JSON.
func mailTo(recipients string) string {
	return `{"to":` + recipients + `,"subject":"Your code","body":"It is 4711."}`
}

// TestSend says what /send answers, and what is in the database then, for every way that a mail can take.
func TestSend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		to     string
		script map[string][]step
		status int
		body   string
		rows   []string
		sent   []string
	}{
		{
			name: "accepted", to: `"a@example.com"`, status: http.StatusOK,
			body: `{"ok":true,"jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows: []string{"a@example.com accepted after 1, 250 "}, sent: []string{"a@example.com"},
		},
		{
			name: "a list of one", to: `["a@example.com"]`, status: http.StatusOK,
			body: `{"ok":true,"jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows: []string{"a@example.com accepted after 1, 250 "}, sent: []string{"a@example.com"},
		},
		{
			name: "no such mailbox", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {unknownMailbox}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the mail was refused: 550 5.1.1 no such mailbox","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com bounced after 1, 550 BadMailbox"},
		},
		{
			name: "refused as spam", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {spam}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the mail could not be sent: 554 looks like spam","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com failed after 1, 554 Policy"},
		},
		{
			name: "put off twice, then accepted", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {later, later, accept}},
			status: http.StatusOK,
			body:   `{"ok":true,"jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com accepted after 3, 250 "}, sent: []string{"a@example.com"},
		},
		{
			name: "put off to the end", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {later}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the mail could not be sent: 452 the mailbox is full","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com failed after 3, 452 MailboxFull"},
		},
		{
			name: "no reply after the final dot", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {silence, accept}},
			status: http.StatusInternalServerError,
			body: `{"ok":false,"error":"in doubt: the connection was lost after the mail was handed over, so that it may have been sent; it is not sent again",` +
				`"jobId":"{job}","messageId":"{mid:a@example.com}","inDoubt":true}`,
			rows: []string{"a@example.com inDoubt after 1, 0 InDoubt"},
		},
		{
			name: "the relay is away, and comes back", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {nobodyThere, nobodyThere, accept}},
			status: http.StatusOK,
			body:   `{"ok":true,"jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com accepted after 1, 250 "}, sent: []string{"a@example.com"},
		},
		{
			name: "the relay stays away", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {nobodyThere}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the SMTP server could not be reached in time; the mail is not sent any more","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com cancelled after 0, 0 "},
		},
		{
			name: "the relay refuses the login", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {badLogin}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the SMTP server refuses the user name or the password of this service; the mail is not sent any more","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com cancelled after 0, 0 "},
		},
		{
			name: "the relay refuses the sender", to: `"a@example.com"`, script: map[string][]step{"a@example.com": {badSender}},
			status: http.StatusInternalServerError,
			body:   `{"ok":false,"error":"the SMTP server refuses the sender; the mail is not sent any more","jobId":"{job}","messageId":"{mid:a@example.com}"}`,
			rows:   []string{"a@example.com cancelled after 0, 0 "},
		},
		{
			name: "all of several", to: `["a@example.com","b@example.com"]`, status: http.StatusOK,
			body: `{"ok":true,"jobId":"{job}","recipients":[{"to":"a@example.com","ok":true,"messageId":"{mid:a@example.com}"},` +
				`{"to":"b@example.com","ok":true,"messageId":"{mid:b@example.com}"}]}`,
			rows: []string{"a@example.com accepted after 1, 250 ", "b@example.com accepted after 1, 250 "},
			sent: []string{"a@example.com", "b@example.com"},
		},
		{
			name: "some of several", to: `["a@example.com","b@example.com","c@example.com"]`,
			script: map[string][]step{"a@example.com": {unknownMailbox}, "c@example.com": {silence}}, status: http.StatusOK,
			body: `{"ok":true,"error":"2 of 3 recipients did not get the mail: see recipients","jobId":"{job}","inDoubt":true,` +
				`"recipients":[{"to":"a@example.com","ok":false,"messageId":"{mid:a@example.com}","error":"the mail was refused: 550 5.1.1 no such mailbox"},` +
				`{"to":"b@example.com","ok":true,"messageId":"{mid:b@example.com}"},` +
				`{"to":"c@example.com","ok":false,"messageId":"{mid:c@example.com}","error":"in doubt: the connection was lost after the mail was handed over, ` +
				`so that it may have been sent; it is not sent again","inDoubt":true}]}`,
			rows: []string{
				"a@example.com bounced after 1, 550 BadMailbox", "b@example.com accepted after 1, 250 ", "c@example.com inDoubt after 1, 0 InDoubt",
			},
			sent: []string{"b@example.com"},
		},
		{
			name: "none of several", to: `["a@example.com","b@example.com"]`,
			script: map[string][]step{"a@example.com": {unknownMailbox}, "b@example.com": {spam}}, status: http.StatusInternalServerError,
			body: `{"ok":false,"error":"2 of 2 recipients did not get the mail: see recipients","jobId":"{job}",` +
				`"recipients":[{"to":"a@example.com","ok":false,"messageId":"{mid:a@example.com}","error":"the mail was refused: 550 5.1.1 no such mailbox"},` +
				`{"to":"b@example.com","ok":false,"messageId":"{mid:b@example.com}","error":"the mail could not be sent: 554 looks like spam"}]}`,
			rows: []string{"a@example.com bounced after 1, 550 BadMailbox", "b@example.com failed after 1, 554 Policy"},
		},
		{
			name: "the same address in several spellings", to: `["a@example.com"," A@EXAMPLE.com","a@Example.Com","b@example.com"]`, status: http.StatusOK,
			body: `{"ok":true,"jobId":"{job}","recipients":[{"to":"a@example.com","ok":true,"messageId":"{mid:a@example.com}"},` +
				`{"to":"b@example.com","ok":true,"messageId":"{mid:b@example.com}"}]}`,
			rows: []string{"a@example.com accepted after 1, 250 ", "b@example.com accepted after 1, 250 "},
			sent: []string{"a@example.com", "b@example.com"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			play(t, option{}, func(s *stage) {
				maps.Copy(s.relay.script, tt.script)
				if diff := cmp.Diff(answered(tt.status, campaignKey, tt.body), s.do(to("/send", mailTo(tt.to)))); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.rows, s.rows(campaignKey)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				got := s.relay.addressees()
				slices.Sort(got)
				if diff := cmp.Diff(tt.sent, got); diff != "" {
					t.Errorf("accepted by the relay (-want +got):\n%s", diff)
				}
			})
		})
	}
}
