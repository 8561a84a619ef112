package smtp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

const (
	username = "relay-user"
	password = "canary-password"
)

func withTLS(c *Config) { c.UseTLS = true }

func withAuth(c *Config) { c.Username, c.Password = username, password }

func TestTLS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		script   smtptest.Script
		change   func(*Config)
		want     judgement
		inDetail string
	}{
		{"STARTTLS", smtptest.Script{Security: smtptest.StartTLS}, withTLS, sent, ""},
		{"implicit", smtptest.Script{Security: smtptest.ImplicitTLS}, func(c *Config) { c.UseTLS, c.ImplicitTLS = true, true }, sent, ""},
		{"not wanted though offered", smtptest.Script{Security: smtptest.StartTLS}, func(*Config) {}, sent, ""},
		{"STARTTLS stripped", smtptest.Script{}, withTLS, relayAway, "offers no STARTTLS"},
		{"STARTTLS refused", smtptest.Script{Security: smtptest.StartTLS, Always: map[smtptest.Step]smtptest.Reaction{
			smtptest.STARTTLS: {Reply: "454 4.7.0 not now"},
		}}, withTLS, relayBusy, "454 4.7.0 not now"},
		{"expired", smtptest.Script{Security: smtptest.StartTLS, Certificate: smtptest.Expired}, withTLS, relayAway, "certificate"},
		{"another host's", smtptest.Script{Security: smtptest.StartTLS, Certificate: smtptest.WrongHost}, withTLS, relayAway, "certificate"},
		{
			"another authority's",
			smtptest.Script{Security: smtptest.ImplicitTLS, Certificate: smtptest.Untrusted},
			func(c *Config) { c.UseTLS, c.ImplicitTLS = true, true }, relayAway, "certificate",
		},
		// What follows the reply to STARTTLS in clear text is an attacker's; it is never read as the relay's.
		{"replies injected before TLS", smtptest.Script{Security: smtptest.StartTLS, On: map[smtptest.Step][]smtptest.Reaction{
			smtptest.STARTTLS: {{Raw: "220 go ahead\r\n250-smtptest\r\n250 8BITMIME\r\n"}},
		}}, withTLS, sent, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, tt.script)
			v := send(t, newPool(t, server, tt.change), "alice@receiver.example")
			if diff := cmp.Diff(tt.want, judge(v)); diff != "" || !strings.Contains(v.Detail, tt.inDetail) {
				t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
			}
			for _, lines := range server.Commands() {
				starts := slices.Contains(lines, "STARTTLS")
				if mails := len(lines) > 1 && !starts; mails && tt.script.Security == smtptest.StartTLS && tt.name != "not wanted though offered" {
					t.Errorf("something was sent in clear text: %v", lines)
				}
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for _, mechanism := range mechanisms {
		for _, right := range []bool{true, false} {
			t.Run(fmt.Sprint(mechanism, "/", right), func(t *testing.T) {
				t.Parallel()
				script := smtptest.Script{Security: smtptest.StartTLS, Mechanisms: []string{mechanism}, Username: username, Password: password}
				if !right {
					script.Password = "another"
				}
				server := smtptest.Start(t, script)
				v := send(t, newPool(t, server, withTLS, withAuth, func(c *Config) { c.Auth = strings.ToLower(mechanism) }), "alice@receiver.example")
				want := sent
				if !right {
					want = relayAuth
				}
				if diff := cmp.Diff(want, judge(v)); diff != "" {
					t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
				}
				if strings.Contains(v.Detail, username) || strings.Contains(v.Detail, password) {
					t.Errorf("a credential is in the detail: %q", v.Detail)
				}
			})
		}
	}
}

func TestAuthenticationThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		script   smtptest.Script
		want     judgement
		inDetail string
	}{
		{"none offered", smtptest.Script{}, relayAuth, "offers no way"},
		{"unknown mechanism", smtptest.Script{Mechanisms: []string{"GSSAPI"}}, relayAuth, "offers no way"},
		{"account locked", smtptest.Script{Mechanisms: []string{"PLAIN"}, Always: map[smtptest.Step]smtptest.Reaction{
			smtptest.AUTH: {Reply: "534 5.7.9 get an application password"},
		}}, relayAuth, "534 5.7.9 get an"},
		{"for now", smtptest.Script{Mechanisms: []string{"PLAIN"}, Always: map[smtptest.Step]smtptest.Reaction{
			smtptest.AUTH: {Reply: "454 4.7.0 try later"},
		}}, relayBusy, "454 4.7.0"},
		{"EOF", smtptest.Script{Mechanisms: []string{"PLAIN"}, Always: map[smtptest.Step]smtptest.Reaction{
			smtptest.AUTH: {Silent: true, Then: smtptest.Close},
		}}, relayAway, "closed the connection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.script.Username, tt.script.Password = username, password
			server := smtptest.Start(t, tt.script)
			pool := newPool(t, server, withAuth, newFakeClock().use)
			v := send(t, pool, "alice@receiver.example")
			if diff := cmp.Diff(tt.want, judge(v)); diff != "" || !strings.Contains(v.Detail, tt.inDetail) {
				t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
			}
			if again := send(t, pool, "bob@receiver.example"); judge(again) != tt.want || server.Sessions() != 1 {
				t.Errorf("tried again at once: %+v", again)
			}
		})
	}
}

