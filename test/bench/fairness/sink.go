package main

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"time"
)

// sink is an SMTP server that takes every mail after a while, and remembers when the mails came that somebody waits for.
type sink struct {
	listener net.Listener
	delay    time.Duration

	mu     sync.Mutex
	mails  int
	waited map[string]chan time.Time // by address
}

func newSink(ctx context.Context) (*sink, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: listener, waited: map[string]chan time.Time{}}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go s.session(c)
		}
	}()
	return s, nil
}

// await returns when the mail to this address comes, once.
func (s *sink) await(address string) <-chan time.Time {
	came := make(chan time.Time, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited[address] = came
	return came
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

// slow sets how long a mail takes.
func (s *sink) slow(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

// mail notes one, and returns how long it takes.
func (s *sink) mail(address string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails++
	if came := s.waited[address]; came != nil {
		came <- time.Now()
		delete(s.waited, address)
	}
	return s.delay
}

func (s *sink) session(c net.Conn) {
	defer func() { _ = c.Close() }()
	reader, writer := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(text string) bool {
		_, _ = writer.WriteString(text + "\r\n") // Flush tells
		return reader.Buffered() > 0 || writer.Flush() == nil
	}
	address := ""
	for ok := say("220 sink.example ESMTP"); ok; {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		switch command := strings.ToUpper(line); {
		case strings.HasPrefix(command, "EHLO"):
			ok = say("250-sink.example\r\n250-8BITMIME\r\n250 PIPELINING")
		case strings.HasPrefix(command, "RCPT"):
			_, address, _ = strings.Cut(line, "<")
			address, _, _ = strings.Cut(address, ">")
			ok = say("250 2.1.5 ok")
		case strings.HasPrefix(command, "DATA"):
			if ok = say("354 go on") && body(reader); ok {
				if delay := s.mail(address); delay > 0 {
					<-time.After(delay)
				}
				ok = say("250 2.0.0 taken")
			}
		case strings.HasPrefix(command, "QUIT"):
			say("221 2.0.0 bye")
			return
		default:
			ok = say("250 2.0.0 ok")
		}
	}
}

// body reads up to the line that is a dot.
func body(reader *bufio.Reader) bool {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(line) == 3 && line[0] == '.' {
			return true
		}
	}
}
