package smtp

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// judgement is the part of a verdict that decides what happens next.
type judgement struct {
	Outcome  mail.Outcome
	Scope    mail.Scope
	Category string
}

func judge(v mail.Verdict) judgement { return judgement{v.Outcome, v.Scope, v.Category} }

// The judgements of the table in docs/smtp.md.
var (
	sent         = judgement{mail.Sent, "", ""}
	inDoubt      = judgement{mail.Uncertain, mail.ScopeRecipient, mail.CategoryInDoubt}
	relayAway    = judgement{mail.Temporary, mail.ScopeRelay, mail.CategoryNetwork}
	relayBusy    = judgement{mail.Temporary, mail.ScopeRelay, mail.CategoryRateLimited}
	relayAuth    = judgement{mail.Temporary, mail.ScopeRelay, mail.CategoryRelayAuth}
	relayPolicy  = judgement{mail.Temporary, mail.ScopeRelay, mail.CategoryPolicy}
	lost         = judgement{mail.Temporary, mail.ScopeRecipient, mail.CategoryNetwork}
	throttled    = judgement{mail.Temporary, mail.ScopeRecipient, mail.CategoryRateLimited}
	laterOther   = judgement{mail.Temporary, mail.ScopeRecipient, mail.CategoryOther}
	badMailbox   = judgement{mail.Permanent, mail.ScopeRecipient, mail.CategoryBadMailbox}
	badContent   = judgement{mail.Permanent, mail.ScopeRecipient, mail.CategoryContent}
	policy       = judgement{mail.Permanent, mail.ScopeRecipient, mail.CategoryPolicy}
	senderFault  = judgement{mail.Permanent, mail.ScopeSender, mail.CategorySenderRefused}
	senderPolicy = judgement{mail.Permanent, mail.ScopeSender, mail.CategoryPolicy}
)

// ends are the ways in which a step of the dialogue can end.
var ends = []struct {
	name     string
	reaction smtptest.Reaction
	reply    reply
	err      error
}{
	{name: "4xx", reaction: smtptest.Reaction{Reply: "451 4.3.0 try later"}, reply: reply{451, "4.3.0", "try later"}},
	{name: "5xx", reaction: smtptest.Reaction{Reply: "550 no"}, reply: reply{550, "", "no"}},
	{name: "421", reaction: smtptest.Reaction{Reply: "421 4.3.2 shutting down", Then: smtptest.Close}, reply: reply{421, "4.3.2", "shutting down"}},
	{name: "530", reaction: smtptest.Reaction{Reply: "530 5.7.0 authentication required"}, reply: reply{530, "5.7.0", "authentication required"}},
	{name: "sender's DMARC", reaction: smtptest.Reaction{Reply: "550-5.7.26 unauthenticated\r\n550 5.7.26 mail"}, reply: reply{550, "5.7.26", "unauthenticated mail"}},
	{name: "EOF", reaction: smtptest.Reaction{Silent: true, Then: smtptest.Close}, err: io.EOF},
	{name: "RST", reaction: smtptest.Reaction{Silent: true, Then: smtptest.Reset}, err: errors.New("read: connection reset")},
	{name: "half a reply", reaction: smtptest.Reaction{Raw: "25", Then: smtptest.Close}, err: io.EOF},
	{name: "half a multi-line reply", reaction: smtptest.Reaction{Raw: "250-ok\r\n", Then: smtptest.Close}, err: io.EOF},
	{name: "garbage", reaction: smtptest.Reaction{Raw: "hello there\r\n"}, err: errUnreadable},
	{name: "1xx", reaction: smtptest.Reaction{Raw: "150 hm\r\n"}, err: errUnreadable},
	{name: "NUL", reaction: smtptest.Reaction{Raw: "250 o\x00k\r\n"}, err: errUnreadable},
	{name: "codes differ", reaction: smtptest.Reaction{Raw: "250-a\r\n550 b\r\n"}, err: errUnreadable},
	{name: "5 KiB", reaction: smtptest.Reaction{Raw: "250 " + strings.Repeat("x", 5<<10) + "\r\n"}, err: errUnreadable},
}

