package compose

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// everything is a content that puts variables wherever they can stand.
func everything(change ...func(*mail.Content)) mail.Content {
	c := mail.Content{
		From: mail.Address{Name: "Noticias", Address: "news@sender.example"}, Subject: "{{a}} for {{b}}{{^b}}nobody{{/b}}",
		Text: "{{a}}\n.{{b}}\n{{a}}{{b}} \n{{#a}}\n  {{.}}\n{{/a}}" + strings.Repeat("a line of some length, {{b}}, ", 5) + "\n.\n{{c}}",
		HTML: "<p title=\"{{a}}\">{{{b}}}</p> {{c}}\n" + strings.Repeat("<b>{{a}}</b>", 9) + "<a href=\"{{unsubscribeURL}}\">", Mustache: true, OneClick: true,
		Headers: map[string]string{"X-A": "{{a}}", "X-B": "<https://x.example/{{b}}>"}, ListID: "news.sender.example", AutoSubmitted: true,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

var everyField = []string{
	"Auto-Submitted", "Content-Type", "Date", "From", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Message-ID", "Subject", "To",
	"X-A", "X-B",
}

// checkTemplate composes one mail and holds it to what the templates render to.
func checkTemplate(t *testing.T, template *Template, to Recipient) {
	t.Helper()
	m, err := template.Append(nil, to)
	if checked := template.Check(to); (checked == nil) != (err == nil) || err != nil && checked.Error() != err.Error() {
		t.Fatalf("Append says %v, Check %v", err, checked)
	}
	if err != nil {
		var refused *InvalidError
		if !errors.As(err, &refused) || !utf8.ValidString(err.Error()) {
			t.Fatalf("an error of another kind: %v", err)
		}
		for _, value := range to.Variables {
			if len(value) > 3 && strings.Contains(err.Error(), value) {
				t.Fatalf("the error quotes a value: %v", err)
			}
		}
		return
	}
	if m.SMTPUTF8 {
		t.Fatal("needs SMTPUTF8")
	}
	checkWire(t, m.Raw)
	if diff := cmp.Diff(everyField, fieldNames(m.Raw)); diff != "" {
		t.Fatalf("header fields (-want +got):\n%s\n%s", diff, m.Raw)
	}
	want, err := template.Program().Render(to.variables())
	if err != nil {
		t.Fatalf("Render fails, Append does not: %v", err)
	}
	ended := to // each value has its line ends made CRLF, and its characters valid, on its own
	ended.Name, ended.Variables = normalize(to.Name), map[string]string{}
	for name, text := range to.Variables {
		ended.Variables[name] = normalize(text)
	}
	lines, err := template.Program().Render(ended.variables())
	if strings.ContainsAny(ended.Variables["a"]+ended.Variables["b"], "\r\n") {
		t.Fatal("a header field was broken")
	}
	if err != nil {
		t.Fatalf("Render fails, Append does not: %v", err)
	}
	p := parse(t, m.Raw)
	wantBodies := map[string]string{"text/plain": normalize(lines.Text), "text/html": normalize(lines.HTML)}
	if diff := cmp.Diff(wantBodies, p.bodies); diff != "" {
		t.Fatalf("bodies (-want +got):\n%s\n%s", diff, m.Raw)
	}
	if got := decodeHeader(t, p.header.Get("Subject")); got != singleSpaces(clean(want.Subject)) {
		t.Fatalf("subject %q became %q", want.Subject, got)
	}
	if got := p.header.Get("List-Unsubscribe"); got != "<"+to.UnsubscribeURL+">" {
		t.Fatalf("List-Unsubscribe is %q", got)
	}
	again, err := template.Append([]byte("kept"), to)
	if err != nil || !bytes.Equal(again.Raw, append([]byte("kept"), m.Raw...)) {
		t.Fatalf("the same mail became other bytes, or: %v", err)
	}
}

func singleSpaces(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }), " ")
}

