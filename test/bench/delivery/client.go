package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/test/bench/measure"
)

// clientChild is a process that only sends.
const clientChild = "client"

// The clients that it has.
const (
	clientRaw  = "raw"
	clientPool = "pool"
)

// bodyWithDot is what the worker sets.
const bodyWithDot = 16 << 10

// order is what a client is asked.
type order struct {
	Client  string `json:"client"`
	Address string `json:"address"`
	Conns   int    `json:"conns"`
	Mails   int    `json:"mails"`
	Size    int    `json:"size"`
}

// runClient measures one of them: the bytes of the mail are at hand, as smtp-source's are.
func runClient(client string) func(context.Context, *bench, load) (sample, error) {
	return func(_ context.Context, b *bench, l load) (_ sample, err error) {
		if err := b.Sink.Expect(0, l.mails, l.roundTrip); err != nil {
			return sample{}, err
		}
		child, err := measure.StartSelf(clientChild)
		if err != nil {
			return sample{}, err
		}
		defer func() { err = errors.Join(err, child.Close()) }()
		w := b.watch(child.PID())
		if err := child.Ask(order{client, b.Sink.Address, b.settings.conns, l.mails, b.settings.size}, nil); err != nil {
			return sample{}, err
		}
		return w.end(l.mails)
	}
}

func serveClient(ctx context.Context, in io.Reader, out io.Writer) error {
	return measure.Answer(in, out, func(o order) (any, error) {
		c, err := content(o.Size)
		if err != nil {
			return nil, err
		}
		raw, err := composed(c, 0)
		if err != nil {
			return nil, err
		}
		if o.Client == clientPool {
			return struct{}{}, sendPooled(ctx, o, raw)
		}
		return struct{}{}, sendRaw(ctx, o, raw)
	})
}

// share has n workers take numbers up to count, until one of them fails.
func share(n, count int, work func(next func() (int, bool)) error) error {
	var (
		all   sync.WaitGroup
		taken atomic.Int64
		errs  = make([]error, n)
	)
	next := func() (int, bool) {
		i := int(taken.Add(1)) - 1
		return i, i < count
	}
	for i := range n {
		all.Go(func() { errs[i] = work(next) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// sendPooled sends as Cartero's worker does, without anything but the sending.
func sendPooled(ctx context.Context, o order, raw []byte) (err error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	pool, err := smtp.NewPool(smtp.Config{Host: host, Port: number, MaxConnections: o.Conns, HELO: "bench.example", BodyWithDot: bodyWithDot})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	return share(pool.Concurrency(), o.Mails, func(next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			v := pool.Send(ctx, mail.Envelope{From: from, To: address(i)}, raw, nil)
			if v.Outcome != mail.Sent {
				return fmt.Errorf("a mail was not sent: %s %d %s", v.Phase, v.Code, v.Detail)
			}
		}
		return nil
	})
}

// sendRaw sends with as little work as can be: no choice, no deadline but one, nothing that could go wrong is handled. The
// next mail's commands go out with the final dot of the one before, which is one round trip a mail (RFC 2920).
func sendRaw(ctx context.Context, o order, raw []byte) error {
	return share(o.Conns, o.Mails, func(next func() (int, bool)) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Address)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		r := newReplies(c)
		if err := r.await(1); err != nil {
			return err
		}
		if _, err := io.WriteString(c, "EHLO bench.example\r\n"); err != nil {
			return err
		}
		if err := r.await(1); err != nil {
			return err
		}
		var buffer []byte
		waiting := 3
		for i, ok := next(); ok; i, ok = next() {
			buffer = fmt.Appendf(buffer, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, address(i))
			if _, err := c.Write(buffer); err != nil {
				return err
			}
			if err := r.await(waiting); err != nil {
				return err
			}
			buffer, waiting = append(append(buffer[:0], raw...), ".\r\n"...), 4
		}
		if waiting == 3 { // not a single one
			return nil
		}
		if _, err := c.Write(append(buffer, "QUIT\r\n"...)); err != nil {
			return err
		}
		return r.await(2)
	})
}
