package smtptest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// Server is a scripted relay. Its methods are safe for concurrent use.
type Server struct {
	script   Script
	listener net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	done     chan struct{}
	// pipelining: commands may come before the replies that they depend on.
	pipelining bool
	serving    sync.WaitGroup

	mu         sync.Mutex
	conns      map[net.Conn]struct{}
	sessions   int
	on         map[Step][]Reaction
	recipients map[string]map[Step][]Reaction
	ledger     []Entry
	commands   [][]string
	violations []string
	closed     bool
}

// TB is what Start needs of a test.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Start starts a relay for a test, and stops it at its end. The test fails if a client broke the protocol.
func Start(t TB, script Script) *Server {
	t.Helper()
	s, err := New(script)
	if err != nil {
		t.Fatalf("starting the SMTP server: %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, violation := range s.Violations() {
			t.Errorf("the client broke the protocol: %s", violation)
		}
	})
	return s
}

// New starts a relay on a free port of the loopback interface.
func New(script Script) (*Server, error) { return Listen("127.0.0.1:0", script) }

// Listen starts a relay on this address.
func Listen(address string, script Script) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for SMTP: %w", err)
	}
	s := &Server{
		script: script, listener: listener, done: make(chan struct{}), conns: map[net.Conn]struct{}{},
		on: map[Step][]Reaction{}, recipients: map[string]map[Step][]Reaction{},
	}
	s.pipelining = slices.ContainsFunc(script.Features, func(f string) bool { return strings.EqualFold(f, "PIPELINING") })
	for step, reactions := range script.On {
		s.on[step] = append([]Reaction(nil), reactions...)
	}
	for recipient, steps := range script.For {
		s.recipients[strings.ToLower(recipient)] = map[Step][]Reaction{}
		for step, reactions := range steps {
			s.recipients[strings.ToLower(recipient)][step] = append([]Reaction(nil), reactions...)
		}
	}
	if script.Security != Plain {
		if s.tls, s.roots, err = certificates(script.Certificate); err != nil {
			_ = listener.Close()
			return nil, err
		}
	}
	s.serving.Go(s.accept)
	return s, nil
}

// Host is the address on which the relay listens, without the port.
func (s *Server) Host() string { return "127.0.0.1" }

// Port is the port on which the relay listens.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Addr is host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// RootCAs is what verifies the relay's certificate; nil without TLS.
func (s *Server) RootCAs() *x509.CertPool { return s.roots }

// Sessions is how many connections there have been.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Open is how many connections there are.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Hangup ends all connections, with RST if hard. The relay goes on listening.
func (s *Server) Hangup(hard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		end(c, hard)
	}
}

// Close stops listening, ends all connections and waits until they are. It may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		_ = s.listener.Close()
		for c := range s.conns {
			_ = c.Close()
		}
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.sessions++
		s.conns[c] = struct{}{}
		s.commands = append(s.commands, nil)
		number, crowded := s.sessions, s.script.MaxSessions > 0 && len(s.conns) > s.script.MaxSessions
		s.mu.Unlock()
		s.serving.Go(func() {
			defer func() {
				_ = c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			}()
			if crowded {
				_, _ = c.Write([]byte("421 4.7.0 too many connections\r\n"))
				return
			}
			newSession(s, c, number).run()
		})
	}
}

// reaction returns what to do at a step, if it is not the usual.
func (s *Server) reaction(step Step, recipient string) *Reaction {
	if s.script.React != nil {
		if r := s.script.React(step, recipient); r != nil {
			return r
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, queue := range []map[Step][]Reaction{s.recipients[strings.ToLower(recipient)], s.on} {
		if reactions := queue[step]; len(reactions) > 0 {
			queue[step] = reactions[1:]
			return &reactions[0]
		}
	}
	if r, ok := s.script.Always[step]; ok {
		return &r
	}
	return nil
}

func end(c net.Conn, hard bool) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok && hard {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
