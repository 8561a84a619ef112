package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestCreate_Audience(t *testing.T) {
	t.Parallel()
	category := func(category v1alpha1.Category, mutate func(*v1alpha1.EmailCampaignSpec)) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Category = category
			mutate(s)
		})
	}
	unsubscribe := func(unsubscribe v1alpha1.Unsubscribe) func(*v1alpha1.EmailCampaign) {
		return spec(func(s *v1alpha1.EmailCampaignSpec) { s.Unsubscribe = &unsubscribe })
	}
	ignore := func(s *v1alpha1.EmailCampaignSpec) { s.Suppression = v1alpha1.SuppressionIgnore }
	never := func(s *v1alpha1.EmailCampaignSpec) {
		s.Unsubscribe = &v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeNone}
	}
	const (
		path      = "spec.unsubscribe"
		badList   = path + ".listID must be like a domain name, such as news.example.com"
		badMailto = path + ".mailto must be a plain address in ASCII, like unsubscribe@example.com"
	)
	cases := []campaignCase{
		{name: "transactional", mutate: category(v1alpha1.CategoryTransactional, func(*v1alpha1.EmailCampaignSpec) {})},
		{name: "unknown category", mutate: category("Spam", func(*v1alpha1.EmailCampaignSpec) {}), wantErr: `spec.category: Unsupported value: "Spam"`},
		{name: "transactional to everybody", mutate: category(v1alpha1.CategoryTransactional, ignore)},
		{
			name: "marketing to everybody", mutate: spec(ignore),
			wantErr: "spec.suppression Ignore is for spec.category Transactional only",
		},
		{name: "transactional for ever", mutate: category(v1alpha1.CategoryTransactional, never)},
		{name: "marketing for ever", mutate: spec(never), wantErr: path + ".mode None is for spec.category Transactional only"},
		{name: "unknown suppression", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Suppression = "Maybe"
		}), wantErr: `spec.suppression: Unsupported value: "Maybe"`},
		{name: "dry run", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Mode = v1alpha1.ModeDryRun })},
		{name: "unknown mode", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Mode = "Draft"
		}), wantErr: `spec.mode: Unsupported value: "Draft"`},
		{name: "managed", mutate: unsubscribe(v1alpha1.Unsubscribe{ListID: "news.example.com"})},
		{name: "unknown way", mutate: unsubscribe(v1alpha1.Unsubscribe{Mode: "Fax"}), wantErr: path + `.mode: Unsupported value: "Fax"`},
		{name: "external by URL", mutate: unsubscribe(v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeExternal, URLVariable: "leave_url"})},
		{name: "external by mail", mutate: unsubscribe(v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeExternal, Mailto: "leave@example.com"})},
		{
			name: "external, nowhere", mutate: unsubscribe(v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeExternal}),
			wantErr: path + ".mode External needs urlVariable, mailto, or both",
		},
		{
			name: "managed with a URL", mutate: unsubscribe(v1alpha1.Unsubscribe{URLVariable: "leave_url"}),
			wantErr: path + ".urlVariable is for mode External only",
		},
		{
			name:    "variable with a space",
			mutate:  unsubscribe(v1alpha1.Unsubscribe{Mode: v1alpha1.UnsubscribeExternal, URLVariable: "leave url"}),
			wantErr: path + ".urlVariable must be a variable's name",
		},
		{name: "list too long", mutate: unsubscribe(v1alpha1.Unsubscribe{ListID: strings.Repeat("l", 256)}), wantErr: path + ".listID: Too long"},
	}
	for _, list := range []string{"news", "news.", ".news", "news example.com", "<news.example.com>", "-news.example.com"} {
		cases = append(cases, campaignCase{
			name: "list " + list, mutate: unsubscribe(v1alpha1.Unsubscribe{ListID: list}), wantErr: badList,
		})
	}
	for _, address := range []string{"mailto:leave@example.com", "leave", "Leave <leave@example.com>", "leave@bücher.example", "a@b@c"} {
		cases = append(cases, campaignCase{
			name: "mailto " + address, mutate: unsubscribe(v1alpha1.Unsubscribe{Mailto: address}), wantErr: badMailto,
		})
	}
	runCreate(t, cases)
}

