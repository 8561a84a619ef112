package main

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"time"
)

// sink is an SMTP server that takes every mail at once, and remembers when the first one of each campaign came: a
// campaign's recipients have a domain of their own.
type sink struct {
	listener net.Listener

	mu    sync.Mutex
	mails int
	first map[string]time.Time
	came  chan string // domains, as they come
}

func newSink(ctx context.Context) (*sink, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: listener, first: map[string]time.Time{}, came: make(chan string, 1<<16)}
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

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

func (s *sink) mail(domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails++
	if _, known := s.first[domain]; !known {
		s.first[domain] = time.Now()
		s.came <- domain
	}
}

func (s *sink) session(c net.Conn) {
	defer func() { _ = c.Close() }()
	reader, writer := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(text string) bool {
		_, _ = writer.WriteString(text + "\r\n") // Flush tells
		return reader.Buffered() > 0 || writer.Flush() == nil
	}
	domain := ""
	for ok := say("220 sink.example ESMTP"); ok; {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		switch command := strings.ToUpper(line); {
		case strings.HasPrefix(command, "EHLO"):
			ok = say("250-sink.example\r\n250-8BITMIME\r\n250 PIPELINING")
		case strings.HasPrefix(command, "RCPT"):
			_, domain, _ = strings.Cut(line, "@")
			domain, _, _ = strings.Cut(domain, ">")
			ok = say("250 2.1.5 ok")
		case strings.HasPrefix(command, "DATA"):
			if ok = say("354 go on"); ok {
				ok = body(reader) && say("250 2.0.0 taken")
				s.mail(domain)
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
