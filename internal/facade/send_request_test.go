package facade_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/outbox"
)

// headerOf is the value of a header of a raw mail.
func headerOf(raw, name string) string {
	for line := range strings.SplitSeq(raw, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}

// TestSendMakesTheMail says what a request's members become.
func TestSendMakesTheMail(t *testing.T) {
	t.Parallel()
	const plain, html = "text/plain; charset=utf-8", "text/html; charset=utf-8"
	tests := []struct{ name, more, from, contentType string }{
		{"a body that looks like HTML", `"body":"<p>Hello</p>"`, "News", html},
		{"a body that does not", `"body":"1 < 2"`, "News", plain},
		{"HTML that is told to be text", `"body":"<p>Hello</p>","content_type":"text/plain"`, "News", plain},
		{"text that is told to be HTML", `"body":"Hello","content_type":"text/html; charset=utf-8"`, "News", html},
		{"a sender", `"body":"Hello","from":"Shop <shop@example.com>"`, "Shop", plain},
		{"null where it may be", `"body":"Hello","content_type":null,"from":null,"message_type":null`, "News", plain},
		{"members that mean nothing", `"body":"Hello","cc":["x@example.com"],"priority":{"a":1}`, "News", plain},
		{"members in other spellings", `"body":"Hello","TO":"x@example.com","Subject":5,"From":"Shop <shop@example.com>"`, "News", plain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			play(t, option{}, func(s *stage) {
				got := s.do(to("/send", `{"to":"a@example.com","subject":"Grüße",`+tt.more+`}`))
				if got.Status != http.StatusOK || len(s.relay.sent) != 1 {
					t.Fatalf("%d %s, %d mails", got.Status, got.Body, len(s.relay.sent))
				}
				raw := s.relay.sent[0]
				if !strings.HasPrefix(raw, "a@example.com\n") {
					t.Errorf("sent to another: %.40s", raw)
				}
				if from := headerOf(raw, "From"); !strings.Contains(from, tt.from) {
					t.Errorf("From: %s, want %s", from, tt.from)
				}
				if contentType := headerOf(raw, "Content-Type"); !strings.EqualFold(contentType, tt.contentType) {
					t.Errorf("Content-Type: %s, want %s", contentType, tt.contentType)
				}
				if subject, err := new(mime.WordDecoder).DecodeHeader(headerOf(raw, "Subject")); err != nil || subject != "Grüße" {
					t.Errorf("Subject: %s, %v", subject, err)
				}
				if !strings.Contains(got.Body, strings.Trim(headerOf(raw, "Message-ID"), "<>")) {
					t.Errorf("the answer %s has not the mail's Message-ID %s", got.Body, headerOf(raw, "Message-ID"))
				}
			})
		})
	}
}

func TestMessageTypeIsStored(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/send", "/send_async"} {
		play(t, option{}, func(s *stage) {
			s.do(to(path, `{"to":"a@example.com","subject":"s","body":"b","message_type":"password-reset"}`))
			if n := s.count("Campaign WHERE `key` = ? AND `category` = ?", campaignKey, "password-reset"); n != 1 {
				t.Errorf("%s: %d campaigns of this category", path, n)
			}
		})
	}
}

// TestContentTypeOfTheRequestDoesNotMatter: a body is JSON, whatever it is called.
func TestContentTypeOfTheRequestDoesNotMatter(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		for _, value := range []string{"", "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "nonsense"} {
			got := s.do(to("/send_async", mailTo(`"a@example.com"`), "Content-Type", value, "Accept", "text/html, json;q=0.9"))
			if got.Status != http.StatusAccepted || got.Header["Content-Type"] != "application/json" {
				t.Errorf("%q: %d %s %s", value, got.Status, got.Header["Content-Type"], got.Body)
			}
		}
		s.is("encoded", problemReply(http.StatusUnsupportedMediaType, "send the body without Content-Encoding"),
			s.do(to("/send", mailTo(`"a@example.com"`), "Content-Encoding", "gzip")))
	})
}

