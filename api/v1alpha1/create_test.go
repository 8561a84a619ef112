package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// campaignCase is one object that the API server takes (wantErr is empty), or refuses with these words.
type campaignCase struct {
	name    string
	mutate  func(*v1alpha1.EmailCampaign)
	wantErr string
}

// runCreate offers each case to the real API server.
func runCreate(t *testing.T, cases []campaignCase) {
	t.Helper()
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			campaign := kubetest.NewCampaign(namespace, fmt.Sprintf("campaign-%d", i)).With(tc.mutate).Obj()
			checkRefusal(t, cluster.Client.Create(t.Context(), campaign), tc.wantErr)
		})
	}
}

// checkRefusal compares an answer of the API server with the words that it should refuse with; none: it should not.
func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("The API server refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("The API server accepted; want an error with %q", want)
	case want != "" && !apierrors.IsInvalid(err):
		t.Errorf("Error is %v; want one of status Invalid", err)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("Error is %q; want it to contain %q", err, want)
	}
}

// spec, message and recipients make a mutation of one part.
func spec(mutate func(*v1alpha1.EmailCampaignSpec)) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) { mutate(&c.Spec) }
}

func message(mutate func(*v1alpha1.Message)) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) { mutate(&c.Spec.Message) }
}

func recipients(source v1alpha1.RecipientSource) func(*v1alpha1.EmailCampaign) {
	return func(c *v1alpha1.EmailCampaign) { c.Spec.Recipients = source }
}

func key(key string) func(*v1alpha1.EmailCampaign) {
	return spec(func(s *v1alpha1.EmailCampaignSpec) { s.CampaignKey = key })
}

func jobSize(size int32) func(*v1alpha1.EmailCampaign) {
	return spec(func(s *v1alpha1.EmailCampaignSpec) { s.JobSize = &size })
}

func TestCreate_Spec(t *testing.T) {
	t.Parallel()
	const keyRule = "spec.campaignKey must be lower-case letters, digits and -._/"
	runCreate(t, []campaignCase{
		{name: "minimal", mutate: func(*v1alpha1.EmailCampaign) {}},
		{name: "key of one letter", mutate: key("k")},
		{name: "key with every character", mutate: key("growth/launch_2026-10.v2")},
		{name: "longest key", mutate: key(strings.Repeat("k", 253))},
		{name: "key of the facade", mutate: key("http/launch"), wantErr: "spec.campaignKey must not begin with http/"},
		{name: "key too long", mutate: key(strings.Repeat("k", 254)), wantErr: "spec.campaignKey: Too long"},
		{name: "key in upper case", mutate: key("Launch"), wantErr: keyRule},
		{name: "key ends with a slash", mutate: key("growth/"), wantErr: keyRule},
		{name: "key begins with a dot", mutate: key(".launch"), wantErr: keyRule},
		{name: "key with a space", mutate: key("spring launch"), wantErr: keyRule},
		{name: "suspended", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Suspend = new(true) })},
		{name: "smallest job", mutate: jobSize(1)},
		{name: "largest job", mutate: jobSize(10000)},
		{name: "job of nobody", mutate: jobSize(0), wantErr: "spec.jobSize: Invalid value: 0"},
		{name: "job too large", mutate: jobSize(10001), wantErr: "spec.jobSize: Invalid value: 10001"},
		{name: "ready when completed", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.ReadinessPolicy = v1alpha1.ReadinessCompleted
		})},
		{name: "unknown readiness policy", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.ReadinessPolicy = "Sent"
		}), wantErr: `spec.readinessPolicy: Unsupported value: "Sent"`},
		{name: "no spec", mutate: func(c *v1alpha1.EmailCampaign) {
			c.Spec = v1alpha1.EmailCampaignSpec{}
		}, wantErr: "spec: Required value"},
		{name: "no message", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Message = v1alpha1.Message{}
		}), wantErr: "spec.message: Required value"},
		{name: "no recipients", mutate: recipients(v1alpha1.RecipientSource{}), wantErr: "spec.recipients: Required value"},
	})
}

