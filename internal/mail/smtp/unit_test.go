package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/cartero-mail/cartero/internal/mail"
)

func serverInfo(offered []string, tls bool) *gosmtp.ServerInfo {
	return &gosmtp.ServerInfo{Name: "relay.example", TLS: tls, Auth: offered}
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want reply
		err  error
	}{
		{"250 2.1.0 ok\r\n", reply{250, "2.1.0", "ok"}, nil},
		{"250\r\n", reply{250, "", ""}, nil},
		{"250 \r\n", reply{250, "", ""}, nil},
		{"250 ok\n", reply{250, "", "ok"}, nil},
		{"550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", reply{550, "5.1.1", "no such user"}, nil},
		{"550 5.7.515 no\r\n", reply{550, "5.7.515", "no"}, nil},
		{"550 4.1.1 class differs\r\n", reply{550, "", "4.1.1 class differs"}, nil},
		{"550 5.1 no\r\n", reply{550, "", "5.1 no"}, nil},
		{"550 5.1.x no\r\n", reply{550, "", "5.1.x no"}, nil},
		{"550 5.1.1234 no\r\n", reply{550, "", "5.1.1234 no"}, nil},
		{"", reply{}, io.EOF},
		{"25", reply{}, io.EOF},
		{"250 ok", reply{}, io.EOF},
		{"250-ok\r\n", reply{}, io.EOF},
		{"25\r\n", reply{}, errUnreadable},
		{"2500 ok\r\n", reply{}, errUnreadable},
		{"250_ok\r\n", reply{}, errUnreadable},
		{"150 ok\r\n", reply{}, errUnreadable},
		{"650 ok\r\n", reply{}, errUnreadable},
		{"2x0 ok\r\n", reply{}, errUnreadable},
		{" 250 ok\r\n", reply{}, errUnreadable},
		{"\r\n250 ok\r\n", reply{}, errUnreadable},
		{"250 a\rb\r\n", reply{}, errUnreadable},
		{"250 a\x00b\r\n", reply{}, errUnreadable},
		{"250-a\r\n251 b\r\n", reply{}, errUnreadable},
		{"250 " + strings.Repeat("x", 4096) + "\r\n", reply{}, errUnreadable},
		{strings.Repeat("250-x\r\n", 1000), reply{}, errUnreadable},
	}
	for _, tt := range tests {
		got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)), false)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(reply{})); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%.40q: error %v, want %v (-want +got):\n%s", tt.in, err, tt.err, diff)
		}
	}
}

