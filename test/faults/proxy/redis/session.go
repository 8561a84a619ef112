package redis

import (
	"bufio"
	"io"
	"net"
	"strings"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// session is one connection and its counterpart at the server.
type session struct {
	proxy  *Proxy
	client *proxy.Link
	server net.Conn
	// expected are the replies to come, in the order of their requests.
	expected chan expectation
}

// expectation is how a reply is dealt with.
type expectation struct {
	// lost: the server's reply is not delivered, and the connection ends.
	lost *Armed
	// answered: the server was not asked; this rule has the reply.
	answered *Armed
	// stream: from here on the server speaks unasked.
	stream bool
}

// inFlight bounds the requests that a client may send before it reads a reply.
const inFlight = 1 << 16

// carry forwards a connection until either end closes it.
func (p *Proxy) carry(client *proxy.Link) {
	server, err := proxy.Dial(p.target)
	if err != nil {
		return // as if it were away, which it is
	}
	s := &session{proxy: p, client: client, server: server, expected: make(chan expectation, inFlight)}
	back := make(chan struct{})
	go func() {
		defer close(back)
		s.replies()
		_ = client.Close()
		_ = server.Close()
	}()
	s.requests()
	close(s.expected)
	_ = client.Close()
	_ = server.Close()
	<-back
}

// requests forwards what the client sends.
func (s *session) requests() {
	in, out := bufio.NewReader(s.client), bufio.NewWriter(s.server)
	for {
		raw, words, err := readCommand(in)
		if err != nil || len(words) == 0 {
			return
		}
		request := Request{Name: strings.ToUpper(words[0]), Args: words[1:]}
		expect, forward := expectation{}, true
		if strings.HasSuffix(request.Name, "SUBSCRIBE") {
			expect.stream = true
		}
		if rule := s.proxy.Find(request); rule != nil {
			if out.Flush() != nil { // what came before is with the server
				return
			}
			var goOn bool
			if forward, goOn = s.apply(rule, &expect); !goOn {
				return
			}
		}
		s.expected <- expect
		if forward {
			_, _ = out.Write(raw) // the flush tells
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		if expect.stream {
			_, _ = io.Copy(s.server, in)
			return
		}
	}
}

// apply does what the rule says before the server sees the command: whether it is forwarded, and whether the connection goes on.
func (s *session) apply(rule *Armed, expect *expectation) (forward, goOn bool) {
	switch rule.Do {
	case proxy.Lose:
		expect.lost = rule
		return true, true
	case proxy.Answer:
		expect.answered = rule
		return false, true
	case proxy.Hold:
		rule.Note()
		return true, rule.Wait(s.client.Ended)
	case proxy.Swallow: // nor what comes behind it: replies have no names
		rule.Note()
		rule.Wait(s.client.Ended)
		return false, false
	default:
		_ = s.client.Close() // first: who is told of the hit finds the connection cut
		rule.Note()
		return false, false
	}
}

// replies forwards what the server sends.
func (s *session) replies() {
	in := bufio.NewReader(s.server)
	for expect := range s.expected {
		if rule := expect.answered; rule != nil {
			_, err := io.WriteString(s.client, "-"+rule.Reply+"\r\n")
			rule.Note()
			if err != nil || rule.HangUp {
				return
			}
			continue
		}
		if expect.stream {
			_, _ = io.Copy(s.client, in)
			return
		}
		raw, err := readReply(in)
		if err != nil {
			return
		}
		if expect.lost != nil {
			_ = s.client.Close()
			expect.lost.Note()
			return
		}
		if _, err := s.client.Write(raw); err != nil {
			return
		}
	}
}