func TestCreate_Bodies(t *testing.T) {
	t.Parallel()
	var (
		configMap = &v1alpha1.BodySource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "letter", Key: "body.html"}}
		secret    = &v1alpha1.BodySource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "letter", Key: "body.txt"}}
		both      = &v1alpha1.BodySource{ConfigMapKeyRef: configMap.ConfigMapKeyRef, SecretKeyRef: secret.SecretKeyRef}
	)
	body := func(mutate func(*v1alpha1.Message)) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) {
			m.Text, m.HTML = "", ""
			mutate(m)
		})
	}
	const oneSource = "a body must come from exactly one of configMapKeyRef and secretKeyRef"
	runCreate(t, []campaignCase{
		{name: "text from a Secret", mutate: body(func(m *v1alpha1.Message) { m.TextFrom = secret })},
		{name: "HTML from a ConfigMap", mutate: body(func(m *v1alpha1.Message) { m.HTMLFrom = configMap })},
		{name: "text inline, HTML from a ConfigMap", mutate: body(func(m *v1alpha1.Message) { m.Text, m.HTMLFrom = "t", configMap })},
		{
			name: "text twice", mutate: body(func(m *v1alpha1.Message) { m.Text, m.TextFrom = "t", secret }),
			wantErr: "spec.message must have text or textFrom, not both",
		},
		{
			name: "HTML twice", mutate: body(func(m *v1alpha1.Message) { m.HTML, m.HTMLFrom = "h", secret }),
			wantErr: "spec.message must have html or htmlFrom, not both",
		},
		{name: "two sources", mutate: body(func(m *v1alpha1.Message) { m.HTMLFrom = both }), wantErr: oneSource},
		{name: "no source", mutate: body(func(m *v1alpha1.Message) { m.HTMLFrom = &v1alpha1.BodySource{} }), wantErr: oneSource},
		{name: "bad name", mutate: body(func(m *v1alpha1.Message) {
			m.HTMLFrom = &v1alpha1.BodySource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "Letter", Key: "body"}}
		}), wantErr: "spec.message.htmlFrom.configMapKeyRef.name: Invalid value"},
		{name: "Mustache", mutate: message(func(m *v1alpha1.Message) { m.Engine = v1alpha1.EngineMustache })},
		{name: "unknown engine", mutate: message(func(m *v1alpha1.Message) {
			m.Engine = "Jinja"
		}), wantErr: `spec.message.engine: Unsupported value: "Jinja"`},
	})
}

// attachment is one that the API server takes.
func attachment(n int) v1alpha1.Attachment {
	return v1alpha1.Attachment{
		Name: fmt.Sprintf("brochure-%d.pdf", n), ContentType: "application/pdf",
		SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "brochure", Key: "file"},
	}
}

func TestCreate_Attachments(t *testing.T) {
	t.Parallel()
	attach := func(attachments ...v1alpha1.Attachment) func(*v1alpha1.EmailCampaign) {
		return message(func(m *v1alpha1.Message) { m.Attachments = attachments })
	}
	with := func(mutate func(*v1alpha1.Attachment)) func(*v1alpha1.EmailCampaign) {
		one := attachment(1)
		mutate(&one)
		return attach(one)
	}
	many := make([]v1alpha1.Attachment, 11)
	for i := range many {
		many[i] = attachment(i)
	}
	url := &v1alpha1.URLReference{URL: "https://files.example.com/a.pdf", SHA256: strings.Repeat("0a", 32)}
	const (
		path      = "spec.message.attachments"
		oneSource = path + " must have exactly one of configMapKeyRef, secretKeyRef and urlRef"
		badType   = path + ".contentType must be a media type, such as application/pdf"
	)
	cases := []campaignCase{
		{name: "ten", mutate: attach(many[:10]...)},
		{name: "eleven", mutate: attach(many...), wantErr: path + ": Too many"},
		{name: "twice", mutate: attach(many[0], many[0]), wantErr: path + "[1]: Duplicate value"},
		{name: "name in several scripts", mutate: with(func(a *v1alpha1.Attachment) { a.Name = "Año nuevo, お知らせ.pdf" })},
		{name: "name with a path", mutate: with(func(a *v1alpha1.Attachment) { a.Name = "../a.pdf" }), wantErr: path + ".name must be a file name"},
		{name: "name with CRLF", mutate: with(func(a *v1alpha1.Attachment) { a.Name = "a\r\nb" }), wantErr: path + ".name must be a file name"},
		{name: "no name", mutate: with(func(a *v1alpha1.Attachment) { a.Name = "" }), wantErr: path + "[0].name: Required value"},
		{name: "no type", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType = "" }), wantErr: path + "[0].contentType: Required value"},
		{name: "type with a dot and +", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType = "application/vnd.api+json" })},
		{name: "type without a slash", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType = "pdf" }), wantErr: badType},
		{name: "type with a parameter", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType = "text/plain; charset=x" }), wantErr: badType},
		{
			name: "mail in a mail", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType = "Message/RFC822" }),
			wantErr: path + ".contentType must be neither multipart nor message",
		},
		{name: "image", mutate: with(func(a *v1alpha1.Attachment) { a.ContentType, a.ContentID = "image/png", "logo@news" })},
		{
			name: "image with a bad id", mutate: with(func(a *v1alpha1.Attachment) { a.ContentID = "<logo>" }),
			wantErr: path + ".contentID must be letters, digits and ._+@-",
		},
		{name: "no source", mutate: with(func(a *v1alpha1.Attachment) { a.SecretKeyRef = nil }), wantErr: oneSource},
		{name: "two sources", mutate: with(func(a *v1alpha1.Attachment) { a.URLRef = url }), wantErr: oneSource},
		{name: "URL", mutate: with(func(a *v1alpha1.Attachment) { a.SecretKeyRef, a.URLRef = nil, url })},
		{name: "URL without a hash", mutate: with(func(a *v1alpha1.Attachment) {
			a.SecretKeyRef, a.URLRef = nil, &v1alpha1.URLReference{URL: url.URL}
		}), wantErr: path + ".urlRef must have a sha256: what is attached must not change"},
	}
	runCreate(t, cases)
}