// TestTemplates: whatever the variables hold, the mail is what was meant.
func TestTemplates(t *testing.T) {
	t.Parallel()
	latin, err := NewTemplate(everything())
	if err != nil {
		t.Fatal(err)
	}
	japanese, err := NewTemplate(everything(func(c *mail.Content) {
		c.Text += strings.Repeat("こんにちは世界。", 20)
		c.HTML += strings.Repeat("こんにちは世界。\n", 30)
	}))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(8, 22))
	pieces := []string{
		"word", " ", ".", "\n", "\r\n", "\r", "\t", "=", "==", "ñ", "世界", "🎉", "<b>&\"'", "--=_mixed-", "\x00", "\u2028", "{{a}}", "=?utf-8?q?x?=", "=20", " \n",
		strings.Repeat("x", 80), strings.Repeat("é", 40), "From ",
	}
	value := func() string {
		var b strings.Builder
		for range random.IntN(7) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	for i := range 4000 {
		to := newRecipient()
		to.Name, to.UnsubscribeURL = value(), "https://x.example/u/"+strconv.Itoa(i)
		to.Variables = map[string]string{"a": value(), "c": value()}
		if i%5 > 0 {
			to.Variables["b"] = value()
		} else {
			delete(to.Variables, "b")
		}
		if i%2 == 0 { // what a header refuses is tried elsewhere
			for name, text := range to.Variables {
				to.Variables[name] = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(text)
			}
		}
		checkTemplate(t, latin, to)
		checkTemplate(t, japanese, to)
	}
}

func FuzzTemplateValues(f *testing.F) {
	template, err := NewTemplate(everything())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"x", "x\r\nBcc: eve@x.example", "\x00", ".\r\n", "\n.\n", "=?utf-8?q?=0D=0ABcc:_x?=", "--=_alternative-2b8f77669d937cb9--", strings.Repeat("x", 1200),
		" ", "\xff", "\u2028", "<script>", "> Bcc: x", "a>, <mailto:x",
	} {
		f.Add(seed, "b", "name", "/u")
		f.Add("a", seed, seed, "/u")
		f.Add("a", "b", "name", seed)
	}
	f.Fuzz(func(t *testing.T, a, b, name, path string) {
		to := newRecipient()
		to.Name, to.UnsubscribeURL, to.Variables = name, "https://x.example"+path, map[string]string{"a": a, "b": b, "c": a + b}
		checkTemplate(t, template, to)
	})
}

// TestTemplatesWithPython reads mails with random values with the parser of another language.
func TestTemplatesWithPython(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Python 3")
	}
	template, err := NewTemplate(everything(func(c *mail.Content) { c.Text, c.HTML = c.HTML, "" })) // Python decodes no HTML
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(9, 22))
	pieces := []string{"word", " ", ".", "=", "ñ", "世界", "🎉", "<b>&\"'", "--=_mixed-", "=?utf-8?q?x?=", "=20", strings.Repeat("x", 80), "a@b.example", "(c)", ",", ";", "\\"}
	value := func() string {
		b := "v"
		for range random.IntN(7) {
			b += pieces[random.IntN(len(pieces))]
		}
		return b + "v"
	}
	var raws [][]byte
	var want []received
	for range 300 {
		to := newRecipient()
		// A name in one encoded-word: between two of them in a name, Python up to 3.11 leaves a blank (RFC 2047 section 6.2).
		to.Name, to.Variables = strings.ToValidUTF8(value()[:2]+"ñ", "é"), map[string]string{"a": value(), "b": value(), "c": value()}
		m, err := template.Append(nil, to)
		if err != nil {
			t.Fatal(err)
		}
		texts, err := template.Program().Render(to.variables())
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, m.Raw)
		want = append(want, received{
			Headers: [][2]string{{"Subject", singleSpaces(texts.Subject)}}, From: [2]string{"Noticias", "news@sender.example"},
			To: [2]string{displayName(to.Name), to.Address}, Shape: "text/plain", Parts: []receivedPart{textPart(texts.Text + "\n")},
		})
	}
	for i, got := range readWithPython(t, raws) {
		got.Headers = slices.DeleteFunc(got.Headers, func(h [2]string) bool { return h[0] != "Subject" })
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, raws[i])
		}
	}
}