// TestUnfit says what is wrong where, in the form that FastAPI has for it.
func TestUnfit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	tests := []struct {
		name, body string
		problems   []string
	}{
		{"nothing", ``, []string{`"body": is required: missing`}},
		{"no JSON", `{"to":`, []string{`"body": this is not JSON of the right form: json_invalid`}},
		{"a list", `[]`, []string{`"body": must be a JSON object: model_attributes_type`}},
		{"null", `null`, []string{`"body": must be a JSON object: model_attributes_type`}},
		{"an empty object", `{}`, []string{`"body","body": is required: missing`, `"body","subject": is required: missing`, `"body","to": is required: missing`}},
		{"to is null", `{"to":null,"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to is a number", `{"to":5,"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to is an object", `{"to":{"a":"b"},"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to is empty", `{"to":[],"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to has null", `{"to":[null],"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to is too long", `{"to":["a@example.com"` + strings.Repeat(`,"a@example.com"`, 100) + `],"subject":"s","body":"b"}`, []string{`"body","to": must be an address, or a list of 1 to 100: value_error`}},
		{"to is no address", `{"to":"nobody","subject":"s","body":"b"}`, []string{`"body","to": is no address that can be mailed: value_error`}},
		{"one is no address", `{"to":["a@example.com","nobody"],"subject":"s","body":"b"}`, []string{`"body","to",1: is no address that can be mailed: value_error`}},
		{"an injected header in to", `{"to":"a@example.com\r\nBcc: b@example.com","subject":"s","body":"b"}`, []string{`"body","to": is no address that can be mailed: value_error`}},
		{"wrong types", `{"to":"a@example.com","subject":1,"body":true,"content_type":[],"from":{},"message_type":2}`, []string{
			`"body","body": must be a text: string_type`, `"body","content_type": must be a text: string_type`, `"body","from": must be a text: string_type`,
			`"body","message_type": must be a text: string_type`, `"body","subject": must be a text: string_type`,
		}},
		{"null where it may not be", `{"to":"a@example.com","subject":null,"body":null}`, []string{`"body","body": must be a text: string_type`, `"body","subject": must be a text: string_type`}},
		{"empty texts", `{"to":"a@example.com","subject":" ","body":""}`, []string{`"body","subject": must not be empty: string_too_short`, `"body","body": must not be empty: string_too_short`}},
		{"an injected header in the subject", `{"to":"a@example.com","subject":"a\nBcc: b@example.com","body":"b"}`, []string{`"body","subject": must be one line without control characters: value_error`}},
		{"a long subject", `{"to":"a@example.com","subject":"` + long + `","body":"b"}`, []string{`"body","subject": must have at most 998 characters: string_too_long`}},
		{"a long message_type", `{"to":"a@example.com","subject":"s","body":"b","message_type":"` + long + `"}`, []string{`"body","message_type": must have at most 191 characters: string_too_long`}},
		{"a long body", `{"to":"a@example.com","subject":"s","body":"` + strings.Repeat(long, 2098) + `"}`, []string{`"body","body": must have at most 2097152 bytes: string_too_long`}},
		{"an unknown content_type", `{"to":"a@example.com","subject":"s","body":"b","content_type":"image/png"}`, []string{`"body","content_type": must be text/plain or text/html: literal_error`}},
		{"a wrong sender", `{"to":"a@example.com","subject":"s","body":"b","from":"me"}`, []string{`"body","from": must be one address, such as news@example.com or News <news@example.com>: value_error`}},
	}
	play(t, option{}, func(s *stage) {
		for _, tt := range tests {
			for _, path := range []string{"/send", "/send_async"} {
				s.is(path+": "+tt.name, reply{http.StatusUnprocessableEntity, headers(), unfitBody(tt.problems)}, s.do(to(path, tt.body)))
			}
		}
		if n := s.count("Campaign"); n != 0 {
			t.Errorf("%d were written", n)
		}
	})
}

// unfitBody is the answer with these problems, each as its loc, its msg and its type.
func unfitBody(problems []string) string {
	var first string
	details := make([]string, len(problems))
	for i, p := range problems {
		parts := strings.SplitN(p, ": ", 2)
		end := strings.LastIndex(parts[1], ": ")
		msg, kind := parts[1][:end], parts[1][end+2:]
		details[i] = fmt.Sprintf(`{"loc":[%s],"msg":"%s","type":"%s"}`, parts[0], msg, kind)
		if i == 0 {
			first = msg
			if _, field, ok := strings.Cut(parts[0], ","); ok {
				field = strings.NewReplacer(`"`, "", ",1", "[1]").Replace(field)
				first = field + ": " + msg
			}
		}
	}
	if more := len(problems) - 1; more > 0 {
		first += fmt.Sprintf(" (and %d more: see detail)", more)
	}
	return `{"ok":false,"error":"` + first + `","detail":[` + strings.Join(details, ",") + `]}`
}