// TestClassifyReplies has what is told apart within a cell.
func TestClassifyReplies(t *testing.T) {
	t.Parallel()
	permanent := func(category string) judgement { return judgement{mail.Permanent, mail.ScopeRecipient, category} }
	temporary := func(category string) judgement { return judgement{mail.Temporary, mail.ScopeRecipient, category} }
	tests := []struct {
		phase      mail.Phase
		reply      string
		want       judgement
		retryAfter time.Duration
	}{
		{mail.PhaseConnect, "535 5.7.8 no", relayAuth, 0},
		{mail.PhaseConnect, "534 5.7.9 no", relayAuth, 0},
		{mail.PhaseConnect, "554 5.7.1 blocked", relayPolicy, 0},
		{mail.PhaseMail, "452 4.3.1 full", throttled, 0},
		{mail.PhaseMail, "451 4.1.8 domain not found", judgement{mail.Temporary, mail.ScopeSender, mail.CategorySenderRefused}, 0},
		{mail.PhaseMail, "553 5.1.8 no", senderFault, 0},
		{mail.PhaseMail, "552 5.3.4 too big", badContent, 0},
		{mail.PhaseMail, "552 too big", badContent, 0},
		{mail.PhaseMail, "550 5.7.1 no", senderFault, 0},
		{mail.PhaseRcpt, "450 4.2.0 greylisted", throttled, greylistDelay},
		{mail.PhaseRcpt, "451 4.7.1 greylisted", throttled, greylistDelay},
		{mail.PhaseRcpt, "451 later", throttled, greylistDelay},
		{mail.PhaseRcpt, "452 4.5.3 too many", throttled, 0},
		{mail.PhaseRcpt, "452 4.2.2 over quota", temporary(mail.CategoryMailboxFull), 0},
		{mail.PhaseRcpt, "450 4.2.1 disabled", temporary(mail.CategoryDisabled), 0},
		{mail.PhaseRcpt, "450 4.2.1 receiving mail at a rate that", throttled, greylistDelay},
		{mail.PhaseRcpt, "450 4.7.28 rate limit", throttled, greylistDelay},
		{mail.PhaseRcpt, "421 4.7.28 rate limit", relayBusy, 0},
		{mail.PhaseRcpt, "550 5.1.1 x", badMailbox, 0},
		{mail.PhaseRcpt, "550 5.1.2 x", badMailbox, 0},
		{mail.PhaseRcpt, "550 5.1.10 x", badMailbox, 0},
		{mail.PhaseRcpt, "553 x", badMailbox, 0},
		{mail.PhaseRcpt, "550 5.2.1 x", permanent(mail.CategoryDisabled), 0},
		{mail.PhaseRcpt, "552 5.2.2 x", permanent(mail.CategoryMailboxFull), 0},
		{mail.PhaseRcpt, "552 x", permanent(mail.CategoryMailboxFull), 0},
		{mail.PhaseRcpt, "550 5.6.7 x", permanent(mail.CategoryInvalid), 0},
		{mail.PhaseRcpt, "550 5.7.1 spam", policy, 0},
		{mail.PhaseRcpt, "554 x", policy, 0},
		{mail.PhaseRcpt, "500 x", permanent(mail.CategoryOther), 0},
		{mail.PhaseRcpt, "550 5.7.25 no PTR", senderFault, 0},
		{mail.PhaseRcpt, "550 5.7.27 SPF", senderFault, 0},
		{mail.PhaseRcpt, "550 5.7.28 unsolicited", senderPolicy, 0},
		{mail.PhaseRcpt, "550 5.7.29 no TLS", senderFault, 0},
		{mail.PhaseRcpt, "550 5.7.515 DMARC", senderFault, 0},
		{mail.PhaseRcpt, "550 5.7.60 send as", senderFault, 0},
		{mail.PhaseRcpt, "553 5.7.1 <x>: Sender address rejected: not owned", senderFault, 0},
		{mail.PhaseRcpt, "554 5.7.1 Client host rejected: blocked", senderPolicy, 0},
		{mail.PhaseRcpt, "504 5.5.2 <x>: Helo command rejected: need FQDN", senderFault, 0},
		{mail.PhaseRcpt, "554 5.7.1 <x>: Relay access denied", relayAuth, 0},
		{mail.PhaseRcpt, "550 5.7.9 stronger", relayAuth, 0},
		{mail.PhaseRcpt, "250 ok", lost, 0},
		{mail.PhaseData, "554 5.5.1 no valid recipients", policy, 0},
		{mail.PhaseData, "250 ok", lost, 0},
		{mail.PhaseDot, "451 4.3.0 later", laterOther, 0},
		{mail.PhaseDot, "450 4.7.26 unauthenticated", judgement{mail.Temporary, mail.ScopeSender, mail.CategorySenderRefused}, 0},
		{mail.PhaseDot, "552 too big", badContent, 0},
		{mail.PhaseDot, "552 5.2.3 too big", badContent, 0},
		{mail.PhaseDot, "550 5.6.0 broken", badContent, 0},
		{mail.PhaseDot, "550 5.1.1 who", badMailbox, 0},
		{mail.PhaseDot, "550 5.7.515 DMARC", senderFault, 0},
		{mail.PhaseDot, "535 5.7.8 who are you", relayAuth, 0},
		{mail.PhaseDot, "251 almost", inDoubt, 0},
		{mail.PhaseDot, "354 again", inDoubt, 0},
		{mail.PhaseDot, "250 2.0.0 ok", sent, 0},
	}
	for _, tt := range tests {
		r, err := readReply(bufio.NewReader(strings.NewReader(tt.reply+"\r\n")), false)
		v := classify(tt.phase, r, err)
		if diff := cmp.Diff(tt.want, judge(v)); diff != "" || v.RetryAfter != tt.retryAfter {
			t.Errorf("%s %q, after %v (-want +got):\n%s", tt.phase, tt.reply, v.RetryAfter, diff)
		}
	}
}

func TestDetailQuotesNobody(t *testing.T) {
	t.Parallel()
	env := mail.Envelope{From: "news+tag@sender.example", To: "alice.b@receiver.example"}
	m := newMasker(username, password)
	tests := map[string]string{
		"<alice.b@receiver.example>: Recipient address rejected":                          "550 <***>: Recipient address rejected",
		"user alice.b unknown; ALICE.B. is not, alice.bob may be":                         "550 user *** unknown; ***. is not, alice.bob may be",
		"see https://x.example/?to=alice.b%40receiver.example":                            "550 see https:***",
		"\"o'hara\"@x.example and ünï@exämple.com, a=40b.example":                         "550 \"o'***\" and ***, ***",
		"hello relay-user, canary-password and " + "AHJlbGF5LXVzZXIAY2FuYXJ5LXBhc3N3b3Jk": "550 hello ***, *** and ***",
		"control \x1b[31m and \xff":                                                       "550 control ?[31m and ?",
		"https://support.google.com/mail/?p=NoSuchUser - gsmtp":                           "550 https://support.google.com/mail/?p=NoSuchUser - gsmtp",
	}
	for text, want := range tests {
		v := classify(mail.PhaseRcpt, reply{code: 550, text: m.mask(text, env)}, nil)
		if text[0] == '"' {
			if strings.Contains(v.Detail, "@") || strings.Contains(v.Detail, "40b") {
				t.Errorf("%q: %q", text, v.Detail)
			}
			continue
		}
		if diff := cmp.Diff(want, v.Detail); diff != "" {
			t.Errorf("detail (-want +got):\n%s", diff)
		}
	}
	long := classify(mail.PhaseRcpt, reply{code: 550, text: strings.Repeat("ñ", 1000)}, nil).Detail
	if len(long) > maxDetail || !utf8.ValidString(long) {
		t.Errorf("%d octets, valid: %v", len(long), utf8.ValidString(long))
	}
}