// TestCredentialsAreNotSentInClear: the relay is not on the loopback interface, as far as the mechanism knows.
func TestCredentialsAreNotSentInClear(t *testing.T) {
	t.Parallel()
	for _, offered := range [][]string{{"PLAIN"}, {"LOGIN"}, {"PLAIN", "LOGIN"}, {"plain"}, {"PLAIN", "XOAUTH2"}} {
		auth := &negotiatedAuth{username: username, password: password, host: "relay.example"}
		mechanism, response, err := auth.Start(serverInfo(offered, false))
		if err == nil || mechanism != "" || len(response) > 0 {
			t.Errorf("%v: %q with %d octets, error %v", offered, mechanism, len(response), err)
		}
	}
	for want, offered := range map[string][]string{
		"CRAM-MD5": {"PLAIN", "CRAM-MD5"}, "SCRAM-SHA-1": {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "XOAUTH2"}, "SCRAM-SHA-256": {"PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"},
	} {
		auth := &negotiatedAuth{username: username, password: password, host: "relay.example"}
		mechanism, response, err := auth.Start(serverInfo(offered, false))
		if err != nil || mechanism != want || bytes.Contains(response, []byte(password)) {
			t.Errorf("%v: %q, %v", offered, mechanism, err)
		}
	}
}

// TestRelayThatNeverStopsTalking: the greeting may be long, but not without end.
func TestRelayThatNeverStopsTalking(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Always: map[smtptest.Step]smtptest.Reaction{
		smtptest.Connect: {Raw: "220 " + strings.Repeat("x", 4<<20)},
	}})
	if v := send(t, newPool(t, server), "alice@receiver.example"); judge(v) != relayAway || !strings.Contains(v.Detail, "not readable") {
		t.Errorf("got %+v", v)
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	eightBit := []byte("From: a@b.example\r\nMessage-ID: <1@x>\r\n\r\nñandú\r\n")
	inHeader := []byte("From: a@b.example\r\nTo: ñandú@receiver.example\r\n\r\nhello\r\n")
	all := []string{"8BITMIME", "SMTPUTF8", "SIZE 100", "PIPELINING"}
	tests := []struct {
		name     string
		features []string
		to       string
		raw      []byte
		params   string
		want     judgement
		code     string
	}{
		{"nothing needed, nothing offered", nil, "a@b.example", message, "", sent, "2.0.0"},
		{"8 bit", []string{"8BITMIME"}, "a@b.example", eightBit, "BODY=8BITMIME", sent, "2.0.0"},
		{"8 bit not offered", []string{"SIZE"}, "a@b.example", eightBit, "", badContent, "5.6.3"},
		{"UTF-8 address", all, "ñandú@receiver.example", inHeader, fmt.Sprintf("SIZE=%d BODY=8BITMIME SMTPUTF8", len(inHeader)), sent, "2.0.0"},
		{
			"UTF-8 address, not offered",
			[]string{"8BITMIME"},
			"ñandú@receiver.example", inHeader, "",
			judgement{mail.Permanent, mail.ScopeRecipient, mail.CategoryInvalid},
			"5.6.7",
		},
		{"size not limited", []string{"SIZE 0"}, "a@b.example", message, "SIZE=103", sent, "2.0.0"},
		{"too large", all, "a@b.example", message, "", badContent, "5.3.4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, smtptest.Script{Features: tt.features})
			pool := newPool(t, server)
			v := pool.Send(testContext(t), mail.Envelope{From: "news@sender.example", To: tt.to}, tt.raw, nil)
			if diff := cmp.Diff(tt.want, judge(v)); diff != "" || v.EnhancedCode != tt.code {
				t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
			}
			if ledger := server.Ledger(); tt.want == sent && (len(ledger) != 1 || ledger[0].MailParams != tt.params || ledger[0].To[0] != tt.to) {
				t.Errorf("got %+v", ledger)
			}
			if tt.want != sent && strings.Contains(fmt.Sprint(server.Commands()), "MAIL") {
				t.Error("MAIL was sent")
			}
		})
	}
}