// TestLinesOfBodies: quoted-printable keeps its lines, wherever a value ends one.
func TestLinesOfBodies(t *testing.T) {
	t.Parallel()
	for size := range 160 {
		template, err := NewTemplate(everything(func(c *mail.Content) {
			c.Text = "Hello {{a}} and{{c}}.\n " + strings.Repeat("y", 74) + "{{c}}\n" + strings.Repeat("z", 71) + " {{a}}{{c}}{{c}}\n{{a}} \n"
			c.HTML = ""
		}))
		if err != nil {
			t.Fatal(err)
		}
		for _, blank := range []string{"", " ", "\t"} {
			to := newRecipient()
			to.Variables = map[string]string{"a": strings.Repeat("x", size) + blank, "b": "b", "c": blank}
			m, err := template.Append(nil, to)
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(m.Raw), "\r\n\r\n")
			for line := range strings.SplitSeq(body, "\r\n") {
				if len(line) > 76 || strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
					t.Fatalf("%d: a line of %d octets: %q", size, len(line), line)
				}
			}
			want, _ := template.Program().Render(to.variables())
			if got := parse(t, m.Raw).bodies["text/plain"]; got != normalize(want.Text) {
				t.Fatalf("%d: got %q\nwant %q", size, got, want.Text)
			}
		}
	}
}