func FuzzDetail(f *testing.F) {
	f.Add("550 5.1.1 <a@b.example>: no", "a")
	f.Add("user %41lice=40b＠c", "alice")
	f.Fuzz(func(t *testing.T, text, local string) {
		env := mail.Envelope{To: local + "@b.example"}
		v := classify(mail.PhaseRcpt, reply{code: 550, text: newMasker(username, password).mask(text, env)}, nil)
		if len(v.Detail) > maxDetail || !utf8.ValidString(v.Detail) || strings.ContainsAny(v.Detail, "@＠\r\n\x00") {
			t.Errorf("%q", v.Detail)
		}
	})
}

func TestEnvelopeIsCheckedBeforeAnything(t *testing.T) {
	t.Parallel()
	pool, err := NewPool(Config{Host: "127.0.0.1", Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, bad := range []string{
		"", "@", "a@", "@b", "a", "a@b\r\nRCPT TO:<c@d>", "a\n@b", "a\x00@b", "a b@c", "a@b c", "<a@b>", "a>@b",
		`"a@b.c> SIZE=1"@d.e`, `"quoted"@d.e`, "a@[127.0.0.1]", ".a@b", "a.@b", "a..b@c", "a@b..c", "a@.b", "a@b.", "a@b@c", "a\t@b",
		"a\x7f@b", "a\u0085@b", "a\u2028@b", "a\xff@b", "a(b)@c", "a,b@c", "a;b@c", "a@b/c", "a@b_c d", strings.Repeat("a", 65) + "@b",
		"a@" + strings.Repeat("b", 260),
	} {
		v := pool.Send(testContext(t), mail.Envelope{From: "a@b.example", To: bad}, message, nil)
		if v.Outcome != mail.Permanent || v.Scope != mail.ScopeRecipient || v.Category != mail.CategoryInvalid || v.Phase != mail.PhaseRcpt {
			t.Errorf("to %q: %+v", bad, v)
		}
		v = pool.Send(testContext(t), mail.Envelope{From: bad, To: "a@b.example"}, message, nil)
		if v.Outcome != mail.Permanent || v.Scope != mail.ScopeSender || v.Category != mail.CategoryInvalid {
			t.Errorf("from %q: %+v", bad, v)
		}
	}
	for _, good := range []string{
		"a@b", "a.b+c@d.example", "o'hara!#$%&*/=?^_`{|}~-@x-y.example", "ünï@exämple.com", "用户@例子.example",
		strings.Repeat("a", 64) + "@b.example",
	} {
		if v := checkEnvelope(mail.Envelope{From: good, To: good}); v != nil {
			t.Errorf("%q: %+v", good, v)
		}
	}
}

func TestAppendWire(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"": "", "a": "a\r\n", "a\r\n": "a\r\n", ".": "..\r\n", "\r\n.\r\n": "\r\n..\r\n", "\n.\n": "\r\n..\r\n",
		"\r.\r": "\r\n..\r\n", "\n.\r\n": "\r\n..\r\n", "\r.\r\n": "\r\n..\r\n", "\r\n.\r": "\r\n..\r\n", "\r\r\n": "\r\n\r\n",
		"a\r\r\n.\rb": "a\r\n\r\n..\r\nb\r\n", "..": "...\r\n", "a.b\r\n": "a.b\r\n", "\n": "\r\n", "\r": "\r\n",
	}
	for raw, want := range tests {
		if got := string(appendWire(nil, []byte(raw))); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

// FuzzDotStuffing: whatever a message holds, its end is where the sender put it, and a receiver gets back its lines.
func FuzzDotStuffing(f *testing.F) {
	for _, seed := range []string{"", ".", "\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r.\r\n", "\r\n.\r", "\r\n..\r\n", "a\r\n.\r\nMAIL FROM:<x@y>\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		wire := appendWire([]byte("prefix"), raw)[len("prefix"):]
		var got []byte
		for rest := wire; len(rest) > 0; {
			end := bytes.Index(rest, []byte("\r\n"))
			if end < 0 {
				t.Fatalf("the last line of %q is not ended", wire)
			}
			line := rest[:end]
			rest = rest[end+2:]
			if string(line) == "." || bytes.ContainsAny(line, "\r\n") {
				t.Fatalf("the wire holds an end, or a bare CR or LF: %q", wire)
			}
			got = append(append(got, bytes.TrimPrefix(line, []byte("."))...), '\n')
		}
		want := bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\n')
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := NewPool(Config{Port: 70000, MaxConnections: -1, Password: "x", HELO: "a b"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"host name is missing", "70000", "-1 connections", "no user name", "HELO"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
}