func TestCreate_Message(t *testing.T) {
	t.Parallel()
	subject := func(subject string) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.Subject = subject })
	}
	body := func(text, html string) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.Text, m.HTML = text, html })
	}
	const oneLine = "spec.message.subject must be one line"
	runCreate(t, []campaignCase{
		{name: "subject in several scripts", mutate: subject("Año nuevo 🎉 お知らせ")},
		{name: "subject with a tab", mutate: subject("a\tb")},
		{name: "longest subject", mutate: subject(strings.Repeat("é", 998))},
		{name: "no subject", mutate: subject(""), wantErr: "spec.message.subject: Required value"},
		{name: "subject too long", mutate: subject(strings.Repeat("s", 999)), wantErr: "spec.message.subject: Too long"},
		{name: "subject with LF", mutate: subject("News\nBcc: all@example.com"), wantErr: oneLine},
		{name: "subject with CR", mutate: subject("News\rBcc: all@example.com"), wantErr: oneLine},
		{name: "subject with NUL", mutate: subject("News\x00"), wantErr: oneLine},
		{name: "HTML only", mutate: body("", "<p>News</p>")},
		{name: "text and HTML", mutate: body("News", "<p>News</p>")},
		{name: "largest bodies", mutate: body(strings.Repeat("t", 131072), strings.Repeat("h", 131072))},
		{name: "no body", mutate: body("", ""), wantErr: "spec.message needs a body: set text or textFrom, html or htmlFrom, or both"},
		{name: "text too long", mutate: body(strings.Repeat("t", 131073), ""), wantErr: "spec.message.text: Too long"},
		{name: "HTML too long", mutate: body("", strings.Repeat("h", 131073)), wantErr: "spec.message.html: Too long"},
		{
			name: "text of too many bytes", mutate: body(strings.Repeat("é", 65537), ""),
			wantErr: "spec.message.text must be at most 131072 bytes of UTF-8",
		},
		{
			name: "HTML of too many bytes", mutate: body("", strings.Repeat("é", 65537)),
			wantErr: "spec.message.html must be at most 131072 bytes of UTF-8",
		},
	})
}

func TestCreate_Mailboxes(t *testing.T) {
	t.Parallel()
	from := func(address, name string) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.From = &v1alpha1.Mailbox{Address: address, Name: name} })
	}
	replyTo := func(addresses ...string) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.ReplyTo = addresses })
	}
	const (
		plainFrom  = "spec.message.from.address must be a plain address"
		plainReply = "spec.message.replyTo must hold plain addresses"
		oneLine    = "spec.message.from.name must be one line"
	)
	runCreate(t, []campaignCase{
		{name: "no sender", mutate: message(func(m *v1alpha1.Message) { m.From = nil })},
		{name: "sender with a name", mutate: from("news@example.com", "Acme “News”, Inc.")},
		{name: "sender with every common character", mutate: from("o'brien+news.2026_a=b@mail.example.com", "")},
		{name: "international sender", mutate: from("jörg@bücher.example", "Jörg")},
		{name: "longest sender", mutate: from(strings.Repeat("a", 64)+"@"+strings.Repeat("b", 185)+".com", "")},
		{name: "sender too long", mutate: from(strings.Repeat("a", 251)+"@b.c", ""), wantErr: "spec.message.from.address: Too long"},
		{name: "sender without an address", mutate: from("", "Acme"), wantErr: "spec.message.from.address: Required value"},
		{name: "sender without @", mutate: from("example.com", ""), wantErr: plainFrom},
		{name: "sender with two @", mutate: from("a@b@example.com", ""), wantErr: plainFrom},
		{name: "sender with a name in the address", mutate: from("Acme <news@example.com>", ""), wantErr: plainFrom},
		{name: "sender with a line break", mutate: from("news@example.com\n", ""), wantErr: plainFrom},
		{name: "sender with a space", mutate: from("news @example.com", ""), wantErr: plainFrom},
		{name: "two senders", mutate: from("a@example.com,b@example.com", ""), wantErr: plainFrom},
		{name: "longest name", mutate: from("news@example.com", strings.Repeat("é", 256))},
		{name: "name too long", mutate: from("news@example.com", strings.Repeat("n", 257)), wantErr: "spec.message.from.name: Too long"},
		{name: "name with CRLF", mutate: from("news@example.com", "Acme\r\nBcc: all@example.com"), wantErr: oneLine},
		{name: "ten answers", mutate: replyTo(numbered(10, "help%d@example.com")...)},
		{name: "eleven answers", mutate: replyTo(numbered(11, "help%d@example.com")...), wantErr: "spec.message.replyTo: Too many"},
		{name: "answer without @", mutate: replyTo("help@example.com", "helpdesk"), wantErr: plainReply},
		{name: "answer with a name", mutate: replyTo("Help <help@example.com>"), wantErr: plainReply},
		{name: "answer too long", mutate: replyTo(strings.Repeat("a", 251) + "@b.c"), wantErr: "spec.message.replyTo[0]: Too long"},
	})
}