// TestDotsSurvive sends lines that begin with dots through the real client to a relay that takes the dots away.
func TestDotsSurvive(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Features: []string{"8BITMIME", "PIPELINING"}})
	pool, err := smtp.NewPool(smtp.Config{Host: server.Host(), Port: server.Port(), HELO: "worker.sender.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	template, err := NewTemplate(everything())
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range []string{".", "..", "\n.\n", ".\r\n.\r\n", "x\n..x\n", strings.Repeat(".", 300), strings.Repeat("x", 75) + ".", strings.Repeat("é.", 40)} {
		to := newRecipient()
		to.Variables = map[string]string{"a": strings.NewReplacer("\r", "", "\n", "").Replace(value), "b": "", "c": value}
		m, err := template.Append(nil, to)
		if err != nil {
			t.Fatal(err)
		}
		if v := pool.Send(context.Background(), m.Envelope, m.Raw, func() error { return nil }); v.Outcome != mail.Sent {
			t.Fatalf("%+v", v)
		}
		if got := server.Ledger()[i].Data; !bytes.Equal(got, m.Raw) {
			t.Errorf("%q arrived otherwise: %q", value, got)
		}
	}
}

// TestOwnListFields: what a content sets itself is not written twice.
func TestOwnListFields(t *testing.T) {
	t.Parallel()
	template, err := NewTemplate(everything(func(c *mail.Content) {
		c.Headers = map[string]string{
			"list-unsubscribe": "<https://x.example/" + strings.Repeat("y", 80) + ">, <mailto:leave-{{a}}@x.example>", "List-ID": "Núñez <own.x.example>",
			"Auto-Submitted": "auto-replied",
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	to := newRecipient()
	to.Variables = map[string]string{"a": "a", "b": "b", "c": "c"}
	m, err := template.Append(nil, to)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Auto-Submitted", "Content-Type", "Date", "From", "List-ID", "MIME-Version", "Message-ID", "Subject", "To", "list-unsubscribe"}
	if diff := cmp.Diff(want, fieldNames(m.Raw)); diff != "" {
		t.Errorf("header fields (-want +got):\n%s", diff)
	}
	if line := "\r\nlist-unsubscribe: <https://x.example/" + strings.Repeat("y", 80) + ">, <mailto:leave-a@x.example>\r\n"; !strings.Contains(string(m.Raw), line) {
		t.Errorf("the field was changed:\n%s", m.Raw)
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, to string
		want     mail.Envelope
		utf8     bool
	}{
		{"a@b.example", "c@d.example", mail.Envelope{From: "a@b.example", To: "c@d.example"}, false},
		{"a@Bücher.example", "c@münchen.example", mail.Envelope{From: "a@xn--bcher-kva.example", To: "c@xn--mnchen-3ya.example"}, false},
		{"a@b.example", "ñ@münchen.example", mail.Envelope{From: "a@b.example", To: "ñ@xn--mnchen-3ya.example"}, true},
		{"ñ@b.example", "c@d.example", mail.Envelope{From: "ñ@b.example", To: "c@d.example"}, true},
	}
	for _, tt := range tests {
		template, err := NewTemplate(mail.Content{From: mail.Address{Address: tt.from}, Text: "x"})
		if err != nil {
			t.Fatal(err)
		}
		to := newRecipient()
		to.Address = tt.to
		m, err := template.Append(nil, to)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, m.Envelope); diff != "" || m.SMTPUTF8 != tt.utf8 || template.From().Address != tt.want.From {
			t.Errorf("SMTPUTF8 %v, envelope (-want +got):\n%s", m.SMTPUTF8, diff)
		}
	}
}

// TestConcurrently composes different mails with one template at the same time.
func TestConcurrently(t *testing.T) {
	t.Parallel()
	template, err := NewTemplate(everything())
	if err != nil {
		t.Fatal(err)
	}
	recipients := make([]Recipient, 8)
	want := make([][]byte, len(recipients))
	for i := range recipients {
		to := newRecipient()
		to.Name = "recipient " + strconv.Itoa(i)
		to.Variables = map[string]string{"a": strings.Repeat("a", i*20), "b": "ñ" + to.Name, "c": "c\n" + to.Name}
		m, err := template.Append(nil, to)
		if err != nil {
			t.Fatal(err)
		}
		recipients[i], want[i] = to, m.Raw
	}
	var group sync.WaitGroup
	for i, to := range recipients {
		group.Go(func() {
			var buffer []byte
			for range 200 {
				m, err := template.Append(buffer[:0], to)
				if err != nil || !bytes.Equal(m.Raw, want[i]) {
					t.Errorf("mails mix: %v", err)
					return
				}
				buffer = m.Raw
			}
		})
	}
	group.Wait()
}

// TestDocumentedExample composes the example of docs/messages.md, with each of its defaults and without.
func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "messages.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	var example struct {
		Message struct {
			Engine, Subject, HTML string
			Headers               map[string]string
		}
	}
	if err := yaml.UnmarshalStrict([]byte(text), &example); err != nil {
		t.Fatal(err)
	}
	m := example.Message
	template, err := NewTemplate(mail.Content{
		From: mail.Address{Address: "a@b.example"}, Mustache: m.Engine == "Mustache", DeriveText: true, Subject: m.Subject, HTML: m.HTML, Headers: m.Headers,
	})
	if err != nil {
		t.Fatal(err)
	}
	to := newRecipient()
	to.Variables["offer"], to.Variables["offer_url"] = "ten percent", "https://x.example/offer"
	got, err := template.Program().Render(to.variables())
	if want := "Hello Ana Núñez\n\nYour Pro & más plan ends on 1 de enero.\n\nUntil then: ten percent (https://x.example/offer)\n\n" +
		"Unsubscribe (https://x.example/u/0123456789abcdef)\n"; err != nil || got.Text != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got.Text))
	}
	to.Name, to.Variables["offer"] = "", ""
	got, err = template.Program().Render(to.variables())
	if want := "Hello there\n\nYour Pro & más plan ends on 1 de enero.\n\nUnsubscribe (https://x.example/u/0123456789abcdef)\n"; err != nil || got.Text != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got.Text))
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	template, err := NewTemplate(mail.Content{
		From: mail.Address{Address: "a@b.example"}, Mustache: true,
		HTML: `<img src="cid:logo"><img src='cid:missing'><img src="cid:missing"><img src="cid:{{x}}"> cid: is a scheme`,
		Attachments: []mail.Attachment{
			{Name: "a.png", ContentType: "image/png", ContentID: "logo"},
			{Name: "b.png", ContentType: "image/png", ContentID: "unused"},
			{Name: "c.png", ContentType: "image/png"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"html shows cid:missing, and no attachment has that content id", "html does not show the attachment with the content id unused",
	}
	if diff := cmp.Diff(want, template.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
