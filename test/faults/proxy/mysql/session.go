package mysql

import (
	"bufio"
	"encoding/binary"
	"net"
	"strings"
	"sync"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// session is one connection and its counterpart at the server.
type session struct {
	proxy  *Proxy
	client *proxy.Link
	server net.Conn

	known       bool // the client has introduced itself
	attributes  bool // it precedes the text of a query with attributes
	continued   bool // the next packet continues the one before
	transaction []string
	open        bool // a transaction is

	mu        sync.Mutex
	preparing string // the text whose number the next reply has
	prepared  map[uint32]string
	lost      *Armed // the next reply is lost
}

// carry forwards a connection until either end closes it.
func (p *Proxy) carry(client *proxy.Link) {
	if rule := p.Find(Request{Kind: Connect}); rule != nil {
		if !greet(rule, client) {
			return
		}
	}
	server, err := proxy.Dial(p.target)
	if err != nil {
		return // as if it were away, which it is
	}
	defer server.Close()
	s := &session{proxy: p, client: client, server: server, prepared: map[uint32]string{}}
	back := make(chan struct{})
	go func() {
		defer close(back)
		s.answers()
		_ = client.Close()
		_ = server.Close()
	}()
	s.requests()
	_ = client.Close()
	_ = server.Close()
	<-back
}

// greet does with a new connection what a rule says; true means that it goes on to the server.
func greet(rule *Armed, client *proxy.Link) bool {
	rule.Note()
	switch rule.Do {
	case proxy.Answer:
		_, _ = client.Write(rule.Reply.packet(0)) // who is gone needs no answer
		return false
	case proxy.Hold:
		return rule.Wait(client.Ended)
	case proxy.Swallow:
		rule.Wait(client.Ended)
		return false
	default:
		return false
	}
}

// requests forwards what the client sends.
func (s *session) requests() {
	in := bufio.NewReader(s.client)
	for {
		p, err := readPacket(in)
		if err != nil {
			return
		}
		begins := p.sequence() == 0 && !s.continued
		s.continued = p.full()
		if !begins {
			if !s.known && !s.greeted(p) {
				return
			}
		} else if rule := s.command(p); rule != nil {
			if forward, goOn := s.apply(rule); !goOn {
				return
			} else if !forward {
				continue
			}
		}
		if _, err := s.server.Write(p); err != nil {
			return
		}
	}
}

// greeted looks at the client's half of the handshake.
func (s *session) greeted(p packet) bool {
	s.known = true
	if len(p.payload()) < 4 {
		return true // the server will say what it thinks of that
	}
	capabilities := binary.LittleEndian.Uint32(p.payload())
	if len(p.payload()) == 32 && capabilities&capabilitySSL != 0 { // an SSL request has 32 bytes
		s.proxy.tb.Error("the proxy of MySQL can't look into TLS")
		return false
	}
	s.attributes = capabilities&capabilityQAttr != 0
	return true
}

// command follows what the session does, and finds the rule for it.
func (s *session) command(p packet) *Armed {
	request := Request{Kind: Other, Transaction: s.transaction}
	body := p.payload()
	switch p.first() {
	case comQuery:
		request.Kind, request.Text = Query, string(body[1:])
		if s.attributes && len(body) > 3 { // no attributes, in one set
			request.Text = string(body[3:])
		}
	case comPrepare:
		request.Kind, request.Text = Prepare, string(body[1:])
		s.mu.Lock()
		s.preparing = request.Text
		s.mu.Unlock()
	case comExecute:
		if len(body) >= 5 {
			s.mu.Lock()
			request.Kind, request.Text = Execute, s.prepared[binary.LittleEndian.Uint32(body[1:])]
			s.mu.Unlock()
		}
	case comQuit, comLongData, comStmtClose: // nobody waits for an answer
		return nil
	}
	rule := s.proxy.Find(request)
	if rule == nil || rule.Do == proxy.Hold {
		s.follow(request)
	}
	return rule
}

// follow notes a statement of a transaction.
func (s *session) follow(request Request) {
	if request.Kind != Query && request.Kind != Execute {
		return
	}
	verb := strings.ToUpper(request.Text[:min(len(request.Text), 17)])
	switch {
	case strings.HasPrefix(verb, "START TRANSACTION"), verb == "BEGIN":
		s.open, s.transaction = true, nil
	case verb == "COMMIT", verb == "ROLLBACK":
		s.open, s.transaction = false, nil
	case s.open:
		s.transaction = append(s.transaction, request.Text)
	}
}

// apply does what the rule says before the server sees the command: whether it is forwarded, and whether the session goes on.
func (s *session) apply(rule *Armed) (forward, goOn bool) {
	switch rule.Do {
	case proxy.Lose:
		s.mu.Lock()
		s.lost = rule
		s.mu.Unlock()
		return true, true
	case proxy.Answer:
		_, err := s.client.Write(rule.Reply.packet(1))
		rule.Note()
		return false, err == nil && !rule.HangUp
	case proxy.Hold:
		rule.Note()
		return true, rule.Wait(s.client.Ended)
	case proxy.Swallow:
		rule.Note()
		return false, true
	default:
		rule.Note()
		return false, false
	}
}

// answers forwards what the server sends.
func (s *session) answers() {
	in, out := bufio.NewReader(s.server), bufio.NewWriter(s.client)
	for {
		p, err := readPacket(in)
		if err != nil {
			return
		}
		if lost := s.look(p); lost != nil {
			_ = s.client.Close() // first: who is told of the hit finds the connection cut
			lost.Note()
			return
		}
		if _, err := out.Write(p); err != nil {
			return
		}
		if in.Buffered() > 0 {
			continue
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}

// look returns the rule by which this reply is lost, or nil.
func (s *session) look(p packet) *Armed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing != "" {
		if p.first() == okPacket && len(p.payload()) >= 5 {
			s.prepared[binary.LittleEndian.Uint32(p.payload()[1:])] = s.preparing
		}
		s.preparing = ""
	}
	if s.lost == nil || p.first() == localInfile { // LOAD DATA has not begun yet: the server asks for the file
		return nil
	}
	return s.lost
}
