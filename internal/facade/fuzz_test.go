package facade_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/http"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/facade"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// hostile are values that have broken other mailers.
var hostile = []string{
	"x\r\nBcc: eve@x.example", "x\nRCPT TO:<eve@x.example>", "\r\n.\r\nMAIL FROM:<eve@x.example>", "\n.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n.\r",
	".", "..", "\x00", "\u2028Bcc: x", "\u0085X: y", "=?utf-8?q?=0D=0ABcc:_x?=", "\xff\xfe", strings.Repeat("x", 1200), strings.Repeat("ñ", 300),
	"\"quoted\\\"", "(comment", "a@b.example> SIZE=1", `"a@b.example> SIZE=1"@d.example`, "a@[127.0.0.1]", "a@b.example, c@d.example", "<a@b.example>",
	"ñandú@exämple.com", "x y", "\u202egnp", "a@b.example\x7f", "\t", " lead and trail ", "  ",
}

// FuzzMailToTheWire: a mail that is accepted is on the wire exactly once, to that address, with exactly the header fields
// that it should have and the text that was handed in; one that is not accepted puts nothing there. The relay of the test
// reports every breach of the protocol.
func FuzzMailToTheWire(f *testing.F) {
	f.Add("ada@example.com", "Hi", "text", "", "")
	f.Add("ada@example.com", "Hi", "<p>text", "News <news@example.com>", "text/html")
	for _, value := range hostile {
		f.Add(value, "Hi", "text", "", "")
		f.Add("ada@example.com", value, "text", "", "text/plain")
		f.Add("ada@example.com", "Hi", value, "", "text/plain")
		f.Add("ada@example.com", "Hi", value, "", "text/html")
		f.Add("ada@example.com", "Hi", "text", value, "")
		f.Add("ada@example.com", "Hi", "text", fmt.Sprintf("%q <news@example.com>", value), "")
		f.Add("ada@example.com", "Hi", "text", "", value)
	}
	w := newWire(f, smtptest.Script{Features: []string{"8BITMIME", "SMTPUTF8"}}, quiet, nil)
	f.Fuzz(func(t *testing.T, to, subject, body, from, contentType string) {
		request := map[string]string{"to": to, "subject": subject, "body": body}
		if from != "" {
			request["from"] = from
		}
		if contentType != "" {
			request["content_type"] = contentType
		}
		text, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := w.post("/send", string(text))
		taken := w.taken()
		if status == http.StatusUnprocessableEntity && len(taken) == 0 {
			return
		}
		if status != http.StatusOK || len(taken) != 1 {
			t.Fatalf("answer %d, and %d mails on the wire: %s", status, len(taken), answer)
		}
		// What the server was told, not what the test said: JSON has no bytes that are not UTF-8.
		if err := json.Unmarshal(text, &request); err != nil {
			t.Fatal(err)
		}
		checkMail(t, taken[0], request["to"], request["subject"], request["body"], request["from"])
	})
}

// oneLine is what becomes of Unicode's line ends in a header.
var oneLine = strings.NewReplacer("\u2028", " ", "\u2029", " ")