func TestCreate_URL(t *testing.T) {
	t.Parallel()
	fetch := func(url, sum string) func(*v1alpha1.EmailCampaign) {
		return recipients(v1alpha1.RecipientSource{URLRef: &v1alpha1.URLReference{URL: url, SHA256: sum}})
	}
	const (
		list   = "https://lists.example.com/a.csv.gz?token=x#part"
		badURL = "urlRef.url must be an https URL without user name and spaces"
		badSum = "urlRef.sha256 must be 64 hexadecimal digits in lower case"
	)
	cases := []campaignCase{
		{name: "URL", mutate: fetch(list, "")},
		{name: "URL with a hash", mutate: fetch(list, strings.Repeat("0f", 32))},
		{name: "longest URL", mutate: fetch("https://a/"+strings.Repeat("p", 2038), "")},
		{name: "URL too long", mutate: fetch("https://a/"+strings.Repeat("p", 2039), ""), wantErr: "spec.recipients.urlRef.url: Too long"},
		{name: "no URL", mutate: fetch("", strings.Repeat("0f", 32)), wantErr: "spec.recipients.urlRef.url: Required value"},
		{name: "hash in upper case", mutate: fetch(list, strings.Repeat("0F", 32)), wantErr: badSum},
		{name: "hash too short", mutate: fetch(list, "0f"), wantErr: badSum},
	}
	for _, url := range []string{
		"http://lists.example.com/a", "https://user:secret@lists.example.com/a", "https:///a.csv", "https://a b/c", "https://a/b c", "file:///etc/passwd",
	} {
		cases = append(cases, campaignCase{name: url, mutate: fetch(url, ""), wantErr: badURL})
	}
	runCreate(t, cases)
}

func TestUpdate_Audience(t *testing.T) {
	t.Parallel()
	transactional := spec(func(s *v1alpha1.EmailCampaignSpec) { s.Category = v1alpha1.CategoryTransactional })
	dryRun := spec(func(s *v1alpha1.EmailCampaignSpec) { s.Mode = v1alpha1.ModeDryRun })
	ignore := spec(func(s *v1alpha1.EmailCampaignSpec) { s.Suppression = v1alpha1.SuppressionIgnore })
	listed := spec(func(s *v1alpha1.EmailCampaignSpec) { s.Unsubscribe = &v1alpha1.Unsubscribe{ListID: "news.example.com"} })
	cases := []struct {
		name           string
		before, mutate func(*v1alpha1.EmailCampaign)
		started        bool
		wantErr        string
	}{
		{name: "category", before: spec(func(*v1alpha1.EmailCampaignSpec) {}), mutate: transactional, wantErr: "spec.category is immutable"},
		{name: "dry run, then sent", before: dryRun, mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Mode = v1alpha1.ModeSend })},
		{name: "sent, then a dry run", before: transactional, mutate: dryRun, wantErr: "spec.mode Send can't be taken back"},
		{name: "suppression before the start", before: transactional, mutate: ignore},
		{name: "suppression after the start", before: transactional, started: true, mutate: ignore, wantErr: "spec.suppression is frozen since status.startTime"},
		{name: "unsubscribe before the start", before: transactional, mutate: listed},
		{name: "unsubscribe after the start", before: transactional, started: true, mutate: listed, wantErr: "spec.unsubscribe is frozen since status.startTime"},
		{name: "unsubscribe taken away after the start", before: listed, started: true, mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Unsubscribe = nil
		}), wantErr: "spec.unsubscribe is frozen since status.startTime"},
		{name: "attachment after the start", before: transactional, started: true, mutate: message(func(m *v1alpha1.Message) {
			m.Attachments = []v1alpha1.Attachment{attachment(1)}
		}), wantErr: "spec.message is frozen since status.startTime"},
	}
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			campaign := kubetest.NewCampaign(namespace, fmt.Sprintf("campaign-%d", i)).With(tc.before).Obj()
			if err := cluster.Client.Create(t.Context(), campaign); err != nil {
				t.Fatalf("Creating: %v", err)
			}
			if tc.started {
				start(t, cluster, campaign)
			}
			tc.mutate(campaign)
			checkRefusal(t, cluster.Client.Update(t.Context(), campaign), tc.wantErr)
		})
	}
}
