package compose

import (
	"bytes"
	"io"
	"math/rand/v2"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
)

// withGoMail composes a message with the library that is the reference.
func withGoMail(t *testing.T, msg mail.Message) []byte {
	t.Helper()
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	out.SetMessageIDWithValue(msg.MessageID)
	out.SetDateWithValue(msg.Date.UTC())
	out.FromMailAddress(&netmail.Address{Name: displayName(msg.From.Name), Address: msg.From.Address})
	out.ToMailAddress(&netmail.Address{Name: displayName(msg.To.Name), Address: msg.To.Address})
	out.Subject(clean(msg.Subject))
	for name, value := range msg.Headers {
		out.SetGenHeader(gomail.Header(name), strings.TrimSpace(clean(value)))
	}
	body := func(text string) func(io.Writer) (int64, error) {
		return func(w io.Writer) (int64, error) {
			n, err := io.WriteString(w, normalize(text))
			return int64(n), err
		}
	}
	if msg.Text != "" {
		out.SetBodyWriter(gomail.TypeTextPlain, body(msg.Text))
	}
	if msg.HTML != "" {
		out.AddAlternativeWriter(gomail.TypeTextHTML, body(msg.HTML))
	}
	var raw bytes.Buffer
	if _, err := out.WriteTo(&raw); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

// decoded is what a message means: its fields decoded, but for what may differ, and its bodies.
func decoded(t *testing.T, raw []byte) (fields map[string][]string, bodies map[string]string) {
	t.Helper()
	p := parse(t, raw)
	fields = map[string][]string{}
	for name, values := range p.header {
		switch name {
		case "Content-Type", "Content-Transfer-Encoding":
			continue
		case "From", "To":
			list, err := p.header.AddressList(name)
			if err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			for _, a := range list {
				fields[name] = append(fields[name], a.Name, a.Address)
			}
		default:
			for _, value := range values {
				fields[name] = append(fields[name], decodeHeader(t, value))
			}
		}
	}
	for media, text := range p.bodies {
		p.bodies[media] = strings.TrimSuffix(text, "\r\n") // the end of a single part is ended by us
	}
	return fields, p.bodies
}

// TestLikeGoMail composes random messages with both: what a receiver reads is the same.
func TestLikeGoMail(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 22))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	text := func() string {
		var b strings.Builder
		for range random.IntN(30) {
			b.WriteString(pick("word ", "palabra única ", "世界", "=", ".\n", "\r\n", "\n.", "a b\t", "🎉", "<b>&amp;</b>", strings.Repeat("x", random.IntN(90)), " \n", "\x00"))
		}
		return b.String()
	}
	line := func() string {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(pick("word", " and", " café", "世界", ", ", "(c)", "\"q\"", "<x>", ":", ";", "@", "\\", "\x1b", "=", "?", "_"))
		}
		return b.String()
	}
	for range 3000 {
		msg := newMessage(func(m *mail.Message) {
			// In a name with other letters, go-mail leaves a backslash that its own parser trips over.
			m.From.Name, m.To.Name = strings.ReplaceAll(line(), "\\", ""), strings.ReplaceAll(line(), "\\", "")
			m.Subject = strings.Join(strings.Fields(clean(line())), " ")
			m.Text, m.HTML = text(), text()
			// A part in angle brackets at the end is an URI for us and nothing for go-mail.
			m.Headers = map[string]string{"X-A": strings.ReplaceAll(strings.Join(strings.Fields(clean(line())), " "), ">", "")}
			if m.Text == "" && m.HTML == "" {
				m.Text = "x"
			}
		})
		raw, err := Compose(msg)
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, raw)
		fields, bodies := decoded(t, raw)
		wantFields, wantBodies := decoded(t, withGoMail(t, msg))
		if diff := cmp.Diff(wantFields, fields); diff != "" {
			t.Fatalf("fields (-go-mail +ours):\n%s\n%s", diff, raw)
		}
		if diff := cmp.Diff(wantBodies, bodies); diff != "" {
			t.Fatalf("bodies (-go-mail +ours):\n%s", diff)
		}
	}
}

// fieldNames are the names of a message's fields, sorted.
func fieldNames(raw []byte) []string {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	var names []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if line == "" || line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