func TestCreate_Headers(t *testing.T) {
	t.Parallel()
	headers := func(name, value string) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.Headers = map[string]string{name: value} })
	}
	many := func(n int) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) {
			m.Headers = map[string]string{}
			for _, name := range numbered(n, "X-Header-%d") {
				m.Headers[name] = "value"
			}
		})
	}
	const (
		badName  = "spec.message.headers must have names of at most 76 letters, digits and -"
		oneLine  = "spec.message.headers must have values of one line"
		reserved = "spec.message.headers must not have a field that the engine writes itself"
	)
	cases := []campaignCase{
		{name: "own header", mutate: headers("X-Campaign", "spring/2026; é")},
		{name: "name that begins like a reserved one", mutate: headers("From-Team", "growth")},
		{name: "empty value", mutate: headers("X-Campaign", "")},
		{name: "20 headers", mutate: many(20)},
		{name: "21 headers", mutate: many(21), wantErr: "spec.message.headers: Too many"},
		{name: "longest name", mutate: headers("X"+strings.Repeat("-", 75), "v")},
		{name: "name too long", mutate: headers(strings.Repeat("X", 77), "v"), wantErr: badName},
		{name: "empty name", mutate: headers("", "v"), wantErr: badName},
		{name: "name with a colon", mutate: headers("X-A:", "v"), wantErr: badName},
		{name: "name with a line break", mutate: headers("X-A\n", "v"), wantErr: badName},
		{name: "longest value", mutate: headers("X-A", strings.Repeat("v", 998))},
		{
			name: "value too long", mutate: headers("X-A", strings.Repeat("v", 999)),
			wantErr: "spec.message.headers must have values of at most 998 characters",
		},
		{name: "value with LF", mutate: headers("X-A", "v\nBcc: all@example.com"), wantErr: oneLine},
		{name: "value with CR", mutate: headers("X-A", "v\rBcc: all@example.com"), wantErr: oneLine},
	}
	for _, name := range []string{
		"From", "FROM", "Sender", "Reply-To", "To", "Cc", "bcc", "Subject", "Date", "Message-ID", "Message-Id", "MIME-Version",
		"Content-Type", "content-transfer-encoding", "DKIM-Signature", "ARC-Seal", "Authentication-Results", "Return-Path",
		"Received", "Resent-To", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted",
	} {
		cases = append(cases, campaignCase{name: "reserved " + name, mutate: headers(name, "v"), wantErr: reserved})
	}
	runCreate(t, cases)
}

// numbered returns n strings, the format filled with their number from 1.
func numbered(n int, format string) []string {
	result := make([]string, 0, n)
	for i := range n {
		result = append(result, fmt.Sprintf(format, i+1))
	}
	return result
}
