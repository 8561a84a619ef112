package main

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/cartero-mail/cartero/test/bench/measure"
)

// sink is an SMTP server that takes every mail at once, and remembers when the first one of each campaign came: a
// campaign's recipients have a domain of their own.
type sink struct {
	measure.Sink

	mu    sync.Mutex
	mails int
	first map[string]time.Time
	came  chan string // domains, as they come
}

func newSink(ctx context.Context) (*sink, error) {
	s := &sink{first: map[string]time.Time{}, came: make(chan string, 1<<16)}
	s.OnMail = func(recipient []byte, _ int) {
		_, domain, _ := bytes.Cut(recipient, []byte("@"))
		s.mail(string(domain))
	}
	return s, s.Listen(ctx)
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
