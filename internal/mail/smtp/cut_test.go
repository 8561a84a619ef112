package smtp

import (
	"fmt"
	"net/textproto"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// exchange sends four mails over one connection at a time through this network, and returns what we say of each, and
// how often the relay took it.
func exchange(t *testing.T, network smtptest.Network, bodyWithDot int, features ...string) (map[string]mail.Verdict, map[string]int) {
	t.Helper()
	server := smtptest.Start(t, smtptest.Script{
		Features: features,
		For: map[string]map[smtptest.Step][]smtptest.Reaction{
			"r2@receiver.example": {smtptest.Dot: {{Reply: "550-5.7.1 a refusal\r\n550 5.7.1 of two lines"}}},
			"r3@receiver.example": {smtptest.RCPT: {{Reply: "550-5.1.1 a refusal\r\n550 5.1.1 of two lines"}}},
		},
	})
	proxy := smtptest.StartProxy(t, server.Addr(), network)
	pool := newPool(t, server, func(c *Config) { c.Port, c.MaxConnections, c.BodyWithDot = proxy.Port(), 1, bodyWithDot })
	verdicts := map[string]mail.Verdict{}
	var mu sync.Mutex
	var senders sync.WaitGroup
	for i := range 4 {
		to := fmt.Sprintf("r%d@receiver.example", i)
		senders.Go(func() {
			v := send(t, pool, to)
			mu.Lock()
			defer mu.Unlock()
			verdicts[to] = v
		})
	}
	senders.Wait()
	_ = pool.Close()
	proxy.Close()
	server.Close()
	for _, violation := range server.Violations() {
		t.Errorf("the client broke the protocol: %s", violation)
	}
	return verdicts, server.Accepts()
}

// checkLedger compares what we say with what the relay knows.
func checkLedger(t *testing.T, verdicts map[string]mail.Verdict, accepts map[string]int) {
	t.Helper()
	for to, v := range verdicts {
		switch n := accepts[to]; {
		case n > 1:
			t.Errorf("%s was accepted %d times: %+v", to, n, v)
		case v.Outcome == mail.Sent && n != 1:
			t.Errorf("%s is said to be sent and was not accepted", to)
		case (v.Outcome == mail.Temporary || v.Outcome == mail.Permanent) && n != 0:
			t.Errorf("%s was accepted, and yet: %+v", to, v)
		case v.Outcome == mail.Permanent && to != "r2@receiver.example" && to != "r3@receiver.example":
			t.Errorf("%s was never refused, and yet: %+v", to, v)
		}
	}
}

// TestCutAtEveryOctet: wherever the connection ends, in whichever direction, nobody is said to have a mail that was not
// accepted, or to have none that was, and nobody gets two. At most one mail is in doubt.
func TestCutAtEveryOctet(t *testing.T) {
	t.Parallel()
	const up, down = 1200, 700 // about what the exchange takes
	const stride = 15          // odd, so that bodies go with and without their dots
	for offset := range stride {
		if testing.Short() && offset%5 > 0 {
			continue // one octet in five shows each place in a line already
		}
		t.Run(fmt.Sprint(offset), func(t *testing.T) {
			t.Parallel()
			for n := 1 + offset; n < up; n += stride {
				networks := []smtptest.Network{{CutUp: n}}
				if n < down {
					networks = append(networks, smtptest.Network{CutDown: n})
				}
				for _, network := range networks {
					verdicts, accepts := exchange(t, network, n%2*len(message), "PIPELINING")
					checkLedger(t, verdicts, accepts)
					doubts := 0
					for _, v := range verdicts {
						if v.Outcome == mail.Uncertain {
							doubts++
						}
					}
					if doubts > 1 || t.Failed() {
						t.Fatalf("%+v: %d in doubt, %+v, accepted %v", network, doubts, verdicts, accepts)
					}
				}
			}
		})
	}
}

// TestRepliesInPieces: however the replies are cut into packets, they mean the same.
func TestRepliesInPieces(t *testing.T) {
	t.Parallel()
	for _, features := range [][]string{nil, {"PIPELINING"}} {
		for chunk := range 9 {
			t.Run(fmt.Sprint(chunk, features), func(t *testing.T) {
				t.Parallel()
				verdicts, accepts := exchange(t, smtptest.Network{Chunk: chunk}, chunk%2*len(message), features...)
				checkLedger(t, verdicts, accepts)
				want := map[string]judgement{
					"r0@receiver.example": sent, "r1@receiver.example": sent,
					"r2@receiver.example": policy, "r3@receiver.example": badMailbox,
				}
				got := map[string]judgement{}
				for to, v := range verdicts {
					got[to] = judge(v)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("judgements (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestPartialWrite: the mail is in doubt from the first octet of the dot that the kernel took, and not before.
func TestPartialWrite(t *testing.T) {
	t.Parallel()
	body := []byte("Subject: x\r\n\r\nhello\r\n")
	pool, err := NewPool(Config{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, together := range []bool{true, false} {
		for taken := range len(body) + 3 {
			meter := &meteredConn{Conn: &deaf{taken: taken}, left: -1}
			c := &conn{cfg: pool.cfg, session: &gosmtp.Client{Text: textproto.NewConn(meter)}, tcp: meter, meter: meter}
			doubt, part := taken > 0, []byte(nil)
			if together {
				doubt, part = taken > len(body), body
			}
			tr := newTransaction(envelope, body, mail.Tail{}, nil)
			e := c.dot(pool, tr, part, newGuard(t.Context(), meter))
			v := classify(e.phase, e.reply, e.err)
			if (v.Outcome == mail.Uncertain) != doubt || !doubt && judge(v) != lost {
				t.Errorf("together %v, %d octets taken: %+v", together, taken, v)
			}
		}
	}
}
