package smtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// A tail counts for the relay's limit, is announced with the rest, and is on the wire before the dot is asked for.
func TestTail(t *testing.T) {
	t.Parallel()
	tail, ok := mail.NewTail(bytes.Repeat([]byte("QUJD\r\n"), 40_000))
	if !ok {
		t.Fatal("it is no tail")
	}
	body := make(chan struct{})
	server := smtptest.Start(t, smtptest.Script{
		Features: []string{"PIPELINING", "SIZE 250000"}, On: map[smtptest.Step][]smtptest.Reaction{smtptest.Body: {{Reached: body}}},
	})
	pool := newPool(t, server, func(c *Config) { c.BodyWithDot = 8 << 20 })
	refused := pool.SendTail(testContext(t), envelope, bytes.Repeat([]byte("x\r\n"), 10_000), tail, nil)
	if refused.Outcome != mail.Permanent || refused.EnhancedCode != "5.3.4" || !strings.Contains(refused.Detail, "270000 of 250000") {
		t.Errorf("a mail that is too large with its tail: %+v", refused)
	}
	vetoed := pool.SendTail(testContext(t), envelope, message, tail, func() error {
		<-body
		return errors.New("the journal is full")
	})
	if vetoed.Outcome != mail.Temporary || vetoed.Phase != mail.PhaseData || len(server.Ledger()) != 0 {
		t.Errorf("verdict %+v, ledger of %d", vetoed, len(server.Ledger()))
	}
	wantSent(t, pool.SendTail(testContext(t), envelope, message[:len(message)-2], tail, nil))
	got := server.Ledger()
	if len(got) != 1 || !bytes.Equal(got[0].Data, append(bytes.Clone(message), tail.Bytes()...)) {
		t.Errorf("ledger of %d", len(got))
	}
}