// cells is the table of docs/smtp.md: what each end means in each phase.
var cells = map[mail.Phase]map[string]judgement{
	mail.PhaseConnect: {
		"4xx": relayBusy, "5xx": relayPolicy, "421": relayBusy, "530": relayAuth, "sender's DMARC": relayPolicy,
		"": relayAway,
	},
	mail.PhaseMail: {
		"4xx": throttled, "5xx": senderFault, "421": relayBusy, "530": relayAuth, "sender's DMARC": senderFault,
		"": relayAway,
	},
	mail.PhaseRcpt: {
		"4xx": throttled, "5xx": badMailbox, "421": relayBusy, "530": relayAuth, "sender's DMARC": senderFault,
		"": lost,
	},
	mail.PhaseData: {
		"4xx": laterOther, "5xx": policy, "421": relayBusy, "530": relayAuth, "sender's DMARC": senderFault,
		"": lost,
	},
	mail.PhaseDot: {
		"4xx": laterOther, "5xx": policy, "421": relayBusy, "530": relayAuth, "sender's DMARC": senderFault,
		"": inDoubt,
	},
}

// cell is the expected judgement; the ends without a reply share one, whose name is empty.
func cell(phase mail.Phase, end string) judgement {
	if want, ok := cells[phase][end]; ok {
		return want
	}
	return cells[phase][""]
}

func TestClassifyEveryCell(t *testing.T) {
	t.Parallel()
	for phase := range cells {
		for _, end := range ends {
			t.Run(string(phase)+"/"+end.name, func(t *testing.T) {
				t.Parallel()
				v := classify(phase, end.reply, end.err)
				if diff := cmp.Diff(cell(phase, end.name), judge(v)); diff != "" {
					t.Errorf("judgement (-want +got):\n%s", diff)
				}
				if v.Phase != phase || v.Code != end.reply.code || v.EnhancedCode != end.reply.enhanced || v.Detail == "" {
					t.Errorf("incomplete: %+v", v)
				}
			})
		}
	}
	if diff := cmp.Diff(mail.Verdict{Outcome: mail.Sent, Phase: mail.PhaseDot, Code: 250, EnhancedCode: "2.0.0"},
		classify(mail.PhaseDot, reply{250, "2.0.0", "queued"}, nil)); diff != "" {
		t.Errorf("250 after the dot (-want +got):\n%s", diff)
	}
}

// steps are the steps of the server at which a phase can end.
var steps = []struct {
	step  smtptest.Step
	phase mail.Phase
}{
	{smtptest.Connect, mail.PhaseConnect},
	{smtptest.MAIL, mail.PhaseMail},
	{smtptest.RCPT, mail.PhaseRcpt},
	{smtptest.DATA, mail.PhaseData},
	{smtptest.Dot, mail.PhaseDot},
}