func TestSendOversized(t *testing.T) {
	t.Parallel()
	play(t, option{}, func(s *stage) {
		for _, body := range []io.Reader{
			bytes.NewReader(bytes.Repeat([]byte(" "), 9<<20)), io.MultiReader(bytes.NewReader(bytes.Repeat([]byte(" "), 9<<20))),
		} {
			r := to("/send", "")
			r.Body = io.NopCloser(body)
			r.ContentLength = -1
			got := s.do(r)
			if got.Status != http.StatusRequestEntityTooLarge || got.Header["Content-Type"] != "application/problem+json" {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		}
	})
}

// TestSendAsync says what /send_async answers, and that rows and job are there then.
func TestSendAsync(t *testing.T) {
	t.Parallel()
	queued := answered(http.StatusAccepted, campaignKey, `{"ok":true,"jobId":"{job}","messageId":"{mid:a@example.com}"}`)
	ring := []outbox.Ring{{BullID: campaign.JobID(campaignKey, 0), JobID: campaign.JobID(campaignKey, 0), Priority: 1}}
	waits := []string{"a@example.com pending after 0, 0 "}
	tests := []struct {
		name    string
		prepare func(s *stage)
		want    reply
		rows    []string
		rings   []outbox.Ring
	}{
		{"accepted", func(*stage) {}, queued, waits, ring},
		{"the queue is away", func(s *stage) { s.queue.err, s.queueErr = errAway, errAway }, queued, waits, nil},
		{
			"the queue is full", func(s *stage) { s.waiting = 100 },
			reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the queue is full: try again later"}`},
			nil, nil,
		},
		{
			"the database is away", func(s *stage) { s.db.away.Store(true) },
			reply{http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`},
			nil, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			play(t, option{noRelay: true}, func(s *stage) {
				tt.prepare(s)
				if diff := cmp.Diff(tt.want, s.do(to("/send_async", mailTo(`"a@example.com"`)))); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.rows, s.rows(campaignKey)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.rings, s.queue.rings); diff != "" {
					t.Errorf("queue (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestSendAsyncToSeveral(t *testing.T) {
	t.Parallel()
	play(t, option{noRelay: true}, func(s *stage) {
		want := answered(http.StatusAccepted, campaignKey, `{"ok":true,"jobId":"{job}"}`)
		if diff := cmp.Diff(want, s.do(to("/send_async", mailTo(`["a@example.com","b@example.com"]`)))); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a@example.com pending after 0, 0 ", "b@example.com pending after 0, 0 "}, s.rows(campaignKey)); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestSendWithoutRelayOrDatabase(t *testing.T) {
	t.Parallel()
	play(t, option{noRelay: true}, func(s *stage) {
		s.is("no relay", reply{http.StatusServiceUnavailable, headers(), `{"ok":false,"error":"this server has no SMTP relay: use /send_async"}`},
			s.do(to("/send", mailTo(`"a@example.com"`))))
	})
	play(t, option{}, func(s *stage) {
		s.db.away.Store(true)
		s.is("no database", reply{
			http.StatusServiceUnavailable, headers("Retry-After", "5"), `{"ok":false,"error":"the database is not available: try again later"}`,
		}, s.do(to("/send", mailTo(`"a@example.com"`))))
		if got := s.relay.addressees(); len(got) > 0 {
			t.Errorf("sent to %q", got)
		}
	})
}

func TestSendWithoutASender(t *testing.T) {
	t.Parallel()
	play(t, option{facade: func(cfg *facade.Config) { cfg.DefaultFrom = mail.Address{} }}, func(s *stage) {
		want := reply{http.StatusUnprocessableEntity, headers(), unfitBody([]string{`"body","from": is required: missing`})}
		s.is("without from", want, s.do(to("/send", mailTo(`"a@example.com"`))))
	})
}

// held is a transaction that stops before its final dot: it closes reached, and goes on once release is closed.
func held(reached, release chan struct{}) step {
	return func(ctx context.Context, beforeDot func() error) mail.Verdict {
		close(reached)
		<-release
		return accept(ctx, beforeDot)
	}
}

// TestSendWithoutItsClient: who goes away before the mail is written left nothing; who goes away later has it sent, and
// recorded.
func TestSendWithoutItsClient(t *testing.T) {
	t.Parallel()
	t.Run("gone before", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/send", "/send_async"} {
			play(t, option{}, func(s *stage) {
				ctx, leave := context.WithCancel(s.t.Context())
				leave()
				s.do(to(path, mailTo(`"a@example.com"`)).WithContext(ctx))
				synctest.Wait()
				if n := s.count("Recipient") + len(s.relay.addressees()); n > 0 {
					t.Errorf("%s left %d rows or mails", path, n)
				}
			})
		}
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		t.Parallel()
		play(t, option{}, func(s *stage) {
			reached, release := make(chan struct{}), make(chan struct{})
			s.relay.script["a@example.com"] = []step{held(reached, release)}
			ctx, leave := context.WithCancel(s.t.Context())
			go func() {
				<-reached
				leave()
				close(release)
			}()
			s.do(to("/send", mailTo(`"a@example.com"`)).WithContext(ctx))
			synctest.Wait()
			if diff := cmp.Diff([]string{"a@example.com accepted after 1, 250 "}, s.rows(campaignKey)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	})
}
