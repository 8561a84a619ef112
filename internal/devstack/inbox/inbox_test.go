package inbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMailIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	text := testMail("one@example.com", "Ana <ana@example.com>", "=?UTF-8?q?=C2=A1Hola!?=", "", "..one dot", "ñ")
	send(t, in, text, "ana@example.com", "ben@example.org")

	want := []Message{{
		ID: 1, Received: testTime, Sender: "bounces@example.com", Recipients: []string{"ana@example.com", "ben@example.org"},
		From: "Niña <news@example.com>", To: "Ana <ana@example.com>", Subject: "¡Hola!", MessageID: "one@example.com", Size: len(text),
	}}
	if diff := cmp.Diff(want, in.Messages()); diff != "" {
		t.Errorf("messages (-want +got)\n%s", diff)
	}
	raw, err := in.Raw(1)
	if diff := cmp.Diff(text, string(raw)); diff != "" || err != nil {
		t.Errorf("raw: %v (-want +got)\n%s", err, diff)
	}
}

// The dialogue is held by hand, so that the server is tested and not the client.
func TestDialogue(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	conn, err := net.Dial("tcp", in.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := textproto.NewConn(conn)
	expect := func(code int, contains ...string) {
		t.Helper()
		_, message, err := text.ReadResponse(code)
		if err != nil {
			t.Fatalf("want %d: %v", code, err)
		}
		for _, part := range contains {
			if !strings.Contains(message, part) {
				t.Errorf("%q does not contain %q", message, part)
			}
		}
	}
	say := func(lines ...string) { // in one write: PIPELINING
		t.Helper()
		if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	expect(220, "ESMTP")
	say("EHLO test.example")
	expect(250, "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", fmt.Sprintf("SIZE %d", MaxMessageBytes))

	say("MAIL FROM:<a@example.com>", "RCPT TO:<x@bounce.example>", "RCPT TO:<x@full.example>", "RCPT TO:<X@BLOCKED.example>",
		"RCPT TO:<x@later.example>", "RCPT TO:<X@later.example>", "RCPT TO:<ana@example.com>", "DATA")
	expect(250)
	expect(550, "5.1.1")
	expect(552, "5.2.2")
	expect(554, "5.7.1")
	expect(451, "4.7.1")
	expect(250) // the second attempt
	expect(250)
	expect(354)
	say(testMail("a@example.com", "ana@example.com", "first"), ".", "MAIL FROM:<> SMTPUTF8", "RCPT TO:<иван@xn--e1afmkfd.example>", "DATA")
	expect(250)
	expect(250)
	expect(250)
	expect(354)
	say(testMail("b@example.com", "иван@xn--e1afmkfd.example", "second"), ".", "MAIL FROM:<a@example.com> SIZE=99999999", "RSET", "QUIT")
	expect(250)
	expect(552)
	expect(250)
	expect(221)

	want := Summary{
		Messages: 2, Deliveries: 3, MessageIDs: 2, Recipients: 3, LastID: 2,
		Refused: map[string]int{"bounce.example": 1, "full.example": 1, "blocked.example": 1, "later.example": 1},
	}
	got := in.Summary()
	want.Bytes = got.Bytes
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got)\n%s", diff)
	}
}

func TestConnectionLostBeforeTheDot(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	conn, err := net.Dial("tcp", in.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	fmt.Fprint(conn, "HELO t\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
	for line := ""; !strings.HasPrefix(line, "354"); {
		if line, err = reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(conn, "Subject: half\r\n\r\nhalf a ma")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, reader) // until the server is done with it
	conn.Close()
	if got := in.Count(); got != 0 {
		t.Errorf("%d mails of half a transaction", got)
	}
}

func TestRestartFindsEveryMail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startInbox(t, dir)
	for i := range 20 {
		send(t, first, testMail(fmt.Sprintf("%d@example.com", i/2), "ana@example.com", fmt.Sprint("mail ", i)), "Ana@Example.com")
	}
	want, wantSummary := first.Messages(), first.Summary()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("files %v, %v", names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}

	endings := map[string]struct {
		content []byte
		keep    int
	}{
		"as it was":               {whole, 20},
		"cut off in the last":     {whole[:len(whole)-1], 19},
		"a record without a body": {append(append([]byte{}, whole...), "CML1\x00\x00\x00\x05\x00"...), 20},
		"a record that is short":  {append(append([]byte{}, whole...), "CML1\x00\x00\x00\x02\x00\x00\x00\x09\x00\x00\x00\x00{}"...), 20},
		"a flipped bit":           {append(append([]byte{}, whole[:len(whole)-1]...), whole[len(whole)-1]^1), 19},
		"zeros":                   {append(append([]byte{}, whole...), make([]byte, 64)...), 20},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := t.TempDir()
			if err := os.WriteFile(filepath.Join(copied, filepath.Base(names[0])), end.content, 0o600); err != nil {
				t.Fatal(err)
			}
			again := startInbox(t, copied)
			if diff := cmp.Diff(want[:end.keep], again.Messages()); diff != "" {
				t.Errorf("messages (-want +got)\n%s", diff)
			}
			if end.keep == 20 {
				if diff := cmp.Diff(wantSummary, again.Summary()); diff != "" {
					t.Errorf("summary (-want +got)\n%s", diff)
				}
			}
			send(t, again, testMail("new@example.com", "ben@example.org", "after"), "ben@example.org")
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			third := startInbox(t, copied)
			if got := third.Messages(); len(got) != end.keep+1 || got[end.keep].Subject != "after" || got[end.keep].ID != uint64(end.keep+1) {
				t.Errorf("after another restart %d mails", len(got))
			}
		})
	}
}

func TestDamagedFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "000000000001"+segmentSuffix)
	if err := os.WriteFile(name, []byte("this is no file of ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Dir: dir})
	if !errors.Is(err, errDamage) || !strings.Contains(err.Error(), filepath.Base(name)) {
		t.Errorf("Start = %v", err)
	}
	if content, err := os.ReadFile(name); err != nil || len(content) == 0 {
		t.Errorf("the file was changed: %q, %v", content, err)
	}
}

func TestDuplicatesAreCounted(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	send(t, in, testMail("a@example.com", "ben@example.com", "a"), "ben@example.com") // another recipient: no duplicate
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ANA@example.com")
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	send(t, in, testMail("", "ana@example.com", "without an id"), "ana@example.com")

	got := in.Summary()
	want := Summary{Messages: 5, Deliveries: 5, MessageIDs: 1, Recipients: 2, Duplicates: 2, LastID: 5, Bytes: got.Bytes, Refused: map[string]int{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"ana@example.com": 4, "ben@example.com": 1}, in.Recipients()); diff != "" {
		t.Errorf("recipients (-want +got)\n%s", diff)
	}
}

func TestManySendersAtOnce(t *testing.T) {
	t.Parallel()
	in := startInbox(t, t.TempDir())
	const senders, each = 8, 50
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			client, err := smtp.Dial(in.SMTPAddr())
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			for i := range each {
				to := fmt.Sprintf("u%d-%d@example.com", s, i)
				if err := client.SendMail("a@example.com", []string{to}, strings.NewReader(testMail(to, to, "bulk"))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for i, m := range in.Messages() {
		raw, err := in.Raw(m.ID)
		if err != nil || m.ID != uint64(i+1) || !strings.Contains(string(raw), "To: "+m.Recipients[0]) {
			t.Fatalf("mail %d: %+v, %v", i, m, err)
		}
	}
	if got := in.Summary(); got.Recipients != senders*each || got.Duplicates != 0 {
		t.Errorf("summary %+v", got)
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := startInbox(t, dir)
	send(t, in, testMail("a@example.com", "ana@example.com", "a"), "ana@example.com")
	if err := in.Clear(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); in.Count() != 0 || len(files) != 0 {
		t.Errorf("%d mails, files %v", in.Count(), files)
	}
	send(t, in, testMail("a@example.com", "ana@example.com", "b"), "ana@example.com")
	if got := in.Messages(); len(got) != 1 || got[0].ID != 2 || in.Summary().Duplicates != 0 {
		t.Errorf("after clearing: %+v", got)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]Config{
		"no directory":        {SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"},
		"every address":       {SMTPAddr: ":0", HTTPAddr: "127.0.0.1:0", Dir: "x"},
		"SMTP to the network": {SMTPAddr: "0.0.0.0:0", HTTPAddr: "127.0.0.1:0", Dir: "x"},
		"page to the network": {SMTPAddr: "127.0.0.1:0", HTTPAddr: "192.0.2.1:0", Dir: "x"},
		"no port":             {SMTPAddr: "127.0.0.1", HTTPAddr: "127.0.0.1:0", Dir: "x"},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if in, err := Start(t.Context(), config); err == nil {
				_ = in.Close()
				t.Error("it started")
			}
		})
	}
}

func TestEndOfContextCloses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := Start(ctx, Config{SMTPAddr: "localhost:0", HTTPAddr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	in.serving.Wait()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := in.Clear(); !errors.Is(err, errClosed) {
		t.Errorf("Clear after Close = %v", err)
	}
}

func TestMessageIsStableJSON(t *testing.T) {
	t.Parallel()
	// The files of earlier versions are read by later ones: these names must stay.
	text, err := json.Marshal(Message{ID: 1, Received: testTime, Sender: "s", Recipients: []string{"r"}, From: "f", To: "t", Subject: "j", MessageID: "m", Size: 2})
	want := `{"id":1,"received":"2026-10-05T09:30:00Z","sender":"s","recipients":["r"],"from":"f","to":"t","subject":"j","messageId":"m","size":2}`
	if string(text) != want || err != nil {
		t.Errorf("got %s, %v", text, err)
	}
}

func BenchmarkReceive(b *testing.B) {
	in, err := Start(b.Context(), Config{SMTPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	body := strings.Repeat("Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed.\r\n", 64)
	conn, err := net.Dial("tcp", in.SMTPAddr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	replies := func(n int) {
		for range n {
			if _, err := reader.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	fmt.Fprint(conn, "HELO b\r\n")
	replies(2)
	n := 0
	for b.Loop() {
		n++
		to := fmt.Sprintf("u%d@example.com", n)
		fmt.Fprintf(conn, "MAIL FROM:<a@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\n", to, testMail(to, to, "bench", "", body))
		replies(4)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "mails/s")
}