// TestEveryCellOverTheWire plays every cell against a server, and then sends another mail through the same pool: it has
// to arrive whatever the first one met with.
func TestEveryCellOverTheWire(t *testing.T) {
	t.Parallel()
	for _, features := range [][]string{nil, {"PIPELINING"}} {
		for _, step := range steps {
			for _, end := range ends {
				t.Run(strings.Join(append(features, string(step.phase), end.name), "/"), func(t *testing.T) {
					t.Parallel()
					server := smtptest.Start(t, smtptest.Script{
						Features: features, On: map[smtptest.Step][]smtptest.Reaction{step.step: {end.reaction}},
					})
					clock := newFakeClock()
					// A greeting that never ends, such as "250-a", "550 b", is only ever a matter of time.
					pool := newPool(t, server, clock.use, func(c *Config) { c.Timeouts.Handshake = 20 * shortly })
					v := send(t, pool, "alice@receiver.example")
					if diff := cmp.Diff(cell(step.phase, end.name), judge(v)); diff != "" {
						t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
					}
					if v.Phase != step.phase || v.Code != end.reply.code || v.EnhancedCode != end.reply.enhanced {
						t.Errorf("phase and codes: %+v", v)
					}
					clock.advance(2 * maxBackoff)
					wantSent(t, send(t, pool, "bob@receiver.example"))
					want := map[string]int{"bob@receiver.example": 1}
					if step.phase == mail.PhaseDot && strings.HasPrefix(end.reaction.Raw, "250") {
						want["alice@receiver.example"] = 1 // unreadable to us, and yet accepted: in doubt is the truth
					}
					if diff := cmp.Diff(want, server.Accepts()); diff != "" {
						t.Errorf("ledger (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestEveryCellBehindADot plays every cell against a mail that was opened behind the final dot of another, and every end
// of the dot against the two of them: what happens to one is never held against the other.
func TestEveryCellBehindADot(t *testing.T) {
	t.Parallel()
	for _, step := range steps[1:] {
		for _, end := range ends {
			t.Run(string(step.phase)+"/"+end.name, func(t *testing.T) {
				t.Parallel()
				first := newGate()
				on := map[smtptest.Step][]smtptest.Reaction{
					smtptest.MAIL: {{}}, smtptest.RCPT: {{}}, smtptest.DATA: {{}}, smtptest.Dot: {first.reaction()},
				}
				on[step.step] = append(on[step.step], end.reaction)
				server := smtptest.Start(t, smtptest.Script{Features: []string{"PIPELINING"}, On: on})
				clock := newFakeClock()
				pool := newPool(t, server, clock.use, func(c *Config) { c.MaxConnections = 1 })
				ahead := sendBehind(t, pool, first)
				follower := sendBehind(t, pool, nil)
				awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
				first.open()
				wantSent(t, <-ahead)
				v := <-follower
				want := cell(step.phase, end.name)
				if step.phase == mail.PhaseMail && (end.reply.code == 421 || isGone(end.err) || end.name == "RST") {
					want = sent // nothing was said of it, so it took another connection
				} else if v.Phase != step.phase {
					t.Errorf("phase: %+v", v)
				}
				if diff := cmp.Diff(want, judge(v)); diff != "" {
					t.Errorf("judgement (-want +got):\n%s\n%+v", diff, v)
				}
				clock.advance(2 * maxBackoff)
				wantSent(t, send(t, pool, "bob@receiver.example"))
				accepts := map[string]int{"bob@receiver.example": 1, "ahead@receiver.example": 1}
				if want == sent || step.phase == mail.PhaseDot && strings.HasPrefix(end.reaction.Raw, "250") {
					accepts["follower@receiver.example"] = 1
				}
				if diff := cmp.Diff(accepts, server.Accepts()); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestDotThatEndsWithAnotherBehindIt: the mail behind goes another way, whatever becomes of the one ahead.
func TestDotThatEndsWithAnotherBehindIt(t *testing.T) {
	t.Parallel()
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			first := newGate()
			reaction := end.reaction
			reaction.Reached, reaction.Hang = first.reached, first.opened
			server := smtptest.Start(t, smtptest.Script{
				Features: []string{"PIPELINING"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {reaction}},
			})
			pool := newPool(t, server, func(c *Config) { c.MaxConnections = 1 })
			ahead := sendBehind(t, pool, first)
			follower := sendBehind(t, pool, nil)
			awaitStats(t, pool, func(s Stats) bool { return s.Followed == 1 })
			first.open()
			if v := <-ahead; judge(v) != cell(mail.PhaseDot, end.name) || v.Phase != mail.PhaseDot {
				t.Errorf("ahead: %+v", v)
			}
			wantSent(t, <-follower)
			want := map[string]int{"follower@receiver.example": 1}
			if strings.HasPrefix(end.reaction.Raw, "250") {
				want["ahead@receiver.example"] = 1
			}
			if diff := cmp.Diff(want, server.Accepts()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTimeouts: a relay that hangs is given up after the time of its phase, which alone is short.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	short := map[mail.Phase]func(*Timeouts){
		mail.PhaseConnect: func(t *Timeouts) { t.Handshake = shortly },
		mail.PhaseMail:    func(t *Timeouts) { t.Command = shortly },
		mail.PhaseRcpt:    func(t *Timeouts) { t.Command = shortly },
		mail.PhaseData:    func(t *Timeouts) { t.Data = shortly },
		mail.PhaseDot:     func(t *Timeouts) { t.Dot = shortly },
	}
	for _, features := range [][]string{nil, {"PIPELINING"}} {
		for _, step := range steps {
			t.Run(strings.Join(append(features, string(step.phase)), "/"), func(t *testing.T) {
				t.Parallel()
				server := smtptest.Start(t, smtptest.Script{
					Features: features,
					On:       map[smtptest.Step][]smtptest.Reaction{step.step: {{Hang: make(chan struct{})}}},
				})
				pool := newPool(t, server, func(c *Config) { short[step.phase](&c.Timeouts) })
				v := send(t, pool, "alice@receiver.example")
				if diff := cmp.Diff(cell(step.phase, ""), judge(v)); diff != "" {
					t.Errorf("judgement (-want +got):\n%s", diff)
				}
				if v.Phase != step.phase || !strings.Contains(v.Detail, "did not answer in time") {
					t.Errorf("phase and detail: %+v", v)
				}
			})
		}
	}
}

// TestSlowReply: a reply that trickles in is not a lost one, but it does not extend the phase's time either.
func TestSlowReply(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{
		smtptest.Dot: {{OneByte: 1}, {OneByte: patience}},
	}})
	pool := newPool(t, server, func(c *Config) { c.Timeouts.Dot = 5 * shortly })
	wantSent(t, send(t, pool, "alice@receiver.example"))
	if v := send(t, pool, "bob@receiver.example"); v.Outcome != mail.Uncertain {
		t.Errorf("want uncertain, got %+v", v)
	}
}
