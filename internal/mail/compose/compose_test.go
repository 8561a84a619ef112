package compose

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
)

// newMessage is a message that can be composed, changed by the test.
func newMessage(change ...func(*mail.Message)) mail.Message {
	msg := mail.Message{
		From:    mail.Address{Name: "Noticias", Address: "news@sender.example"},
		To:      mail.Address{Name: "Alice", Address: "alice@receiver.example"},
		Subject: "Hello", Text: "Hello Alice\n",
		MessageID: "0123abcd@sender.example", Date: time.Date(2026, 11, 22, 13, 0, 0, 0, time.FixedZone("", 3600)),
	}
	for _, f := range change {
		f(&msg)
	}
	return msg
}

func TestGolden(t *testing.T) {
	t.Parallel()
	raw, err := Compose(newMessage(func(m *mail.Message) {
		m.Headers = map[string]string{"Auto-Submitted": "auto-generated", "X-Campaign": "spring"}
		m.ReplyTo = []string{"Support <help@sender.example>", "ops@sender.example"}
		m.HTML = "<p>¡Hola!</p>"
		m.Subject = "¡Qué día!"
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`Auto-Submitted: auto-generated
Date: Sun, 22 Nov 2026 12:00:00 +0000
MIME-Version: 1.0
Message-ID: <0123abcd@sender.example>
Subject: =?UTF-8?b?wqFRdcOpIGTDrWEh?=
X-Campaign: spring
From: "Noticias" <news@sender.example>
To: "Alice" <alice@receiver.example>
Reply-To: "Support" <help@sender.example>, <ops@sender.example>
Content-Type: multipart/alternative;
 boundary="BOUNDARY"

--BOUNDARY
Content-Transfer-Encoding: quoted-printable
Content-Type: text/plain; charset=UTF-8

Hello Alice

--BOUNDARY
Content-Transfer-Encoding: quoted-printable
Content-Type: text/html; charset=UTF-8

<p>=C2=A1Hola!</p>
--BOUNDARY--
`, "\n", "\r\n")
	want = strings.ReplaceAll(want, "BOUNDARY", boundaryOf(t, newMessage()))
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

// boundaryOf is what separates two bodies of a message, whatever they are.
func boundaryOf(t *testing.T, msg mail.Message) string {
	t.Helper()
	msg.Text, msg.HTML = "x", "y"
	raw, err := Compose(msg)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "boundary=\"")
	found, _, _ := strings.Cut(rest, "\"")
	return found
}

// clean and displayName are what a text becomes in a header field.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

func displayName(name string) string {
	name = strings.Join(strings.Fields(clean(name)), " ")
	if len(name) <= maxDisplayName {
		return name
	}
	cut := maxDisplayName
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return strings.TrimRight(name[:cut], " ")
}

func TestSameMessageSameBytes(t *testing.T) {
	t.Parallel()
	msg := newMessage(func(m *mail.Message) {
		m.HTML = "<p>x</p>"
		m.Headers = map[string]string{"X-A": "1", "X-B": "2", "X-C": "3", "List-Unsubscribe": "<https://x.example/u>", "List-Id": "<l.x.example>"}
	})
	first, err := Compose(msg)
	if err != nil {
		t.Fatal(err)
	}
	buffer := []byte("kept")
	for range 50 {
		again, err := Append(buffer[:4], msg)
		if err != nil || !bytes.Equal(again, append([]byte("kept"), first...)) {
			t.Fatalf("error %v, got\n%s", err, again)
		}
		buffer = again
	}
}

func TestBodiesSurvive(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"ASCII": "Hello\r\nFrom here\r\n.\r\n..\r\n", "line ends": "a\nb\rc\r\nd\n\re", "accents": "El ñandú comió açaí\n",
		"Japanese": strings.Repeat("こんにちは世界。", 100), "Cyrillic": "Привет, мир\n", "emoji": "🎉🎉🎉", "trailing spaces": "a \nb\t\n",
		"long line": strings.Repeat("x", 5000), "long words": strings.Repeat("é", 5000), "equals": "a=b=c==", "NUL": "a\x00b", "not UTF-8": "a\xffb",
		"boundary": "--" + boundaryOf(t, newMessage()) + "--\r\nX-Injected: yes\r\n\r\n", "MSO": "<!--[if mso]><v:rect/><![endif]-->",
		"long unbroken HTML": "<p>" + strings.Repeat("<a href=\"https://x.example/?q=1&r=2\">x</a>", 200) + "</p>",
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, change := range []func(*mail.Message){
				func(m *mail.Message) { m.Text, m.HTML = body, "" },
				func(m *mail.Message) { m.Text, m.HTML = "", body },
				func(m *mail.Message) { m.Text, m.HTML = body, body },
			} {
				msg := newMessage(change)
				raw, err := Compose(msg)
				if err != nil {
					t.Fatal(err)
				}
				checkWire(t, raw)
				want := map[string]string{}
				if msg.Text != "" {
					want["text/plain"] = normalize(body)
				}
				if msg.HTML != "" {
					want["text/html"] = normalize(body)
				}
				got := parse(t, raw).bodies
				for media := range got { // the last line of a single part is ended by us
					if len(want) == 1 && !strings.HasSuffix(want[media], "\r\n") {
						got[media] = strings.TrimSuffix(got[media], "\r\n")
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("bodies (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// checkWire fails the test if a strict relay could object.
func checkWire(t *testing.T, raw []byte) {
	t.Helper()
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		if len(line) > maxLine || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("a line of %d octets, or with a bare CR or LF: %.100q", len(line), line)
		}
		if !mail.IsASCII(string(line)) {
			t.Fatalf("a line in 8 bits: %.100q", line)
		}
	}
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		t.Fatal("the last line is not ended")
	}
}

func TestHeadersSurvive(t *testing.T) {
	t.Parallel()
	texts := []string{
		"", "plain", "¡Qué día!", "こんにちは", "🎉 party", "a, b; <c> (d) \"e\"", "=?UTF-8?Q?not_encoded?=", "two  spaces", " around ",
		strings.Repeat("word ", 100) + "end", strings.Repeat("x", 2000), strings.Repeat("é", 2000), strings.Repeat("a  ", 200) + "b",
	}
	for _, text := range texts {
		raw, err := Compose(newMessage(func(m *mail.Message) {
			m.Subject, m.From.Name, m.To.Name = text, text, text
		}))
		if err != nil {
			t.Fatalf("%.40q: %v", text, err)
		}
		checkWire(t, raw)
		header := parse(t, raw).header
		if got := decodeHeader(t, header.Get("Subject")); got != text {
			t.Errorf("subject %.60q became %.60q", text, got)
		}
		for _, field := range []string{"From", "To"} {
			list, err := header.AddressList(field)
			if err != nil || len(list) != 1 || list[0].Name != displayName(text) {
				t.Errorf("%s %.60q became %+v, %v", field, text, list, err)
			}
		}
	}
}

func TestExtraHeaders(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"auto-generated": "auto-generated",
		"<https://x.example/u?a=b>, <mailto:u@x.example>": "<https://x.example/u?a=b>, <mailto:u@x.example>",
		"Boletín <list.x.example>":                        "Boletín <list.x.example>",
		"value\r\nBcc: eve@x.example":                     "value Bcc: eve@x.example",
		"value\x00\x1b":                                   "value",
		"ünï cödé":                                        "ünï cödé",
	}
	for value, want := range tests {
		raw, err := Compose(newMessage(func(m *mail.Message) { m.Headers = map[string]string{"X-Test": value} }))
		if err != nil {
			t.Fatal(err)
		}
		header := parse(t, raw).header
		if got := decodeHeader(t, header.Get("X-Test")); got != want || header.Get("Bcc") != "" {
			t.Errorf("%q became %q", value, got)
		}
	}
	raw, err := Compose(newMessage(func(m *mail.Message) { m.Headers = map[string]string{"List-Id": "Boletín <list.x.example>"} }))
	if err != nil || !bytes.Contains(raw, []byte(" <list.x.example>\r\n")) {
		t.Errorf("the id of a list must stay readable: %v\n%s", err, raw)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*mail.Message) {
		return func(m *mail.Message) { m.Headers = map[string]string{name: value} }
	}
	tests := map[string]struct {
		change func(*mail.Message)
		want   string
	}{
		"no body":         {func(m *mail.Message) { m.Text = "" }, "body is empty: text, html or both must be set"},
		"no date":         {func(m *mail.Message) { m.Date = time.Time{} }, "Date is missing"},
		"no id":           {func(m *mail.Message) { m.MessageID = "" }, "Message-ID is not of the form left@right"},
		"id with a break": {func(m *mail.Message) { m.MessageID = "a@b>\r\nBcc: x@y" }, "Message-ID is not of the form left@right"},
		"from":            {func(m *mail.Message) { m.From.Address = "a@b\r\nBcc: c@d" }, "From is " + mail.ErrAddressSyntax.Error()},
		"to":              {func(m *mail.Message) { m.To.Address = `"a b"@c.example` }, "To is " + mail.ErrAddressSyntax.Error()},
		"reply-to":        {func(m *mail.Message) { m.ReplyTo = []string{"nobody"} }, "Reply-To holds something that is not an address"},
		"own field":       {header("SUBJECT", "x"), "SUBJECT is a header field that cannot be set"},
		"family of own":   {header("Content-Language", "x"), "Content-Language is a header field that cannot be set"},
		"name with break": {header("X-A: b\r\nBcc", "x"), "headers hold a name with a character other than letters, digits and hyphens"},
		"name with colon": {header("X-A:", "x"), "headers hold a name with a character other than letters, digits and hyphens"},
		"no name":         {header("", "x"), "headers hold a name that is empty or longer than 76 characters"},
		"long name":       {header(strings.Repeat("x", 77), "x"), "headers hold a name that is empty or longer than 76 characters"},
		"long word":       {header("X-A", strings.Repeat("x", 901)), "X-A holds a word of more than 900 characters"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Compose(newMessage(tt.change))
			var invalid *InvalidError
			if !errors.As(err, &invalid) || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	_, err := Compose(newMessage(func(m *mail.Message) { m.Headers = map[string]string{"X-A": "1", "x-a": "2"} }))
	if err == nil || !strings.HasSuffix(err.Error(), "is given twice") {
		t.Errorf("got %v", err)
	}
}

func TestInternationalAddress(t *testing.T) {
	t.Parallel()
	raw, err := Compose(newMessage(func(m *mail.Message) { m.To.Address = "ñandú@receiver.example" }))
	if err != nil || !bytes.Contains(raw, []byte("<ñandú@receiver.example>\r\n")) {
		t.Errorf("%v\n%s", err, raw)
	}
}

// FuzzHeaderInjection: whatever is put into a message, the set of its header fields is the intended one, and nothing
// else identifies the mailer.
func FuzzHeaderInjection(f *testing.F) {
	for _, seed := range []string{
		"x", "x\r\nBcc: eve@x.example", "x\n\nbody", "x\r\rY: z", "=?utf-8?q?=0D=0ABcc:_x?=", "\x00", "\u2028Bcc: x",
		strings.Repeat("x", 1200), strings.Repeat(" ", 400) + "x", "\xff\xfe", "a\tb", "\u0085X: y", "\r\n", "\"quoted\\\"", "(comment", "<>", "x\r\n y",
	} {
		f.Add(seed, seed, seed, seed)
		f.Add("X-Name", seed, "name", "body")
	}
	f.Add("X-Bad\r\nBcc", "x", "y", "z")
	f.Fuzz(func(t *testing.T, name, value, person, body string) {
		raw, err := Compose(newMessage(func(m *mail.Message) {
			m.Subject, m.From.Name, m.To.Name, m.Text, m.HTML = value, person, person, body, "<p>"+body
			m.Headers = map[string]string{name: value}
		}))
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || !utf8.ValidString(invalid.Reason) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		checkWire(t, raw)
		var got []string
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if line[0] != ' ' && line[0] != '\t' {
				field, _, _ := strings.Cut(line, ":")
				got = append(got, field)
			}
		}
		want := []string{"Date", "MIME-Version", "Message-ID", "Subject", "From", "To", "Content-Type", name}
		if body == "" { // a single part has its encoding in the message's header
			want = append(want, "Content-Transfer-Encoding")
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("header fields (-want +got):\n%s\n%s", diff, raw)
		}
		if got := decodeHeader(t, parse(t, raw).header.Get("Subject")); got != clean(value) {
			t.Errorf("subject %q became %q", clean(value), got)
		}
	})
}

func BenchmarkCompose(b *testing.B) {
	msg := newMessage(func(m *mail.Message) {
		m.HTML = strings.Repeat("<p>Un párrafo con <b>texto</b> y un <a href=\"https://x.example/\">enlace</a>.</p>\n", 50)
	})
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buffer, err = Append(buffer[:0], msg); err != nil {
			b.Fatal(err)
		}
	}
}
