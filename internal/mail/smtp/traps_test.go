package smtp

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// TestTrapsOfGoMail plays, to go-mail's own Send and to ours, what made us drive the transaction ourselves. If go-mail
// changes one of these, this test says so, and the reason can be looked at again.
func TestTrapsOfGoMail(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		script    smtptest.Script
		delivered bool
		reason    gomail.SendErrReason
		temporary bool
		code      int
		ours      judgement
	}{
		{
			"drops at MAIL",
			smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.MAIL: {{Silent: true, Then: smtptest.Close}}}},
			false, gomail.ErrSMTPMailFrom, false, 0, relayAway,
		},
		{
			"drops after the dot",
			smtptest.Script{On: map[smtptest.Step][]smtptest.Reaction{smtptest.Dot: {{Silent: true, Accept: true, Then: smtptest.Close}}}},
			false, gomail.ErrSMTPDataClose, false, 0, inDoubt,
		},
		{
			"accepts, then refuses RSET",
			smtptest.Script{Always: map[smtptest.Step]smtptest.Reaction{smtptest.RSET: {Reply: "421 bye", Then: smtptest.Close}}},
			true, gomail.ErrSMTPReset, false, 421, sent,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Start(t, tt.script)
			msg := newGoMail(t)
			err := goMailClient(t, server).DialAndSendWithContext(testContext(t), msg)
			var failed *gomail.SendError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if msg.IsDelivered() != tt.delivered || failed.Reason != tt.reason || failed.IsTemp() != tt.temporary || failed.ErrorCode() != tt.code {
				t.Errorf("go-mail: delivered %v, reason %v, temporary %v, code %d", msg.IsDelivered(), failed.Reason, failed.IsTemp(), failed.ErrorCode())
			}
			if v := send(t, newPool(t, smtptest.Start(t, tt.script)), "alice@receiver.example"); judge(v) != tt.ours {
				t.Errorf("ours: %+v", v)
			}
		})
	}
}

// TestTruncatedMail: go-mail has a truncated mail accepted if its body fails half-way, because its QUIT ends the data.
// Ours does not, wherever it stops.
func TestTruncatedMail(t *testing.T) {
	t.Parallel()
	theirs := smtptest.Start(t, smtptest.Script{})
	msg := newGoMail(t)
	msg.SetBodyWriter(gomail.TypeTextPlain, brokenBody)
	_ = goMailClient(t, theirs).DialAndSendWithContext(testContext(t), msg)
	if len(theirs.Ledger()) != 1 || strings.Contains(string(theirs.Ledger()[0].Data), "the end") {
		t.Errorf("go-mail no longer sends a truncated mail: %+v", theirs.Ledger())
	}

	ours := smtptest.Start(t, smtptest.Script{})
	pool := newPool(t, ours)
	ctx, cancel := context.WithCancel(testContext(t))
	v := pool.Send(ctx, envelope, message, func() error { cancel(); return errors.New("stop here") })
	_ = pool.Close()
	ours.Close()
	if len(ours.Ledger()) != 0 || v.Outcome != mail.Temporary {
		t.Errorf("verdict %+v, ledger %+v", v, ours.Ledger())
	}
}

func brokenBody(w io.Writer) (int64, error) {
	n, _ := io.WriteString(w, strings.Repeat("half of it\r\n", 100))
	return int64(n), errors.New("a template failed")
}

func newGoMail(t *testing.T) *gomail.Msg {
	t.Helper()
	msg := gomail.NewMsg()
	if err := errors.Join(msg.From("news@sender.example"), msg.To("alice@receiver.example")); err != nil {
		t.Fatal(err)
	}
	msg.SetBodyString(gomail.TypeTextPlain, "hello")
	return msg
}

func goMailClient(t *testing.T, server *smtptest.Server) *gomail.Client {
	t.Helper()
	client, err := gomail.NewClient(server.Host(), gomail.WithPort(server.Port()), gomail.WithTLSPolicy(gomail.NoTLS))
	if err != nil {
		t.Fatal(err)
	}
	return client
}
