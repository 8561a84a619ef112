package smtp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// TestSoak sends many mails at a time to a relay that misbehaves at random in every way that the cells know, and checks
// what we say of each against the relay's ledger. A failure names its seed.
func TestSoak(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chaos := &chaos{random: rand.New(rand.NewPCG(seed, 1)), refused: map[string]bool{}}
			security := []smtptest.Security{smtptest.Plain, smtptest.Plain, smtptest.StartTLS, smtptest.StartTLS}[seed%4]
			server := smtptest.Start(t, smtptest.Script{
				Security: security, Features: []string{"PIPELINING", "8BITMIME"}, React: chaos.react,
			})
			clock := newFakeClock()
			pool := newPool(t, server, clock.use, func(c *Config) {
				c.MaxConnections, c.MaxMails, c.BodyWithDot = 3, 20, int(seed%2)*len(message)
				c.UseTLS = security != smtptest.Plain
				c.Timeouts.Handshake = 2 * shortly // a greeting that never ends is only ever a matter of time
			})
			pool.circuit.jitter = func(time.Duration) time.Duration { return 0 }
			verdicts := map[string]mail.Verdict{}
			var mu sync.Mutex
			var senders sync.WaitGroup
			for i := range pool.Concurrency() {
				senders.Go(func() {
					for j := range 60 {
						to := fmt.Sprintf("r%d-%d@receiver.example", i, j)
						v := send(t, pool, to)
						clock.advance(v.RetryAfter + firstGrowth/8)
						mu.Lock()
						verdicts[to] = v
						mu.Unlock()
					}
				})
			}
			senders.Wait()
			_ = pool.Close()
			server.Close()
			accepts := server.Accepts()
			for to, v := range verdicts {
				n, sent := accepts[to], v.Outcome == mail.Sent
				if n > 1 || sent && n != 1 || !sent && v.Outcome != mail.Uncertain && n != 0 {
					t.Errorf("accepted %d times, and we say %+v", n, v)
				}
				if v.Outcome == mail.Permanent && v.Scope == mail.ScopeRecipient && !chaos.refused[to] {
					t.Errorf("never refused, and we say %+v", v)
				}
			}
			if n := len(accepts); n < len(verdicts)/2 {
				t.Errorf("only %d of %d mails were accepted", n, len(verdicts))
			}
		})
	}
}

// chaos reacts at random, one time in 30.
type chaos struct {
	mu      sync.Mutex
	random  *rand.Rand
	refused map[string]bool
}

func (c *chaos) react(step smtptest.Step, recipient string) *smtptest.Reaction {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := []smtptest.Step{smtptest.Connect, smtptest.MAIL, smtptest.RCPT, smtptest.DATA, smtptest.Dot, smtptest.RSET, smtptest.Idle}
	if !slices.Contains(known, step) || c.random.IntN(30) > 0 {
		return nil
	}
	end := ends[c.random.IntN(len(ends))]
	if step == smtptest.Idle {
		return &smtptest.Reaction{Silent: true, Then: smtptest.Then(1 + c.random.IntN(2))}
	}
	if end.reply.code/100 == 5 {
		c.refused[recipient] = true
	}
	return &end.reaction
}
