package smtptest

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// talk sends text over one connection and returns everything that the server says until it hangs up.
func talk(t *testing.T, server *Server, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for lines := bufio.NewScanner(c); lines.Scan(); {
		codes = append(codes, lines.Text()[:3])
	}
	return strings.Join(codes, " ")
}

func TestViolations(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, replies string
		want          []string
	}{
		"clean":                {"EHLO x\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@d>\r\nDATA\r\n..\r\n.\r\nQUIT\r\n", "220 250 250 250 354 250 221", nil},
		"bare LF in a command": {"EHLO x\nQUIT\r\n", "220 250 221", []string{"session 1: a command line ends with a bare LF"}},
		"smuggled end": {
			"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na\r.\r\nb\r\n.\r\nQUIT\r\n", "220 250 250 250 354 250 221",
			[]string{"session 1: a message line holds a bare CR"},
		},
		"injected parameter": {"EHLO x\r\nMAIL FROM:<\"a> SIZE=1\"@b>\r\nQUIT\r\n", "220 250 501 221", []string{"session 1: MAIL with a broken grammar"}},
		"nested MAIL":        {"EHLO x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nQUIT\r\n", "220 250 250 503 221", []string{"session 1: MAIL out of order"}},
		"data for nobody":    {"EHLO x\r\nMAIL FROM:<a@b>\r\nDATA\r\nQUIT\r\n", "220 250 250 503 221", []string{"session 1: DATA without a recipient"}},
		"long line": {
			"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + strings.Repeat("x", 999) + "\r\n.\r\nQUIT\r\n",
			"220 250 250 250 354 250 221",
			[]string{"session 1: a message line of 1001 octets"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := New(Script{})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if diff := cmp.Diff(tt.replies, talk(t, server, tt.text)); diff != "" {
				t.Errorf("replies (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, server.Violations()); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	server := Start(t, Script{
		For: map[string]map[Step][]Reaction{"c@d": {RCPT: {{Reply: "450 later"}}, Dot: {{Silent: true, Accept: true, Then: Close}}}},
		On:  map[Step][]Reaction{Dot: {{Reply: "554 spam"}}},
	})
	begin := "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<"
	rest := ">\r\nDATA\r\nMessage-ID: <1@x>\r\n\r\n..\r\n.\r\nQUIT\r\n"
	for i, replies := range []string{"220 250 250 250 354 554 221", "220 250 250 250 354 250 221"} {
		if got := talk(t, server, begin+"e@f"+rest); got != replies {
			t.Errorf("%d: %s", i, got)
		}
	}
	if got := talk(t, server, begin+"C@D>\r\nRSET\r\nQUIT\r\n"); got != "220 250 250 450 250 221" {
		t.Error(got)
	}
	if got := talk(t, server, begin+"c@d"+rest); got != "220 250 250 250 354" {
		t.Error(got)
	}
	data := []byte("Message-ID: <1@x>\r\n\r\n.\r\n")
	want := []Entry{
		{Session: 1, From: "a@b", To: []string{"e@f"}, Data: data, MessageID: "1@x", Replied: true, Reply: "554 spam"},
		{Session: 2, From: "a@b", To: []string{"e@f"}, Data: data, MessageID: "1@x", Accepted: true, Replied: true, Reply: "250 2.0.0 queued"},
		{Session: 4, From: "a@b", To: []string{"c@d"}, Data: data, MessageID: "1@x", Accepted: true},
	}
	if diff := cmp.Diff(want, server.Ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"e@f": 1, "c@d": 1}, server.Accepts()); diff != "" {
		t.Errorf("accepts (-want +got):\n%s", diff)
	}
}
