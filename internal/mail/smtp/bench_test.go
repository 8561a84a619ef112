package smtp

import (
	"context"
	"net/smtp"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// BenchmarkSender sends over one connection to a relay that discards, and does the same with net/smtp in the same run:
// the ratio tells more than either number. Both write the same bytes.
func BenchmarkSender(b *testing.B) {
	server := smtptest.Start(b, smtptest.Script{Discard: true, Features: []string{"8BITMIME", "SIZE 10000000", "PIPELINING"}})
	raw := append([]byte(nil), message...)
	for len(raw) < 4<<10 {
		raw = append(raw, "The quick brown fox jumps over the lazy dog, and then over the next one.\r\n"...)
	}
	pool := newPool(b, server, func(c *Config) { c.MaxConnections = 1 })
	ctx, beforeDot := context.Background(), func() error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if v := pool.Send(ctx, envelope, raw, beforeDot); v.Outcome != mail.Sent {
			b.Fatalf("%+v", v)
		}
	}
	ours := b.Elapsed() / time.Duration(b.N)
	theirs := netSMTP(b, server.Addr(), raw, b.N)
	b.ReportMetric(float64(theirs)/float64(ours), "x-net/smtp")
	b.ReportMetric(float64(time.Second)/float64(ours), "mails/s")
}

// netSMTP is the time per mail of net/smtp, with its connection kept.
func netSMTP(b *testing.B, addr string, raw []byte, n int) time.Duration {
	b.Helper()
	client, err := smtp.Dial(addr)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	start := time.Now()
	for range n {
		if err := client.Mail(envelope.From); err != nil {
			b.Fatal(err)
		}
		if err := client.Rcpt(envelope.To); err != nil {
			b.Fatal(err)
		}
		w, err := client.Data()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start) / time.Duration(n)
}
