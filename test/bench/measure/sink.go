package measure

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Sink is an SMTP server that takes every mail at once and forgets it. It says what common relays say.
type Sink struct {
	// OnMail, if it is there, is called for each mail before that is acknowledged, by many goroutines. The recipient is what
	// stands between the brackets of RCPT, and not to be kept.
	OnMail func(recipient []byte, octets int)

	listener net.Listener
	line     atomic.Pointer[line]
}

// Listen begins to serve on a free port of the loopback interface.
func (s *Sink) Listen(ctx context.Context) error {
	var err error
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listening for SMTP: %w", err)
	}
	go s.accept()
	return nil
}

// Addr is host and port.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Close stops listening. Connections end with their clients.
func (s *Sink) Close() error { return s.listener.Close() }

// SetRoundTrip is how long a round trip takes from now on, for connections that are new.
func (s *Sink) SetRoundTrip(d time.Duration) {
	if d > 0 {
		s.line.Store(newLine(d))
	} else {
		s.line.Store(nil)
	}
}

func (s *Sink) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer func() { _ = c.Close() }()
			if l := s.line.Load(); l != nil {
				s.session(l.wrap(c))
			} else {
				s.session(c)
			}
		}()
	}
}

// session talks SMTP as far as it must.
func (s *Sink) session(c net.Conn) {
	reader, writer := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	say := func(text string) bool {
		_, _ = writer.WriteString(text) // Flush tells
		// More commands are there: their replies go together (RFC 2920 section 3.2).
		return reader.Buffered() > 0 || writer.Flush() == nil
	}
	var recipient []byte
	for ok := say("220 sink.example ESMTP\r\n"); ok; {
		line, err := reader.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch string(bytes.ToUpper(line[:4])) {
		case "EHLO":
			ok = say("250-sink.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n")
		case "RCPT":
			recipient = append(recipient[:0], path(line)...)
			ok = say("250 2.1.5 Fine\r\n")
		case "DATA":
			if !say("354 Go on\r\n") {
				return
			}
			octets, err := skipMail(reader)
			if err != nil {
				return
			}
			if s.OnMail != nil {
				s.OnMail(recipient, octets)
			}
			ok = say("250 2.0.0 Taken\r\n")
		case "QUIT":
			say("221 2.0.0 Bye\r\n")
			return
		default:
			ok = say("250 2.0.0 Fine\r\n")
		}
	}
}

// path is what stands between the brackets of a command.
func path(line []byte) []byte {
	_, line, _ = bytes.Cut(line, []byte("<"))
	line, _, _ = bytes.Cut(line, []byte(">"))
	return line
}

// skipMail reads up to the final dot, and returns how many octets were before it.
func skipMail(reader *bufio.Reader) (octets int, err error) {
	begin := true // of a line
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		if begin && (string(line) == ".\r\n" || string(line) == ".\n") {
			return octets, nil
		}
		octets += len(line)
		begin = err == nil
	}
}
