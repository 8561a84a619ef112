package smtptest

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Network is what lies between a client and a relay. The zero value passes everything on at once.
type Network struct {
	// RoundTrip is the time that a round trip takes in addition, half of it each way.
	RoundTrip time.Duration
	// CutUp and CutDown end a connection, with RST, after so many octets to the relay or to the client; 0 is never. Only
	// the first connection is cut.
	CutUp, CutDown int
	// Chunk, if not 0, is the most octets that arrive at a time.
	Chunk int
}

// Proxy is a network of one connection's length. It listens on the loopback interface.
type Proxy struct {
	network  Network
	target   string
	listener net.Listener
	done     chan struct{}
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	shut  bool
}

// NewProxy starts a proxy before the relay at this address.
func NewProxy(target string, network Network) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}
	p := &Proxy{network: network, target: target, listener: listener, done: make(chan struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// StartProxy starts a proxy for a test, and stops it at its end.
func StartProxy(t TB, target string, network Network) *Proxy {
	t.Helper()
	p, err := NewProxy(target, network)
	if err != nil {
		t.Fatalf("starting the proxy: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// Port is the port on which the proxy listens, on 127.0.0.1.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Addr is host and port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close ends all connections. It may be called twice.
func (p *Proxy) Close() {
	p.mu.Lock()
	if !p.shut {
		p.shut = true
		close(p.done)
		_ = p.listener.Close()
		for _, c := range p.conns {
			_ = c.Close()
		}
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for first := true; ; first = false {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		relay, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, relay)
		if p.shut {
			_, _ = client.Close(), relay.Close()
		}
		p.mu.Unlock()
		up, down := 0, 0
		if first {
			up, down = p.network.CutUp, p.network.CutDown
		}
		p.pass(client, relay, up)
		p.pass(relay, client, down)
	}
}

// packet is some octets and when they arrive; none if the connection was cut.
type packet struct {
	text []byte
	at   time.Time
}

// pass copies one direction, and ends both when it ends.
func (p *Proxy) pass(from, to net.Conn, cut int) {
	queue := make(chan packet, 1024)
	p.running.Go(func() {
		defer close(queue)
		size := 64 << 10
		if p.network.Chunk > 0 {
			size = p.network.Chunk
		}
		for left := cut; ; {
			buffer := make([]byte, size)
			n, err := from.Read(buffer)
			if cut > 0 {
				n = min(n, left)
				left -= n
			}
			select {
			case queue <- packet{buffer[:n], time.Now().Add(p.network.RoundTrip / 2)}:
			case <-p.done:
				return
			}
			if cut > 0 && left == 0 {
				queue <- packet{}
			}
			if err != nil || cut > 0 && left == 0 {
				return
			}
		}
	})
	p.running.Go(func() {
		for sent := range queue {
			if sent.text == nil {
				end(from, true)
				end(to, true)
				continue
			}
			if wait := time.Until(sent.at); wait > 0 {
				select {
				case <-time.After(wait):
				case <-p.done:
				}
			}
			if len(sent.text) > 0 {
				_, _ = to.Write(sent.text) // the other direction tells that it has ended
			}
		}
		_, _ = from.Close(), to.Close()
	})
}