// checkMail compares a mail on the wire with what was asked for.
func checkMail(t *testing.T, got smtptest.Entry, to, subject, body, from string) {
	t.Helper()
	address, err := recipients.ParseAddress(to)
	if err != nil {
		t.Fatalf("%q was mailed to, and %v", to, err)
	}
	sender := netmail.Address{Name: "News", Address: "news@example.com"}
	if from != "" {
		parsed, err := netmail.ParseAddress(from)
		if err != nil {
			t.Fatalf("was sent from %q, and %v", from, err)
		}
		sender.Name = strings.Join(strings.Fields(oneLine.Replace(parsed.Name)), " ")
		if sender.Address, err = recipients.ParseAddress(parsed.Address); err != nil {
			t.Fatalf("was sent from %q, and %v", from, err)
		}
	}
	if diff := cmp.Diff([]any{sender.Address, []string{address}}, []any{got.From, got.To}); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	m, err := netmail.ReadMessage(strings.NewReader(string(got.Data)))
	if err != nil {
		t.Fatalf("%v: %q", err, got.Data)
	}
	var names []string
	for name, values := range m.Header {
		names = append(names, fmt.Sprint(name, len(values)))
	}
	slices.Sort(names)
	want := []string{"Content-Transfer-Encoding1", "Content-Type1", "Date1", "From1", "Message-Id1", "Mime-Version1", "Subject1", "To1"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("header fields (-want +got):\n%s", diff)
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if want := oneLine.Replace(subject); err != nil || decoded != want {
		t.Errorf("subject %q, %v; want %q", decoded, err, want)
	}
	checkFrom(t, m.Header.Get("From"), sender)
	if got, want := content(t, m), lines(body); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

// checkFrom compares the one sender; names are cut off at 256 octets.
func checkFrom(t *testing.T, field string, want netmail.Address) {
	t.Helper()
	got, err := netmail.ParseAddress(field)
	if err != nil {
		t.Fatalf("From %q: %v", field, err)
	}
	if got.Address != want.Address || !strings.HasPrefix(want.Name, got.Name) || len(want.Name) <= 256 && got.Name != want.Name {
		t.Errorf("From is %q, want %q", got, want.String())
	}
}

// content decodes the body.
func content(t *testing.T, m *netmail.Message) string {
	t.Helper()
	in := m.Body
	switch encoding := m.Header.Get("Content-Transfer-Encoding"); encoding {
	case "quoted-printable":
		in = quotedprintable.NewReader(in)
	case "base64":
		in = base64.NewDecoder(base64.StdEncoding, in)
	default:
		t.Errorf("encoding %q", encoding)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return lines(string(text))
}

// lines makes every line end the same, with none at the end.
func lines(text string) string {
	return strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// TestMembersInAnotherCaseMeanNothing: encoding/json would take TO for to, past the limits of the schema, which knows to alone.
func TestMembersInAnotherCaseMeanNothing(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 101 {
		fmt.Fprintf(&many, `,"a%d@b.example"`, i)
	}
	w := newWire(t, smtptest.Script{}, quiet, nil)
	for _, body := range []string{
		`{"to":"a@b.example","TO":[` + many.String()[1:] + `],"subject":"s","body":"b"}`,
		`{"to":"a@b.example","subject":"s","body":"b","message_type":"m","Message_Type":"` + strings.Repeat("ñ", 192) + `"}`,
		`{"to":"a@b.example","subject":"s","body":"b","BODY":"` + strings.Repeat("b", facade.MaxContent+1) + `"}`,
	} {
		if status, answer := w.post("/send", body); status != http.StatusOK {
			t.Errorf("answer %d: %s", status, answer[:min(len(answer), 500)])
		}
		if taken := w.taken(); len(taken) != 1 {
			t.Errorf("%d mails are on the wire, want 1", len(taken))
		}
	}
}

// FuzzRequestBody: whatever is posted, each call answers as the contract says, and is neither broken by it nor says anything
// to the relay that it should not.
func FuzzRequestBody(f *testing.F) {
	for _, seed := range []string{
		"", "{", "null", "[]", `""`, "{}", `{"to":null}`, oneMail, small, `{"to":[],"subject":"s","body":"b"}`, `{"to":[["a@b.example"]],"subject":1,"body":{}}`,
		`{"to":"a@b.example","to":"c@d.example","subject":"s","body":"b"}`, `{"to":["a@b.example","A@B.example"],"subject":"s","body":"b","message_type":"x"}`,
		`{"TO":"a@b.example","Subject":"s","body":"b"}`, "\xef\xbb\xbf{}", `{"to":"a@b.example","subject":"\ud800","body":"\u0000"}`, `{"recipients":[{"email":"a@b.example","variables":{"a":1e999}}],"subject":"s","body":"b"}`,
		`{"recipients":["a@b.example",{"email":null},{"name":"x"}],"subject":"s","body":"b"}`, strings.Repeat("[", 20_000), `{"a":` + strings.Repeat(`{"a":`, 20_000),
		`{"to":"a@b.example","subject":"s","body":"b","message_type":"` + strings.Repeat("m", 192) + `"}`, `{} {}`, `{"subject":"s","body":"b","recipients":{"a@b.example":1}}`,
	} {
		f.Add([]byte(seed))
	}
	w := newWire(f, smtptest.Script{Features: []string{"SMTPUTF8"}}, quiet, nil)
	right := map[string]int{"/send": http.StatusOK, "/send_async": http.StatusAccepted, "/send-campaign": http.StatusAccepted}
	f.Fuzz(func(t *testing.T, body []byte) {
		for path, want := range right {
			status, answer := w.post(path, string(body))
			if status != want && status != http.StatusUnprocessableEntity {
				t.Errorf("%s: answer %d: %s", path, status, answer)
			}
			if !utf8.ValidString(answer) || !json.Valid([]byte(answer)) {
				t.Errorf("%s: the answer is no JSON: %q", path, answer)
			}
			if taken := w.taken(); len(taken) > 0 && status != http.StatusOK {
				t.Errorf("%s: answer %d, and %d mails on the wire", path, status, len(taken))
			}
		}
	})
}
