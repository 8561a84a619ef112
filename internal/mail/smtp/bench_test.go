package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

// What the benchmark measures with: connections for each peer, time for each peer, octets for each mail.
const (
	benchConnections = 10
	benchTime        = 2 * time.Second
	benchSize        = 4 << 10
)

// BenchmarkSender sends mails of 4 kB over 10 connections to a relay that discards them, in a process of its own and at
// several round trips, and has net/smtp and go-mail do the same right after: the ratios tell more than the numbers. All
// keep their connections. net/smtp sends the same bytes; go-mail composes each mail, as its API wants it.
func BenchmarkSender(b *testing.B) {
	for _, roundTrip := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		b.Run(roundTrip.String(), func(b *testing.B) {
			port := startSink(b, roundTrip)
			for b.Loop() {
				ours := measure(b, port, ourSenders)
				netSMTP := measure(b, port, netSMTPSenders)
				goMail := measure(b, port, goMailSenders)
				b.ReportMetric(ours.rate, "mails/s")
				b.ReportMetric(ours.cpu, "cpu-µs/mail")
				b.ReportMetric(ours.rate/netSMTP.rate, "x-net/smtp")
				b.ReportMetric(ours.rate/goMail.rate, "x-go-mail")
				b.ReportMetric(netSMTP.cpu, "net/smtp-cpu-µs/mail")
				b.ReportMetric(goMail.cpu, "go-mail-cpu-µs/mail")
			}
		})
	}
}

// BenchmarkTransaction is one mail at a time over one connection, for its allocations.
func BenchmarkTransaction(b *testing.B) {
	server := smtptest.Start(b, smtptest.Script{Discard: true, Features: sinkFeatures})
	pool := newPool(b, server, func(c *Config) { c.MaxConnections, c.MaxMails = 1, 1<<30 })
	raw, ctx := benchMessage(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if v := pool.Send(ctx, envelope, raw, nil); v.Outcome != mail.Sent {
			b.Fatalf("%+v", v)
		}
	}
}

var sinkFeatures = []string{"8BITMIME", "SIZE 10000000", "PIPELINING"}

func benchMessage() []byte {
	raw := append([]byte(nil), message...)
	for len(raw) < benchSize {
		raw = append(raw, "The quick brown fox jumps over the lazy dog, and then over the next one.\r\n"...)
	}
	return raw
}

// sinkVariable has the test binary be the sink, with this round trip, until its input ends.
const sinkVariable = "SMTP_BENCH_SINK"

func runSink(in io.Reader, out io.Writer, roundTrip string) error {
	delay, err := time.ParseDuration(roundTrip)
	if err != nil {
		return err
	}
	server, err := smtptest.New(smtptest.Script{Discard: true, Features: sinkFeatures})
	if err != nil {
		return err
	}
	defer server.Close()
	port := server.Port()
	if delay > 0 {
		proxy, err := smtptest.NewProxy(server.Addr(), smtptest.Network{RoundTrip: delay})
		if err != nil {
			return err
		}
		defer proxy.Close()
		port = proxy.Port()
	}
	fmt.Fprintln(out, port)
	_, err = io.Copy(io.Discard, in)
	return err
}

func startSink(b *testing.B, roundTrip time.Duration) int {
	b.Helper()
	sink := exec.CommandContext(b.Context(), os.Args[0])
	sink.Env = append(os.Environ(), sinkVariable+"="+roundTrip.String())
	stdin, err := sink.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := sink.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := sink.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _ = sink.Wait() })
	var port int
	if _, err := fmt.Fscanln(bufio.NewReader(stdout), &port); err != nil {
		b.Fatal(err)
	}
	return port
}

// result is what a peer reached: mails per second, and processor time of this process per mail.
type result struct{ rate, cpu float64 }

// measure has the senders of a peer send for a while. Each of the functions sends one mail at a time.
func measure(b *testing.B, port int, peer func(b *testing.B, port int) (senders []func() error, end func())) result {
	b.Helper()
	senders, end := peer(b, port)
	defer end()
	var sent atomic.Int64
	ctx, cancel := context.WithTimeout(b.Context(), benchTime)
	defer cancel()
	before, began := processorTime(), time.Now()
	var running sync.WaitGroup
	for _, send := range senders {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := send(); err != nil {
					b.Error(err)
					return
				}
				sent.Add(1)
			}
		})
	}
	running.Wait()
	took, used := time.Since(began), processorTime()-before
	n := float64(sent.Load())
	return result{n / took.Seconds(), float64(used.Microseconds()) / n}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func ourSenders(b *testing.B, port int) (senders []func() error, end func()) {
	b.Helper()
	pool, err := NewPool(Config{
		Host: "127.0.0.1", Port: port, MaxConnections: benchConnections, HELO: "worker.sender.example", BodyWithDot: 64 << 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	raw, beforeDot := benchMessage(), func() error { return nil }
	for range pool.Concurrency() {
		senders = append(senders, func() error {
			if v := pool.Send(b.Context(), envelope, raw, beforeDot); v.Outcome != mail.Sent {
				return fmt.Errorf("not sent: %s", v.Detail)
			}
			return nil
		})
	}
	return senders, func() { _ = pool.Close() }
}

func netSMTPSenders(b *testing.B, port int) (senders []func() error, end func()) {
	b.Helper()
	raw := benchMessage()
	var clients []*smtp.Client
	for range benchConnections {
		client, err := smtp.Dial(fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, client)
		senders = append(senders, func() error {
			if err := errors.Join(client.Mail(envelope.From), client.Rcpt(envelope.To)); err != nil {
				return err
			}
			w, err := client.Data()
			if err != nil {
				return err
			}
			_, err = w.Write(raw)
			return errors.Join(err, w.Close())
		})
	}
	return senders, func() {
		for _, client := range clients {
			_ = client.Quit()
		}
	}
}

func goMailSenders(b *testing.B, port int) (senders []func() error, end func()) {
	b.Helper()
	var clients []*gomail.Client
	body := strings.Repeat("The quick brown fox jumps over the lazy dog, and then over the next one.\r\n", benchSize/76)
	for range benchConnections {
		client, err := gomail.NewClient("127.0.0.1", gomail.WithPort(port), gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithHELO("worker.sender.example"))
		if err != nil {
			b.Fatal(err)
		}
		if err := client.DialWithContext(b.Context()); err != nil {
			b.Fatal(err)
		}
		msg := gomail.NewMsg()
		if err := errors.Join(msg.From(envelope.From), msg.To(envelope.To)); err != nil {
			b.Fatal(err)
		}
		msg.SetBodyString(gomail.TypeTextPlain, body)
		clients = append(clients, client)
		senders = append(senders, func() error { return client.Send(msg) })
	}
	return senders, func() {
		for _, client := range clients {
			_ = client.Close()
		}
	}
}
